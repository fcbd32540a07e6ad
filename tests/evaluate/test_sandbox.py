"""Hostile programs: each ends within its limits, gets at nothing, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from pathlib import Path

import psutil
import pytest

from lodestar.contracts.errors import UserError
from lodestar.evaluate.sandbox import LAYERS, Outcome, Sandbox
from lodestar.evaluate.seccomp import filter_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

SANDBOX = Sandbox(cpu_seconds=1, wall_seconds=20, memory_bytes=256 * 2**20)


def run(program: str, stdin: str = "") -> Outcome:
    outcome = SANDBOX.run(program, stdin=stdin)
    assert not psutil.Process().children(recursive=True), "something is left running"
    return outcome


def said(program: str) -> str:
    """What a program that must exit by itself printed."""
    outcome = run(program)
    assert outcome.ok, outcome.stderr
    return outcome.stdout.strip()


REFUSED = """
def refused(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return True
    return False
"""


def test_an_honest_program() -> None:
    outcome = run("import sys\nprint(int(input()) + 1)\nprint('warned', file=sys.stderr)", stdin="41\n")
    assert (outcome.ending, outcome.exit_code, outcome.stdout, outcome.stderr) == ("exit", 0, "42\n", "warned\n")
    assert run("import sys; sys.exit(3)").exit_code == 3
    failing = run("1 / 0")
    assert (failing.ok, failing.exit_code) == (False, 1)
    assert failing.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_the_standard_library_works() -> None:
    program = """
import asyncio, collections, dataclasses, decimal, fractions, heapq, itertools, math, random, re, sqlite3, statistics, threading, datetime
with open("notes.txt", "w") as file:
    file.write("kept")
assert open("notes.txt").read() == "kept"
found = []
thread = threading.Thread(target=found.append, args=(1,)); thread.start(); thread.join()
async def later():
    await asyncio.sleep(0.001)
    return 2
found.append(asyncio.run(later()))
database = sqlite3.connect(":memory:")
found += database.execute("select 3").fetchone()
print(found, __name__)
"""
    assert said(program) == "[1, 2, 3] __main__"


def test_it_has_no_environment_and_no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    assert (
        said("import os, sys; print([name for name in os.environ if name != 'LC_CTYPE'], sys.argv, os.listdir())") == "[] ['program.py'] []"
    )


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import signal\nfor n in (signal.SIGXCPU, signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
        "import threading\ndef spin():\n    while True: pass\nfor _ in range(4): threading.Thread(target=spin).start()",
        "def f():\n    try:\n        f()\n    finally:\n        f()\nimport sys\nsys.setrecursionlimit(10**4)\nf()",
    ],
    ids=["loop", "ignored signals", "threads", "recursion"],
)
def test_endless_programs_run_out_of_processor_time(program: str) -> None:
    outcome = run(program)
    assert outcome.ending in {"cpu time", "wall time", "signal"}  # a loaded machine's clock may be first; a deep stack may crash
    assert outcome.exit_code is None


def test_idle_programs_run_out_of_wall_time() -> None:
    idle = Sandbox(wall_seconds=0.5)
    assert idle.run("import time; time.sleep(1e6)").ending == "wall time"
    assert idle.run("import os, time\nfor n in (0, 1, 2): os.close(n)\ntime.sleep(1e6)").ending == "wall time"
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['/bin/sh', '-c', ':(){ :|:& };:'])",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
    ],
)
def test_no_process_can_be_started(program: str) -> None:
    outcome = run(program)
    assert outcome.exit_code == 1
    assert "PermissionError" in outcome.stderr or "not permitted" in outcome.stderr


@pytest.mark.parametrize(
    "program",
    [
        "held = [bytearray(2**20) for _ in iter(int, 1)]",
        "import mmap; mmap.mmap(-1, 2**40)",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()",
    ],
    ids=["bytes", "mapping", "threads"],
)
def test_memory_has_an_end(program: str) -> None:
    outcome = run(program)
    assert outcome.exit_code == 1
    assert any(word in outcome.stderr for word in ("MemoryError", "Cannot allocate memory", "can't start new thread"))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_has_an_end(stream: str) -> None:
    outcome = run(f"import sys\nwhile True: sys.{stream}.write('x' * 1000)")
    assert outcome.ending == "output"
    assert len(getattr(outcome, stream)) == SANDBOX.output_bytes


def test_odd_bytes_and_much_input_do_no_harm() -> None:
    assert run(r"import os; os.write(1, b'a\xff\x00b')").stdout == "a\ufffd\x00b"
    much = "x" * 2**20
    assert run("import sys; print(len(sys.stdin.read()))", stdin=much).stdout == "1048576\n"
    assert run("pass", stdin=much).ok  # nobody reads it
    assert run("import sys; sys.stdin.close(); print('on')", stdin=much).stdout == "on\n"
    assert run("import os; os.close(1); os.close(2)").ok
    assert run("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"  # and no terminal to read from


def test_files_have_a_size_and_the_disk_a_share(tmp_path: Path) -> None:
    large = run("f = open('large', 'wb')\nwhile True: f.write(bytes(2**16)); f.flush()")
    assert "File too large" in large.stderr
    many = Sandbox(cpu_seconds=4, wall_seconds=30).run("for n in range(10**6): open(str(n), 'wb').write(bytes(2**19))")
    assert "No space left on device" in many.stderr
    nested = Sandbox().run("import os\nfor _ in range(900): os.mkdir('d'); os.chdir('d')\nprint('deep')")
    assert nested.stdout == "deep\n", nested.stderr
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob(f"lodestar-sandbox-{os.getpid()}*"))


# The network


def test_no_connection_leaves_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "socket"))
        local.listen()
        for server in (tcp, local):
            server.settimeout(0.01)
        port = tcp.getsockname()[1]
        program = f"""{REFUSED}
import ctypes, socket
def syscall(*arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
print(refused(socket.create_connection, ("127.0.0.1", {port}), 1),
      refused(lambda: socket.socket(socket.AF_UNIX).connect({str(tmp_path / "socket")!r})),
      refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port}))),
      refused(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
      refused(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0),
      refused(syscall, 425, 8, ctypes.create_string_buffer(256)))  # io_uring_setup
