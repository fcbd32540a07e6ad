"""Durable writes: after a crash, a full disk or a kill, a file or folder is either the old one or the whole new one.

Everything that must last is written beside its place, forced to the disk, and renamed into it. The writer holds a lock on what it
writes beside; the next writer of the same place removes what a killed one left.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..contracts.errors import UserError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP})
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_SUFFIX = ".partial"


def write_atomic(path: Path | str, data: bytes | str | Iterable[bytes | memoryview]) -> None:
    """Write a file whole or not at all; text is UTF-8, an iterable gives the content piece by piece. Missing parent folders are made.

    Raises:
        UserError: the disk is full or the place cannot be written; `path` is then as it was.
    """
    path = Path(path)
    pieces = [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else data
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with _partial_file(path) as (partial, handle):
            for piece in pieces:
                _write_all(handle, piece)
            os.fsync(handle)
            partial.replace(path)
        _sync(path.parent)


def write_json(path: Path | str, value: Any) -> None:
    """Write any JSON value, indented, as `write_atomic` does; NaN and infinity are refused with `ValueError`."""
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """The JSON value of a file.

    Raises:
        UserError: it is missing, unreadable, not UTF-8 or not JSON; the sentence names the file and, where there is one, the line.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise UserError("no such file", where=path, fix="check the path, or run the step that writes it") from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, fix="check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise UserError(f"the file is damaged: not UTF-8 at byte {error.start}", where=path, fix=_WRITE_AGAIN) from None
    except json.JSONDecodeError as error:
        raise UserError(f"the file is damaged: {error.msg}", where=f"{path}:{error.lineno}", fix=_WRITE_AGAIN) from None


_WRITE_AGAIN = "restore it, or run the step that writes it again"


@contextmanager
def atomic_folder(path: Path | str, *, replace: bool = False) -> Iterator[Path]:
    """Give a new folder to fill; on leaving, it is forced to the disk and takes its place at `path`. On any error it is removed.

    Args:
        path: where the folder will stand. Missing parents are made.
        replace: whether a folder that stands there already gives way; the two change places in one step.

    Raises:
        UserError: `path` exists (without `replace`), the disk is full, or the place cannot be written.
    """
    path = Path(path)
    if not replace:
        _refuse_existing(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
    with _partial_folder(path) as partial:
        with _when_full(path):
            yield partial
        with writing(path):
            sync_folder(partial)
            if replace and path.exists():
                _exchange(partial, path)
            else:
                _rename_new(partial, path)
            _sync(path.parent)


@contextmanager
def scratch_folder(path: Path | str) -> Iterator[Path]:
    """Give a new folder beside `path` that is removed on leaving; what a killed process left is removed by the next one."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
    with _partial_folder(path) as scratch, _when_full(path):
        yield scratch


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at a second place, sharing its bytes where the file system can; missing parents are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy(source, target)


def sync_folder(folder: Path) -> None:
    """Force every file and folder below `folder`, and itself, to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent, name))
        _sync(Path(parent))


def sha256_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path | str) -> str:
    """A SHA-256, in hex, of what a folder holds: each file's relative path and bytes, independent of times, modes and order.

    Raises:
        UserError: the folder is missing, or holds a link or something else that is not a file.
    """
    folder = Path(folder)
    total = hashlib.sha256()
    for file in list_files(folder):
        total.update(f"{file.relative_to(folder).as_posix()}\0{sha256_file(file)}\n".encode())
    return total.hexdigest()


def list_files(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted by its relative path; refuses links and special files, whose content is elsewhere."""
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, fix="check the path")
    entries = sorted(folder.rglob("*"), key=lambda entry: entry.relative_to(folder).as_posix())
    for entry in entries:
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise UserError("a link or special file cannot be stored", where=entry, fix="put the file itself there")
    return [entry for entry in entries if entry.is_file()]


def ensure_space(path: Path | str, needed_bytes: int) -> None:
    """Check, before the expensive part, that the disk of `path` (which need not exist yet) has room for `needed_bytes`.

    Raises:
        UserError: it has not; the sentence names what is needed and what is free.
    """
    path = Path(path)
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(
            f"this needs {human_bytes(needed_bytes)} on disk, and {human_bytes(free)} are free",
            where=path, fix="free some space, or choose a folder on another disk",
        )  # fmt: skip


def human_bytes(count: float) -> str:
    """`1.5 MB`: a size for a person to read, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the disk's refusals, for whatever writes to `path` inside, into a `UserError`; other errors pass unchanged."""
    try:
        with _when_full(path):
            yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise UserError(f"cannot be written ({error.strerror})", where=path, fix="check the path and its permissions") from error
        raise


@contextmanager
def _when_full(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(f"no space to write ({error.strerror})", where=path, fix="free some space and run it again") from error
        raise


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise UserError("already exists", where=path, fix="remove it, or choose another name")


def _rename_new(partial: Path, path: Path) -> None:
    try:
        partial.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            _refuse_existing(path)  # another writer was faster
        raise


def _exchange(partial: Path, path: Path) -> None:
    """Let two folders change places at once; where the file system cannot, `path` is absent for a moment between two renames."""
    library = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(library, "renameat2", None)
    if renameat2 is not None:
        if renameat2(_AT_FDCWD, os.fsencode(partial), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), str(path))
    aside = path.with_name(f".{path.name}.old")
    path.rename(aside)
    partial.rename(path)
    shutil.rmtree(aside)


@contextmanager
def _partial_file(path: Path) -> Iterator[tuple[Path, int]]:
    """A new locked file beside `path`, with its descriptor; gone on leaving, unless renamed."""
    for partial in _names_beside(path):
        try:
            handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        try:
            if not _lock(handle) or not os.fstat(handle).st_nlink:
                continue  # a sweep took it between its creation and its lock
            try:
                yield partial, handle
            finally:
                partial.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


@contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    """A new locked folder beside `path`; gone on leaving, unless renamed."""
    for partial in _names_beside(path):
        try:
            partial.mkdir()
            handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileExistsError, FileNotFoundError):
            continue
        try:
            if not _lock(handle) or not partial.exists():
                continue  # a sweep took it between its creation and its lock
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return
        finally:
            os.close(handle)


def _names_beside(path: Path) -> Iterator[Path]:
    for number in itertools.count():
        yield path.with_name(f".{path.name}.{os.getpid()}-{number}{_SUFFIX}")


def _sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it: whatever nobody holds locked."""
    prefix = f".{path.name}."
    for entry in list(path.parent.iterdir()):
        if not (entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)):
            continue
        middle = entry.name[len(prefix) : -len(_SUFFIX)]
        if not middle.replace("-", "").isdigit():
            continue  # beside a longer name, `path.more`
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _lock(handle):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_all(handle: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
