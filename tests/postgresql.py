"""A real PostgreSQL server in a temporary folder, for tests and bench/: started, stopped, killed, and gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER, PASSWORD = "ada", "a secret that nobody prints"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


class Server:
    """A server of `folder`, on a port of its own; it asks for the password."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self._data = programs, folder, folder / "data"
        # PostgreSQL refuses to run as root, where the tests of a container run.
        self._user = next(name for name in ("postgres", "nobody") if _is_user(name)) if os.getuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        secret = folder / "password"
        secret.write_text(PASSWORD, "utf-8")
        secret.chmod(0o644)
        self._run("initdb", "-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._databases = 0

    def start(self, *settings: str) -> None:
        options = [f"-p {self.port}", f"-k {self._folder}", "-h 127.0.0.1", *(f"-c {setting}" for setting in settings)]
        self._run("pg_ctl", "start", "-w", "-t", "120", "-l", str(self._folder / "log"), "-o", " ".join(options))

    def stop(self, mode: str = "fast") -> None:
        """`fast` ends what is connected; `immediate` is as good as pulling the plug."""
        self._run("pg_ctl", "stop", "-w", "-t", "120", "-m", mode)

    @property
    def runs(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def address(self, database: str, user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of a new, empty database."""
        self._databases += 1
        name = f"ledger{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.address(database), password=PASSWORD, autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._data), *arguments]
        # Not into pipes: the server would inherit them, and their reader wait for its end.
        with (self._folder / f"{program}.log").open("wb") as log:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self._user, cwd=self._folder)


@contextmanager
def running_server(found: Path, *settings: str) -> Iterator[Server]:
    """A server of the programs `found`, for as long as it is needed."""
    # Not in pytest's folder, which other users may not enter; and short, as a socket's path must be.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = Server(found, Path(folder))
        server.start(*settings)
        try:
            yield server
        finally:
            if server.runs:
                server.stop("immediate")


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
