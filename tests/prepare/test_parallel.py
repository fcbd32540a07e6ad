"""Two files whose lines are pairs, and fields that a source's records do not have."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.task import Example
from lodestar.prepare.readers import Raw, read
from lodestar.prepare.records import Validator
from lodestar.prepare.sources import find_sources
from lodestar.prepare.staging import stage


class Pair(Example):
    source: str
    target: str
    source_language: str = ""
    target_language: str = ""


class PairTask:
    example: type[Example] = Pair

    def texts(self, example):
        yield from (example.source, example.target)

    def gather(self, records, shares):
        return None


class Labelled(Example):
    text: str
    label: str


def settings(*sources, **fields):
    return DataSettings.parse({"sources": list(sources), **fields}, where="data")


def pairs(folder: Path, *sources, **fields):
    found = settings(*sources, **fields)
    return [raw for file in find_sources(found, folder).files for raw in read(file, {}, lone=False, advance=lambda count: None)]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, "utf-8")


def test_lines_at_the_same_place_are_a_pair_with_its_languages(tmp_path):
    write(tmp_path, train_en="A dog.\nTwo\u2028cats.\n\nEnd", train_zh="一只狗。\r\n两只\u2028猫。\n空\n终\n")
    found = pairs(tmp_path, "train.{en,zh}")
    assert [(raw.fields["source"], raw.fields["target"]) for raw in found] == [
        ("A dog.", "一只狗。"), ("Two\u2028cats.", "两只\u2028猫。"), ("", "空"), ("End", "终"),
    ]  # fmt: skip
    assert {(raw.fields["source_language"], raw.fields["target_language"]) for raw in found} == {("en", "zh")}
    assert found[1].where == f"{tmp_path / 'train.en'}:2"


def test_compressed_files_are_read_and_either_may_be_at_fault(tmp_path):
    for name in ("en", "de"):
        (tmp_path / f"train.{name}.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert len(pairs(tmp_path, "train.{en,de}.gz")) == 2
    whole = (tmp_path / "train.de.gz").read_bytes()
    (tmp_path / "train.de.gz").write_bytes(whole[:-6])
    with pytest.raises(UserError, match=r"train\.de\.gz: the compressed file is damaged"):
        pairs(tmp_path, "train.{en,de}.gz")


@pytest.mark.parametrize(("first", "second", "sentence"), [
    ("a\nb\nc\n", "a\nb\n", r"train\.de: the file ends after 2 lines, and train\.en goes on; give files whose lines belong together"),
    ("a\n", "a\nb\n", r"train\.en: the file ends after 1 lines, and train\.de goes on"),
])  # fmt: skip
def test_files_of_unequal_lengths_are_refused(tmp_path, first, second, sentence):
    write(tmp_path, train_en=first, train_de=second)
    with pytest.raises(UserError, match=sentence):
        pairs(tmp_path, "train.{en,de}")


def test_a_missing_file_of_the_two_is_named(tmp_path):
    write(tmp_path, train_en="a\n", train_dee="a\n")
    with pytest.raises(UserError, match=r"train\.de: no such file; did you mean train\.dee"):
        find_sources(settings("train.{en,de}"), tmp_path)
    with pytest.raises(UserError, match=r"nowhere.train\.en: no such file; give both files of the pair"):
        find_sources(settings("nowhere/train.{en,de}"), tmp_path)


def staged(folder: Path, task, chosen: DataSettings):
    staging = stage(task, find_sources(chosen, folder), chosen, folder / "staging")
    return [task.example.model_validate_json(line) for line in staging.lines(np.arange(staging.records))]


def test_constants_fill_what_the_records_of_a_source_lack(tmp_path):
    for language, text in (("zh", "Hi.\t嗨。\n"), ("ja", "Hi.\tやあ。\n")):
        (tmp_path / f"en-{language}").mkdir()
        (tmp_path / f"en-{language}" / "train.tsv").write_text(text, "utf-8")
    chosen = settings(
        "en-zh/train.tsv", "en-ja/train.tsv", columns={"source": "0", "target": "1"},
        constants={"*.tsv": {"source_language": "en"}, "en-zh/*": {"target_language": "zh"}, "en-ja/*": {"target_language": "ja"}},
    )  # fmt: skip
    found = staged(tmp_path, PairTask(), chosen)
    assert [(one.source_language, one.target_language) for one in found] == [("en", "zh"), ("en", "ja")]


def test_a_record_s_own_field_wins_and_a_plain_file_can_be_given_a_label():
    validator = Validator(Pair, {"target_language": "lang"})
    given = {"target_language": "zh"}
    row = {"source": "a", "target": "b", "lang": "ja"}
    assert validator.example(Raw(row, "x:1"), given).target_language == "ja"
    assert validator.example(Raw({"source": "a", "target": "b"}, "x:1"), given).target_language == "zh"
    plain = Raw({"text": "fine"}, "good.txt:1", "good.txt")
    assert Validator(Labelled, {}).example(plain, {"label": "good"}) == Labelled(text="fine", label="good")


@pytest.mark.parametrize(("constants", "sentence"), [
    ({"*": {"lable": "x"}}, "data.constants: unknown field 'lable'; did you mean 'label'"),
    ({"*.csv": {"label": "x"}}, r"data\.constants: no source matches '\*\.csv'; write the pattern as the source, or as its path"),
])  # fmt: skip
def test_a_slip_in_the_constants_is_refused(tmp_path, constants, sentence):
    class Labels(PairTask):
        example = Labelled

    (tmp_path / "good.jsonl").write_text('{"text": "fine"}\n', "utf-8")
    with pytest.raises(UserError, match=sentence):
        staged(tmp_path, Labels(), settings("good.jsonl", constants=constants))
