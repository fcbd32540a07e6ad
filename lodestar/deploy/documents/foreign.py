"""The program that reads one HTML, PDF or Word file, within limits of memory and time, and prints its blocks as JSON.

It ends with 3 and a sentence on stderr where the file is at fault.
"""

from __future__ import annotations

import io
import re
import resource
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from .reading import CPU_SECONDS, MEMORY_BYTES, Block, as_json

FAULT = 3
PAGES_AT_MOST = 10_000
XML_BYTES = 128 << 20
"""Of a Word file's text, unpacked."""
_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "math", "object", "iframe"})
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "dfn", "del", "em", "font", "i", "ins", "kbd", "mark", "q", "rp", "rt", "ruby",
     "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"}
)  # fmt: skip
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"})
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


class Fault(Exception):  # noqa: N818 - of the file, not of this program
    """What is wrong with the file, in a few words."""


class _Text(HTMLParser):
    """What a reader of the page sees, in blocks, each with the line that it begins at."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._parts: list[str] = []
        self._line = 1
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN and tag not in _VOID:
            self._unseen += 1
        if tag not in _INLINE:
            self._end_block()

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        # A page that forgets to close its head still has a body.
        if tag not in _INLINE:
            self._end_block()

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if not self._parts:
            blank = len(data) - len(data.lstrip())
            if blank == len(data):
                return
            self._line = self.getpos()[0] + data.count("\n", 0, blank)
            data = data[blank:]
        self._parts.append(data)

    def close(self) -> None:
        super().close()
        self._end_block()

    def _end_block(self) -> None:
        text = "".join(self._parts).rstrip()
        self._parts.clear()
        if text:
            # An empty line in the source is no empty line on the page; the count of lines stays.
            self.blocks.append(Block(re.sub(r"\n[^\S\n]*(?=\n)", "\n ", text), self._line))


def read_html(data: bytes) -> list[Block]:
    """The text of a page, its lines those of the source."""
    parser = _Text()
    parser.feed(_decoded(data))
    parser.close()
    return parser.blocks


def _decoded(data: bytes) -> str:
    named = re.search(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w-]{1,40})""", data[:4096], re.IGNORECASE)
    for encoding in ("utf-8-sig", named[1].decode() if named else "gb18030", "gb18030"):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    raise Fault("in an encoding that is not known")


def read_docx(data: bytes) -> list[Block]:
    """The paragraphs of a Word file, numbered from 1 as lines."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("word/document.xml") as member:
            xml = member.read(XML_BYTES + 1)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Fault("not a Word file that can be read") from error
    if len(xml) > XML_BYTES:
        raise Fault(f"its text unpacks to more than {XML_BYTES >> 20} MiB")
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise Fault("its text defines entities, which no Word file does")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise Fault("not a Word file that can be read") from error
    paragraphs = (_paragraph(paragraph) for paragraph in root.iter(f"{_WORD}p"))
    return [Block(text, number) for number, text in enumerate(paragraphs, 1) if text.strip()]


def _paragraph(paragraph: ElementTree.Element) -> str:
    signs = {f"{_WORD}tab": "\t", f"{_WORD}br": " ", f"{_WORD}cr": " "}
    return "".join((piece.text or "") if piece.tag == f"{_WORD}t" else signs.get(piece.tag, "") for piece in paragraph.iter())


def read_pdf(data: bytes) -> list[Block]:
    """The text of each page, in the lines that the page is set in."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Fault("locked by a password")
        if len(reader.pages) > PAGES_AT_MOST:
            raise Fault(f"more than {PAGES_AT_MOST:,} pages")
        blocks = [Block(page.extract_text(), 1, number) for number, page in enumerate(reader.pages, 1)]
    except Fault:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError, ImportError) as error:
        # The library meets what is wrong in a file with whatever its code meets there.
        raise Fault("a damaged PDF") from error
    found = [block for block in blocks if block.text.strip()]
    if blocks and not found:
        raise Fault("its pages are pictures, without text")
    return found


READERS = {".html": read_html, ".htm": read_html, ".docx": read_docx, ".pdf": read_pdf}


def main(path: Path) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        sys.stdout.write(as_json(READERS[path.suffix.lower()](path.read_bytes())))
    except Fault as fault:
        sys.stderr.write(f"{fault}\n")
        return FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
