"""From tokens to text while they arrive: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
WINDOW = 64
"""Tokens that are decoded again with each new one; old ones are dropped where a character ends."""


class TextStream:
    """Turns token ids into text that never ends in half a character.

    The parts, joined, equal `tokenizer.decode` of all the ids. A character's first bytes decode to U+FFFD until its last one is there,
    so what ends in U+FFFD is held back: at most three of them, since three bytes can be missing their fourth, and a tokenizer
    with byte fallback shows each byte alone.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0  # characters of the window's text that were handed out

    def push(self, token: int) -> str:
        """The text that is certain with one more token, often one word, sometimes nothing."""
        self._ids.append(token)
        text = self.tokenizer.decode(self._ids)
        end = len(text)
        while end > max(self._shown, len(text) - 3) and text[end - 1] == REPLACEMENT:
            end -= 1
        new = text[self._shown : end]
        self._shown = max(self._shown, end)
        if end == len(text) and len(self._ids) >= WINDOW:
            self._shrink()
        return new

    def flush(self) -> str:
        """What is held back, when no more tokens come."""
        text = self.tokenizer.decode(self._ids)
        new, self._shown = text[self._shown :], len(text)
        return new

    def _shrink(self) -> None:
        """Keep a few tokens as context, since some decoders treat the first token of a text in their own way."""
        kept = self._ids[-8:]
        text, whole = self.tokenizer.decode(kept), self.tokenizer.decode(self._ids)
        if whole.endswith(text) and REPLACEMENT not in text:
            self._ids, self._shown = kept, len(text)


class StopStrings:
    """Ends a text at the first of several strings, wherever the tokens' borders are; the string itself is left out."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.found = False
        self._held = ""

    def push(self, text: str) -> str:
        """The part of the text so far that is certain to stay; `found` tells that a stop string was met."""
        if self.found:
            return ""
        self._held += text
        places = [place for place in (self._held.find(stop) for stop in self.stops) if place >= 0]
        if places:
            self.found = True
            certain, self._held = self._held[: min(places)], ""
            return certain
        keep = max((self._overlap(stop) for stop in self.stops), default=0)
        certain, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return certain

    def flush(self) -> str:
        """What was held back as the possible beginning of a stop string, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, stop: str) -> int:
        """The length of the longest end of the held text that begins `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(stop[:size])), 0)
