"""The last stage of training on a small venture, as a user runs it: replies that are checked, for arithmetic and for code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.cli.main import main
from lodestar.contracts.errors import UserError
from lodestar.prepare.readers import Raw
from lodestar.prepare.records import Validator
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.chat import Chat, Conversation
from lodestar.tasks.code_generation import CodeGeneration, Module

REWARD = {
    "rounds": 4, "prompts": 4, "group": 4, "max_tokens": 12, "learning_rate": 0.003, "micro_batch": 16, "temperature": 0.8
}  # fmt: skip


def sums(count: int = 60) -> list[dict[str, Any]]:
    return [{"prompt": f"{n % 9} + {n // 9} =", "completion": f"{n % 9 + n // 9}", "answer": n % 9 + n // 9} for n in range(count)]


def doubles(count: int = 60) -> list[dict[str, Any]]:
    """Functions that add a number, of which the model sees the name and the argument."""
    return [
        {
            "prompt": f"def add_{n}(x):\n", "text": f"def add_{n}(x):\n    return x + {n}\n",
            "tests": [f"assert add_{n}(1) == {n + 1}", f"assert add_{n}(-{n}) == 0"],
        }
        for n in range(count)
    ]  # fmt: skip


def make_venture(folder: Path, task: str, records: list[dict[str, Any]], **changes: Any) -> Path:
    folder.mkdir()
    (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    venture = {
        "name": "sums",
        "statement": "Adds.",
        "audience": "testers",
        "north_star": "bits_per_byte",
        "task": task,
        "data": {"sources": ["data.jsonl"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 96, "overrides": {"depth": 1, "width": 32, "heads": 1}},
        "train": {"tokens": 6_000, "learning_rate": 0.01},
        "evaluate": {"resamples": 100},
        "reward": REWARD,
        "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture | changes), "utf-8")
    return folder


def run(venture: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    code = main(["run", "--venture", str(venture), "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out), printed.err


@pytest.mark.slow
def test_a_chat_model_learns_from_right_sums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venture = make_venture(tmp_path / "sums", "chat", sums())
    steps, told = run(venture, capsys)
    final, folder = steps["train"]["record"], Path(steps["train"]["folder"])
    assert final["config"]["task"]["reward"]["rounds"] == 4
    records = {path.parent: json.loads(path.read_text()) for path in venture.glob("runs/train-*/record.json")}
    assert sorted(record["id"] for record in records.values()) == sorted([final["id"], final["inputs"]["model"]])
    assert steps["evaluate"]["record"]["inputs"]["model"] == final["id"]
    assert "records of the train data are problems." in told
    assert "held-out problems, the model's likeliest reply is right in" in told
    rounds = json.loads((folder / "rounds.json").read_text())
    assert [set(one) for one in rounds] == [{"reward", "tokens", "finished", "signal"}] * 4
    assert all(step["skipped"] for step in run(venture, capsys)[0].values())
    # What is missing of its end is made again from its last checkpoint but one, to the same bits.
    weights = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "record.json").unlink()
    shutil.rmtree(folder / "model")
    newest = max((folder / "checkpoints").iterdir(), key=lambda place: place.name)
    assert len(list((folder / "checkpoints").iterdir())) > 1
    shutil.rmtree(newest)
    run(venture, capsys)
    assert (folder / "model" / "model.safetensors").read_bytes() == weights
    assert json.loads((folder / "rounds.json").read_text()) == rounds


@pytest.mark.slow
def test_a_program_is_rewarded_by_its_tests_and_an_adapter_is_its_own_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make_venture(tmp_path / "code", "code-generation", doubles(), reward=REWARD | {"rounds": 1, "beta": 0.1, "max_tokens": 24})
    steps, told = run(first, capsys)
    assert "in the last of 1." in told
    base = str(Path(steps["train"]["folder"]) / "model")
    changes: dict[str, Any] = {"model": {"base": base}, "adapter": {"rank": 2}, "train": {"tokens": 512}}
    reward = REWARD | {"rounds": 2, "beta": 0.1, "partial": True, "max_tokens": 24}
    adapted = make_venture(tmp_path / "adapted", "code-generation", doubles(), reward=reward, **changes)
    record = run(adapted, capsys)[0]["train"]["record"]
    assert record["config"]["task"]["reward"]["partial"] is True
    assert record["facts"]["steps"] == 2


@pytest.mark.parametrize(
    ("task", "records", "changes", "sentence"),
    [
        ("chat", [{"prompt": f"{n}?", "completion": "Yes."} for n in range(40)], {},
         "training records can be checked; add records with answer (a number), or tests, or leave reward out."),
        ("chat", [record | {"answer": -1} for record in sums()], {},
         "records, none holds a solution that passes its own check; correct answer (a number), or tests in the records."),
        ("chat", sums(), {"reward": REWARD | {"max_tokens": 90}},
         "problems fits the context of 96 tokens beside a reply of 90; lower it, or lengthen model.context."),
        ("text-generation", [{"text": f"{n} and {n}"} for n in range(40)], {},
         "venture.yaml: reward: the task text-generation has no replies that can be checked; leave reward out."),
        ("chat", sums(), {"reward": REWARD | {"micro_batch": 3}}, "micro_batch (3) must divide the 16 replies of a step"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from_is_refused_before_anything_is_trained(
    task: str, records: list[dict[str, Any]], changes: dict[str, Any], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venture = make_venture(tmp_path / "sums", task, records, **changes)
    assert main(["run", "--venture", str(venture)]) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(venture.glob("runs/train-*"))


# What the tasks make of a record


def test_an_answer_is_a_number_or_something_else() -> None:
    record = {"prompt": "7 + 5 =", "completion": "It is 12."}
    right: tuple[Any, ...] = (12, "12", "about 12.0")
    wrong: tuple[Any, ...] = ("It is so.", True, None, ["12"])
    for answer in right:
        example = Conversation.model_validate(Conversation.of_record(record | {"answer": answer}))
        assert Chat().rewards(["#### 12", "13", "twelve"], [example.answer] * 3) == [1.0, 0.0, 0.0]
    for answer in wrong:
        assert not Conversation.model_validate(Conversation.of_record(record | {"answer": answer})).answer


def test_a_chat_that_writes_programs_is_held_against_tests() -> None:
    record = {"prompt": "Write f.", "completion": "```py\ndef f():\n    return 1\n```", "tests": ["assert f() == 1"]}
    example = Conversation.model_validate(Conversation.of_record(record))
    replies = ["Here:\n```py\ndef f():\n    return 1\n```", "2", "1"]
    assert Chat().rewards(replies, [example.tests, "2", "2"]) == [1.0, 1.0, 0.0]


def test_a_program_goes_on_from_its_prompt() -> None:
    (record,) = doubles(1)
    example = Module.model_validate(record)
    tokenizer = train_tokenizer([example.text], 270)
    problem = CodeGeneration().problem(example, tokenizer)
    assert problem is not None
    assert tokenizer.decode(problem.prompt) == example.prompt
    assert problem.solution == "    return x + 0\n"
    replies = [problem.solution, "    return 1\n", "    return x +", "    return 0\nadd_0.__eq__ = lambda *_: True\n"]
    assert CodeGeneration().rewards(replies, [problem.expected] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert CodeGeneration().rewards(["    return 1\n"], [problem.expected], partial=True) == [0.5]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": ""}, "x.jsonl:3: there are tests, and prompt is not the beginning of text; give it so"),
        ({"prompt": "def other"}, "x.jsonl:3: there are tests, and prompt is not the beginning of text; give it so"),
        ({"tests": ["assert (1"]}, "x.jsonl:3: test 1 is no Python ("),
        ({"tests": ["assert 1 == 1"]}, "x.jsonl:3: test 1 calls no function of the program; write such as"),
        ({"tests": "assert add_0(0) == 0"}, "x.jsonl:3: the field 'tests' is 'assert add_0(0) == 0'"),
    ],
)
def test_a_record_that_cannot_be_checked_is_refused_with_its_line(change: dict[str, Any], sentence: str) -> None:
    (record,) = doubles(1)
    with pytest.raises(UserError) as refused:
        Validator(Module, {}).example(Raw(record | change, "x.jsonl:3"))
    assert sentence in str(refused.value)
