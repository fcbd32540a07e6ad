"""Where records come from: files, folders, globs and built-in sources, resolved into a sorted list of files.

Sources keep the order they are given in; the files of one source are sorted by path, so the same sources always give the same
records in the same order. Hidden files and `__pycache__` are left out of folders and globs.
"""

from __future__ import annotations

import glob
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from ..contracts.errors import UserError, nearest, unknown
from ..contracts.settings import DataSettings

Kind = Literal["text", "code", "json", "jsonl", "csv", "tsv", "parquet", "parallel", "media", "tar", "voc", "coco", "yolo"]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

BUILTIN = "builtin:"
SAMPLE = "builtin:sample"
"""The task's own sample; it has no files."""
STANDARD_LIBRARY = "builtin:python-stdlib"

_KINDS: dict[str, Kind] = {
    ".txt": "text", ".text": "text", ".md": "text", ".rst": "text",
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet",
    **dict.fromkeys(
        (".py", ".pyi", ".js", ".ts", ".jsx", ".tsx", ".c", ".h", ".cc", ".cpp", ".hpp", ".java", ".kt", ".go", ".rs", ".rb", ".php",
         ".cs", ".swift", ".scala", ".lua", ".sh", ".sql", ".html", ".css", ".r", ".jl"), "code"),
}  # fmt: skip
TABLES = frozenset({"json", "jsonl", "csv", "tsv", "parquet", "voc", "coco"})
"""Kinds whose records say themselves which files they hold."""
_ANNOTATIONS: dict[str, Kind] = {".xml": "voc", ".json": "coco"}
"""Where records are pictures with boxes; a JSON file that is not COCO's is a table."""
_COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}

_PARALLEL = re.compile(r"(?P<before>.*)\{(?P<source>[A-Za-z][\w-]*),(?P<target>[A-Za-z][\w-]*)\}(?P<after>.*)")
"""Two plain files whose lines are pairs: train.{en,de} and, compressed, train.{en,de}.gz."""

_NOT_THE_LIBRARY = frozenset({
    "test", "tests", "idle_test",  # tests
    "site-packages", "dist-packages", "_bundled", "pip", "lib2to3",  # other people's, or frozen copies
    "encodings", "pydoc_data",  # generated tables
    "lib-dynload", "__pycache__", "__phello__",
})  # fmt: skip
"""Folders of Python's library folder that are not the standard library as its authors write it."""


@dataclass(frozen=True)
class SourceFile:
    """One file to read records from."""

    path: Path
    name: str
    """Its path relative to the venture, or else to the source that it was found in; goes into records, so it is never absolute."""
    kind: Kind
    compression: Literal["", "gz", "bz2", "xz", "zst"]
    source: str
    """The source, as the user wrote it."""
    split: SplitName | None
    """The split that the user put it in."""
    named: bool
    """Whether the user named this very file, rather than a folder or a glob that holds it."""
    beside: Path | None = None
    """Of two parallel files, the second one, of the targets. Of a picture in YOLO's form, the file of its boxes."""
    languages: tuple[str, str] = ("", "")
    """Of two parallel files, what stands in the braces of the source."""
    classes: tuple[str, ...] = ()
    """Of a picture in YOLO's form, what the numbers of its boxes stand for."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, or both files."""
        return (self.path,) if self.beside is None else (self.path, self.beside)

    @property
    def size(self) -> int:
        """Bytes on disk; UserError where the file cannot be looked at."""
        total = 0
        for path in self.paths:
            try:
                total += path.stat().st_size
            except OSError as error:
                raise unreadable(path, error) from None
        return total

    def matches(self, pattern: str) -> bool:
        """Whether a glob is of this file: of its source as the user wrote it, of its path or of the path's end."""
        parts = self.path.as_posix().split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return any(fnmatch(candidate, pattern) for candidate in (self.source, self.name, *ends))


@dataclass
class Sources:
    """The files of all sources, and what was passed over."""

    files: list[SourceFile] = field(default_factory=list)
    made: dict[str, SplitName | None] = field(default_factory=dict)
    """The sources that have no files (the task's own sample, and its further data), each with the split that the user put it in."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Suffix → files in folders and globs that hold no records."""
    lone: bool = False
    """Whether one plain file is all there is."""


def unreadable(path: Path | str, error: OSError) -> UserError:
    """The error for a file that the system will not read."""
    return UserError(f"cannot be read ({error.strerror or error})", where=path, fix="check the file and its permissions")


