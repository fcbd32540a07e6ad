"""The artefact store, on real folders and with real concurrent writers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store.artefacts import ArtefactStore
from lodestar.store.files import hash_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "weights.bin").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "source" / "deep" / "说明.txt").write_text("北极星")
    return tmp_path / "source"


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "artefacts")


def test_the_name_is_the_hash_of_the_content_and_the_copy_is_read_only(folder, store):
    name = store.put(folder)
    assert name == hash_folder(folder) == hash_folder(store.path(name))
    assert list(store) == [name]
    assert {file.stat().st_mode & 0o777 for file in store.path(name).rglob("*") if file.is_file()} == {0o444}
    store.verify(name)


def test_the_same_content_is_stored_once_and_other_content_beside_it(folder, store):
    first = store.put(folder)
    inode = (store.path(first) / "weights.bin").stat().st_ino
    assert store.put(folder) == first
    assert (store.path(first) / "weights.bin").stat().st_ino == inode
    (folder / "weights.bin").write_bytes(b"other")
    second = store.put(folder)
    assert list(store) == sorted([first, second])
    store.verify(first)


def test_one_changed_bit_is_noticed(folder, store):
    name = store.put(folder)
    weights = store.path(name) / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[12345] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        store.verify(name)


@pytest.mark.parametrize("name", ["", "0" * 64])
def test_an_unknown_hash_is_one_sentence(store, name):
    with pytest.raises(UserError, match="no artefact"):
        store.path(name)


def test_a_checked_out_folder_shares_the_files(folder, store, tmp_path):
    name = store.put(folder)
    store.checkout(name, tmp_path / "out")
    assert hash_folder(tmp_path / "out") == name
    assert (tmp_path / "out" / "weights.bin").samefile(store.path(name) / "weights.bin")


def test_a_folder_that_cannot_be_stored_leaves_nothing(store, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        store.put(tmp_path / "nowhere")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "link").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="link"):
        store.put(tmp_path / "links")
    assert list(store) == []


def test_processes_that_store_the_same_content_at_once_agree(folder, store):
    code = """
        import sys
        from pathlib import Path
        from lodestar.store.artefacts import ArtefactStore
        print(ArtefactStore(Path(sys.argv[1])).put(Path(sys.argv[2])))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(store.root), str(folder)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {writer.communicate(timeout=60)[0].strip() for writer in writers}
    assert answers == {hash_folder(folder)}
    assert [writer.returncode for writer in writers] == [0] * 4
    store.verify(answers.pop())
    assert [path.name for path in store.root.iterdir()] == list(store)
