"""venture.yaml: each mistake is one sentence with its line, before anything is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.venture.vision import VentureFile, check, load_venture_file, schema
from lodestar.venture.yaml_file import read_yaml

TEXT = """\
name: 听风者
statement: Every shop hears its customers.
audience: owners
north_star: accuracy
task: classification
data:
  sources: [a.jsonl]
  deduplicate: no
targets:
  - metric: accuracy
    at_least: 8e-1
    by: 2099-01-31
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "venture.yaml"


def mistake(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load_venture_file(path)
    return str(caught.value).replace(str(path.parent), "HERE")


def test_a_good_file_is_read_and_words_mean_what_they_look_like(path):
    path.write_text(TEXT)
    file = load_venture_file(path)
    assert file.name == "听风者"
    assert file.data.deduplicate == "no", "in YAML 1.1 a bare no is false"
    assert file.targets[0].by == "2099-01-31", "in YAML 1.1 a bare date is not text"
    assert file.targets[0].at_least == 0.8


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True), ("yes", "yes"), ("off", "off"), ("12", 12), ("-1_000", -1000), ("1.5", 1.5), ("1e-3", 0.001),
        ("2.5E+2", 250.0), (".5", 0.5), ("12:30", "12:30"), ("null", None), ("~", None), ("0777", "0777"), ("1.2.3", "1.2.3"), ("'1'", "1"),
        ("2026-01-31", "2026-01-31"),
        ("e5", "e5"), ("-.inf", float("-inf")), ("1_0.5", 10.5),
    ],
)  # fmt: skip
def test_scalars_are_read_as_in_yaml_1_2(path, scalar, value):
    path.write_text(f"x: {scalar}\n")
    found = read_yaml(path)[0]["x"]
    assert found == value
    assert type(found) is type(value)


def test_missing_is_one_sentence_with_the_command_to_run(path):
    with pytest.raises(UserError, match=r"no venture.yaml here; run `lodestar new"):
        load_venture_file(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("name: 听风者\n", ""), "HERE/venture.yaml:1: the field 'name' is missing; add it."),
        (("audience:", "audeince:"), "HERE/venture.yaml:3: unknown field 'audeince'; did you mean 'audience'."),
        (("  sources: [", "  sorces: ["), "HERE/venture.yaml:7: unknown field 'data.sorces'; did you mean 'sources'."),
        (("    by:", "    buy:"), "HERE/venture.yaml:12: unknown field 'targets.0.buy'; did you mean 'by'."),
        (("8e-1", "high"), "HERE/venture.yaml:11: the field 'targets.0.at_least' is 'high': input should be a valid number"),
        (("[a.jsonl]", "a.jsonl"), "HERE/venture.yaml:7: the field 'data.sources' is 'a.jsonl': input should be a valid list"),
        (("deduplicate: no", "deduplicate: maybe"), "HERE/venture.yaml:8: the field 'data.deduplicate' is 'maybe': input should be"),
        (("at_least: 8e-1", "why: so"), "HERE/venture.yaml:10: in 'targets.0': the target on 'accuracy' needs exactly one of"),
        (("name:", "name: [a\n b:"), "HERE/venture.yaml:"),
        (("audience: owners", "name: again"), "HERE/venture.yaml:3: the field 'name' is given twice, first on line 1; keep one of them."),
        (("    by: 2099-01-31", "\tby: x"), "HERE/venture.yaml:12: this is not YAML: found character '\\t'"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence_with_its_line(path, change, sentence):
    assert change[0] in TEXT
    found = mistake(path, TEXT.replace(*change))
    assert sentence in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n", "expected a mapping of fields, found list"),
        (b"name: caf\xe9", "not UTF-8 at byte 9; save the file as UTF-8"),
        ("a: 1\nname: \x07", ":2: the character '\\x07' is not allowed"),
        ("a: 1\n---\nb: 2\n", "this is not YAML"),
    ],
)
def test_what_is_no_venture_file_is_one_sentence(path, content, sentence):
    found = mistake(path, content)
    assert sentence in found
    assert "\n" not in found


def parsed(changes: dict[str, Any]) -> VentureFile:
    fields = {
        "name": "x",
        "statement": "x",
        "audience": "x",
        "north_star": "accuracy",
        "task": "classification",
        "data": {"sources": ["a"]},
    }
    return VentureFile.parse({**fields, "targets": [{"metric": "accuracy", "at_least": 0.8, "by": "2099-01-31"}], **changes}, where="x")


def test_targets_that_can_be_measured_pass(metrics):
    assert check(parsed({}), metrics) == []


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        (
            [{"metric": "acuracy", "at_least": 0.8}],
            "no metric 'acuracy'; it has accuracy, latency_ms_p95, bits_per_byte; did you mean 'accuracy'",
        ),
        (
            [{"metric": "beauty", "at_least": 0.8}],
            "'classification' has no metric 'beauty'; it has accuracy, latency_ms_p95, bits_per_byte; name one",
        ),
        ([{"metric": "accuracy", "at_most": 0.8}], "targets.0: at_most on 'accuracy', for which higher is better; write at_least instead"),
        ([{"metric": "latency_ms_p95", "at_least": 5}], "at_least on 'latency_ms_p95', for which lower is better; write at_most instead"),
        ([{"metric": "latency_ms_p95", "at_most": 5, "unit": "s"}], "the unit is 's', and 'latency_ms_p95' is measured in ms; convert"),
        ([{"metric": "accuracy", "at_least": 80, "unit": "%"}], "the unit is '%', and 'accuracy' is measured without a unit"),
        ([{"metric": "accuracy", "at_least": 0.8}] * 2, "targets.1: a second target on 'accuracy'"),
        ([{"metric": "accuracy", "at_least": 0.8, "data": "validation"}], "on the 'validation' split, and evaluate.split is 'test'"),
        ([{"metric": "latency_ms_p95", "at_most": 5}], "the north star 'accuracy' is not among the targets; name one of latency_ms_p95"),
    ],
)
def test_a_target_that_no_release_could_be_held_to_is_refused(metrics, targets, sentence):
    with pytest.raises(UserError) as caught:
        check(parsed({"targets": targets}), metrics)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("by", "word"), [("2020-02-30", "is no date"), ("soon", "is no date"), ("2020-01-31", "has passed")])
def test_a_doubtful_date_is_a_warning(metrics, by, word):
    (warning,) = check(parsed({"targets": [{"metric": "accuracy", "at_least": 0.8, "by": by}]}), metrics)
    assert word in warning.en
    assert by in warning.zh


def test_the_schema_describes_every_field_for_editors():
    found = json.loads(json.dumps(schema()))
    assert set(found["properties"]) == set(VentureFile.model_fields)
    assert found["additionalProperties"] is False
    assert all(field.get("description") or "$ref" in field for field in found["properties"].values())
    sizes = found["$defs"]["ModelSettings"]["properties"]["size"]["enum"]
    assert sizes == ["tiny", "small", "medium", "large"]