def find_sources(
    settings: DataSettings, root: Path, media: Collection[str] = (), builtins: Collection[str] = (), *, boxed: bool = False
) -> Sources:
    """Every file of `settings.sources` and `settings.splits`, each once; a file of an explicit split belongs to that split alone.

    Args:
        media: suffixes of files that a record holds, for a task whose records hold any. Each such file of a folder or of a tar archive is
            a record, but in a folder that has a table of records, which say which files they hold. Plain text is none then.
        builtins: the names of the task's further data.
        boxed: records are pictures with boxes: the forms of VOC, COCO and YOLO are read, too.

    Raises:
        UserError: a source is missing, unknown or holds no file that records can be read from; a file stands in two splits.
    """
    found = Sources()
    taken: dict[str, SourceFile] = {}
    explicit: list[tuple[str, SplitName | None]] = [(spec, split) for split in SPLITS for spec in settings.splits.get(split, [])]
    for spec, split in explicit + [(spec, None) for spec in settings.sources]:
        if spec == SAMPLE or (spec.startswith(BUILTIN) and spec.removeprefix(BUILTIN) in builtins):
            found.made.setdefault(spec, split)
            continue
        for file in _files_of(spec, split, root, settings.exclude, found.skipped, media, builtins, boxed=boxed):
            place = os.path.realpath(file.path)  # unlike Path.resolve, at ease with a link that leads nowhere
            earlier = taken.setdefault(place, file)
            if earlier is not file and split and earlier.split != split:
                raise UserError(
                    f"the file stands in two splits, {earlier.split} and {split}", where=file.path, fix="take it out of one of them"
                )
    # In the order of `sources`, so that naming a split does not reorder the others.
    found.files = [file for file in taken.values() if file.split is None] + [file for file in taken.values() if file.split]
    found.lone = not found.made and len(found.files) == 1 and found.files[0].kind == "text"
    if not found.files and not found.made:
        raise UserError("no source holds a file to read", where="data.sources", fix="check the sources and data.exclude")
    return found


def _files_of(
    spec: str, split: SplitName | None, root: Path, exclude: list[str], skipped: Counter[str], media: Collection[str],
    builtins: Collection[str], *, boxed: bool,
) -> Iterator[SourceFile]:  # fmt: skip
    if parallel := _PARALLEL.fullmatch(spec):
        yield _parallel_file(spec, parallel, split, root)
        return
    if spec.startswith(BUILTIN):
        if spec != STANDARD_LIBRARY:
            names = [known.removeprefix(BUILTIN) for known in (SAMPLE, STANDARD_LIBRARY)] + [*builtins]
            raise unknown("builtin source", spec.removeprefix(BUILTIN), names, where="data.sources")
        base = Path(sysconfig.get_path("stdlib"))
        paths = [path for path in _walk(base, _NOT_THE_LIBRARY) if path.suffix == ".py"]
        if not paths:
            raise UserError("this Python carries no standard library as source files", where=spec, fix="name files of your own")
        root = base
    else:
        base, paths = _expand(spec, root)
    named = paths == [base]
    if boxed and (listed := _listed(base, spec, split, root, named=named)) is not None:
        yield from listed
        return
    tells = bool(media) and any(_kind(path, media, boxed=boxed)[0] in TABLES for path in paths)
    count = 0
    for path in paths:
        name = _relative(path, root) or _relative(path, base if base.is_dir() else base.parent) or path.name
        if not spec.startswith(BUILTIN) and _excluded(name, exclude):
            continue
        kind, compression = _kind(path, media, boxed=boxed)
        if kind == "media" and tells:
            continue
        if kind is None:
            if named:
                raise UserError(
                    f"no way to read records from a {path.suffix or 'file without a suffix'}",
                    where=path,
                    fix=_what_is_read(media, boxed=boxed),
                )
            skipped[path.suffix.lower() or path.name] += 1
            continue
        count += 1
        yield SourceFile(path, name, kind, compression, spec, split, named)  # type: ignore[arg-type]
    if not count:
        raise UserError("no file here holds records", where=base, fix="check the source and data.exclude")


def _listed(base: Path, spec: str, split: SplitName | None, root: Path, *, named: bool) -> Iterator[SourceFile] | None:
    """The files of a source that lists them: VOC's list of a split, or YOLO's data.yaml, by itself or in a folder; None for another."""
    if named and base.suffix.lower() == ".txt":
        return _voc_files(base, spec, split, root)
    if not named:
        base = base / "data.yaml"
    return _yolo_files(base, spec, split, root) if base.suffix.lower() in (".yaml", ".yml") and base.is_file() else None


def _voc_files(path: Path, spec: str, split: SplitName | None, root: Path) -> Iterator[SourceFile]:
    from .annotations import voc_list

    for annotation in voc_list(path):
        yield SourceFile(annotation, _relative(annotation, root) or annotation.name, "voc", "", spec, split, named=True)


