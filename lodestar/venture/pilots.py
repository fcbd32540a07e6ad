"""What pilots measured: one immutable file a strategy and pilot, in decisions/evidence/, named by the hash of its content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import date as Date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.option import UNTRAINED
from ..contracts.record import fingerprint
from ..contracts.score import Score
from ..store.files import read_json, sha256_file, write_atomic
from .strategies import Strategy, settings_of, with_settings

if TYPE_CHECKING:
    from .venture import Venture

EVIDENCE_FOLDER = "evidence"
DRIFT = 0.07
"""How far apart two runs of one machine are in time, in logs, for what it does besides: assumed."""
PEAKS = (0.95, 1.03)
"""Between these shares of what was told lie the peaks of memory of 80% of runs: assumed."""
CROWD = 0.4
"""How far apart they are beyond that where other work has nearly the whole machine, and may end or grow: assumed."""
LOOK_FACTOR = 1.5
"""What a few steps told before any pilot holds within this factor, nineteen times in twenty: assumed."""
HASH_LENGTH = 16
"""Characters of the hash in a file's name."""


class PilotRun(Config):
    """One short run: what it was given, and what came of it."""

    share: float = Field(gt=0, le=1)
    """Of the whole run's tokens."""
    tokens: float = Field(ge=0)
    """Trained on; records measured, where nothing is trained."""
    seconds: float = Field(ge=0)
    """Of training."""
    measuring_seconds: float = Field(ge=0)
    """Of measuring, which the whole run needs, too."""
    records: int = Field(0, ge=0)
    """Records measured."""
    steps: int = Field(0, ge=0)
    """Optimiser steps; none where nothing is trained."""
    step_seconds: float = Field(0, ge=0)
    """Of one step in the mean, the first ones left out."""
    step_scatter: float = Field(0, ge=0)
    """How far parts of the run lie from each other in the time of a step: the standard deviation of its logarithm."""
    waited: float = Field(0, ge=0, le=1)
    """The share of the time in which it did not get a processor that it asked for, as where other work goes on."""
    peak_bytes: int | None = None
    """The most memory that the process held while it trained."""
    scores: list[Score]
    """The task's metrics."""
    validation_loss: float | None = None


class Pilot(Config):
    """Everything that the pilots of a strategy measured so far."""

    strategy: str
    identity: str
    """The fingerprint of what shapes the strategy: other settings are another strategy."""
    date: Date
    """The day of the last one."""
    machine: str
    """Where it ran."""
    split: str
    """The records that it was measured on."""
    runs: list[PilotRun] = []
    """The shortest first."""
    system: list[Score] = []
    """Latency, memory and size, which training for longer does not change."""
    full_seconds: float | None = None
    """What the whole run was expected to take before the first pilot."""
    memory_bytes: int | None = None
    """What training was expected to take before the first pilot."""
    refused: str = ""
    """Why it cannot be run on this machine, where it cannot."""
    usage: dict[str, float] = {}
    """Of a bought API: mean tokens_in and tokens_out of a request."""

    @property
    def seconds(self) -> float:
        """What the pilots took, together."""
        return sum(run.seconds + run.measuring_seconds for run in self.runs)

    @property
    def whole_seconds(self) -> float | None:
        """What training to the end takes: its steps at the pace of those that were taken, and what a run takes beside them: evaluations,
        checkpoints and the end, of which a short run has as many, and what is slow the first time. A later pilot finds that done.
        """
        if not self.runs:
            return self.full_seconds
        last = self.runs[-1]
        if last.share == 1:
            return last.seconds
        pace = sum(run.steps * run.step_seconds for run in self.runs) / sum(run.steps for run in self.runs)
        beside = max(run.seconds - run.steps * run.step_seconds for run in self.runs)
        return max(0.0, beside) + last.steps / last.share * pace

    @property
    def peak_bytes(self) -> int | None:
        """What training to the end takes of memory: as much as the pilot took that took least, for what another had more was left by
        what the process did before; else as a look told.
        """
        return min((run.peak_bytes for run in self.runs if run.peak_bytes), default=self.memory_bytes)

    @property
    def peak_range(self) -> tuple[int, int] | None:
        """What that is four times in five; None where nothing was looked at."""
        peak = self.peak_bytes
        return None if peak is None else (round(PEAKS[0] * peak), round(PEAKS[1] * peak))

    @property
    def time_factor(self) -> float:
        """A whole run takes as long as its pilots say, within this factor, nineteen times in twenty."""
        if not self.runs:
            return LOOK_FACTOR
        scatter, waited = (
            sum(values) / len(self.runs) for values in zip(*((run.step_scatter, run.waited) for run in self.runs), strict=True)
        )
        return math.exp(1.96 * math.hypot(DRIFT, scatter, CROWD * waited))


