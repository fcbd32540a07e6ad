"""Decision records: who chose what, on which evidence, and what they expect of it.

decisions/NNNN-CHOICE.md    for people, in the form of MADR (https://adr.github.io/madr/)
decisions/NNNN-CHOICE.json  the same as data, written last: the problem, the comparison, the forecasts, and the hashes

They are a chain (see chain.py), and each carries the hash of its Markdown, too: an edit of any record or page shows, as does one that is
taken out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..contracts.errors import UserError, unknown
from ..contracts.forecast import Forecast
from ..store.files import read_json, sha256_file, write_atomic, write_json
from .chain import Link, chain_files, changed, check_noted, newest, read_chain
from .decision import Comparison, Problem

if TYPE_CHECKING:
    from .venture import Venture
    from .vision import VentureFile

EVENT = "decision"


class DecisionRecord(Link):
    """One choice."""

    date: Date
    venture: str
    choice: str
    """The option's name."""
    by: str = Field(min_length=1)
    """The person who chose."""
    because: str = Field(min_length=1)
    """Their reason."""
    settings: dict[str, Any]
    """The fields of venture.yaml that make the option."""
    forecasts: list[dict[str, Any]] = Field(min_length=1)
    """What they expect of it, each as `Forecast.content`."""
    problem: Problem
    comparison: Comparison
    markdown: str
    """The SHA-256 of the page beside it."""

    @property
    def trains(self) -> bool:
        """Whether the choice is a model that is to be trained here."""
        return next(option for option in self.problem.options if option.name == self.choice).train_hours is not None


def record_files(venture: Venture) -> list[Path]:
    """The records' data files, oldest first."""
    return chain_files(venture.decisions)


def latest_record(venture: Venture) -> DecisionRecord | None:
    """The newest record; None where nothing was decided. Its hash is not looked at."""
    return newest(venture.decisions, DecisionRecord)


def read_records(venture: Venture) -> list[DecisionRecord]:
    """Every record, oldest first, as it stands there: whether it is what was written, `verify` tells."""
    return [DecisionRecord.parse(read_json(path), where=path) for path in record_files(venture)]


def is_followed(record: DecisionRecord, venture: Venture) -> bool:
    """Whether venture.yaml has the settings that were chosen."""
    from .strategies import with_settings
    from .venture import WORK_FIELDS

    def work(file: VentureFile) -> Any:
        return file.model_dump(mode="json", include=set(WORK_FIELDS))

    return work(with_settings(venture.file, record.settings)) == work(venture.file)


def choose(
    venture: Venture, problem: Problem, comparison: Comparison, *, choice: str, by: str, because: str, forecasts: Sequence[Forecast]
) -> tuple[DecisionRecord, Path]:  # fmt: skip
    """Write the record of a choice, behind the ones that are there.

    Returns:
        The record, and its Markdown page.

    Raises:
        UserError: no such option, it cannot be done, no name, no reason, no forecast; or an earlier record was changed. Nothing is written.
    """
    from .madr import page

    options = {option.name: option for option in problem.options}
    if choice not in options:
        raise unknown("option", choice, options, where="--choose")
    if options[choice].infeasible:
        raise UserError(f"{choice!r} cannot be done: {options[choice].infeasible}", where="--choose", fix="choose another option")
    if not (by.strip() and because.strip()):
        raise UserError("a decision needs the name of who decides, and the reason", fix="give both --by and --because")
    if not forecasts:
        raise UserError(
            "a decision needs a forecast that it can be held to later",
            fix="give --forecast METRIC, with --resolve-by where its target has no date",
        )
    before = verify(venture)
    number = 1 + max((int(path.name.partition("-")[0]) for path in venture.decisions.glob("[0-9]*-*")), default=0)
    slug = re.sub(r"[^\w]+", "-", choice.lower()).strip("-")
    place = venture.decisions / f"{number:04d}-{slug}"
    made = DecisionRecord(
        number=number, date=problem.date, venture=venture.file.name, choice=choice, by=by, because=because,
        settings=options[choice].settings, forecasts=[forecast.content() for forecast in forecasts], problem=problem, comparison=comparison,
        previous=before[-1].hash if before else None, markdown="",
    )  # fmt: skip
    markdown = page(venture.file, made, before[-1] if before else None)
    made = made.model_copy(update={"markdown": hashlib.sha256(markdown.encode()).hexdigest()})
    made = made.sealed()
    path = place.with_suffix(".md")
    write_atomic(path, markdown)
    write_json(place.with_suffix(".json"), made.model_dump(mode="json"))
    venture.ledger.add_event(EVENT, {"number": number, "choice": choice, "by": by, "hash": made.hash})
    return made, path


def verify(venture: Venture) -> list[DecisionRecord]:
    """Read every record and check that none was changed, added between or taken out; returns them, oldest first.

    Raises:
        UserError: the first one that is not what was written.
    """
    records: list[DecisionRecord] = []
    for path, record in read_chain(record_files(venture), DecisionRecord):
        page = path.with_suffix(".md")
        if not page.is_file() or sha256_file(page) != record.markdown:
            raise changed(page, "this page was changed after it was written" if page.is_file() else "the page of a decision is missing")
        records.append(record)
    check_noted(venture, EVENT, {record.hash for record in records}, venture.decisions)
    return records