"""
        assert said(program) == " ".join(["True"] * 6)
        for server in (tcp, local):
            with pytest.raises(TimeoutError):
                server.accept()


def test_a_network_namespace_alone_isolates_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a machine whose call numbers are not known here, there is no filter.
    if not SANDBOX.strength()["namespaces"]:
        pytest.skip("this system allows no namespaces")
    monkeypatch.setattr("lodestar.evaluate.sandbox.filter_program", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"{REFUSED}\nimport socket\nprint(refused(socket.create_connection, ('127.0.0.1', {server.getsockname()[1]}), 1))"
        assert Sandbox(needs=frozenset({"network", "files"})).run(program).stdout == "True\n"
    with pytest.raises(UserError, match="cannot keep an untrusted program from the processes of the user"):
        Sandbox().run("")


# Files


def test_files_outside_are_closed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("s3cret")
    program = f"""{REFUSED}
import os
secret = {str(secret)!r}
os.symlink(secret, "link")
os.symlink({str(tmp_path)!r}, "folder")
attempts = [
    (open, secret), (open, secret, "a"), (open, "link"), (open, "folder/secret.txt"), (open, "folder/new.txt", "w"), (open, "/etc/passwd"),
    (open, "/proc/self/environ"), (open, f"/proc/{{os.getppid()}}/mem", "rb"), (open, "../../" + secret), (os.listdir, {str(tmp_path)!r}),
    (os.listdir, "/proc"), (os.link, secret, "hard"), (os.rename, secret, "moved"), (os.remove, secret), (os.truncate, secret, 0),
    (os.open, secret, os.O_RDONLY | os.O_TRUNC), (os.chmod, secret, 0o777), (os.utime, secret, (0, 0)), (os.mkdir, secret + "d"),
    (os.setxattr, secret, "user.x", b"x"), (os.chroot, "."), (os.mkfifo, "pipe"), (open, "/dev/mem", "rb"),
    (open, "/proc/self/mem", "r+b"), (open, "/proc/self/oom_score_adj", "w"), (open, "/proc/self/comm", "w"),
    (open, "/proc/sys/kernel/hostname", "w"), (open, f"/proc/{os.getppid()}/environ"), (open, "/dev/shm/left", "w"),
]
print([attempt[1:] for attempt in attempts if not refused(*attempt)])
"""
    before = secret.stat()
    assert said(program) == "[]"
    after = secret.stat()
    assert secret.read_text() == "s3cret"
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)


def test_open_descriptors_are_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    with (tmp_path / "secret").open() as held:
        os.set_inheritable(held.fileno(), True)
        assert said(f"{REFUSED}\nimport os\nprint([number for number in range(3, 64) if not refused(os.fstat, number)])") == "[]"


# Processes


def test_no_process_outside_is_touched() -> None:
    program = f"""{REFUSED}
