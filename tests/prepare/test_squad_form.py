"""SQuAD's form of questions, in files as they are published: articles unfolded, answers found where they stand, and every fault told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.prepare import open_split, prepare
from lodestar.prepare.readers import Raw, read
from lodestar.prepare.sources import SourceFile
from lodestar.prepare.squad import read_answers
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.question_answering import QuestionAnswering

PARAGRAPH = {
    "context": "Ada wrote it in 1843.",
    "qas": [
        {"id": "q1", "question": "Who wrote it?", "answers": [{"text": "Ada", "answer_start": 0}], "is_impossible": False},
        {
            "id": "q2",
            "question": "Who read it?",
            "answers": [],
            "is_impossible": True,
            "plausible_answers": [{"text": "Ada", "answer_start": 0}],
        },
    ],
}
ARTICLE = {"title": "Notes", "paragraphs": [PARAGRAPH, {"context": "雨停了。", "qas": [{"question": "什么停了？", "answers": ["雨"]}]}]}


def records(file: SourceFile) -> list[Raw]:
    return list(read(file, {}, lone=False, advance=lambda _: None))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"version": "1.1", "data": [ARTICLE, {"title": "none", "paragraphs": []}]}),
        json.dumps({"version": "1.1", "data": [ARTICLE]}, indent=1, ensure_ascii=False),
        json.dumps({"data": [ARTICLE], "version": {"major": 2, "of": [1, 2]}, "length": 1}, indent=2),
        json.dumps([ARTICLE]),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_articles_are_unfolded_into_their_questions(
    write: Callable[..., Path], files: Callable[..., Sequence[SourceFile]], text: str, compressed: bool
) -> None:
    path = write("a.json.gz" if compressed else "a.json", gzip.compress(text.encode()) if compressed else text)
    first, second, third, *more = records(files(path.name)[0])
    assert not [raw for raw in more if raw.fields != {"title": "none", "paragraphs": []}]
    assert first.fields == {**PARAGRAPH["qas"][0], "context": PARAGRAPH["context"]}  # type: ignore[dict-item]
    assert first.where.startswith(f"{path}:")
    assert first.where.endswith(": question q1")
    assert second.fields["is_impossible"] is True
    assert (third.fields["context"], third.where.split(": ")[-1]) == ("雨停了。", "question 1 of paragraph 2")


def test_lines_may_be_articles_or_records(write: Callable[..., Path], files: Callable[..., Sequence[SourceFile]]) -> None:
    flat = {"question": "?", "context": "c", "answers": [], "data": [{"no": "records"}]}
    path = write("a.jsonl", json.dumps(ARTICLE) + "\n" + json.dumps(flat) + "\n")
    found = records(files(path.name)[0])
    assert [raw.where for raw in found][2:] == [f"{path}:1: question 1 of paragraph 2", f"{path}:2"]
    assert found[-1].fields == flat


def test_paragraphs_that_are_no_questions_stay_as_they_are(write: Callable[..., Path], files: Callable[..., Sequence[SourceFile]]) -> None:
    poem = {"title": "静夜思", "paragraphs": ["床前明月光，", "疑是地上霜。"]}
    path = write("a.json", json.dumps([poem]))
    assert [raw.fields for raw in records(files(path.name)[0])] == [poem]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "paragraph 1: the paragraph has no text 'context'"),
        ('{"data": [{"paragraphs": [{"context": "c", "qas": {}}]}]}', "'qas' is no list of questions"),
        ('{"data": [{"paragraphs": []}}', "bad JSON: expected , or ] but found }"),
        ('{"data": [{"paragraphs": []}], "version" 1}', "bad JSON: expected : but found 1"),
        ('{"data": [{"paragraphs": []}]', "bad JSON: expected } but found the end"),
        ('{"data": [{"paragraphs": []}]} []', "something stands after the array"),
        ('{"data": [{"paragraphs": []}, 3]}', "expected an object with fields, found int"),
    ],
)
def test_a_file_that_is_almost_of_the_form_is_refused_with_the_place(
    write: Callable[..., Path], files: Callable[..., Sequence[SourceFile]], text: str, message: str
) -> None:
    path = write("a.json", text)
    with pytest.raises(UserError, match=r"a\.json:1") as caught:
        records(files(path.name)[0])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"answers": [{"text": "Ada", "answer_start": 8}]}, [("Ada", 8)]),
        ({"answers": [{"text": "Ada", "answer_start": 9}]}, [("Ada", 8)]),  # the nearer one
        ({"answers": [{"text": "Ada", "answer_start": 2}]}, [("Ada", 0)]),
        ({"answers": [{"text": " Ada ", "start": 7}]}, [("Ada", 8)]),
        ({"answers": [{"text": "Ada", "answer_start": -1}]}, [("Ada", 0)]),
        ({"answers": {"text": ["met", "Ada"], "answer_start": [4, 8]}}, [("met", 4), ("Ada", 8)]),
        ({"answers": {"text": [], "answer_start": []}}, []),
        ({"answers": ["met", "Ada Lovelace"]}, [("met", 4), ("Ada Lovelace", None)]),  # another person's words: it judges
        ({"answer": "met"}, [("met", 4)]),
        ({"answers": [{"text": "", "answer_start": -1}]}, []),
        ({"answers": [{"text": "Ada", "answer_start": 0}], "is_impossible": True}, []),
    ],
)
def test_answers_in_each_form_are_found_where_they_stand(fields: Mapping[str, Any], expected: list[tuple[str, int | None]]) -> None:
    assert read_answers(fields, "Ada met Ada.") == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"id": "q7", "answers": [{"text": "Bob", "answer_start": 0}]},
            "question q7: the answer 'Bob' does not stand in the context; give",
        ),
        (
            {"id": "q7", "answers": [], "is_impossible": False},
            "question q7: the question has no answers, and is_impossible says that it has",
        ),
        ({"id": "q7", "answers": [3]}, "an answer is 3; write"),
        ({"id": "q7", "answers": 3}, "the answers are int; write"),
        ({"id": "q7"}, "no column 'answers'"),
    ],
)
def test_a_fault_names_the_file_and_the_question(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    good = {"context": "Ada met Ada.", "qas": [{"question": "Who?", "answers": ["Ada"]}]}
    bad = {"context": "Ada met Ada.", "qas": [{"question": "Who?", **record}]}
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": [good, bad]}]}))
    with pytest.raises(UserError, match=r"a\.json:1: question q7") as caught:
        prepare(QuestionAnswering(), DataSettings(sources=["a.json"], validation=0, test=0), tmp_path, tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_columns_of_a_table_are_answers_as_strings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('q,context,answer\nWho?,"Ada, and Ada.",Ada\n')
    settings = DataSettings(sources=["a.csv"], columns={"question": "q"}, validation=0, test=0)
    prepare(QuestionAnswering(), settings, tmp_path, tmp_path / "out")
    (example,) = open_split(tmp_path / "out", "train").examples(QuestionAnswering())
    assert (example.question, example.answers[0].text, example.answers[0].start) == ("Who?", "Ada", 0)


@pytest.mark.parametrize(("name", "questions", "blank"), [("cmrc2018/trial", 887, 2), ("xquad/en", 1028, 0), ("xquad/zh", 1028, 0)])
def test_published_files_are_read_whole_and_passages_share_a_split(
    shared_data: Path, tmp_path: Path, name: str, questions: int, blank: int
) -> None:
    settings = DataSettings(sources=[f"question-answering/{name}.json.gz"], validation=0.2, test=0.2, vocabulary=300, deduplicate="no")
    record = prepare(QuestionAnswering(), settings, shared_data, tmp_path / "out", context=256)
    kinds = {split: open_split(tmp_path / "out", split) for split in ("train", "validation", "test")}
    examples = {split: list(kind.examples(QuestionAnswering())) for split, kind in kinds.items()}
    assert sum(map(len, examples.values())) == questions - blank
    assert record.facts["dropped"] == {"duplicates": 0, "near_duplicates": 0, "leaked": 0, "blank": blank}
    contexts = [{example.context for example in split} for split in examples.values()]
    assert not any(one & other for number, one in enumerate(contexts) for other in contexts[:number])
    assert all(any(answer.start is not None for answer in one.answers) for split in examples.values() for one in split)
    # No row is cut, and each answer stands whole in at least one window of its question.
    assert not record.facts["splits"]["train"]["truncated"]
    assert kinds["train"].lengths.max() <= 256
    assert kinds["train"].records > len(examples["train"])
    assert (kinds["train"].numbers["start"] > 0).sum() >= 0.97 * len(examples["train"])


def test_single_characters_are_tokens_of_their_own() -> None:
    texts = ["天安门上太阳升 the cats"] * 9
    apart, together = (train_tokenizer(texts, 400, single_characters=single) for single in (True, False))
    assert [apart.decode([token]) for token in apart.encode("天安门 cats")] == ["天", "安", "门", " cats"]
    assert len(together.encode("天安门上太阳升")) == 1
