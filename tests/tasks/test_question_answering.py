"""What question answering learns from its records, how it refuses, and what it answers to any text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.build.heads import SpanClassifier
from lodestar.build.spans import best_spans
from lodestar.contracts.errors import UserError
from lodestar.contracts.reading import Span
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.squad import answer_scores
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.question_answering import Answer, QuestionAnswering, QuestionOnText


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = [text for example in QuestionAnswering.sample() for text in QuestionAnswering().texts(example)]
    return train_tokenizer(texts, 320, single_characters=True)


def question(answers: Sequence[str], asked: str = "Who?", context: str = "Ada met Bob in York.") -> QuestionOnText:
    return QuestionOnText(question=asked, context=context, answers=[Answer(text=text, start=context.index(text)) for text in answers])


def reader(tokenizer: Tokenizer, context: int = 64) -> SpanClassifier:
    torch.manual_seed(0)
    shape = QuestionAnswering().architecture()
    return SpanClassifier(ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, context, initial_std=0.5, **shape)).eval()


def fitted(*examples: QuestionOnText, **options: Any) -> QuestionAnswering:
    task = QuestionAnswering(options)
    task.fit(examples or [question(["Ada met Bob"]), question([])])
    return task


def test_the_longest_answer_and_whether_there_are_none_are_learnt() -> None:
    assert fitted(question(["Ada", "Ada met Bob"]), question(["Bob"])).state == {"longest_answer": 11, "no_answer": False}
    assert fitted(question(["Bob"]), question([])).may_refuse
    assert not fitted(question(["Bob"]), question([]), no_answer="no").may_refuse
    assert fitted(question(["Bob"]), no_answer="yes", longest_answer=5).longest_answer == 5


def test_questions_without_any_answer_cannot_be_trained_on() -> None:
    with pytest.raises(UserError, match="no training record has an answer; give questions that their texts answer"):
        fitted(question([]), question([]))


def test_an_example_whose_answer_stands_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="the answer 'Bob' does not stand at character 3; correct its start"):
        QuestionOnText(question="Who?", context="Ada met Bob", answers=[Answer(text="Bob", start=3)])


def test_the_answer_is_learnt_where_its_window_holds_it_and_none_elsewhere(tokenizer: Tokenizer) -> None:
    context = "In the end it was red. " * 20 + "Ada met Bob in York. " + "Then it was blue. " * 20
    task = fitted(overlap=10)
    rows = task.rows(question(["Bob in York"], context=context), tokenizer, 64)
    holding = [row for row in rows if row["start"]]
    assert 0 < len(holding) < len(rows)
    for row in rows:
        assert len(row["tokens"]) == len(row["token_types"]) <= 64  # type: ignore[arg-type]
    for row in holding:
        assert tokenizer.decode(row["tokens"][row["start"] : row["end"] + 1]).strip() == "Bob in York"  # type: ignore[index, operator]
    assert all(row["start"] == row["end"] == 0 for row in task.rows(question([], context=context), tokenizer, 64))


def test_an_answer_in_other_words_judges_and_does_not_teach(tokenizer: Tokenizer) -> None:
    example = QuestionOnText(question="Who?", context="Ada met Bob.", answers=[Answer(text="Lady Ada"), Answer(text="Bob", start=8)])
    (row,) = fitted().rows(example, tokenizer, 64)
    assert tokenizer.decode(row["tokens"][row["start"] : row["end"] + 1]).strip() == "Bob"  # type: ignore[index, operator]


def test_a_question_that_nothing_fits_beside_is_one_row_too_long_to_be_learnt(tokenizer: Tokenizer) -> None:
    example = question(["Bob"], asked="Why so? " * 60)
    (row,) = fitted().rows(example, tokenizer, 64)
    assert len(row["tokens"]) > 64  # type: ignore[arg-type]
    columns = fitted().measure(reader(tokenizer), tokenizer, [example, question(["Bob"])])
    assert columns["answered"][0] == 0


def test_the_threshold_is_the_best_on_the_validation_records(tokenizer: Tokenizer) -> None:
    """Against every threshold between two margins, each put to the task; and an answer says so itself where there is none."""
    model, task = reader(tokenizer), fitted()
    names = ["Ada", "Bob", "York", "met"]
    examples = [question([] if number % 2 else [names[number % 4]], asked=f"Who {number}?") for number in range(12)]
    task.calibrate(model, tokenizer, examples)
    chosen = float(task.measure(model, tokenizer, examples)["f1"].mean())
    margins = sorted(span.null_score - span.score for span in task._spans(model, tokenizer, examples) if span is not None)
    for threshold in [margins[0] - 1, *np.mean([margins[1:], margins[:-1]], axis=0), margins[-1] + 1]:
        other = QuestionAnswering(state={**task.state, "threshold": float(threshold)})
        assert other.measure(model, tokenizer, examples)["f1"].mean() <= chosen + 1e-9
    silent = QuestionAnswering(state={**task.state, "threshold": margins[0] - 1})
    told = silent.answer(model, tokenizer, silent.request(examples[0]))
    assert (told["answer"], told["start"], told["end"]) == (None, None, None)
    assert 0.5 < told["score"] < 1
    assert QuestionAnswering({"no_answer": "no"}, silent.state).answer(model, tokenizer, silent.request(examples[0]))["answer"]
    (span,) = best_spans(model, tokenizer, examples[0].question, [examples[0].context], longest_answer=11)
    there = QuestionAnswering(state={**task.state, "threshold": span.null_score - span.score})  # as likely as not
    assert there.answer(model, tokenizer, there.request(examples[0]))["score"] == pytest.approx(0.5)


def test_the_threshold_stays_where_every_validation_question_has_an_answer(tokenizer: Tokenizer) -> None:
    task = fitted()
    task.calibrate(reader(tokenizer), tokenizer, [question(["Ada"])])
    assert "threshold" not in task.state


def test_the_baseline_is_the_span_with_the_question_s_words_around_it() -> None:
    train = [question(["Ada"]), question(["Bob"]), question(["天"], context="天黑了。")]
    asked = question(
        ["1843"], asked="In what year did Ada write the notes?", context="Bob lived in 1799 and sang. In the year 1843 Ada wrote notes."
    )
    name, columns = fitted().baseline(train, [asked, question([], asked="?")])
    assert name == "the words nearest to the question's"
    assert columns["f1"].tolist() == [1, 0]
    assert fitted().baseline([question([]), question([]), question(["Ada"])], [question([])])[1]["exact"].tolist() == [1]


def test_lists_are_answered_pair_by_pair(tokenizer: Tokenizer) -> None:
    model, task = reader(tokenizer), fitted(no_answer="no")
    questions, contexts = ["Who?", "谁？"], ["Ada met Bob.", "雨停了，天晴了。" * 20]
    together = task.answer(model, tokenizer, {"question": questions, "context": contexts})["results"]
    for asked, context, result in zip(questions, contexts, together, strict=True):
        alone = task.answer(model, tokenizer, {"question": asked, "context": context})
        assert {**alone, "score": pytest.approx(alone["score"], abs=1e-6), "usage": None} == {**result, "usage": None}
        assert result["answer"] == context[result["start"] : result["end"]]
    assert together[1]["windows"] > 1
    one = task.answer(model, tokenizer, {"question": "Who?", "context": contexts})["results"]
    assert (one[0]["start"], one[0]["end"]) == (together[0]["start"], together[0]["end"])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"context": "c"}, "the field 'question' is missing"),
        ({"question": "?"}, "the field 'context' is missing"),
        ({"question": "?", "text": "c"}, "unknown field 'text'"),
        ({"question": " \n", "context": "c"}, "the question is blank; write one"),
        ({"question": "?", "context": "\u2003"}, "the context is blank"),
        ({"question": ["?", "?"], "context": ["c"]}, "2 questions and 1 contexts are no pairs"),
        ({"question": [], "context": "c"}, "the list of questions is empty; send at least one"),
        ({"question": "?", "context": "\ud83d"}, "half of a surrogate pair"),
        ({"question": "Why so? " * 60, "context": "c"}, "beside a text the model reads at most 53; shorten it"),
    ],
)
def test_requests_that_ask_nothing_are_refused(tokenizer: Tokenizer, request_: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted().answer(reader(tokenizer), tokenizer, request_)


def test_what_was_read_is_the_window_that_the_answer_stands_in(tokenizer: Tokenizer) -> None:
    task, model = fitted(no_answer="no", overlap=8), reader(tokenizer)
    request = {"question": "Who?", "context": "Then it was blue. " * 20 + "Ada met Bob in York."}
    told = task.answer(model, tokenizer, request)
    for output, answer in ((None, told["answer"]), ("Bob in York", "Bob in York")):
        read = task.reading(model, tokenizer, request, output)
        assert isinstance(read.asked, Span)
        assert read.answer == answer == tokenizer.decode(read.tokens[read.asked.start : read.asked.end]).strip()
        assert len(read.tokens) == len(read.token_types) <= 64
    silent = QuestionAnswering({"no_answer": "yes"}, {**task.state, "threshold": -1e9})
    assert silent.reading(model, tokenizer, request).asked == Span(0, 1)
    for asked, output, message in (
        (request, "Eve", "the output 'Eve' does not stand in the context"),
        (request, request["context"], "no window of 64 tokens holds the whole answer"),
        ({**request, "question": ["a", "b"]}, None, "several questions were sent"),
    ):
        with pytest.raises(UserError, match=message):
            task.reading(model, tokenizer, asked, output)


PIECES = ["\u200b", "\u202e", "مرحبا ", "😀", "e\u0301", "汉字", " the ", "\x00", "שלום", "<|endoftext|>"]
STRANGE = st.one_of(st.text(min_size=1, max_size=80), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@settings(max_examples=40, deadline=None)
@given(asked=STRANGE, context=STRANGE)
def test_any_text_is_answered_with_its_own_words_or_refused(tokenizer: Tokenizer, asked: str, context: str) -> None:
    task, model = fitted(no_answer="no"), reader(tokenizer, 256)
    try:
        told = task.answer(model, tokenizer, {"question": asked, "context": context})
    except UserError:
        assert not asked.strip() or not context.strip() or len(tokenizer.encode(asked)) > 200
        return
    assert told["answer"] == context[told["start"] : told["end"]] != ""
    assert answer_scores(told["answer"], [told["answer"]], context)[0] == 1


def test_a_hundred_thousand_characters_are_all_read(tokenizer: Tokenizer) -> None:
    context = ("灯塔 lighthouse 😀 مرحبا\u200b " * 4000)[:100_000]
    told = fitted(no_answer="no").answer(reader(tokenizer, 1024), tokenizer, {"question": "Who?", "context": context})
    tokens = len(tokenizer.encode(context))
    assert told["windows"] >= tokens // 1024 > 50
    assert told["usage"]["prompt_tokens"] == tokens + len(tokenizer.encode("Who?"))
    assert told["answer"] == context[told["start"] : told["end"]]
