"""Each format against what Python's own library, or a literal worked by hand, says that the file holds."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.prepare import streams
from lodestar.prepare.passages import CODE_LIMIT, KIB, TEXT_LIMIT, cut, passage_limit
from lodestar.prepare.readers import Raw, _json, read
from lodestar.prepare.sources import SourceFile

ROWS = [{"text": 'a "quoted", one\nof two lines', "label": "1"}, {"text": "你好，世界", "label": "0"}]


def records(file, columns=None, lone=False):
    return list(read(file, columns or {}, lone=lone, advance=lambda _: None))


def read_one(files, name, **options):
    [file] = files(name)
    return records(file, **options)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_json_lines_whole_and_compressed(write, files, suffix, compress):
    path = write(f"a.jsonl{suffix}", compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    assert read_one(files, path.name) == [Raw(row, f"{path}:{line}") for line, row in enumerate(ROWS, 1)]


def test_frames_of_zstandard_follow_each_other(write, files):
    frame = zstandard.ZstdCompressor().compress
    write("a.txt.zst", frame(b"one ") + frame(b"") + frame(b"two"))
    assert [raw.fields for raw in read_one(files, "a.txt.zst")] == [{"text": "one two"}]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("fault", ["cut off", "not compressed", "flipped"])
def test_a_damaged_compressed_file_is_refused(write, files, suffix, fault):
    compress: Any = {
        ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
        ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    }[suffix]  # fmt: skip
    whole = compress(os.urandom(5000).hex().encode())
    middle = len(whole) // 2
    damaged = {
        "cut off": whole[:-20],
        "not compressed": b"this is plain text, said to be compressed",
        "flipped": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 40]) + whole[middle + 40 :],
    }[fault]
    write(f"a.txt{suffix}", damaged)
    with pytest.raises(UserError, match=rf"a\.txt{suffix}: the compressed file is damaged \(.+\); fetch or compress it again"):
        read_one(files, f"a.txt{suffix}")


# JSON


@given(st.lists(st.dictionaries(st.text(max_size=5), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6,
)), max_size=6), st.sampled_from([None, 1]), st.booleans(), st.integers(3, 30))  # fmt: skip
def test_an_array_is_what_json_reads_however_the_window_falls(rows, indent, ascii_only, chunk):
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    file = SourceFile(Path("x.json"), "x.json", "json", "", "x.json", None, True)
    usual, streams.CHUNK = streams.CHUNK, chunk
    try:
        found = list(_json(io.BytesIO(text.encode("utf-8", "surrogatepass")), file, {}, False))
    finally:
        streams.CHUNK = usual
    assert [raw.fields for raw in found] == json.loads(text)
    if indent:
        lines = [number for number, line in enumerate(text.split("\n"), 1) if line.startswith(" {")]
        assert [raw.where for raw in found] == [f"x.json:{number}" for number in lines]


def test_a_json_file_of_objects_is_read_as_lines(write, files):
    path = write("a.json", '\ufeff{"text": "a"}\n\n{"text": "b"}')
    assert read_one(files, "a.json") == [Raw({"text": "a"}, f"{path}:1"), Raw({"text": "b"}, f"{path}:3")]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": }\n', r"a\.jsonl:2: bad JSON: expecting value, column 10; correct the record"),
        ("a.jsonl", '{"text": "a"}\n[1]\n', r"a\.jsonl:2: expected an object with fields, found list"),
        ("a.jsonl", '{"text": NaN}\n', r"a\.jsonl:1: bad JSON: NaN is no JSON value"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl:1: bad JSON: nested too deeply"),
        ("a.json", '[{"text": "a"},\n {"text": b}\n]', r"a\.json:2: bad JSON: expecting value at b}"),
        ("a.json", '[{"text": "a"}\n {"text": "b"}]', r"a\.json:2: bad JSON: expected , or \] but found \{"),
        ("a.json", '[{"text": "a"},\n', r"a\.json:2: bad JSON: expecting value at the end"),
        ("a.json", '[{"text": "a', r"a\.json:1: bad JSON: unterminated string"),
        ("a.json", '[{"text": "a"}', r"a\.json:1: bad JSON: expected , or \] but found the end"),
        ("a.json", '[{"text": "a"}]\n[]', r"a\.json:2: bad JSON: something stands after the array"),
        ("a.json", '["a"]', r"a\.json:1: expected an object with fields, found str"),
        ("a.json", '"a"', r"a\.json:1: expected an array of records"),
        ("a.json", '[{"text": ' + "9" * 5000 + "}]", r"a\.json:1: bad JSON: .*digits"),
    ],
)  # fmt: skip
def test_bad_json_is_refused_with_its_line(write, files, name, content, sentence):
    write(name, content)
    with pytest.raises(UserError, match=sentence):
        read_one(files, name)


# Bytes that are no UTF-8


@pytest.mark.parametrize(
    ("name", "before"), [("a.jsonl", '{"text": "你好"}\n'), ("a.csv", "text\n"), ("a.txt", "你\n"), ("a.json", '[{"text": "好"},\n')]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bytes_that_are_no_utf8_are_told_by_offset_and_line(write, files, name, before, mark):
    content = mark + before.encode() + b'{"text": "caf\xe9"}\n'
    path = write(name, content)
    with pytest.raises(UserError) as caught:
        read_one(files, name)
    offset = content.index(0xE9, len(mark) + len(before.encode()))
    assert str(caught.value).startswith(f"{path}:2: not UTF-8 at byte {offset}; save the file")


def test_utf16_and_characters_cut_off_at_the_end_are_told(write, files):
    write("a.txt", "text".encode("utf-16"))
    with pytest.raises(UserError, match=r"not UTF-8 at byte 0; .*looks like UTF-16"):
        read_one(files, "a.txt")
    for name, content in (("b.txt", "ab你"), ("b.jsonl", "ab你"), ("b.json", '{"你')):
        whole = content.encode()
        write(name, whole[:-1])
        with pytest.raises(UserError, match=f"{name}:1: not UTF-8 at byte {len(whole) - 3}"):
            read_one(files, name)


def test_the_offset_is_right_far_into_a_file(write, files):
    line = '{"text": "' + "好" * 100 + '"}\n'
    count = 3 * TEXT_LIMIT // len(line.encode())
    for name in ("a.jsonl", "a.txt"):
        write(name, (line * count).encode() + b"ok \xff")
        with pytest.raises(UserError, match=f"{name}:{count + 1}: not UTF-8 at byte {len(line.encode()) * count + 3}"):
            read_one(files, name)


# Tables


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_what_the_csv_module_wrote(write, files, delimiter):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["text", "label"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS * 2)
    path = write("a.csv", buffer.getvalue())
    found = read_one(files, "a.csv")
    assert [raw.fields for raw in found] == ROWS * 2
    assert [raw.where for raw in found] == [f"{path}:{line}" for line in (2, 4, 5, 7)], "the line that each record begins on"


def test_numbered_columns_say_that_there_is_no_header(write, files):
    write("a.tsv", 'say "hi"\t你好\n"open\t打开\n')
    found = read_one(files, "a.tsv", columns={"text": "1", "label": "0"})
    assert [raw.fields for raw in found] == [{"0": 'say "hi"', "1": "你好"}, {"0": '"open', "1": "打开"}], "quotes mean themselves in TSV"


def test_a_field_may_be_long(write, files):
    write("a.csv", "text\n" + "x" * 300_000 + "\n")
    assert len(read_one(files, "a.csv")[0].fields["text"]) == 300_000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text,label\na,b\n\nc\n", r"a\.csv:4: 1 fields where the first row has 2"),
        ("text,label\na,b,c\n", r"a\.csv:2: 3 fields where the first row has 2"),
        ('text\n"a" b\n', r"a\.csv:2: a bad row"),
        ('text\nok\n"never closed\nmore\nmore\n', r"a\.csv:3: a bad row"),
        ("text,text\na,b\n", r"a\.csv:1: two columns are named 'text'"),
    ],
)
def test_bad_tables_are_refused_with_their_line(write, files, content, sentence):
    write("a.csv", content)
    with pytest.raises(UserError, match=sentence):
        read_one(files, "a.csv")


def test_parquet_rows(write, files, tmp_path):
    rows = [{"text": f"行 {number}", "label": number, "tags": ["a"] * (number % 3)} for number in range(1000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=300)
    found = read_one(files, "a.parquet")
    assert [raw.fields for raw in found] == rows
    assert found[299].where == f"{tmp_path / 'a.parquet'}: row 300"
    write("b.parquet", b"PAR1 this is none")
    with pytest.raises(UserError, match=r"b\.parquet: not a Parquet file that can be read"):
        read_one(files, "b.parquet")


# Plain text


@given(st.text(st.sampled_from("ab 好\n\r"), max_size=300), st.integers(4, 60))
def test_passages_are_the_text_cut_at_its_best_places(text, limit):
    data = text.encode()
    passages = list(cut(io.BytesIO(data).read, limit))
    assert b"".join(passages) == data
    assert all(0 < len(passage) <= limit for passage in passages)
    for passage in passages:
        passage.decode()
    for passage, following in itertools.pairwise(passages):
        window = (passage + following)[:limit]
        if b"\n\n" in window[limit // 2 :]:
            assert passage.endswith((b"\n\n", b"\n\r\n"))
        elif b"\n" in window[limit // 2 :] and b"\r\n\r\n" not in window:
            assert passage.endswith(b"\n")


def test_how_large_a_record_of_plain_text_is():
    assert passage_limit(code=True, lone=False, size=10**9) == CODE_LIMIT
    assert passage_limit(code=False, lone=False, size=10**9) == TEXT_LIMIT
    assert passage_limit(code=False, lone=True, size=10**9) == TEXT_LIMIT
    assert passage_limit(code=False, lone=True, size=1_115_394) == 8714, "128 passages of a text of a megabyte"
    assert passage_limit(code=False, lone=True, size=50) == KIB


def test_a_long_text_is_cut_and_each_passage_knows_its_line(write, files):
    paragraph = "word " * 100 + "\n\n"
    write("a.txt", paragraph * 500)
    found = read_one(files, "a.txt")
    assert "".join(raw.fields["text"] for raw in found) == paragraph * 500
    assert [raw.path for raw in found] == ["a.txt", "a.txt#2", "a.txt#3", "a.txt#4"]
    assert [int(raw.where.rsplit(":", 1)[1]) for raw in found] == [
        1 + 2 * sum(earlier.fields["text"].count("\n\n") for earlier in found[:index]) for index in range(4)
    ]


def test_code_stays_whole_and_line_ends_become_one_kind(write, files):
    source = "x = 1\r\n" * 20_000
    write("a.py", source)
    assert [raw.fields["text"] for raw in read_one(files, "a.py")] == [source.replace("\r\n", "\n")]


# Files


def test_an_empty_file_is_refused_where_it_is_named_and_passed_over_in_a_folder(write, files):
    write("data/a.py", "")
    write("data/b.py", "x")
    assert [len(records(file)) for file in files("data")] == [0, 1]
    with pytest.raises(UserError, match=r"a\.py: the file is empty; give a file with records"):
        read_one(files, "data/a.py")


def test_an_unreadable_file_is_refused(tmp_path, files):
    (tmp_path / "a.txt").symlink_to("a.txt")  # a loop, which not even root can read
    with pytest.raises(UserError, match=r"a\.txt: cannot be read \(Too many levels of symbolic links\); check the file"):
        read_one(files, "a.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_refused(write, files):
    write("a.txt", "x").chmod(0)
    with pytest.raises(UserError, match=r"a\.txt: cannot be read \(Permission denied\)"):
        read_one(files, "a.txt")
