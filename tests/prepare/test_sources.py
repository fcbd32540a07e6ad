"""Which files a source means, and in which order."""

import sysconfig
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.prepare.sources import find_sources


def names(found):
    return [file.name for file in found]


def test_a_folder_is_read_to_its_leaves_in_sorted_order_without_hidden_files(write, files):
    for name in ("data/b.txt", "data/a/z.jsonl", "data/a/.hidden.txt", "data/.git/c.txt", "data/__pycache__/d.py", "data/a/y.py"):
        write(name, "x")
    assert names(files("data")) == ["data/a/y.py", "data/a/z.jsonl", "data/b.txt"]


def test_a_glob_crosses_folders_with_two_stars_only(write, files):
    for name in ("data/b.txt", "data/a/z.txt", "data/a/z.csv"):
        write(name, "x")
    assert names(files("data/*.txt")) == ["data/b.txt"]
    assert names(files("data/**/*.txt")) == ["data/a/z.txt", "data/b.txt"]


@pytest.mark.parametrize("pattern", ["draft*", "**/drafts", "a/drafts/", "data/a/drafts", "data/a/drafts/*"])
def test_excluded_globs_match_names_folders_and_paths(write, files, pattern):
    write("data/a/drafts/one.txt", "x")
    write("data/a/two.txt", "x")
    kept = names(files("data", exclude=[pattern]))
    assert kept == (["data/a/drafts/one.txt", "data/a/two.txt"] if pattern == "a/drafts/" else ["data/a/two.txt"])


def test_sources_keep_their_order_and_a_file_is_read_once(write, files):
    for name in ("b.txt", "a.txt", "c.txt"):
        write(name, "x")
    assert names(files("c.txt", "*.txt", "b.txt")) == ["c.txt", "a.txt", "b.txt"]


def test_formats_and_compressions_are_told_by_the_suffixes(write, files):
    for name in ("a.jsonl.gz", "b.TXT", "c.tar.csv.zst", "d.parquet", "e.py.xz"):
        write(f"data/{name}", "x")
    assert [(file.kind, file.compression) for file in files("data")] == [
        ("jsonl", "gz"), ("text", ""), ("csv", "zst"), ("parquet", ""), ("code", "xz")
    ]  # fmt: skip


def test_other_files_of_a_folder_are_counted_and_one_that_is_named_is_refused(write, tmp_path):
    for name in ("data/a.txt", "data/b.png", "data/c.png", "data/LICENSE"):
        write(name, "x")
    found = find_sources(DataSettings(sources=["data"]), tmp_path)
    assert dict(found.skipped) == {".png": 2, "LICENSE": 1}
    with pytest.raises(UserError, match=r"no way to read records from a \.png; use one of"):
        find_sources(DataSettings(sources=["data/b.png"]), tmp_path)


def test_a_file_of_an_explicit_split_belongs_to_it_alone(write, files):
    for name in ("data/train.csv", "data/val.csv", "data/test.csv"):
        write(name, "x")
    found = files("data", splits={"validation": ["data/val.csv"], "test": ["data/t[e]st.csv"]})
    assert {file.name: file.split for file in found} == {
        "data/train.csv": None, "data/val.csv": "validation", "data/test.csv": "test"
    }  # fmt: skip


def test_a_file_in_two_splits_is_refused(write, files):
    write("data/all.csv", "x")
    with pytest.raises(UserError, match=r"all\.csv: the file stands in two splits, train and test; take it out of one"):
        files("data", splits={"train": ["data/all.csv"], "test": ["data"]})


def test_a_missing_source_names_the_nearest_file(write, files):
    write("data/reviews.csv", "x")
    with pytest.raises(UserError, match=r"data/review\.csv: no such file or folder; did you mean reviews\.csv"):
        files("data/review.csv")
    with pytest.raises(UserError, match="no file matches"):
        files("data/*.parquet")
    with pytest.raises(UserError, match="no file here holds records"):
        files("data", exclude=["*.csv"])


def test_an_unknown_builtin_source_names_the_nearest(files):
    with pytest.raises(UserError, match="unknown builtin source 'python-stdlb'; did you mean 'python-stdlib'"):
        files("builtin:python-stdlb")


def test_the_standard_library_comes_without_tests_and_other_peoples_code(files):
    found = files("builtin:python-stdlib")
    paths = {file.name for file in found}
    assert {"json/decoder.py", "argparse.py", "asyncio/tasks.py"} <= paths
    parts = {part for path in paths for part in Path(path).parts}
    assert not parts & {"test", "tests", "idle_test", "site-packages", "_bundled", "lib2to3", "__pycache__", "encodings"}
    assert all(file.path.is_relative_to(sysconfig.get_path("stdlib")) and file.kind == "code" for file in found)
    assert 200 < len(found) < 1000


def test_a_source_without_files_can_be_a_split_of_its_own(tmp_path):
    settings = DataSettings(sources=["builtin:sample", "builtin:more"], splits={"test": ["builtin:held-out"]})
    found = find_sources(settings, tmp_path, builtins=["more", "held-out"])
    assert found.made == {"builtin:held-out": "test", "builtin:sample": None, "builtin:more": None}
    with pytest.raises(UserError, match="unknown builtin source 'held'; did you mean 'held-out'"):
        find_sources(DataSettings(sources=["builtin:held"]), tmp_path, builtins=["held-out"])
