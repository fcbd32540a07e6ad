"""Every founders' template, found by listing: it reads in both languages, holds together, can be prepared, judges on nothing it taught."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lodestar import tasks
from lodestar.cli.main import main
from lodestar.contracts.errors import UserError
from lodestar.contracts.language import Words
from lodestar.venture import templates
from lodestar.venture.grammar import SPLIT_FILES, SPLITS, dealt, fillings, slots_of
from lodestar.venture.scaffold import create
from lodestar.venture.vision import load_venture_file

HAN = re.compile("[\u4e00-\u9fff]")
WITH_SPLITS = [name for name in templates.names() if "splits" in templates.find(name).venture["data"]]


def words_in(value: Any) -> Iterator[Words]:
    if isinstance(value, Words):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from words_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from words_in(inner)


@pytest.mark.parametrize("name", templates.names())
def test_all_that_a_founder_reads_is_in_both_languages(name):
    found = templates.find(name)
    said = [found.words, *words_in(found.venture)]
    for words in said:
        assert HAN.search(words.zh), words
        assert not HAN.search(words.en), words
    assert {"statement", "audience", "north_star", "targets", "values", "red_lines", "budget", "licence"} <= found.venture.keys()
    assert all("by" not in target for target in found.venture["targets"]), "the dates are the founder's"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", templates.names())
def test_vision_finds_nothing_to_complain_of(tmp_path, monkeypatch, capsys, name, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    assert main(["new", "Star 星", "--template", name, "--path", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["template"] == name
    assert main(["vision", "--venture", str(tmp_path / "new"), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["warnings"] == []
    assert shown.err == ""
    file, found = load_venture_file(tmp_path / "new" / "venture.yaml"), templates.find(name).venture
    assert file.statement == found["statement"].in_language(language)
    assert file.red_lines == [words.in_language(language) for words in found["red_lines"]]
    assert file.licences == found.get("licences", {})
    brief = (tmp_path / "new" / "brief.html").read_text("utf-8")
    assert all(line in brief for line in [*file.red_lines, *file.values])


@pytest.mark.parametrize("name", WITH_SPLITS)
def test_the_sample_can_be_prepared_and_judges_on_nothing_that_it_taught(tmp_path, capsys, name):
    folder, kind = tmp_path / "new", tasks.find(templates.find(name).venture["task"])
    task = kind(state={"directions": [["en", "zh"], ["zh", "en"]]})  # of a translator; others do without
    assert main(["new", "x", "--template", name, "--path", str(folder)]) == 0
    capsys.readouterr()
    assert main(["prepare", "--venture", str(folder), "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["record"]["facts"]["splits"]
    asked: dict[str, str] = {}
    for split in SPLITS:
        lines = (folder / SPLIT_FILES[split]).read_text("utf-8").splitlines()
        assert splits[split]["records"] == len(lines), "nothing is left out, as a duplicate or as blank"
        for line in lines:
            example = kind.example.model_validate(kind.example.of_record(json.loads(line)))
            for key in (json.dumps(task.request(example)), example.kinship()):
                assert key is None or asked.setdefault(key, split) == split, f"{line} stands in two splits"


def test_the_same_template_is_the_same_to_the_byte_each_time():
    for name in templates.names():
        assert templates.find(name).files() == templates.find(name).files()


def test_templates_are_listed_in_both_languages_and_the_nearest_is_named(tmp_path, monkeypatch, capsys):
    assert main(["templates", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == templates.names()
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    assert main(["templates"]) == 0
    shown = capsys.readouterr().out
    for each in listed:
        assert tasks.find(each["task"]).name == each["task"]
        assert each["words"]["zh"] in shown
    assert main(["new", "x", "--template", "suport-classifier", "--path", str(tmp_path / "new")]) == 2
    assert "did you mean 'support-classifier'?" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="did you mean 'support-classifier'"):
        templates.find("support-classifer")


def test_patterns_are_dealt_and_filled():
    import numpy as np

    assert [split for split, _ in dealt("abcdefg")] == ["train", "validation", "train", "test", "train", "train", "validation"]
    assert slots_of("The {colour} {thing} is {colour}.") == ["colour", "thing"]
    slots = {"colour": ["red", "green"], "thing": ["door", "boat", "lamp"]}
    every = fillings(["colour", "thing"], slots, 100, np.random.default_rng(0))
    assert sorted(tuple(values.values()) for values in every) == [
        ("green", "boat"), ("green", "door"), ("green", "lamp"), ("red", "boat"), ("red", "door"), ("red", "lamp"),
    ]  # fmt: skip
    assert len(fillings(["colour", "thing"], slots, 4, np.random.default_rng(0))) == 4
    assert fillings([], slots, 4, np.random.default_rng(0)) == [{}]


def test_a_template_leaves_a_full_folder_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    found = templates.find("support-classifier")
    with pytest.raises(UserError, match="the folder is not empty"):
        create(tmp_path, "x", found.venture, found.files())
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
