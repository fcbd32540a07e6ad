"""`lodestar run` as a process of its own, which goes on when the studio is closed; stopped as Ctrl-C stops it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from ..contracts.errors import UserError
from ..contracts.language import Words, language
from ..store.files import writing
from ..store.lock import Holder, holder
from ..venture.venture import Venture
from .access import Person
from .acts import Act, Field

LOG_FILE = "run.log"
"""In the venture's state folder: what the last run that the studio began has said."""
SHOWN_BYTES = 4000


class Runner:
    """Begins runs, and stops them."""

    def __init__(self) -> None:
        self._begun: subprocess.Popen | None = None

    @property
    def acts(self) -> tuple[Act, ...]:
        heading = Words("Run: prepare, train and evaluate", "运行：准备、训练、评测")
        return (
            Act("run", "overview", "engineer", heading, Words("Start", "开始"), self._may_start, self.start),
            Act("stop", "overview", "engineer", Words("Stop the run", "停止运行"), Words("Stop", "停止"), self._may_stop, self.stop),
        )

    def start(self, venture: Venture, _person: Person, _form: Mapping[str, str]) -> Words:
        """Begin `lodestar run`, and come back at once."""
        found = holder(venture.state)
        if found is not None or self.is_starting():
            who = f" ({found.words})" if found is not None else ""
            raise UserError(f"something is at work on this venture already{who}", where="run", fix="wait for it to finish, or stop it")
        path = venture.state / LOG_FILE
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            log = path.open("wb")
        command = [sys.executable, "-m", "lodestar.cli.main", "run", "--venture", str(venture.folder.absolute())]
        with log:
            # Without a terminal and in a session of its own: Ctrl-C in the studio's terminal ends the studio alone.
            self._begun = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "LODESTAR_LANGUAGE": language()},
            )  # fmt: skip
        return Words("The run has begun.", "运行已开始。")

    def stop(self, venture: Venture, _person: Person, _form: Mapping[str, str]) -> Words:
        """Ask a run on this machine to stop, as Ctrl-C does; its work so far is kept."""
        found = holder(venture.state)
        if found is None or not _is_ours(found):
            raise UserError("no run goes on that can be stopped from here", where="run", fix="stop it where it was begun")
        os.kill(found.process, signal.SIGTERM)
        return Words("The run has been asked to stop; what it has done is kept.", "已请求停止运行；已完成的部分会保留。")

    def is_starting(self) -> bool:
        """Whether a run that was begun here has not ended: it takes a moment until it holds the venture."""
        return self._begun is not None and self._begun.poll() is None

    def _may_start(self, venture: Venture) -> Sequence[Field] | None:
        return None if holder(venture.state) is not None or self.is_starting() else ()

    def _may_stop(self, venture: Venture) -> Sequence[Field] | None:
        found = holder(venture.state)
        return () if found is not None and _is_ours(found) else None


def last_said(venture: Venture) -> str:
    """The end of what the last run that was begun here has said; empty where there was none. Of a progress bar, its last state."""
    path = venture.state / LOG_FILE
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - SHOWN_BYTES))
        text = log.read().decode("utf-8", "replace")
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")).strip()


def _is_ours(found: Holder) -> bool:
    return found.purpose == "run" and found.host == socket.gethostname()