def _yolo_files(path: Path, spec: str, split: SplitName | None, root: Path) -> Iterator[SourceFile]:
    """Its splits are the records' own; those of train share out where it has no others for validation or test."""
    from .annotations import yolo_pictures

    if split is not None:
        raise UserError("the file says itself which pictures each split has", where=path, fix="name it in data.sources")
    classes, found = yolo_pictures(path)
    for name, pictures in found.items():
        own = name if name != "train" or found.keys() >= set(SPLITS) else None
        for picture, label in pictures:
            shown = _relative(picture, root) or picture.name
            yield SourceFile(picture, shown, "yolo", "", spec, own, named=True, beside=label, classes=classes)  # type: ignore[arg-type]


def _parallel_file(spec: str, parallel: re.Match[str], split: SplitName | None, root: Path) -> SourceFile:
    languages = (parallel["source"], parallel["target"])
    first, second = (root / Path(parallel["before"] + language + parallel["after"]).expanduser() for language in languages)
    for path in (first, second):
        if not path.is_file():
            beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            guess = nearest(path.name, beside)
            fix = f"did you mean {guess}" if guess else "give both files of the pair"
            raise UserError("no such file", where=path, fix=fix)
    compression = _COMPRESSIONS.get(first.suffix.lower(), "")
    name = _relative(first, root) or first.name
    return SourceFile(first, name, "parallel", compression, spec, split, named=True, beside=second, languages=languages)  # type: ignore[arg-type]


def _expand(spec: str, root: Path) -> tuple[Path, list[Path]]:
    """The base that names are relative to, and the sorted files, of one source."""
    place = root / Path(spec).expanduser()
    if place.is_dir():
        return place, _walk(place, frozenset({"__pycache__"}))
    if place.exists() or place.is_symlink():
        return place, [place]
    if glob.has_magic(spec):
        matches = [Path(match) for match in glob.glob(str(place), recursive=True)]  # noqa: PTH207 - Path.glob crosses hidden folders
        files = sorted((match for match in matches if match.is_file() and "__pycache__" not in match.parts), key=Path.as_posix)
        if not files:
            raise UserError("no file matches", where=place, fix="check the pattern (`**` crosses folders, hidden files need a dot)")
        first_magic = next(index for index, part in enumerate(place.parts) if glob.has_magic(part))
        return Path(*place.parts[:first_magic]), files
    beside = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
    guess = nearest(place.name, beside)
    raise UserError("no such file or folder", where=place, fix=f"did you mean {guess}" if guess else "check data.sources")


def _walk(folder: Path, leave_out: frozenset[str]) -> list[Path]:
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise unreadable(error.filename, error)

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = [name for name in folders if name not in leave_out and not name.startswith((".", "config-"))]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found, key=Path.as_posix)


def _relative(path: Path, base: Path) -> str | None:
    try:
        return path.absolute().relative_to(base.absolute()).as_posix()
    except ValueError:
        return None


def _excluded(name: str, patterns: list[str]) -> bool:
    """Whether a pattern matches the path, one of the folders it is in, or the bare name of either."""
    parts = name.split("/")
    candidates = parts + ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatch(candidate, pattern.removeprefix("**/").rstrip("/")) for pattern in patterns for candidate in candidates)


def _what_is_read(media: Collection[str], *, boxed: bool) -> str:
    """What to give in the place of a file that nothing can be read from."""
    if boxed:
        return "give VOC's XML files or a list of them, COCO's JSON, YOLO's data.yaml, or a table of records as .jsonl or .parquet"
    known = " ".join(sorted([*media, *(suffix for suffix, kind in _KINDS.items() if kind in (TABLES if media else (*TABLES, "text")))]))
    return f"use one of {known}, {'a tar archive' if media else 'source code'}, or one of them compressed with {' '.join(_COMPRESSIONS)}"


def _kind(path: Path, media: Collection[str] = (), *, boxed: bool = False) -> tuple[Kind | None, str]:
    """What a file holds and how it is compressed, by its suffixes."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if boxed and path.suffix.lower() in _ANNOTATIONS:
        return _ANNOTATIONS[path.suffix.lower()], ""
    if media:
        return _media_kind(suffixes, media)
    compression = _COMPRESSIONS.get(suffixes[-1], "") if suffixes else ""
    if compression:
        suffixes.pop()
    kind = _KINDS.get(suffixes[-1]) if suffixes else None
    return (None if compression and kind == "parquet" else kind), compression


def _media_kind(suffixes: list[str], media: Collection[str]) -> tuple[Kind | None, str]:
    """As `_kind`, where records hold files of these suffixes."""
    if suffixes[-1:] == [".tgz"]:
        return "tar", "gz"
    compression = _COMPRESSIONS.get(suffixes[-1], "") if suffixes else ""
    suffix = suffixes[-2 if compression else -1] if len(suffixes) > bool(compression) else ""
    if suffix == ".tar":
        return "tar", compression
    if suffix in media:
        return (None if compression else "media"), compression
    kind = _KINDS.get(suffix)
    return (kind if kind in TABLES and not (compression and kind == "parquet") else None), compression
