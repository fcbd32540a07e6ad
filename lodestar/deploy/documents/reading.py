"""A file → its text in blocks, each with its page and line.

Nothing in a document is run, and none of its links is followed. The formats that are programs to read (HTML, PDF, Word) are read by a
process of its own with bounded memory and time, so that a hostile file costs a minute at most.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from ...contracts.errors import UserError, missing_extra

PLAIN = frozenset({".txt", ".text", ".md", ".markdown", ".rst"})
FOREIGN = frozenset({".html", ".htm", ".pdf", ".docx"})
KINDS = PLAIN | FOREIGN
LARGEST_BYTES = 64 << 20
"""A larger file is refused. # assumed: some 10,000 pages of text"""
MEMORY_BYTES, CPU_SECONDS, PATIENCE_SECONDS = 2 << 30, 60, 180
"""What reading one foreign file may take: memory, processor time, and time on the clock."""


@dataclass(frozen=True)
class Block:
    """A paragraph, a page or a whole text; its sentences do not go on in the next block."""

    text: str
    line: int
    """Where it begins, from 1: the line of the file, or of its page; in Word, which has no lines, the paragraph."""
    page: int | None = None


def read_blocks(path: Path) -> list[Block]:
    """The text of a file.

    Raises:
        UserError: it cannot be read, is damaged, too large or of an unknown kind; `what` and `fix` name no path, `where` does.
    """
    try:
        size = path.stat(follow_symlinks=False).st_size
        if size > LARGEST_BYTES:
            raise UserError(f"larger than {LARGEST_BYTES >> 20} MiB", where=path, fix="split it")
        kind = path.suffix.lower()
        if kind in PLAIN:
            return [Block(_decoded(path.read_bytes(), path), 1)]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, fix="check its permissions") from None
    if kind in FOREIGN:
        if kind == ".pdf" and find_spec("pypdf") is None:
            raise missing_extra("pypdf", "pdf", why="reading PDF")
        return _read_apart(path)
    raise UserError("of a kind that is not read", where=path, fix=f"give {', '.join(sorted(KINDS))}")


def _decoded(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
        if b"\0" in data:
            raise UserError("not a text", where=path, fix="remove it, or give its text")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"not UTF-8 in line {line}", where=path, fix="save it as UTF-8") from None


def _read_apart(path: Path) -> list[Block]:
    command = [sys.executable, "-m", f"{__package__}.foreign", str(path.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _refused("reading it takes too long", path) from None
    if done.returncode == 3:
        raise _refused(done.stderr.decode(errors="replace").strip().splitlines()[-1], path)
    if done.returncode != 0:
        raise _refused("damaged, or reading it takes more memory or time than is allowed", path)
    return [Block(**block) for block in json.loads(done.stdout)]


def _refused(what: str, path: Path) -> UserError:
    return UserError(what, where=path, fix="save it again, or give its text as .txt")


def as_json(blocks: list[Block]) -> str:
    """What `_read_apart` reads back."""
    return json.dumps([asdict(block) for block in blocks])
