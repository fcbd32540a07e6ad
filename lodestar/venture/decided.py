"""What the machine's steps will take, told from the decision that venture.yaml carries out: its record, and what its pilots measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..contracts.evidence import Evidence
from ..store.files import read_json
from .durations import Duration
from .overruns import Spread
from .pilots import Pilot, check_named_by_hash, evidence_folder, identity
from .record import DecisionRecord, is_followed, latest_record
from .strategies import Strategy

if TYPE_CHECKING:
    from .venture import Venture

EVALUATION_SECONDS, REQUESTS = 10.0, 100
"""What an evaluation takes beside the records: a process of its own that begins, and answers so many requests one by one. assumed"""
EVALUATION_SD = 0.4
"""The spread, in logs, of an evaluation's time around what is told so. assumed"""


def decided(venture: Venture) -> dict[str, Duration]:
    """Step → how long it takes, as the newest decision has it; nothing where venture.yaml asks for other work than was chosen.

    Raises:
        UserError: a record, or the evidence behind it, is not what was written.
    """
    record = latest_record(venture)
    if record is None or not is_followed(record, venture):
        return {}
    option = next(option for option in record.problem.options if option.name == record.choice)
    if option.train_hours is None:
        return {}
    evidence = record.problem.quantities[option.train_hours]
    speed = record.problem.quantities[option.speed] if option.speed else None
    pilot = _pilot(venture, evidence)
    # What was chosen without settings of its own is followed whatever venture.yaml says; its pilot knows what it tried.
    if pilot is not None and pilot.identity != identity(Strategy(name="chosen", kind=option.kind), venture):
        return {}
    found = {"train": _duration(spread_of(evidence), speed, record, evidence)}
    seconds = None if pilot is None else evaluation_seconds(pilot, _records(venture))
    if seconds is not None:
        found["evaluate"] = _duration(Spread(math.log(seconds / 3600), EVALUATION_SD), speed, record, evidence)
    return found


def spread_of(evidence: Evidence) -> Spread:
    """Hours that have evidence, as durations are: the logarithm normal, as wide as the interval."""
    from scipy.special import ndtri

    value = max(evidence.value, 1 / 3600)
    high = max(evidence.high, value)
    low = evidence.low if 0 < evidence.low <= value else value**2 / high
    return Spread(math.log(value), math.log(high / low) / (2 * float(ndtri(0.5 + evidence.confidence / 2))))


def evaluation_seconds(pilot: Pilot, records: int | None) -> float | None:
    """What measuring so many records takes, and what goes with it, as the longest pilot told; None where nothing was measured.

    Args:
        records: as many as the pilot measured, where that is not known.
    """
    if not pilot.runs or not pilot.runs[-1].records:
        return None
    last = pilot.runs[-1]
    latency = next((score.value for score in pilot.system if score.metric == "latency_ms_p50"), 0.0)
    return last.measuring_seconds * (records or last.records) / last.records + EVALUATION_SECONDS + REQUESTS * latency / 1000


def _duration(hours: Spread, speed: Evidence | None, record: DecisionRecord, evidence: Evidence) -> Duration:
    """On the machine that was chosen; the evidence is from the one that the pilots ran on."""
    if speed is not None:
        faster = spread_of(speed)
        hours = Spread(hours.mean - faster.mean, math.hypot(hours.sd, faster.sd))
    return Duration(hours, evidence.source, record.number)


def _pilot(venture: Venture, evidence: Evidence) -> Pilot | None:
    """What was measured behind an evidence; None where it is given by hand or assumed, or the file is not here."""
    path = venture.folder / evidence.reference
    if evidence.source != "measured" or path.parent != evidence_folder(venture) or not path.is_file():
        return None
    check_named_by_hash(path)
    return Pilot.parse(read_json(path), where=path)


def _records(venture: Venture) -> int | None:
    """Records that the evaluation will measure; None where the data is not prepared."""
    prepared, settings = venture.latest("prepare"), venture.file.evaluate
    if prepared is None:
        return None
    split = prepared.record.facts["splits"].get(settings.split)
    return None if split is None else min(split["records"], settings.examples or split["records"])
