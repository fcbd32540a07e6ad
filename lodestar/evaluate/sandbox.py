"""Running a Python program that nobody has read: a model's, a stranger's.

The program runs in a process of its own, which first gives up what it could do harm with (`jail/enter.py`): each of these is kept by the
kernel, not by Python.

| what it cannot do | what keeps it |
|---|---|
| reach the network, locally or not | seccomp (no socket), a network namespace, Landlock |
| start, trace or signal a process | seccomp, Landlock |
| read the user's files, or write any but its own | Landlock; a small file system in memory to write in, which goes with it |
| use more time, memory, output or disk than it was given | resource limits, and a clock outside |

What it can do: see whether a file exists and how large it is, read Python's library and the system's, and use the processor.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, Any, Literal

from ..contracts.clock import seconds
from ..contracts.errors import UserError
from .seccomp import filter_program

Need = Literal["network", "files", "processes"]
LAYERS: dict[Need, tuple[str, ...]] = {
    "network": ("seccomp", "namespaces"),
    "files": ("landlock",),
    "processes": ("seccomp",),
}
"""What is isolated → any one of these keeps it."""
ENTER = Path(__file__).parent / "jail" / "enter.py"


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    ending: Literal["exit", "signal", "cpu time", "wall time", "output"]
    """Its own exit; a signal (a crash); or the limit that ended it."""
    exit_code: int | None
    """0 where all went well, 1 after an exception; None where it did not exit by itself."""
    stdout: str
    """What it printed, at most `output_bytes`; bytes that are no UTF-8 are U+FFFD."""
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class Sandbox:
    """The limits of a run, and what must be isolated for it to begin at all."""

    cpu_seconds: int = 4
    """Processor seconds, in all threads."""
    wall_seconds: float = 10.0
    memory_bytes: int = 512 * 2**20
    """Address space: what the interpreter takes (about 60 MB) included."""
    file_bytes: int = 2**20
    """The largest file that it can write."""
    scratch_bytes: int = 16 * 2**20
    """All files that it can write, in memory; nothing can be written where the system allows no namespaces."""
    output_bytes: int = 64 * 2**10
    """Of standard output and of standard error, each."""
    needs: frozenset[Need] = field(default=frozenset(LAYERS))
    """What must be kept from the program. Leave one out only for programs that you trust with it."""

    def run(self, program: str, *, stdin: str = "", arguments: Sequence[str] = (), peer: Sequence[str] | None = None) -> Outcome:
        """Run a program to its end, or to the end of what it was given.

        Nothing of it is left afterwards: it cannot start processes, its threads end with it, and its files are in memory.

        Args:
            program: Python source, which sees `arguments` as `sys.argv[1:]`.
            stdin: what it reads.
            peer: the source and the arguments of a second program, in a sandbox of its own with the same limits. Its standard input and
                output are pipes to the first one, which finds their ends, to read from and to write to, as its last two arguments.

        Raises:
            UserError: what it needs cannot be had on this machine; the program was not started.
        """
        with contextlib.ExitStack() as stack:
            if peer is None:
                return self._collect(stack.enter_context(self._jail(program, arguments)), stdin)
            (read_peer, peer_writes), (peer_reads, write_peer) = _pipe(stack), _pipe(stack)
            ends = (read_peer.fileno(), write_peer.fileno())
            second = self._jail(peer[0], peer[1:], stdin=peer_reads.fileno(), stdout=peer_writes.fileno(), stderr=subprocess.DEVNULL)
            stack.enter_context(second)
            first = stack.enter_context(self._jail(program, [*arguments, *map(str, ends)], keep=ends))
            for end in (read_peer, peer_writes, peer_reads, write_peer):
                end.close()  # the jails have theirs, and each is to see it when the other has ended
            return self._collect(first, stdin)

    def run_all(self, programs: Sequence[str], *, workers: int | None = None) -> list[Outcome]:
        """As `run` for each, several at a time."""
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            return list(pool.map(self.run, programs))

    def strength(self) -> dict[str, Any]:
        """What was found to hold on this machine, by going into the sandbox: each layer, and each need as True or False.

        Raises:
            UserError: there is no sandbox on this system at all.
        """
        with Sandbox(needs=frozenset())._jail("", []) as jail:
            jail.process.wait()
            return {**jail.held, **{need: _kept(need, jail.held) for need in LAYERS}}

    @contextlib.contextmanager
    def _jail(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        keep: Sequence[int] = (),
    ) -> Iterator[_Jail]:
        """A program that has entered its sandbox; it is dead when this is left."""
        if sys.platform != "linux":
            raise UserError("untrusted programs can be run on Linux alone", fix="run this step on Linux, or in a container")
        with tempfile.TemporaryDirectory(prefix="lodestar-sandbox-") as folder:
            job = {
                "parent": os.getpid(), "program": program, "arguments": list(arguments), "filter": (filter_program() or b"").hex(),
                "cpu_seconds": self.cpu_seconds, "memory_bytes": self.memory_bytes, "file_bytes": self.file_bytes,
                "scratch_bytes": self.scratch_bytes, "needs": sorted(self.needs), "layers": LAYERS,
            }  # fmt: skip
            (Path(folder) / "job.json").write_text(json.dumps(job), "utf-8")
            hear, tell = os.pipe()
            command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(ENTER), str(tell)]
            try:
                process = subprocess.Popen(
                    command, cwd=folder, env={}, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(tell, *keep), start_new_session=True
                )
            except BaseException:
                os.close(hear)
                raise
            finally:
                os.close(tell)
            with process:
                try:
                    with os.fdopen(hear, "rb") as report:
                        held = json.loads(report.read() or b"{}")
                    self._check(held, process)
                    yield _Jail(process, held)
                finally:
                    process.kill()

    def _check(self, held: dict[str, Any], process: subprocess.Popen[bytes]) -> None:
        if not held:
            told = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
            raise RuntimeError(f"the sandbox could not be entered: {told}")
        missing = sorted(need for need in self.needs if not _kept(need, held))
        if missing:
            raise UserError(
                f"this system cannot keep an untrusted program from the {' and the '.join(missing)} of the user",
                where="sandbox", fix="run it in a container or a virtual machine of its own, and leave these out of `needs` there",
            )  # fmt: skip

    def _collect(self, jail: _Jail, stdin: str) -> Outcome:
        """Feed and read a program until it ends or a limit ends it."""
        process, begun, waiting = jail.process, seconds(), memoryview(stdin.encode())
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: PT018
        kept: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        ending: Literal["wall time", "output"] | None = None
        with selectors.DefaultSelector() as selector:
            for pipe in kept:
                selector.register(pipe, selectors.EVENT_READ)
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
            while process.poll() is None and ending is None:
                left = self.wall_seconds - (seconds() - begun)
                if left <= 0:
                    ending = "wall time"
                    break
                # A program that has closed its pipes gives no event when it ends.
                for key, _ in selector.select(min(left, 0.05 if len(selector.get_map()) < 2 else left)):
                    if key.fileobj is process.stdin:
                        waiting = _feed(process.stdin, waiting)
                        done = not waiting
                    else:
                        pipe = process.stdout if key.fileobj is process.stdout else process.stderr
                        data = os.read(pipe.fileno(), 65_536)
                        kept[pipe] += data
                        done = not data
                        ending = "output" if len(kept[pipe]) > self.output_bytes else ending
                    if done:
                        selector.unregister(key.fileobj)
                        if key.fileobj is process.stdin:
                            _close(process.stdin)
        spent = seconds() - begun
        if ending is not None:
            process.kill()
        code = process.wait()
        for pipe, read in kept.items():  # nobody holds their other ends any more
            while ending is None and len(read) <= self.output_bytes and (more := os.read(pipe.fileno(), 65_536)):
                read.extend(more)
        return self._outcome(code, ending, bytes(kept[process.stdout]), bytes(kept[process.stderr]), spent)

    def _outcome(self, code: int, ending: Literal["wall time", "output"] | None, stdout: bytes, stderr: bytes, spent: float) -> Outcome:
        texts = [data[: self.output_bytes].decode(errors="replace") for data in (stdout, stderr)]
        if ending is None and max(len(stdout), len(stderr)) > self.output_bytes:
            ending = "output"
        if ending is not None:
            return Outcome(ending, None, texts[0], texts[1], spent)
        if code >= 0:
            return Outcome("exit", code, texts[0], texts[1], spent)
        # One that ignores the first warning is killed a second later.
        late = code == -signal.SIGXCPU or (code == -signal.SIGKILL and spent >= self.cpu_seconds)
        return Outcome("cpu time" if late else "signal", None, texts[0], texts[1], spent)


@dataclass(frozen=True)
class _Jail:
    process: subprocess.Popen[bytes]
    held: dict[str, Any]


def _kept(need: Need, held: dict[str, Any]) -> bool:
    return any(held.get(layer) for layer in LAYERS[need])


def _pipe(stack: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """Its end to read from and its end to write to."""
    read, write = os.pipe()
    return stack.enter_context(FileIO(read, "r")), stack.enter_context(FileIO(write, "w"))


def _feed(pipe: IO[bytes], waiting: memoryview) -> memoryview:
    """What is left to write; nothing where the reader is gone."""
    try:
        return waiting[os.write(pipe.fileno(), waiting[:65_536]) :] if waiting else waiting
    except BlockingIOError:
        return waiting
    except BrokenPipeError:
        return memoryview(b"")


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
