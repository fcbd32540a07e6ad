"""The way into the sandbox: a program that gives up its rights one after the other, says which it gave up, and runs another program.

Run as a file of its own by `python -I -S -B`, in a fresh folder that holds job.json; it needs the standard library alone. Nothing that
was given up comes back: the limits, the filters and the namespaces last until the process has ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT, CAPSET = 444, 445, 446, {"x86_64": 126, "aarch64": 91}
# Landlock's rights (linux/landlock.h): the first 13 came with version 1, REFER with 2, TRUNCATE with 3, IOCTL_DEV with 5.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READABLE = READ_FILE | READ_DIR
WRITABLE = READABLE | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime",
          "/dev/urandom", "/dev/zero")  # fmt: skip
"""What Python itself opens, besides its library."""


def call(number: int, *arguments: Any) -> int:
    """A system call; raises OSError."""
    result = int(LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def prctl(option: int, *arguments: Any) -> None:
    if LIBC.prctl(option, *arguments, *[0] * (4 - len(arguments))) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def limit(job: dict[str, Any]) -> None:
    """Limits on time, files and core dumps. The memory comes last, when everything is loaded."""
    cpu = job["cpu_seconds"]
    limits = {"CPU": (cpu, cpu + 1), "FSIZE": (job["file_bytes"],) * 2, "NOFILE": (64, 64), "CORE": (0, 0), "MSGQUEUE": (0, 0)}
    for name, values in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), values)


def leave_the_network(scratch_bytes: int) -> bool:
    """Move to a network, a user and a mount namespace of its own, with a small file system in memory as the folder.

    False where the system does not let an unprivileged process do so.
    """
    user, group, folder = os.getuid(), os.getgid(), Path.cwd()
    if LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return False
    options = f"size={scratch_bytes},nr_inodes=1024,mode=700".encode()
    if LIBC.mount(b"scratch", str(folder).encode(), b"tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) != 0:
        return False
    os.chdir(folder)  # the same name is another folder now
    return True


def landlock_version() -> int:
    """The version of Landlock in this kernel; 0 where there is none."""
    try:
        return call(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def leave_the_files(version: int, *, writable: bool) -> None:
    """See Python's library and the folder alone (landlock(7)); on newer kernels also reach no TCP port and signal nobody outside."""
    known = (1 << 13) - 1
    for needed, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        known |= right if version >= needed else 0
    network, scope = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    attributes = struct.pack("=QQQ", known, network, scope)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = call(LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    library = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("LIBDIR")]
    allowed = dict.fromkeys({*SYSTEM, *filter(None, library)}, READABLE)
    allowed |= {"/dev/null": READ_FILE | WRITE_FILE, ".": WRITABLE if writable else READABLE}
    for path, rights in allowed.items():
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # a library folder that this system does not have
        meant = known if Path(path).is_dir() else READ_FILE | WRITE_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights & meant, place))
        call(LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
        os.close(place)
    call(LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def drop_capabilities(machine: str) -> None:
    """Those of root, and those that come with a namespace (capset(2), version 3)."""
    if machine in CAPSET:
        call(CAPSET[machine], struct.pack("=Ii", 0x20080522, 0), bytes(24))


def filter_calls(program: bytes) -> None:
    """Make no system call but the program's (seccomp(2)), ever again."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    prctl(PR_SET_SECCOMP, 2, ctypes.byref(Program(len(program) // 8, program)))


def enter(job: dict[str, Any]) -> dict[str, Any]:
    """Give up everything that this system lets a process give up; return what was."""
    limit(job)
    namespaces = leave_the_network(job["scratch_bytes"])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != job["parent"]:
        sys.exit("whoever started this is gone")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock = landlock_version()
    if landlock:
        leave_the_files(landlock, writable=namespaces)
    drop_capabilities(os.uname().machine)
    memory = job["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    program = bytes.fromhex(job["filter"])
    if program:
        filter_calls(program)
    return {"seccomp": bool(program), "namespaces": namespaces, "landlock": landlock}


def main() -> None:
    job = json.loads(Path("job.json").read_bytes())
    report = int(sys.argv[1])
    held = enter(job)
    os.write(report, json.dumps(held).encode())
    missing = [need for need in job["needs"] if not any(held.get(layer) for layer in job["layers"][need])]
    os.close(report)
    if missing:
        os._exit(1)
    source, sys.argv = job["program"], ["program.py", *job["arguments"]]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(source, "program.py", "exec"), module.__dict__)


if __name__ == "__main__":
    main()
