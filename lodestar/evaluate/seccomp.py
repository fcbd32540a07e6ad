"""The system calls that an untrusted Python program may make, as a seccomp filter (seccomp(2), classic BPF).

What is not named here is refused with EPERM: sockets, other processes, signals to anything, execve, mounts, tracing, io_uring, … Calls
newer than this list get ENOSYS, on which the C library takes an older way. The path-based calls are left to Landlock.
"""

from __future__ import annotations

import errno
import platform
import struct

# name, number on x86_64, number on aarch64 (Linux 6.1, asm/unistd_64.h and asm-generic/unistd.h); `-` where there is none.
_TABLE = """
read 0 63, write 1 64, close 3 57, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, lseek 8 62, mmap 9 222,
mprotect 10 226, munmap 11 215, mremap 25 216, madvise 28 233, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135,
rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, pread64 17 67,
pwrite64 18 68, readv 19 65, writev 20 66, preadv 295 69, pwritev 296 70, preadv2 327 286, pwritev2 328 287, access 21 -,
faccessat 269 48, faccessat2 439 439, pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72,
epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441,
eventfd 284 -, eventfd2 290 19, dup 32 23, dup2 33 -, dup3 292 24, sched_yield 24 124, sched_getaffinity 204 123, nanosleep 35 101,
clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153,
getitimer 36 102, setitimer 38 103, alarm 37 -, getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175,
getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158, getpgrp 111 -, getrusage 98 165,
sysinfo 99 179, uname 63 160, umask 95 166, getcpu 309 168, exit 60 93, exit_group 231 94, futex 202 98, futex_waitv 449 449,
set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, arch_prctl 158 -, membarrier 324 283,
restart_syscall 219 128, getcwd 79 17, chdir 80 49, fchdir 81 50, getdents 78 -, getdents64 217 61, readlink 89 -, readlinkat 267 78,
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 -, renameat2 316 276, link 86 -,
linkat 265 37, symlink 88 -, symlinkat 266 36, ftruncate 77 46, fallocate 285 47, fsync 74 82, fdatasync 75 83, flock 73 32,
fadvise64 221 223, copy_file_range 326 285, sendfile 40 71, getrandom 318 278, close_range 436 436, getrlimit 97 163,
sendto 44 206, recvfrom 45 207
"""
_CHECKED = """
open 2 -, openat 257 56, fcntl 72 25, ioctl 16 29, clone 56 220, prlimit64 302 261, socketpair 53 199
"""
_CLONE3, _NEWEST = 435, 450  # the same on both machines
_OPEN_FLAGS = (0o1003, (0, 1, 2, 0o1001, 0o1002))
"""O_TRUNC only where the file is opened to be written: before its third version, Landlock lets a reader truncate."""
_CONDITIONS: dict[str, tuple[tuple[int, int, tuple[int, ...]], ...]] = {
    "open": ((1, *_OPEN_FLAGS),),
    "openat": ((2, *_OPEN_FLAGS),),
    # Duplicating, flags and locks. F_SETOWN would have the kernel send signals to any process of the user.
    "fcntl": ((1, 0xFFFFFFFF, (0, 1, 2, 3, 4, 5, 6, 7, 1030)),),
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
    "ioctl": ((1, 0xFFFFFFFF, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),),
    # CLONE_THREAD, and no new namespace: threads, but no process.
    "clone": ((0, 0x7E030000, (0x00010000,)),),
    # Its own limits; those of another process of the user could be set to kill it.
    "prlimit64": ((0, 0xFFFFFFFF, (0,)),),
    # AF_UNIX, SOCK_STREAM: a pair that is connected to itself, which asyncio wakes up by. A datagram socket could be sent elsewhere.
    "socketpair": ((0, 0xFFFFFFFF, (1,)), (1, 0xF, (1,))),
}
"""call → (argument, mask, values), all of which must hold: the masked argument is one of the values."""

_LOAD, _AND, _EQUAL, _GREATER_OR_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, ALU|AND|K, JMP|JEQ|K, JMP|JGE|K, RET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""machine → (column of the tables, AUDIT_ARCH_…)"""


def filter_program(machine: str | None = None) -> bytes | None:
    """The filter as an array of `struct sock_filter`; None for a machine whose call numbers are not known here.

    Args:
        machine: as `platform.machine()` calls it; this one where absent.
    """
    if (machine or platform.machine()) not in _MACHINES:
        return None
    column, architecture = _MACHINES[machine or platform.machine()]
    free, checked = _numbers(_TABLE, column), _numbers(_CHECKED, column)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER), (_GREATER_OR_EQUAL, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL),  # the x32 calls
    ]  # fmt: skip
    for name, number in checked.items():
        block = _checked_block(_CONDITIONS[name])
        code += [(_EQUAL, 0, len(block), number), *block]
    for left, number in zip(reversed(range(len(free))), free.values(), strict=True):
        code.append((_EQUAL, left + 4, 0, number))
    # clone3 hides its flags in memory: without it, the C library takes clone.
    code += [
        (_GREATER_OR_EQUAL, 1, 0, _NEWEST + 1), (_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]  # fmt: skip
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _numbers(table: str, column: int) -> dict[str, int]:
    entries = [entry.split() for entry in table.split(",")]
    return {name: int(numbers[column]) for name, *numbers in entries if numbers[column] != "-"}


def _checked_block(conditions: tuple[tuple[int, int, tuple[int, ...]], ...]) -> list[tuple[int, int, int, int]]:
    """Allow where every condition holds, else refuse. Only the lower half of an argument is looked at: these are ints to the kernel."""
    block = []
    for argument, mask, values in conditions:
        block += [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument), (_AND, 0, 0, mask)]
        block += [(_EQUAL, left + 1, 0, value) for left, value in zip(reversed(range(len(values))), values, strict=True)]
        block.append((_RETURN, 0, 0, _ERROR | errno.EPERM))
    return [*block, (_RETURN, 0, 0, _ALLOW)]
