"""A new venture can be read, checked and understood as it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from lodestar import tasks
from lodestar.contracts.errors import UserError
from lodestar.contracts.language import Words
from lodestar.evaluate.system import SYSTEM_METRICS
from lodestar.venture.scaffold import create, folder_name
from lodestar.venture.vision import check, load_venture_file, schema


def told(value, language):
    """A template's value as JSON holds it, with the words of one language."""
    if isinstance(value, Words):
        return {"en": value.en, "zh": value.zh}[language]
    if isinstance(value, Mapping):
        return {key: told(inner, language) for key, inner in value.items()}
    return [told(inner, language) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", tasks.names())
def test_every_template_makes_a_venture_that_holds_together(tmp_path, monkeypatch, task, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    found = tasks.find(task)
    path = create(tmp_path / "new", "听风者: yes", found.template)
    file = load_venture_file(path)
    assert file.name == "听风者: yes"
    assert file.task == task
    assert check(file, {metric.name: metric for metric in (*found.metrics, *SYSTEM_METRICS)}) == []
    for field, value in found.template.items():
        dumped = file.model_dump(mode="json", exclude_unset=True)[field]
        if field == "targets":
            assert {target.pop("by") >= "2026-12-30" for target in dumped} == {True}, "each has a day to begin with"
        assert dumped == told(value, language), f"{field} is as the template has it, in the founder's language"
    assert path.read_text().startswith("# yaml-language-server: $schema=venture.schema.json\n")
    assert ("愿景" in path.read_text()) == (language == "zh")
    assert json.loads((path.parent / "venture.schema.json").read_text()) == schema()


def test_what_is_shown_as_a_comment_is_valid_when_taken_over(tmp_path):
    path = create(tmp_path / "new", "x", tasks.find("text-generation").template)
    lines = path.read_text().splitlines()
    start = lines.index("# ── The team")
    uncommented = [line.removeprefix("# ") for line in lines[start + 1 :]]
    path.write_text("\n".join([*lines[:start], *uncommented]))
    file = load_venture_file(path)
    assert file.team
    assert file.budget
    assert file.licence


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="the folder is not empty"):
        create(tmp_path, "x", tasks.find("text-generation").template)
    with pytest.raises(UserError, match="the folder is not empty"):
        create(tmp_path / "mine.txt", "x", tasks.find("text-generation").template)
    with pytest.raises(UserError, match="needs a name"):
        create(tmp_path / "new", "  ", tasks.find("text-generation").template)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("name", "folder"), [("My Poet", "my-poet"), ("听风者 2", "听风者-2"), ("../../etc", "etc"), ("!!", "venture")])
def test_a_name_becomes_a_folder(name, folder):
    assert folder_name(name) == folder
