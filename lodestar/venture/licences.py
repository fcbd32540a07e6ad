"""Whether what a model is made of may be released as the team means to: a first reading of the licences, and no legal advice.

A licence is told by its SPDX name. What stands in no list here is for a person to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from ..contracts.language import Words
from .vision import VentureFile

Verdict = Literal["fine", "look", "conflict"]

PERMISSIVE = (
    "apache-2.0", "mit", "mit-0", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "psf-2.0", "python-2.0", "unlicense", "cc0-1.0", "0bsd",
    "cc-by-*", "odc-by*", "pddl*", "cdla-permissive*", "public domain", "own",
)  # fmt: skip
"""Those that ask for no more than their notice. `own` is what the team made, or has bought every right to."""
NON_COMMERCIAL = ("cc-by-nc*", "*-nc-*", "*non-commercial*", "*noncommercial*", "*research-only*")
NO_DERIVATIVES = ("cc-by-nd*", "cc-by-nc-nd*")
SHARE_ALIKE = ("cc-by-sa*", "cc-by-nc-sa*", "gpl*", "agpl*", "lgpl*", "odbl*", "cdla-sharing*", "eupl*", "mpl*")


@dataclass(frozen=True)
class Reading:
    """What was read of one thing that a model is made of."""

    subject: str
    """A source of data, or the model that was fine-tuned."""
    licence: str | None
    verdict: Verdict
    words: Words


def read_licences(file: VentureFile, data_card: Mapping[str, Any], folder: Path) -> list[Reading]:
    """Read the licences of all sources, and of the model that is fine-tuned.

    Args:
        data_card: of the prepared data: its sources, and their licences where they come with one.
        folder: the venture's, which paths are relative to.
    """
    known: dict[str, str | None] = {source["source"]: source.get("licence") for source in data_card.get("sources", [])}
    base = file.model.base
    if base is not None:
        local = folder / base
        known[base] = licence_of_folder(local) if local.is_dir() else None
    return [_read(subject, _stated(file.licences, subject) or licence, file) for subject, licence in known.items()]


def licence_of_folder(folder: Path) -> str | None:
    """What a model's folder says of its licence: its card's field, else the first line of a licence file."""
    card = folder / "README.md"
    if card.is_file():
        lines = card.read_text("utf-8", errors="replace").splitlines()
        head = lines[1 : lines.index("---", 1)] if lines[:1] == ["---"] and "---" in lines[1:] else []
        for line in head:
            if line.startswith(("license:", "license_name:")):
                return line.partition(":")[2].strip() or None
    for path in sorted(folder.glob("LICEN[CS]E*")):
        text = path.read_text("utf-8", errors="replace")
        return next((line.strip() for line in text.splitlines() if line.strip()), None)
    return None


def _stated(licences: Mapping[str, str], subject: str) -> str | None:
    """What venture.yaml says, by the name or by a glob of it."""
    return licences.get(subject) or next((licence for name, licence in licences.items() if fnmatchcase(subject, name)), None)


def _read(subject: str, licence: str | None, file: VentureFile) -> Reading:
    if licence is None:
        words = Words("states no licence: say in `licences` under which it may be used", "未说明许可：请在 `licences` 中写明")
        return Reading(subject, None, "look", words)
    name = licence.strip().lower()
    sold = file.economics is not None and file.economics.price is not None
    if _any(name, NON_COMMERCIAL) and sold:
        return Reading(
            subject, licence, "conflict", Words("is not for sale, and economics.price sells it", "不得商用，而 economics.price 为其定价")
        )
    if _any(name, NO_DERIVATIVES):
        return Reading(subject, licence, "conflict", Words("allows no derived work, which a model may be", "禁止演绎，而模型可能属于演绎"))
    if _any(name, SHARE_ALIKE) and name != (file.licence or "").strip().lower():
        words = Words(f"is to be shared alike, and the model is under {file.licence}", f"要求相同方式共享，而模型的许可为 {file.licence}")
        return Reading(subject, licence, "look", words)
    if _any(name, NON_COMMERCIAL):
        return Reading(subject, licence, "look", Words("is not for sale; neither is what is made of it", "不得商用，由其所成之物亦然"))
    # CC BY-NC and its like begin as CC BY does: what is permissive is asked last.
    if _any(name, PERMISSIVE) or name == (file.licence or "").strip().lower():
        return Reading(subject, licence, "fine", Words("asks for its notice", "保留声明即可"))
    return Reading(subject, licence, "look", Words("is not known here: read it", "此处未收录，请自行阅读"))


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
