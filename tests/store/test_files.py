"""Durable writes, against real kills, real limits and a real full disk."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store import files


def run_python(code: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_write_replaces_the_whole_file_and_makes_its_parents(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    files.write_atomic(path, "北极星")
    files.write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file.txt"]


def test_a_written_file_has_the_users_usual_permissions(tmp_path):
    files.write_atomic(tmp_path / "ours", "x")
    (tmp_path / "theirs").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_json_round_trips_and_refuses_what_json_lacks(tmp_path):
    value = {"名字": [1, 2.5, None, True], "nested": {"a": "b"}}
    files.write_json(tmp_path / "v.json", value)
    assert files.read_json(tmp_path / "v.json") == value == json.loads((tmp_path / "v.json").read_text())
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "nan.json", float("nan"))
    assert names(tmp_path) == ["v.json"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file"),
        (b'{"a": 1,\n "b": }', ":2: the file is damaged: Expecting value"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b"", ":1: the file is damaged"),
    ],
)
def test_a_damaged_json_file_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "v.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out" / "folder"
    with files.atomic_folder(target) as partial:
        (partial / "sub").mkdir()
        (partial / "sub" / "x").write_text("1")
        assert not target.exists()
        assert partial.parent == target.parent
    assert (target / "sub" / "x").read_text() == "1"
    with pytest.raises(RuntimeError, match="half way"), files.atomic_folder(tmp_path / "out" / "other") as partial:
        (partial / "x").write_text("1")
        raise RuntimeError("half way")
    assert names(target.parent) == ["folder"]


def test_an_existing_folder_is_refused_unless_it_is_to_be_replaced(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("1")
    with pytest.raises(UserError, match="already exists"), files.atomic_folder(target):
        pytest.fail("the body must not run")
    with files.atomic_folder(target, replace=True) as partial:
        (partial / "new").write_text("2")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_the_slower_of_two_writers_of_one_folder_is_told(tmp_path):
    target = tmp_path / "folder"
    with pytest.raises(UserError, match="already exists"), files.atomic_folder(target) as slow:
        (slow / "x").write_text("slow")
        with files.atomic_folder(target) as fast:
            (fast / "x").write_text("fast")
    assert (target / "x").read_text() == "fast"
    assert names(tmp_path) == ["folder"]


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    code = """
        import os, signal, sys
        from lodestar.store import files
        with files.atomic_folder(sys.argv[1]) as partial:
            (partial / "x").write_text("1")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    target = tmp_path / "folder"
    assert run_python(code, target).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    assert not target.exists()
    with files.atomic_folder(tmp_path / "folder.2"):
        pass
    assert len(names(tmp_path)) == 2, "another name's leftovers are not ours to sweep"
    with files.atomic_folder(target) as slow:
        with pytest.raises(RuntimeError), files.atomic_folder(target) as fast:
            left = [name for name in names(tmp_path) if name.startswith(".")]
            assert left == sorted([slow.name, fast.name]), "both living writers keep theirs, the killed one's is gone"
            raise RuntimeError
        (slow / "x").write_text("2")
    assert names(tmp_path) == ["folder", "folder.2"]


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path):
    code = """
        import sys
        from lodestar.store import files
        old, new = b"a" * 300_000, b"b" * 300_000
        print("ready", flush=True)
        while True:
            files.write_atomic(sys.argv[1], new)
            files.write_atomic(sys.argv[1], old)
    """
    path = tmp_path / "file"
    files.write_atomic(path, b"a" * 300_000)
    for moment in range(6):
        writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.011 * moment)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        content = path.read_bytes()
        assert content in (b"a" * 300_000, b"b" * 300_000)
    files.write_atomic(path, b"c")
    assert names(tmp_path) == ["file"]


WRITE_TOO_MUCH = """
    import sys
    from pathlib import Path
    from lodestar.contracts.errors import UserError
    from lodestar.store import files
    folder = Path(sys.argv[1])
    files.write_atomic(folder / "file", b"old")
    try:
        files.write_atomic(folder / "file", bytes(4_000_000))
    except UserError as error:
        print(error)
    try:
        with files.atomic_folder(folder / "new") as partial:
            (partial / "big").write_bytes(bytes(4_000_000))
    except UserError as error:
        print(error)
    print(sorted(entry.name for entry in folder.iterdir()), (folder / "file").read_bytes())
"""


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def test_a_file_size_limit_is_one_sentence_and_leaves_nothing(tmp_path):
    done = run_python(WRITE_TOO_MUCH, tmp_path, preexec_fn=limit_file_size)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "no space to write (File too large)" in lines[0]
    assert "no space to write (File too large)" in lines[1]
    assert lines[2] == "['file'] b'old'"


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, small_disk):
    command = [*small_disk, sys.executable, "-c", textwrap.dedent(WRITE_TOO_MUCH), str(tmp_path / "disk")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "no space to write (No space left on device)" in lines[0]
    assert "no space to write (No space left on device)" in lines[1]
    assert lines[2] == "['file'] b'old'"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        files.write_atomic(tmp_path / "file" / "below", "x")
    with pytest.raises(UserError, match="cannot be written"), files.atomic_folder(tmp_path / "file" / "below"):
        pytest.fail("the body must not run")


def test_an_error_of_the_body_is_not_blamed_on_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError), files.atomic_folder(tmp_path / "new"):
        (tmp_path / "file" / "below").read_text()


def test_space_is_checked_before_the_work(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    files.ensure_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(UserError, match=r"needs .* on disk, and .* are free"):
        files.ensure_space(tmp_path / "not" / "yet", free * 2)


@pytest.mark.parametrize(("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_340_000, "2.34 MB"), (5e12, "5 TB")])
def test_sizes_are_written_for_people(count, text):
    assert files.human_bytes(count) == text


def test_hashes_depend_on_content_and_paths_alone(tmp_path):
    for name, order in [("one", ["b", "a/c"]), ("two", ["a/c", "b"])]:
        for inner in order:
            path = tmp_path / name / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(inner)
    os.utime(tmp_path / "two" / "b", (0, 0))
    (tmp_path / "two" / "b").chmod(0o444)
    assert files.hash_folder(tmp_path / "one") == files.hash_folder(tmp_path / "two")
    lines = "".join(f"{name}\0{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ["a/c", "b"])
    assert files.hash_folder(tmp_path / "one") == hashlib.sha256(lines.encode()).hexdigest()
    before = files.hash_folder(tmp_path / "one")
    (tmp_path / "one" / "b").rename(tmp_path / "one" / "d")
    assert files.hash_folder(tmp_path / "one") != before


def test_a_link_is_not_hashed_as_if_it_were_its_target(tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="link"):
        files.hash_folder(tmp_path)


def test_a_folder_that_is_replaced_is_there_at_every_moment(tmp_path):
    code = """
        import sys
        from lodestar.store import files
        for number in range(150):
            with files.atomic_folder(sys.argv[1], replace=True) as partial:
                for name in "abc":
                    (partial / name).write_text(str(number))
    """
    target = tmp_path / "folder"
    with files.atomic_folder(target) as partial:
        (partial / "a").write_text("first")
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(target)]) as writer:
        looked = 0
        while writer.poll() is None:
            assert (target / "a").is_file()
            looked += 1
    assert writer.returncode == 0
    assert looked > 100
    assert {(target / name).read_text() for name in "abc"} == {"149"}
    assert names(tmp_path) == ["folder"]
