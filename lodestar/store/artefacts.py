"""Immutable folders, each named by the hash of what it holds: the same content is stored once, and a changed bit is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ..contracts.errors import UserError
from .files import atomic_folder, ensure_space, hash_folder, link_or_copy, list_files


class ArtefactStore:
    """A folder of artefacts. An artefact is read-only, and lives at `root/<hash>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, folder: Path) -> str:
        """Keep a copy of `folder` and return its hash; content that is here already is not copied again.

        Raises:
            UserError: the folder is missing or holds a link, or the disk has no room for the copy.
        """
        name = hash_folder(folder)
        if (self.root / name).is_dir():
            return name
        files = list_files(folder)
        ensure_space(self.root, sum(file.stat().st_size for file in files))
        try:
            with atomic_folder(self.root / name) as partial:
                for file in files:
                    target = partial / file.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
                    target.chmod(0o444)
                copied = hash_folder(partial)
                if copied != name:
                    raise UserError("the folder changed while it was stored", where=folder, fix="let its writer finish, and try again")
        except UserError:
            if not (self.root / name).is_dir():  # else another process stored the same content meanwhile
                raise
        return name

    def path(self, name: str) -> Path:
        """The folder of an artefact; raises `UserError` where there is none of that hash."""
        path = self.root / name
        if not name or not path.is_dir():
            raise UserError(f"no artefact {name!r}", where=self.root, fix="check the hash, or restore the folder from a backup")
        return path

    def verify(self, name: str) -> None:
        """Read an artefact back whole; raises `UserError` where its content is no longer what its name says."""
        path = self.path(name)
        if hash_folder(path) != name:
            raise UserError("the artefact is damaged: its content is not what its name says", where=path, fix="restore it from a backup")

    def checkout(self, name: str, destination: Path) -> None:
        """Put an artefact's files, still read-only, into a folder of another name.

        The files are shared with the store (hard links) where the file system can, so they take no room twice.
        """
        source = self.path(name)
        for file in list_files(source):
            link_or_copy(file, destination / file.relative_to(source))

    def __iter__(self) -> Iterator[str]:
        """The hashes of all artefacts, sorted."""
        if self.root.is_dir():
            yield from sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))
