"""The index of passages: what is added is found, what is removed is not, and a change happens whole or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from lodestar.contracts.errors import UserError
from lodestar.evaluate.bm25 import BM25
from lodestar.store.passages import Passage, PassageIndex

TEXTS = {
    "a.txt": ["The pool closes at nine.", "泳池晚上九点关门。"],
    "b/c.md": ['Dogs "welcome" OR not; NEAR the house*', "可以带狗。", ""],
}


def passages(file: str) -> list[Passage]:
    return [Passage(file, None, number, number, text) for number, text in enumerate(TEXTS[file], 1)]


@pytest.fixture
def index(tmp_path: Path) -> PassageIndex:
    made = PassageIndex.create(tmp_path / "x.sqlite")
    with made.change():
        for file in TEXTS:
            made.add(file, f"hash of {file}", passages(file))
    return made


def found(index: PassageIndex, question: str) -> list[str]:
    return [passage.text for passage in index.passages([number for number, _ in index.search(question, 10)])]


def test_words_and_characters_are_found_and_operators_are_words(index: PassageIndex) -> None:
    assert found(index, "when does the POOL close?")[0] == TEXTS["a.txt"][0]
    assert found(index, "泳池几点关门？") == [TEXTS["a.txt"][1]]
    assert found(index, '"or" NEAR( * welcome') == [TEXTS["b/c.md"][0]]
    assert found(index, "zebra") == found(index, "") == found(index, "？！") == []
    assert index.holding("dog") == 1
    assert len(index) == 5


def test_scores_are_those_of_the_bm25_that_tasks_are_measured_against(index: PassageIndex) -> None:
    texts = [text for file in TEXTS for text in TEXTS[file]]
    expected = BM25(texts).scores(["dogs near the pool"])[0]
    scores = {number - 1: score for number, score in index.search("dogs near the pool", 10)}
    assert scores == pytest.approx({place: score for place, score in enumerate(expected) if score}, rel=1e-6)


def test_a_removed_file_is_found_no_more_and_its_place_can_be_taken_again(index: PassageIndex) -> None:
    with index.change():
        index.remove("a.txt")
    assert found(index, "pool 泳池") == []
    assert index.holding("pool") == 0
    assert index.hashes() == {"b/c.md": "hash of b/c.md"}
    with index.change():
        index.add("a.txt", "other", passages("a.txt")[:1])
    assert found(index, "pool") == TEXTS["a.txt"][:1]


def test_a_change_that_fails_leaves_what_was_there(index: PassageIndex) -> None:
    with pytest.raises(ZeroDivisionError), index.change():
        index.remove("a.txt")
        raise ZeroDivisionError
    assert found(index, "pool") == TEXTS["a.txt"][:1]


def test_a_reader_sees_the_old_index_until_the_change_is_whole(index: PassageIndex) -> None:
    with index.change():
        index.remove("a.txt")
        with sqlite3.connect(f"{index.path.as_uri()}?mode=ro", uri=True) as other:
            assert other.execute("SELECT count(*) FROM passages").fetchone() == (5,)
        other.close()


def test_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 7)).astype(np.float32)
    with PassageIndex.create(tmp_path / "x.sqlite") as made, made.change():
        made.add("b/c.md", "x", passages("b/c.md"))
        made.add("a.txt", "y", passages("a.txt"), vectors)
        made.set_facts({"encoder": "abc", "folder": "文档"})
    with PassageIndex.open(tmp_path / "x.sqlite") as opened:
        numbers, read = opened.vectors()
        assert [passage.file for passage in opened.passages(numbers.tolist())] == ["a.txt", "a.txt"]
        np.testing.assert_array_equal(read, vectors)
        assert opened.facts()["folder"] == "文档"


def test_no_vectors_are_an_empty_matrix(index: PassageIndex) -> None:
    numbers, read = index.vectors()
    assert len(numbers) == len(read) == 0


def test_what_is_no_index_is_refused_in_one_sentence(tmp_path: Path, index: PassageIndex) -> None:
    with pytest.raises(UserError, match="there is no index here"):
        PassageIndex.open(tmp_path / "none.sqlite")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(UserError, match="the index is damaged"):
        PassageIndex.open(tmp_path / "text")
    (tmp_path / "empty").write_text("")
    with pytest.raises(UserError, match="the index is damaged"):
        PassageIndex.open(tmp_path / "empty")
    with index.change():
        index.set_facts({"format": 0})
    with pytest.raises(UserError, match="written by another version"):
        PassageIndex.open(index.path)
    with pytest.raises(UserError, match="already exists"):
        PassageIndex.create(index.path)


def test_a_question_of_many_words_is_searched(index: PassageIndex) -> None:
    assert found(index, " ".join(f"w{number}" for number in range(2000)) + " pool") == TEXTS["a.txt"][:1]
