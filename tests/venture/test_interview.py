"""The interview: its answers come to the venture.yaml that a founder would have written, by the rules of that file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.language import Words
from lodestar.contracts.score import Metric
from lodestar.venture.interview import Interview, Start
from lodestar.venture.interview_words import Question
from lodestar.venture.measurable import measurable
from lodestar.venture.scaffold import create
from lodestar.venture.vision import check, load_venture_file

TEMPLATE: Mapping[str, Any] = {
    "task": "classification",
    "statement": Words("Every message finds its desk.", "每条消息都找到归处。"),
    "audience": Words("a shop", "一家商店"),
    "north_star": "accuracy",
    "data": {"sources": ["data/train.jsonl"], "splits": {"test": ["data/test.jsonl"]}, "test": 0.0, "vocabulary": 400},
    "targets": [
        {"metric": "accuracy", "at_least": 0.5, "why": Words("better than a coin", "胜过抛硬币")},
        {"metric": "latency_ms_p95", "at_most": 200, "unit": "ms"},
    ],
    "licences": {"data/*": "CC0-1.0"},
    "budget": {"amount": 500, "currency": "USD", "per_hour": 0.5, "hours": 200},
}
FILES = {"data/train.jsonl": "{}\n", "data/test.jsonl": "{}\n"}


@pytest.fixture
def begin(metrics: dict[str, Metric], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    size = Metric("memory_bytes", Words("Memory.", "内存。"), "bytes", "lower", lambda columns: 0.0)
    start = Start(Words("Sorts messages.", "分拣消息。"), TEMPLATE, {**metrics, "memory_bytes": size}, FILES)
    starts = {"support": Words("Sorts messages.", "分拣消息。"), "other": Words("Other.", "其他。")}
    return Interview(starts, {"support": start, "other": start}.__getitem__, tmp_path / "new", here=tmp_path)


def after(interview: Interview, *texts: str) -> Interview:
    return interview.answer_all(texts)


def asked(interview: Interview) -> Question:
    assert interview.question is not None
    return interview.question


def key(interview: Interview) -> str:
    return asked(interview).key


def default(interview: Interview) -> str:
    return asked(interview).default


def write(interview: Interview) -> Any:
    """venture.yaml as it is written and read back."""
    assert interview.question is None
    return load_venture_file(create(interview.folder, interview.name, interview.venture(), interview.files()))


def test_empty_answers_come_to_the_template_with_a_date_for_each_promise(begin, metrics):
    interview = after(begin, "Listener", "support", *[""] * 16)
    assert [question.key for question in interview.asked()] == [
        "name", "start", "statement", "audience", "north_star",
        "targets.0.threshold", "targets.0.by", "targets.0.why", "targets.1.metric", "targets.1.threshold", "targets.1.by", "targets.1.why",
        "targets.2.metric", "values", "red_lines", "budget", "budget.per_hour", "team", "data.sources",
    ][:18]  # fmt: skip
    file = write(interview.answer(""))
    plain = load_venture_file(create(begin.folder.with_name("plain"), "Listener", TEMPLATE, FILES))
    assert file.model_dump(exclude={"budget"}) == plain.model_dump(exclude={"budget"})
    assert (file.budget.amount, file.budget.currency, file.budget.per_hour) == (500, "USD", 0.5)
    assert all(target.by for target in file.targets)
    assert check(file, metrics) == []
    measurable(file, metrics)
    assert (begin.folder / "data/test.jsonl").read_text() == "{}\n"


def test_each_answer_stands_in_the_file(begin, tmp_path):
    (tmp_path / "mine").mkdir()
    interview = after(
        begin, "听风者", "1", "Every shop hears its customers.", "owners of small shops", "latency_ms_p95",
        "0.3 s", "2099-01-31", "while one waits", "memory_bytes", "<= 1.5 GB", "", "-", "accuracy", "≥ ０.９", "2099-06-30", "-", "-",
        "Measure first; In doubt, a person decides.", "Never rank people；Never sell data", "50,000 cny", "3 CNY",
        "Ada: model; 小林（数据）; Kim", "mine",
    )  # fmt: skip
    file = write(interview)
    assert (file.name, file.statement, file.audience) == ("听风者", "Every shop hears its customers.", "owners of small shops")
    assert file.north_star == "latency_ms_p95"
    assert [target.model_dump(exclude_defaults=True) for target in file.targets] == [
        {"metric": "latency_ms_p95", "at_most": 300.0, "unit": "ms", "by": "2099-01-31", "why": "while one waits"},
        {"metric": "memory_bytes", "at_most": 1.5e9, "unit": "bytes", "by": "2099-01-31"},
        {"metric": "accuracy", "at_least": 0.9, "by": "2099-06-30"},
    ]
    assert file.values == ["Measure first", "In doubt, a person decides."]
    assert file.red_lines == ["Never rank people", "Never sell data"]
    assert file.budget.model_dump(exclude_none=True) == {"amount": 50_000.0, "currency": "CNY", "per_hour": 3.0}
    assert [(member.name, member.role) for member in file.team] == [("Ada", "model"), ("小林", "数据"), ("Kim", "")]
    assert file.data.sources == ["../mine"], "told from the new folder"
    assert file.data.splits == {}
    assert file.data.test == 0.05, "the sample had splits of its own, and other data has none yet"
    assert file.data.vocabulary == 400
    assert file.licences == {}, "they were the sample's"
    assert sorted(path.name for path in begin.folder.iterdir()) == [".gitignore", "venture.schema.json", "venture.yaml"]


def test_none_is_an_answer_and_ends_what_hangs_on_it(begin):
    interview = after(begin, "x", "support", "", "", "", "", "", "-", "-", "-", "-", "-")
    assert key(interview) == "team", "without a budget nothing is asked of its hours"
    file = write(after(interview, "-", ""))
    assert (file.values, file.red_lines, file.budget, file.team) == ([], [], None, [])
    assert [(target.metric, target.why) for target in file.targets] == [("accuracy", "")]


@pytest.mark.parametrize(
    ("before", "text", "sentence"),
    [
        ([], "", "an answer is needed here."),
        ([], "x" * 81, "should have at most 80 characters"),
        (["x"], "suport", "'suport' is no choice here; did you mean 'support'."),
        (["x"], "3", "'3' is no choice here; give a name or a number of the list."),
        (["x", "1", "", ""], "beauty", "'beauty' is no choice here"),
        (["x", "1", "", "", ""], "high", "'high' is no number; write one, as 0.9."),
        (["x", "1", "", "", ""], "90%", "the unit is '%', and 'accuracy' is measured without a unit"),
        (["x", "1", "", "", ""], "<= 0.9", "at_most on 'accuracy', for which higher is better"),
        (["x", "1", "", "", "", ""], "soon", "'soon' is no date"),
        (["x", "1", "", "", "", ""], "2020-01-31", "its date, 2020-01-31, has passed."),
        (["x", "1", "", "", "", "", "", ""], "accuracy", "'accuracy' is no choice here"),
        (
            ["x", "1", "", "", "", "", "", "", "-", "", ""],
            "a lot",
            "'a lot' is no amount of money; write it with its currency",
        ),
        (["x", "1", "", "", "", "", "", "", "-", "", "", "9 EUR"], "2 USD", "'2 USD' is no amount in EUR; write it as 2 EUR."),
        (
            ["x", "1", "", "", "", "", "", "", "-", "", "", "-", ""],
            "nowhere",
            "nothing is at 'nowhere'; give the path of",
        ),
    ],
)
def test_an_answer_that_cannot_stand_is_one_sentence_and_the_question_stays(begin, before, text, sentence):
    interview = after(begin, *before)
    with pytest.raises(UserError) as caught:
        interview.answer(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(interview.values.values()) == list(after(begin, *before).values.values())


def test_going_back_asks_the_same_again_and_forgets_what_hung_on_it(begin):
    interview = after(begin, "x", "support", "mine", "", "", "0.7")
    assert key(interview) == "targets.0.by"
    again = interview.back().back()
    assert key(again) == "north_star"
    assert key(again.answer("latency_ms_p95")) == "targets.0.threshold"
    assert default(again.answer("latency_ms_p95")) == "200 ms"
    assert begin.back() == begin
    known = begin.know("x").know("support")
    assert (key(known), key(known.back())) == ("statement", "statement"), "what was known before is not asked"
    assert known.answer("a promise").name == "x"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_questions_and_sentences_are_in_the_readers_language(begin, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    interview = after(begin, "x", "support")
    assert default(interview) == TEMPLATE["statement"].in_language(language)
    with pytest.raises(UserError, match="这里需要回答。" if language == "zh" else "an answer is needed here"):
        begin.answer("")
    interview = after(interview, "最好的客服" if language == "zh" else "the best support", *[""] * 16)
    assert interview.question is None
    told = {label.in_language(language): text for label, text in interview.summary()}
    assert told["目标" if language == "zh" else "Targets"].splitlines()[1].startswith("latency_ms_p95 ≤ 200 ms")
    (remark,) = interview.remarks()
    assert ("最好的" if language == "zh" else "the best") in str(remark)


def test_a_question_is_data_for_a_page(begin):
    value = json.loads(json.dumps(asked(after(begin, "x")).to_json()))
    assert value["key"] == "start"
    assert value["choices"][0] == {"name": "support", "words": {"en": "Sorts messages.", "zh": "分拣消息。"}}
    for question in after(begin, "x", "support", *[""] * 16).asked():
        told = question.to_json()
        assert all(told[part]["en"] and told[part]["zh"] for part in ("section", "words", "help"))
    with pytest.raises(UserError, match="answers no question"):
        after(begin, "x", "support", *[""] * 17, "one too many")
