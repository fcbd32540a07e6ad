"""A folder of documents → an index beside it; what was indexed before and has not changed is left as it is.

An index is a folder: `passages.sqlite`, and `encoder-HASH/`, a copy of the model that made the vectors, where there is one. The first
names the second, so that vectors are never compared with those of another model, wherever a run is cut off.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...build.bundle import Bundle, save_bundle
from ...build.embed import embed
from ...contracts.errors import UserError
from ...contracts.progress import bar
from ...store.files import sha256_file
from ...store.passages import Passage, PassageIndex
from .passages import cut
from .reading import KINDS, read_blocks

PASSAGES = "passages.sqlite"
CUTTING = 1
"""Raised with every change to how files are read and cut, so that they are read again."""
FILES_AT_MOST = 100_000


@dataclass
class Indexed:
    """What one run of indexing did, by the files' paths below the folder."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """File → why it is not in the index."""
    passages: int = 0
    """In the index now."""


def index_folder(folder: Path, out: Path, encoder: Bundle | None = None, *, identity: str | None = None) -> Indexed:
    """Bring the index in the folder `out` up to what `folder` holds.

    Args:
        encoder: what the task retrieval trained, for vectors beside the terms.
        identity: what tells that model from another one; with another one than before, everything is read again.

    Raises:
        UserError: there is no folder, it holds no file that can be read, or the index cannot be written.
    """
    report = Indexed()
    files = _find(folder, out, report.skipped)
    path, made_by = out / PASSAGES, {"cutting": CUTTING, "encoder": identity}
    before: dict[str, str] = {}
    same = True
    if path.is_file():
        with PassageIndex.open(path) as index:
            before, facts = index.hashes(), index.facts()
        same = all(facts.get(name) == value for name, value in made_by.items())
    report.unchanged = [name for name, content in files.items() if same and before.get(name) == content]
    stays = set(report.unchanged)
    read = _read(folder, [name for name in files if name not in stays], report.skipped)
    if not read and not stays:
        raise _nothing(folder, report.skipped)
    vectors = _vectors(read, encoder)
    report.added, report.changed = [name for name in read if name not in before], [name for name in read if name in before]
    report.removed = [name for name in before if name not in stays and name not in read]
    place = None if identity is None else encoder_folder(out, identity)
    if encoder is not None and place is not None and not place.is_dir():
        save_bundle(place, encoder)
    with PassageIndex.open(path, write=True) if path.is_file() else PassageIndex.create(path) as index:
        with index.change():
            for name in before:
                if name not in stays:
                    index.remove(name)
            for name, passages in read.items():
                index.add(name, files[name], passages, vectors.get(name))
            index.set_facts({**made_by, "folder": str(folder.absolute())})
        report.passages = len(index)
    for other in out.glob("encoder-*"):
        if other != place:
            shutil.rmtree(other)
    return report


def encoder_folder(out: Path, identity: str) -> Path:
    """Where the index in `out` keeps the encoder of this identity."""
    return out / f"encoder-{identity[:16]}"


def _find(folder: Path, out: Path, skipped: dict[str, str]) -> dict[str, str]:
    """The files to index, path → hash; of files that are the same, byte for byte, the first one."""
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, fix="check the path")
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    for path in _walk(folder, out.absolute()):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            skipped[name] = "a link, which is not followed"
        elif path.suffix.lower() not in KINDS:
            skipped[name] = "of a kind that is not read"
        elif not _is_utf8(name):
            skipped[name.encode(errors="replace").decode()] = "its name is not UTF-8"
        else:
            try:
                content = sha256_file(path)
            except OSError as error:
                skipped[name] = f"cannot be read ({error.strerror})"
                continue
            if content in first:
                skipped[name] = f"the same as {first[content]}"
            else:
                first[content] = name
                found[name] = content
        if len(found) > FILES_AT_MOST:
            raise UserError(f"more than {FILES_AT_MOST:,} files", where=folder, fix="index its folders one by one")
    return found


def _walk(folder: Path, out: Path) -> list[Path]:
    """The files below a folder, sorted; hidden ones and the index itself are left out, and no link is followed."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        here = Path(parent)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in links and (here / name).absolute() != out
        ]  # fmt: skip
        found += [here / name for name in (*links, *names) if not name.startswith(".")]
    return sorted(path for path in found if path.is_symlink() or path.is_file())


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(folder: Path, names: list[str], skipped: dict[str, str]) -> dict[str, list[Passage]]:
    read: dict[str, list[Passage]] = {}
    with bar("read", len(names), "file") as shown:
        for name in names:
            try:
                passages = cut(name, read_blocks(folder / name))
            except UserError as error:
                skipped[name] = error.what if error.fix is None else f"{error.what}; {error.fix}"
            else:
                if passages:
                    read[name] = passages
                else:
                    skipped[name] = "there is no text in it"
            shown.update()
    return read


def _vectors(read: Mapping[str, list[Passage]], encoder: Bundle | None) -> Mapping[str, np.ndarray]:
    if encoder is None:
        return {}
    found: dict[str, np.ndarray] = {}
    with bar("embed", len(read), "file") as shown:
        for name, passages in read.items():
            found[name] = embed(encoder.model, encoder.tokenizer, [passage.text for passage in passages])
            shown.update()
    return found


def _nothing(folder: Path, skipped: Mapping[str, str]) -> UserError:
    example = next(iter(skipped.items()), None)
    told = f"; {example[0]}: {example[1]}" if example else ""
    return UserError(f"no file here that can be indexed{told}", where=folder, fix=f"give files of the kinds {', '.join(sorted(KINDS))}")


def open_encoder(out: Path, index: PassageIndex, load: Callable[[Path], Bundle]) -> Bundle | None:
    """The encoder of an index; None where it was made without one.

    Raises:
        UserError: the folder of the encoder is missing.
    """
    identity: str | None = index.facts().get("encoder")
    if identity is None:
        return None
    place = encoder_folder(out, identity)
    if not place.is_dir():
        raise UserError("the index lacks its encoder", where=place, fix="make it again with `lodestar index`, and the --model")
    return load(place)
