"""A venture: a folder with venture.yaml, opened.

venture.yaml            the vision, and how the model is made
brief.html report.html  for the team
runs/STEP-ID/           one folder a run; its record.json is written last
releases/vN/            immutable versions of the model
visions/                one record a version of the vision, chained by their hashes
decisions/              one record a decision, chained likewise; what pilots measured
.lodestar/              the ledger (unless venture.yaml names a database for it), the lock, the artefact store
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import UserError
from ..contracts.record import RECORD_FILE, RunRecord, fingerprint
from ..store.artefacts import ArtefactStore
from ..store.database import SQLITE_URL
from ..store.files import read_json, write_json
from ..store.lock import hold
from .vision import VENTURE_FILE, VentureFile, load_venture_file

if TYPE_CHECKING:
    from ..store.ledger import Ledger

STEPS = ("prepare", "train", "evaluate")
WORK_FIELDS = ("task", "options", "data", "model", "train", "adapter", "preference", "reward", "evaluate")
"""What of venture.yaml shapes the steps."""
CURRENT_FILE = "current.json"
PLAN_FILE = "plan.yaml"


@dataclass(frozen=True)
class FinishedRun:
    """A run that came to its end."""

    folder: Path
    record: RunRecord


@dataclass(frozen=True)
class Venture:
    """An opened venture."""

    folder: Path
    file: VentureFile
    _times: dict[str, tuple[int, str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> Venture:
        """Read the venture in `folder`; raises `UserError` where there is none or its file is wrong."""
        return cls(folder, load_venture_file(folder / VENTURE_FILE))

    @property
    def path(self) -> Path:
        """venture.yaml."""
        return self.folder / VENTURE_FILE

    @property
    def plan_path(self) -> Path:
        """plan.yaml, where there is one."""
        return self.folder / PLAN_FILE

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def releases(self) -> Path:
        return self.folder / "releases"

    @property
    def visions(self) -> Path:
        return self.folder / "visions"

    @property
    def decisions(self) -> Path:
        return self.folder / "decisions"

    @property
    def state(self) -> Path:
        """What Lodestar keeps for itself."""
        return self.folder / ".lodestar"

    @property
    def artefacts(self) -> ArtefactStore:
        return ArtefactStore(self.state / "artefacts")

    @property
    def ledger_path(self) -> Path:
        """Where the ledger is, unless venture.yaml names a database for it."""
        return self.state / "ledger.sqlite"

    @property
    def has_ledger(self) -> bool:
        """Whether there may be something in the ledger; a file is made when there is something to note."""
        return self.file.ledger is not None or self.ledger_path.exists()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, made where there is none yet."""
        from ..store.ledger import Ledger

        return Ledger(self.file.ledger or f"{SQLITE_URL}{self.ledger_path}")

    @contextmanager
    def hold(self, purpose: str) -> Iterator[None]:
        """Be the only one on this machine who changes this venture; a second one gets a `UserError` that says who holds it."""
        with hold(self.state, purpose):
            if self.has_ledger:
                _ = self.ledger  # one that does not answer is found out before anything is changed
            yield

    def run_folder(self, step: str, id: str) -> Path:
        """Where the run of a step with this fingerprint stands, or will."""
        return self.runs / f"{step}-{id}"

    def finished(self, step: str) -> list[FinishedRun]:
        """The finished runs of a step, oldest first; a folder without a record is unfinished."""
        found = [self._run(name) for name in self._names(step) if self._finished_at(name) is not None]
        return sorted(found, key=lambda run: run.record.finished)

    def latest(self, step: str) -> FinishedRun | None:
        """The run of a step that finished last. Of the others only the times are looked at: there may be thousands."""
        times = [(when, name) for name in self._names(step) if (when := self._finished_at(name)) is not None]
        return self._run(max(times)[1]) if times else None

    def _names(self, step: str) -> list[str]:
        if not self.runs.is_dir():
            return []
        with os.scandir(self.runs) as entries:
            return sorted(entry.name for entry in entries if entry.name.startswith(f"{step}-"))

    def _finished_at(self, name: str) -> str | None:
        """When the run in a folder of this name finished; None where it has not. A record is read once, for as long as it is the same."""
        path = Path(f"{self.runs}/{name}/{RECORD_FILE}")
        try:
            written = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = self._times.get(name)
        if known is None or known[0] != written:
            value = read_json(path)
            if not isinstance(value, dict) or not isinstance(value.get("finished"), str):
                RunRecord.parse(value, where=path)  # says what is wrong with it
            known = self._times[name] = (written, value["finished"])
        return known[1]

    def _run(self, name: str) -> FinishedRun:
        path = self.runs / name / RECORD_FILE
        return FinishedRun(path.parent, RunRecord.parse(read_json(path), where=path))

    @property
    def settings(self) -> str:
        """The fingerprint of what venture.yaml says of the work itself: another statement or target is no other work."""
        return fingerprint(self.file.model_dump(mode="json", include=set(WORK_FIELDS)))

    def remember_evaluation(self, folder: Path) -> None:
        """Note which evaluation belongs to the settings that venture.yaml has now, whether it was just made or found done."""
        write_json(self.state / CURRENT_FILE, {"settings": self.settings, "evaluate": folder.name})

    def evaluation(self) -> FinishedRun | None:
        """The evaluation that the last `lodestar run` came to; where none was noted, the one that finished last."""
        path = self.state / CURRENT_FILE
        name = read_json(path)["evaluate"] if path.exists() else None
        return self._run(name) if name is not None and self._finished_at(name) is not None else self.latest("evaluate")

    def settings_changed(self) -> bool:
        """Whether venture.yaml asks for other work than what was last evaluated."""
        path = self.state / CURRENT_FILE
        return path.exists() and read_json(path)["settings"] != self.settings

    def finished_run(self, step: str, id: str) -> FinishedRun:
        """The finished run of a step whose record has this id; raises `UserError` where it is gone."""
        for run in self.finished(step):
            if run.record.id == id:
                return run
        raise UserError(f"the run {id!r} of the step {step!r} is gone", where=self.runs, fix=f"run `lodestar {step}` again")
