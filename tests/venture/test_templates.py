"""Every founders' template, found by listing: it reads in both languages, holds together, can be prepared, judges on nothing it taught."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lodestar import tasks
from lodestar.cli.main import main
from lodestar.contracts.errors import UserError
from lodestar.contracts.language import Words
from lodestar.venture import templates
from lodestar.venture.grammar import SPLIT_FILES, SPLITS, blocks, dealt, filled, fillings, said, slots_of
from lodestar.venture.scaffold import create
from lodestar.venture.templates import clinical_deidentifier as clinical
from lodestar.venture.vision import load_venture_file

DOCS = Path(__file__).parents[2] / "docs"
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
    told = [found.words, *words_in(found.venture)]
    for words in told:
        assert HAN.search(words.zh), words
        assert not HAN.search(words.en), words
    assert {"statement", "audience", "north_star", "targets", "values", "red_lines", "budget", "licence"} <= found.venture.keys()
    for words in (*found.venture["values"], *found.venture["red_lines"]):
        assert not re.search("[;；]", words.en + words.zh), "where an interview takes a list apart"
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
    brief = html.unescape((tmp_path / "new" / "brief.html").read_text("utf-8"))
    assert all(line in brief for line in [*file.red_lines, *file.values])


@pytest.mark.parametrize("name", WITH_SPLITS)
def test_the_sample_can_be_prepared_and_judges_on_nothing_that_it_taught(tmp_path, capsys, name):
    folder, venture = tmp_path / "new", templates.find(name).venture
    kind = tasks.find(venture["task"])
    task = kind(venture.get("options"), {"directions": [["en", "zh"], ["zh", "en"]]})  # which a translator needs to be asked
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


def test_sentences_are_dealt_and_filled():
    import numpy as np

    lists = blocks("# thing\na lamp | 台灯\na boat | 船\na door | 门\n\n# colour\nred | 红\ngreen | 绿")
    assert lists == {
        "thing": [Words("a lamp", "台灯"), Words("a boat", "船"), Words("a door", "门")],
        "colour": [Words("red", "红"), Words("green", "绿")],
    }
    assert [dealt("abcdefghij", split) for split in SPLITS] == [list("acefhj"), ["b", "g"], ["d", "i"]]
    assert slots_of("{thing} is {colour}, {thing}.") == ["thing", "colour"]
    every = fillings(["colour", "thing"], lists, 100, np.random.default_rng(0))
    assert {filled("{thing} is {colour}", values, "en") for values in every} == {
        "A lamp is red", "A boat is red", "A door is red", "A lamp is green", "A boat is green", "A door is green",
    }  # fmt: skip
    assert len(every) == 6
    assert len(fillings(["colour", "thing"], lists, 4, np.random.default_rng(0))) == 4
    assert fillings([], lists, 4, np.random.default_rng(0)) == [{}]
    slots = {**lists, "opening": [Words("Look!", "看，")]}
    copies = dict.fromkeys(SPLITS, 1)
    (english, chinese, *_) = said([Words("It is {colour}.", "它是{colour}的。")], slots, copies, np.random.default_rng(0))
    assert english in {("train", "en", "Look! It is red."), ("train", "en", "Look! It is green.")}
    assert chinese in {("train", "zh", "看，它是红的。"), ("train", "zh", "看，它是绿的。")}


def identifiers_in(text: str) -> dict[str, list[str]]:
    """By another way than the sample is made: names and places by their words, dates, telephones and numbers by their shape."""
    parts = {name: "|".join(part for words in each for part in words if part) for name, each in blocks(clinical.PARTS).items()}
    shapes = {
        "phone": r"0\d{3} 555 \d{4}|0571-\d{8}",
        "date": rf"\d{{1,2}}/\d{{1,2}}/20\d\d|\d{{1,2}} (?:{'|'.join(clinical.MONTHS)}) 20\d\d|(?:20\d\d年)?\d{{1,2}}月\d{{1,2}}日",
        "place": rf"(?:\d+ )?(?:{parts['quarter']}) ?(?:{parts['street']}|{parts['house']})(?:\d+号)?",
        "number": r"\d{3}-\d{3}|\d{7}",
        "name": rf"(?:{parts['given']})(?:{parts['given end']}) (?:{parts['family']})(?:{parts['family end']})"
        rf"|(?:{parts['surname']})(?:{parts['given']})(?:{parts['given end']})",
    }
    found = {}
    for kind, shape in shapes.items():
        found[kind] = re.findall(shape, text)
        text = re.sub(shape, "", text)  # a telephone holds what looks like a number
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("split", SPLITS)
def test_the_notes_say_themselves_what_points_at_a_patient(split, language):
    for note in clinical.notes(split, language):
        found = {clinical.KINDS[kind].in_language(language): each for kind, each in identifiers_in(note.text).items()}
        for kind, each in found.items():
            assert sorted(each) == sorted(identifier for of, identifier in note.identifiers if of == kind), note.text
        assert not any(identifiers_in(note.clean).values())


def guide_code() -> dict[str, Any]:
    """What the guide's Python block defines, the same in both languages."""
    english, chinese = (
        re.findall(r"^```python\n(.*?)^```", (DOCS / f"templates{ending}").read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for ending in (".md", ".zh.md")
    )
    assert english == chinese
    names: dict[str, Any] = {}
    exec(english[0], names)
    return names


def test_the_guides_client_masks_all_that_it_is_told_of_and_stops():
    names = guide_code()
    words = {kind.en: name for name, kind in clinical.KINDS.items()}
    assert set(names["KINDS"]) == set(words)

    def ask(kind: str, note: str) -> dict[str, Any]:
        found = identifiers_in(note)[words[kind]]
        start = note.index(found[0]) if found else None
        return {"answer": found[0] if found else None, "start": start, "end": start + len(found[0]) if start is not None else None}

    names["ask"] = ask
    for note in clinical.notes("test", "en"):
        masked = names["masked"](note.text)
        assert not any(identifiers_in(masked).values())
        assert note.clean in masked
        assert sum(masked.count(f"[{kind}]") for kind in words) == len(note.identifiers)
    asked: list[str] = []

    def find_for_ever(kind: str, note: str) -> dict[str, Any]:
        asked.append(kind)
        return {"answer": note[0], "start": 0, "end": 1}

    names["ask"] = find_for_ever
    names["masked"]("Mr Abbott")
    assert len(asked) == 20 * len(words)


def test_a_template_leaves_a_full_folder_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    found = templates.find("support-classifier")
    with pytest.raises(UserError, match="the folder is not empty"):
        create(tmp_path, "x", found.venture, found.files())
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
