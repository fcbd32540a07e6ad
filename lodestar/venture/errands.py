"""Errands: commands that go on by themselves, as processes of their own, after whoever began them has gone.

.lodestar/errands/NAME/lock         held by the process for as long as it lives, however it ends
                      /errand.json  what was begun
                      /outcome      what it printed at its end, as `--json` has it
                      /log          what it said on the way
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..contracts.clock import timestamp
from ..contracts.config import Config
from ..contracts.errors import UserError, unknown
from ..contracts.language import language
from ..store.files import read_json, write_json, writing
from ..store.lock import holder, lend
from .venture import Venture

ERRAND_FILE = "errand.json"
LOG_LINES, LOG_BYTES = 12, 8_000
"""The end of what an errand said, as it is told."""

State = Literal["running", "done", "refused", "cut off"]


class Errand(Config):
    """A command that was begun."""

    name: str
    command: list[str]
    """As it is typed, without `lodestar`."""
    begun: str
    """ISO 8601 in UTC."""
    process: int
    host: str


@dataclass(frozen=True)
class Progress:
    """How far an errand has come."""

    errand: Errand
    state: State
    """`refused`: it ended with a sentence for its user. `cut off`: it was stopped, or killed, or met a bug of ours."""
    outcome: Any
    """What the command printed with `--json`, of one that is done."""
    sentence: str | None
    """Why it was refused."""
    steps: list[dict[str, Any]]
    """The attempts at steps that were made since."""
    training: dict[str, Any] | None
    """The last figures of a training that is under way."""
    log: list[str]
    """The end of what it said; of a progress bar, its last state."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.errand.name, "command": " ".join(["lodestar", *self.errand.command]), "begun": self.errand.begun,
            "state": self.state, "outcome": self.outcome, "sentence": self.sentence, "steps": self.steps, "training": self.training,
            "log": self.log,
        }  # fmt: skip


def errands(venture: Venture) -> list[Errand]:
    """Every errand, oldest first."""
    found = [Errand.parse(read_json(path), where=path) for path in _folder(venture).glob(f"*/{ERRAND_FILE}")]
    return sorted(found, key=lambda each: (each.begun, each.name))


def begin(venture: Venture, command: Sequence[str]) -> Errand:
    """Begin a command of `lodestar` on the venture, and come back at once.

    Raises:
        UserError: something is at work on the venture.
    """
    at_work = holder(venture.state)
    if at_work is not None or any(_is_alive(venture, each) for each in errands(venture)):
        who = f" ({at_work.words})" if at_work is not None else ""
        raise UserError(f"something is at work on this venture already{who}", where=command[0], fix="wait for it to finish, or stop it")
    folder = _new_folder(venture, command[0])
    whole = [sys.executable, "-m", "lodestar.cli.main", *command, "--json", "--venture", str(venture.folder.absolute())]
    begun = timestamp()
    with lend(folder) as lock, (folder / "outcome").open("wb") as outcome, (folder / "log").open("wb") as log:
        # In a session of its own: what ends the one who began it, Ctrl-C in a terminal say, does not end it.
        process = subprocess.Popen(
            whole, stdin=subprocess.DEVNULL, stdout=outcome, stderr=log, pass_fds=[lock], start_new_session=True,
            env={**os.environ, "LODESTAR_LANGUAGE": language()},
        )  # fmt: skip
    threading.Thread(target=process.wait, name="lodestar-errand", daemon=True).start()
    made = Errand(name=folder.name, command=list(command), begun=begun, process=process.pid, host=socket.gethostname())
    write_json(folder / ERRAND_FILE, made.model_dump(mode="json"))
    return made


def find(venture: Venture, name: str | None = None) -> Errand:
    """An errand by its name, or the last one that was begun; raises `UserError` where there is none."""
    known = {each.name: each for each in errands(venture)}
    if not known:
        raise UserError("nothing was begun here yet", where=venture.folder, fix="begin a run first")
    if name is not None and name not in known:
        raise unknown("errand", name, known)
    return known[name] if name is not None else list(known.values())[-1]


def progress(venture: Venture, errand: Errand) -> Progress:
    """How far it has come, or how it ended."""
    folder = _folder(venture) / errand.name
    alive = _is_alive(venture, errand)
    outcome = _printed(folder / "outcome")
    refused = outcome.get("error") if isinstance(outcome, dict) else None
    state: State = "running" if alive else "cut off" if outcome is None else "refused" if refused else "done"
    sentence = str(UserError(refused["what"], where=refused["where"], fix=refused["fix"])) if refused and not alive else None
    steps = _steps(venture, errand)
    return Progress(
        errand, state, outcome if state == "done" else None, sentence, steps, _training(venture, steps) if alive else None,
        last_said(folder / "log"),
    )  # fmt: skip


def stop(venture: Venture, errand: Errand) -> None:
    """Ask an errand to stop, as Ctrl-C does; its work so far is kept.

    Raises:
        UserError: it has ended, or goes on on another machine.
    """
    if not _is_alive(venture, errand):
        raise UserError(f"{errand.name} has ended already", where="stop")
    if errand.host != socket.gethostname():
        raise UserError(f"{errand.name} goes on on {errand.host}", where="stop", fix="stop it there")
    os.kill(errand.process, signal.SIGTERM)


def last_said(path: Path) -> list[str]:
    """The last lines of a log; of a progress bar, its last state."""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - LOG_BYTES))
        text = log.read().decode("utf-8", "replace")
    lines = [line.rsplit("\r", 1)[-1].strip() for line in text.replace("\r\n", "\n").split("\n")]
    return [line for line in lines if line][-LOG_LINES:]


def _folder(venture: Venture) -> Path:
    return venture.state / "errands"


def _new_folder(venture: Venture, verb: str) -> Path:
    """A folder of the next free name: run-1, run-2, …"""
    number = 1 + sum(path.name.startswith(f"{verb}-") for path in _folder(venture).glob("*"))
    folder = _folder(venture) / f"{verb}-{number}"
    with writing(folder):
        folder.mkdir(parents=True)
    return folder


def _is_alive(venture: Venture, errand: Errand) -> bool:
    return holder(_folder(venture) / errand.name) is not None


def _printed(path: Path) -> Any:
    """The JSON value that a command printed as it ended; None where it printed none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError:
        return None


def _steps(venture: Venture, errand: Errand) -> list[dict[str, Any]]:
    if not venture.has_ledger:
        return []
    told = ("step", "id", "status", "started", "finished", "why")
    return [{name: getattr(run, name) for name in told} for run in venture.ledger.runs() if run.started >= errand.begun]


def _training(venture: Venture, steps: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The last line of the journal of the training that is under way."""
    running = [each for each in steps if each["step"] == "train" and each["status"] == "started"]
    path = venture.run_folder("train", running[-1]["id"]) / "metrics.jsonl" if running else None
    if path is None or not path.exists():
        return None
    lines = path.read_text("utf-8", errors="replace").splitlines()
    rows = [row for line in lines[-2:] if (row := _row(line)) is not None]  # the very last may be half written
    return rows[-1] if rows else None


def _row(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None