def identity(strategy: Strategy, venture: Venture) -> str:
    """The fingerprint of what a pilot of the strategy would measure: of venture.yaml as it makes it; or of the API, or the rules, and the
    records.

    Raises:
        UserError: the file of its rules cannot be read.
    """
    file = venture.file
    described: dict[str, Any] = {"kind": strategy.kind}
    if strategy.kind in UNTRAINED:
        described |= file.model_dump(mode="json", include={"task", "options", "data"})
        if strategy.rules is not None:
            described["rules"] = sha256_file(rule_file(strategy, venture))
        if strategy.api is not None:
            described["api"] = strategy.api.model_dump(mode="json", include={"model", "url", "instruction"})
    else:
        changed = with_settings(file, settings_of(strategy, file))
        described |= changed.model_dump(mode="json", include={"task", "options", "data", "model", "train", "adapter"})
    return fingerprint(described)


def rule_file(strategy: Strategy, venture: Venture) -> Path:
    """Where a strategy's rules stand; raises `UserError` where they do not."""
    assert strategy.rules is not None
    path = venture.folder / strategy.rules
    if not path.is_file():
        where = f"decision.strategies: {strategy.name}: rules"
        raise UserError(f"no file {path}", where=where, fix="write the rules there, or name the file that they stand in")
    return path


def evidence_folder(venture: Venture) -> Path:
    return venture.decisions / EVIDENCE_FOLDER


def save_pilot(venture: Venture, pilot: Pilot) -> Path:
    """Write a pilot's file; what it held before stands in its own file still."""
    content = json.dumps(pilot.model_dump(mode="json"), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    name = hashlib.sha256(content.encode()).hexdigest()[:HASH_LENGTH]
    path = evidence_folder(venture) / f"{pilot.strategy}-{name}.json"
    if not path.exists():
        write_atomic(path, content)
    return path


def read_pilots(venture: Venture) -> dict[str, tuple[Path, Pilot]]:
    """Each strategy's identity → its file that measured most, and what it holds.

    Raises:
        UserError: a file is not what was written.
    """
    found: dict[str, tuple[Path, Pilot]] = {}
    for path in sorted(evidence_folder(venture).glob("*.json")):
        check_named_by_hash(path)
        pilot = Pilot.parse(read_json(path), where=path)
        known = found.get(pilot.identity)
        if known is None or _measured(pilot) > _measured(known[1]):
            found[pilot.identity] = (path, pilot)
    return found


def check_named_by_hash(path: Path) -> None:
    """Refuse an evidence file that was changed after it was written."""
    named = re.search(rf"-([0-9a-f]{{{HASH_LENGTH}}})\.json$", path.name)
    if named is None or not sha256_file(path).startswith(named[1]):
        raise UserError(
            "this evidence is not what was measured: its hash does not match", where=path,
            fix="restore the file, or remove it and run `lodestar decide --pilot` again",
        )  # fmt: skip


def _measured(pilot: Pilot) -> tuple[int, float, bool]:
    return len(pilot.runs), sum(run.tokens for run in pilot.runs), not pilot.refused
