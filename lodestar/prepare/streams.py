"""Files as streams of bytes and of lines, decompressed on the way, with the place of every fault."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn, cast

from ..contracts.errors import UserError, missing_extra
from .sources import SourceFile, unreadable

RECORD_LIMIT = 64 * 1024 * 1024
"""Bytes in one record at most; a longer line is a file that does not hold what its name says."""
UTF8_MARK = b"\xef\xbb\xbf"


@contextmanager
def open_source(file: SourceFile) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """The decompressed bytes of a file, and a function that tells how many of its bytes on disk are read.

    Raises:
        UserError: the file is unreadable, damaged, or needs a package that is not installed.
    """
    try:
        with file.path.open("rb") as raw:
            yield _decompressed(raw, file), raw.tell
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(file, error) from None
    except OSError as error:
        # bz2 says OSError, without a number, for data that it cannot decompress.
        raise (_damaged(file, error) if error.errno is None else unreadable(file.path, error)) from None


def lines(stream: IO[bytes], shown: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, line ends kept, the byte order mark dropped.

    Raises:
        UserError: a line is not UTF-8 (the sentence has the offset in the decompressed bytes) or longer than a record may be.
    """
    offset = 0
    number = 0
    while line := stream.readline(RECORD_LIMIT + 1):
        number += 1
        if len(line) > RECORD_LIMIT:
            raise UserError(f"a line longer than {RECORD_LIMIT >> 20} MiB", where=f"{shown}:{number}", fix="write one record a line")
        start = len(UTF8_MARK) if offset == 0 and line.startswith(UTF8_MARK) else 0
        try:
            text = line[start:].decode()
        except UnicodeDecodeError as error:
            refuse_bytes(line, offset + start + error.start, f"{shown}:{number}")
        offset += len(line)
        yield number, text


CHUNK = 1 << 16


def chunks(stream: IO[bytes], shown: str) -> Iterator[str]:
    """The text in pieces of any length, for formats whose records are not lines, the byte order mark dropped.

    Raises:
        UserError: the text is not UTF-8.
    """
    offset, line, rest = 0, 1, b""
    while True:
        more = stream.read(CHUNK)
        data = rest + more
        start = len(UTF8_MARK) if offset == 0 and data.startswith(UTF8_MARK) else 0
        try:
            text, used = codecs.utf_8_decode(data[start:], "strict", not more)
        except UnicodeDecodeError as error:
            fault = start + error.start
            refuse_bytes(data, offset + fault, f"{shown}:{line + data.count(10, 0, fault)}")
        if not more:
            return  # the last call was for a character that the end cuts off
        if text:
            yield text
        rest = data[start + used :]
        offset += start + used
        line += text.count("\n")


def refuse_bytes(data: bytes, offset: int, where: str) -> NoReturn:
    """Raise the error for bytes at `offset` of a file that are not UTF-8; `data` is what stands around them."""
    fix = "save the file as UTF-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        fix += " (it looks like UTF-16)"
    else:
        fix += " (Chinese in GBK: iconv -f GB18030 -t UTF-8)"
    raise UserError(f"not UTF-8 at byte {offset}", where=where, fix=fix)


def _damaged(file: SourceFile, error: Exception) -> UserError:
    return UserError(f"the compressed file is damaged ({error})", where=file.path, fix="fetch or compress it again")


def _decompressed(raw: IO[bytes], file: SourceFile) -> IO[bytes]:
    opened: IO[bytes] = raw
    if file.compression == "gz":
        opened = cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    elif file.compression == "bz2":
        opened = bz2.BZ2File(raw)
    elif file.compression == "xz":
        opened = lzma.LZMAFile(raw)  # noqa: SIM115 - it holds nothing that `raw` does not
    elif file.compression == "zst":
        opened = io.BufferedReader(_Zstandard(raw, file), 1 << 17)
    return opened


class _Zstandard(io.RawIOBase):
    """Zstandard frames as a readable stream. The package's own reader ends silently in a cut-off frame; this one refuses."""

    def __init__(self, raw: IO[bytes], file: SourceFile) -> None:
        try:
            import zstandard
        except ImportError:
            raise missing_extra("zstandard", "zstd", why=f"reading {file.path.name}") from None
        self._raw = raw
        self._library = zstandard
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._ready and self._advance():
                pass
        except self._library.ZstdError as error:
            raise EOFError(str(error)) from None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _advance(self) -> bool:
        data = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
        data = data or self._raw.read(1 << 16)
        if not data:
            if self._frame is not None and not self._frame.eof:
                raise EOFError("the last frame is cut off")
            return False
        if self._frame is None or self._frame.eof:
            self._frame = self._library.ZstdDecompressor().decompressobj()
        self._ready = self._frame.decompress(data)
        return True
