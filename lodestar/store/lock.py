"""One writer at a time: a lock on a folder that names its holder, and that a dead holder cannot keep."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from ..contracts.clock import timestamp
from ..contracts.errors import UserError
from .files import writing

LOCK_FILE = "lock"
PATIENCE = 5
"""Attempts, 20 ms apart: `holder`, which looks at a lock, has it for an instant."""

_held: set[int] = set()
"""The descriptors of this process's locks, and of those it is asking for."""


@dataclass(frozen=True)
class Holder:
    """Who holds a folder."""

    purpose: str
    command: str
    process: int
    host: str
    since: str

    @property
    def words(self) -> str:
        """For a person to read."""
        if not self.process:
            return "another process, which is just starting or ending"
        return f"{self.purpose!r} (`{self.command}`, process {self.process} on {self.host}, since {self.since})"


@contextmanager
def hold(folder: Path | str, purpose: str) -> Iterator[None]:
    """Hold `folder` alone; the kernel lets go when the process ends, however it ends.

    Args:
        folder: made where missing. The lock is the file `lock` in it, which stays.
        purpose: what for, in a few words ("train"); told to whoever comes second.

    Raises:
        UserError: another process holds it; the sentence names its command, process, machine and since when.
    """
    path = Path(folder) / LOCK_FILE
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    _held.add(handle)
    try:
        if not _acquire(handle):
            raise UserError(f"in use by {_holder(handle).words}", where=folder, fix="wait for it to finish, or stop it")
        with writing(path):
            _describe(handle, purpose)
        try:
            yield
        finally:
            if handle in _held:
                os.ftruncate(handle, 0)
    finally:
        if handle in _held:  # not in a forked child, which has let go already
            _held.remove(handle)
            os.close(handle)


@contextmanager
def lend(folder: Path | str) -> Iterator[int]:
    """A descriptor that holds `folder` for a process that is begun inside and is passed it: as long as that one lives, however it ends."""
    path = Path(folder) / LOCK_FILE
    with writing(path):
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        if not _acquire(handle):
            raise UserError(f"in use by {_holder(handle).words}", where=folder, fix="wait for it to finish, or stop it")
        yield handle
    finally:
        os.close(handle)


def holder(folder: Path | str) -> Holder | None:
    """Who holds `folder` now; None where nobody does."""
    try:
        handle = os.open(Path(folder) / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    finally:
        os.close(handle)
    return None


def _acquire(handle: int) -> bool:
    for _ in range(PATIENCE):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(0.02)
        else:
            return True
    return False


def _describe(handle: int, purpose: str) -> None:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    holder = {"purpose": purpose, "command": command, "pid": os.getpid(), "host": socket.gethostname(), "since": timestamp()}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(holder, ensure_ascii=False).encode(), 0)


def _holder(handle: int) -> Holder:
    """As the holder describes itself; without a process where it has not done so yet, or does no longer."""
    try:
        told = json.loads(os.pread(handle, 65536, 0))
        return Holder(told["purpose"], told["command"], told["pid"], told["host"], told["since"])
    except (ValueError, KeyError):
        return Holder("", "", 0, "", "")


def _release_in_child() -> None:
    """A forked worker shares the lock; it lets go at once, so that a killed parent's workers do not keep it."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
