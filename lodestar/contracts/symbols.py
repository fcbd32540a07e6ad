"""What a synthesiser reads: sounds to be made, and pauses."""

from __future__ import annotations

from typing import NamedTuple

EDGE, GAP = "_", " "
"""The silence before and after; between two words."""
PAUSES = ",.?!"
TONES = 6
"""0 of what has none, 1 to 4, 5 of the neutral tone."""


class Symbol(NamedTuple):
    """One sound to be made, or a pause."""

    name: str
    """A letter in lower case, an initial or a final in upper case, a mark of a pause."""
    tone: int = 0

    @property
    def shown(self) -> str:
        """As a person reads it: a letter, or pinyin with its tone's number."""
        return f"{self.name.lower()}{self.tone or ''}"

    @property
    def is_pause(self) -> bool:
        return self.name == GAP or self.name in PAUSES
