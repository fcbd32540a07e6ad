"""Cutting long plain text into records, so that memory stays bounded however large a file is.

A document is one record as it stands. Past a limit it is cut into passages: after a blank line where one stands in the second half
of the window, else after a line, else after a space, else between two characters. The passages together are the text, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

KIB = 1024
CODE_LIMIT = 1024 * KIB
"""A source file is one record up to this size: what a parser sees must be whole."""
TEXT_LIMIT = 64 * KIB
"""A text is one record up to this size: some 15,000 words, more than a context holds."""


def passage_limit(*, code: bool, lone: bool, size: int) -> int:
    """Bytes in a passage at most.

    A single text file is a corpus, not a document: it is cut into at least 128 passages where that leaves 1 KiB in each, so that
    a share of 5% for validation and test has passages to take.
    """
    if code:
        return CODE_LIMIT
    return min(TEXT_LIMIT, max(KIB, size // 128)) if lone else TEXT_LIMIT


def cut(read: Callable[[int], bytes], limit: int) -> Iterator[bytes]:
    """The passages of a stream of UTF-8, each at most `limit` (≥ 4) bytes long; bytes that are no UTF-8 pass through."""
    window = b""
    while True:
        while len(window) <= limit:
            more = read(limit + 1 - len(window))
            if not more:
                if window:
                    yield window
                return
            window += more
        end = _best_end(window, limit)
        yield window[:end]
        window = window[end:]


def _best_end(window: bytes, limit: int) -> int:
    for mark in (b"\n\n", b"\r\n\r\n", b"\n", b"\r", b" "):
        found = window.rfind(mark, limit // 2, limit)
        if found >= 0:
            return found + len(mark)
    for end in range(limit, limit - 4, -1):
        if window[end] & 0xC0 != 0x80:  # not a continuation byte: a character starts here
            return end
    return limit