import ctypes, fcntl, os, resource, signal
parent = {os.getpid()}
libc = ctypes.CDLL(None, use_errno=True)
def syscall(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
read, write = os.pipe()
attempts = [
    (os.kill, parent, signal.SIGKILL), (os.kill, -1, signal.SIGKILL), (os.killpg, 0, signal.SIGKILL), (os.kill, os.getppid(), 0),
    (signal.pidfd_send_signal, 3, signal.SIGKILL), (os.pidfd_open, parent), (syscall, 234, parent, parent, 9),
    (syscall, 101, 16, parent, 0, 0), (syscall, 310, parent, 0, 0, 0, 0, 0), (os.setsid,), (os.setpriority, os.PRIO_PROCESS, parent, 19),
    (resource.prlimit, parent, resource.RLIMIT_CPU, (0, 0)), (fcntl.fcntl, read, fcntl.F_SETOWN, parent),
    (fcntl.fcntl, read, 10, signal.SIGKILL), (fcntl.ioctl, read, 0x8901, 1), (os.sched_setaffinity, parent, [0]), (os.setuid, 0),
    (syscall, 272, 0x10000000),
]
print([attempt[1:] for attempt in attempts if not refused(*attempt)])
"""
    assert said(program) == "[]"


def test_limits_cannot_be_lifted() -> None:
    raised = run("import resource; resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))")
    assert "ValueError" in raised.stderr or "PermissionError" in raised.stderr


# The sandbox itself


def test_strength_says_what_held() -> None:
    strength = Sandbox().strength()
    assert {need: strength[need] for need in LAYERS} == {"network": True, "files": True, "processes": True}
    assert isinstance(strength["landlock"], int)


def test_what_cannot_be_had_is_refused_before_the_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # A layer that no system has.
    monkeypatch.setattr("lodestar.evaluate.sandbox.LAYERS", {**LAYERS, "network": ("landlock-99",)})
    with pytest.raises(UserError, match="cannot keep an untrusted program from the network of the user"):
        Sandbox().run("print('ran')")


def test_another_system_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match=r"untrusted programs can be run on Linux alone; run this step on Linux"):
        Sandbox().run("")


def test_many_at_once() -> None:
    outcomes = Sandbox().run_all([f"print({number} ** 2)" for number in range(6)], workers=3)
    assert [outcome.stdout for outcome in outcomes] == [f"{number**2}\n" for number in range(6)]


def test_a_peer_is_spoken_to_through_pipes_alone() -> None:
    asking = """
import os, sys
answers, questions = (os.fdopen(int(end), mode) for end, mode in zip(sys.argv[1:], "rw"))
print("6 * 7", file=questions, flush=True)
print(answers.readline().strip())
"""
    assert Sandbox().run(asking, peer=["import sys\nprint(eval(input()), sys.argv[1:], flush=True)", "given"]).stdout == "42 ['given']\n"
    ended = Sandbox(wall_seconds=20).run(asking, peer=["raise SystemExit"])
    assert ended.ending == "exit"
    assert not psutil.Process().children(recursive=True)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_does_what_it_says_on_every_machine(machine: str) -> None:
    """Interpreted here, call by call, by an independent reading of classic BPF."""
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    names = ("read", "openat", "clone", "socket", "execve", "clone3", "recvfrom", "kill", "prlimit64")
    known = {"x86_64": (0, 257, 56, 41, 59, 435, 45, 62, 302), "aarch64": (63, 56, 220, 198, 221, 435, 207, 129, 261)}
    numbers = dict(zip(names, known[machine], strict=True))

    def verdict(name: str, *arguments: int, arch: int = architecture, number: int | None = None) -> str:
        call = numbers[name] if number is None else number
        data = struct.pack("=iIQ6Q", call, arch, 0, *arguments, *[0] * (6 - len(arguments)))
        program = filter_program(machine)
        assert program is not None
        return interpret(program, data)

    allowed, refused, unknown, killed = "7fff0000", "50001", "50026", "80000000"
    assert verdict("read") == verdict("recvfrom") == allowed
    assert verdict("openat", 0, 0, os.O_RDONLY) == verdict("openat", 0, 0, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) == allowed
    assert verdict("openat", 0, 0, os.O_RDONLY | os.O_TRUNC) == refused
    thread, process = 0x3D0F00, 0x1200011
    assert verdict("clone", thread) == allowed
    assert verdict("clone", process) == verdict("clone", thread | 0x10000000) == refused
    assert verdict("prlimit64", 0) == allowed
    assert verdict("prlimit64", 1) == verdict("socket") == verdict("execve") == verdict("kill") == refused
    assert verdict("clone3") == verdict("", number=451) == verdict("", number=9999) == unknown
    assert verdict("read", arch=0x40000003) == killed
    assert verdict("", number=0x40000000) == killed


def interpret(program: bytes, data: bytes) -> str:
    code = list(struct.iter_unpack("=HBBI", program))
    place = accumulator = 0
    while True:
        operation, if_true, if_false, constant = code[place]
        place += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif operation == 0x54:
            accumulator &= constant
        elif operation == 0x15:
            place += if_true if accumulator == constant else if_false
        elif operation == 0x35:
            place += if_true if accumulator >= constant else if_false
        else:
            assert operation == 0x06
            return f"{constant:x}"


def test_an_unknown_machine_has_no_filter() -> None:
    assert filter_program("riscv64") is None
    assert json.dumps(Sandbox().strength())
