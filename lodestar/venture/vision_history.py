"""The versions of a vision: who changed what of it, and why.

visions/NNNN.json: the part of venture.yaml that is the vision, as it was; the newest is the one that the team has agreed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as Date
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..contracts.clock import now
from ..contracts.errors import UserError
from ..contracts.language import Words
from ..store.files import write_json
from .chain import Link, chain_files, check_noted, newest, read_chain
from .vision_changes import changes_between

if TYPE_CHECKING:
    from .venture import Venture
    from .vision import VentureFile

EVENT = "vision"
VISION_FIELDS = ("name", "statement", "audience", "north_star", "targets", "values", "red_lines", "budget", "team")
"""What of venture.yaml is the vision; the rest says how the model is made."""


class VisionVersion(Link):
    """A vision as somebody put their name to it."""

    date: Date
    by: str = Field(min_length=1)
    """Who recorded it."""
    because: str = Field(min_length=1)
    """Why it is so, or why it was changed."""
    vision: dict[str, Any]
    """`VISION_FIELDS` as JSON."""

    @property
    def words(self) -> Words:
        """For a person, in one line."""
        return Words(
            f"version {self.number} of {self.date}, by {self.by}: {self.because}",
            f"第 {self.number} 版，{self.date}，{self.by}：{self.because}",
        )


@dataclass(frozen=True)
class Standing:
    """A vision beside its newest version."""

    version: VisionVersion | None
    changes: Sequence[Words]
    """What venture.yaml says otherwise by now."""

    @property
    def words(self) -> Words:
        """For a person, in one line; empty where there is no version."""
        if self.version is None:
            return Words("", "")
        if not self.changes:
            return self.version.words
        number = self.version.number
        return Words(
            f"changed since version {number} of {self.version.date}, and not recorded",
            f"{self.version.date} 的第 {number} 版之后有改动，尚未记录",
        )


def standing(venture: Venture) -> Standing:
    """Where the vision stands; reads one small file."""
    version = newest(venture.visions, VisionVersion)
    return Standing(version, changes_between(version.vision, vision_of(venture.file)) if version else [])


def vision_of(file: VentureFile) -> dict[str, Any]:
    """The vision as JSON."""
    return file.model_dump(mode="json", include=set(VISION_FIELDS))


def record_version(venture: Venture, *, by: str, because: str) -> VisionVersion:
    """Write the vision as its next version, behind the ones that are there.

    Raises:
        UserError: no name, no reason, nothing to record; or an earlier version was changed. Nothing is written.
    """
    if not (by.strip() and because.strip()):
        raise UserError("a version of the vision needs the name of who records it, and the reason", fix="give both --by and --because")
    before = versions(venture)
    vision = vision_of(venture.file)
    if before and not changes_between(before[-1].vision, vision):
        raise UserError(
            f"the vision is as version {before[-1].number} has it", where=venture.path, fix="change it there first, or leave it at that"
        )
    made = VisionVersion(
        number=len(before) + 1, previous=before[-1].hash if before else None, date=now().date(), by=by, because=because, vision=vision
    ).sealed()
    write_json(venture.visions / f"{made.number:04d}.json", made.model_dump(mode="json"))
    venture.ledger.add_event(EVENT, {"number": made.number, "by": by, "hash": made.hash})
    return made


def versions(venture: Venture) -> list[VisionVersion]:
    """Every version, oldest first, after a check that none was changed, added between or taken out.

    Raises:
        UserError: the first one that is not what was written.
    """
    found = [version for _, version in read_chain(chain_files(venture.visions), VisionVersion)]
    check_noted(venture, EVENT, {version.hash for version in found}, venture.visions)
    return found


def history(found: Sequence[VisionVersion]) -> list[tuple[VisionVersion, list[Words]]]:
    """Each version with what it changed against the one before it; nothing of the first."""
    earlier = [None, *found]
    return [(after, changes_between(before.vision, after.vision) if before else []) for before, after in zip(earlier, found, strict=False)]
