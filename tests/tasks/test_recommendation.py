"""Recommendation: from a file of interactions to an answer with its reasons; what is unknown, new, empty or wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lodestar import tasks
from lodestar.build.next_item import FIRST_ITEM, NextItem
from lodestar.build.sizes import derive
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings, ModelSettings
from lodestar.contracts.task import IGNORE, Task
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.prepare import make_loader, open_split, prepare

CONTEXT = 16
KINDS = ("comedy", "mystery", "western")
EACH = 6
"""Films of each kind, and one more that nobody has chosen."""


def write_films(folder: Path) -> None:
    """Two files in MovieLens's form. A user keeps to one kind of film, and goes through its films in a circle from another one."""
    rows = ["userId,movieId,rating,timestamp"]
    for user in range(len(KINDS) * EACH):
        kind, start = user % len(KINDS), user // len(KINDS)
        rows += [f"{user},{100 * (kind + 1) + (start + step) % EACH},4.5,{1000 * user + step}" for step in range(5)]
    (folder / "ratings.csv").write_text("\n".join(rows) + "\n")
    films = ["movieId,title,genres"]
    for kind, name in enumerate(KINDS):
        films += [f"{100 * (kind + 1) + film},Film {100 * (kind + 1) + film} / 影片,{name}" for film in range(EACH + 1)]
    films += ["900,Nothing is known,"]
    (folder / "movies.csv").write_text("\n".join(films) + "\n", "utf-8")


def prepared(folder: Path, options: dict[str, Any] | None = None, sources: Sequence[str] = ("*.csv",), **data: Any) -> tuple[Task, Path]:
    task = tasks.find("recommendation")(options)
    prepare(task, DataSettings(sources=list(sources), **{"validation": 0.1, "test": 0.1, **data}), folder, folder / "data", context=CONTEXT)
    return task, folder / "data"


def train(task: Task, data: Path, steps: int = 150) -> nn.Module:
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides={"depth": 1, "width": 32, "heads": 2, "initial_std": 0.1})
    config = derive(settings, {**task.architecture(), "dropout": 0.0}, 2).config
    torch.manual_seed(0)
    model = task.build(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = make_loader(open_split(data, "train"), task.batching, rows=4, context=CONTEXT, seed=0, pad=1)
    for _ in range(steps):
        loss, terms = task.loss(model, loader.next_batch())
        (loss / terms).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, NextItem, Tokenizer, Path]:
    folder = tmp_path_factory.mktemp("films")
    write_films(folder)
    task, data = prepared(folder)
    model = train(task, data)
    assert isinstance(model, NextItem)
    return task, model, Tokenizer.load(data), data


def ask(trained: tuple[Any, NextItem, Tokenizer, Path], **request: Any) -> dict[str, Any]:
    task, model, tokenizer, _ = trained
    return task.answer(model, tokenizer, request)


# Data


def test_each_user_has_a_history_in_each_split_and_nothing_held_out_is_learnt(trained) -> None:
    task, _, _, data = trained
    of_split = {name: list(open_split(data, name).examples(task)) for name in ("train", "validation", "test")}
    assert {name: len(examples) for name, examples in of_split.items()} == dict.fromkeys(of_split, len(KINDS) * EACH)
    learnt = {example.user: example.items for example in of_split["train"]}
    for example in of_split["validation"]:
        assert example.items[:-1] == learnt[example.user]
    for example in of_split["test"]:
        assert example.items[:-2] == learnt[example.user]
        assert example.times == sorted(example.times)
    counts = Counter(item for items in learnt.values() for item in items)
    assert task.catalogue.counts == [counts[item] for item in task.catalogue.items[: task.catalogue.seen]]
    assert task.catalogue.counts == sorted(task.catalogue.counts, reverse=True)


def test_the_loss_sees_what_is_held_out_alone(trained) -> None:
    data = trained[-1]
    for name, each in (("train", 2), ("validation", 1), ("test", 1)):
        targets = open_split(data, name).sequences["targets"]
        assert (np.asarray(targets) != IGNORE).sum() == each * len(KINDS) * EACH


@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 9, 30])
@pytest.mark.parametrize("context", [2, 8, None])
def test_every_item_but_the_first_is_a_target_once(trained, length: int, context: int | None) -> None:
    task, _, tokenizer, _ = trained
    items = [task.catalogue.items[place % task.catalogue.seen] for place in range(length)]
    rows = task.rows(task.example(user="u", items=items), tokenizer, context)
    pairs = [pair for row in rows for pair in zip(row["tokens"], row["targets"], strict=True) if pair[1] != IGNORE]
    tokens = [FIRST_ITEM + task.catalogue.places[item] for item in items]
    assert sorted(pairs) == sorted(pairwise(tokens))
    assert all(len(row["tokens"]) <= (context or length) for row in rows)


def test_an_item_outside_the_catalogue_is_no_target_and_no_input(trained) -> None:
    task, _, tokenizer, _ = trained
    one, two, three = task.catalogue.items[:3]
    (row,) = task.rows(task.example(user="u", items=[one, "never heard of", two, three], fresh=1), tokenizer, CONTEXT)
    assert row == {"tokens": [FIRST_ITEM, FIRST_ITEM + 1, FIRST_ITEM + 2], "targets": [IGNORE, FIRST_ITEM + 2, IGNORE]}
    (row,) = task.rows(task.example(user="u", items=[one, two, "never heard of"], fresh=1), tokenizer, CONTEXT)
    assert row == {"tokens": [], "targets": []}


def test_a_split_by_time_learns_from_the_past_alone(tmp_path: Path) -> None:
    rows = [f"u{user},i{(user + step) % 13},{10 * step + user}" for step in range(10) for user in range(10)]
    (tmp_path / "log.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    task, data = prepared(tmp_path, {"split": "time"}, test=0.2, validation=0.2)
    times = {name: [example.times for example in open_split(data, name).examples(task)] for name in ("train", "validation", "test")}
    assert max(time for each in times["train"] for time in each) == 59
    assert sorted(each[-1] for each in times["validation"]) == list(range(60, 70))  # each user's first choice after the moment
    assert max(each[-2] for each in times["validation"]) == 59
    assert sorted(each[-1] for each in times["test"]) == list(range(80, 90))
    assert max(each[-2] for each in times["test"]) == 79


def test_low_ratings_repeats_and_rare_users_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["user,item,rating,time", "a,x,5,2026-01-01", "a,y,1,2026-01-02", "a,z,4,2026-01-03", "a,x,5,2026-01-04", "a,w,4,2026-01-05"]
    rows += ["b,x,5,2026-02-01", "b,z,5,2026-02-02", "c,x,5,2026-02-01", "c,w,3,2026-02-02T08:00:00", "c,z,3,2026-02-02T07:00:00"]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    task, data = prepared(tmp_path, {"least_rating": 3}, validation=0, test=0)
    assert {example.user: example.items for example in open_split(data, "train").examples(task)} == {
        "a": ["x", "z", "w"],
        "c": ["x", "z", "w"],
    }
    said = capsys.readouterr().err
    for sentence in ("1 of 10 interactions are left out: rated too low", "1 of 10", "2 of 10"):
        assert sentence in said
    task, data = prepared(tmp_path, {"repeats": True}, validation=0, test=0)
    assert {example.user: example.items for example in open_split(data, "train").examples(task)}["a"] == ["x", "y", "z", "x", "w"]


def test_a_history_may_stand_in_one_record(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"user": 7, "items": [3, 1, 2.0]}\n{"user": 8, "items": ["1", "2", "3"]}\n')
    task, data = prepared(tmp_path, sources=["log.jsonl"], validation=0, test=0)
    assert [example.items for example in open_split(data, "train").examples(task)] == [["3", "1", "2"], ["1", "2", "3"]]


def test_more_items_than_two_bytes_tell_apart(tmp_path: Path) -> None:
    rows = [f"u{item % 2},i{item},{item}" for item in range(66_000)]
    (tmp_path / "log.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    _, data = prepared(tmp_path, validation=0, test=0)
    assert int(open_split(data, "train").tokens.max()) == FIRST_ITEM + 65_999


@pytest.mark.parametrize(
    ("content", "options", "data", "sentence"),
    [
        ("user,thing\na,x\n", {}, {}, r"no column 'item' or 'items'; the columns found are user, thing"),
        ("person,item\na,x\na,y\n", {}, {}, r"no record has a user"),
        ("user,item,time\na,x,yesterday\n", {}, {}, r"log\.csv:2: the time 'yesterday' is no number and no date"),
        ("user,item,time\na,x,1\na,y,\n", {}, {}, r"log\.csv:3: the interaction has no time"),
        ("user,item\na,x\na,y\na,z\n", {"split": "time"}, {}, r"no times to split by"),
        ("user,item\na,x\na,y\na,z\n", {"least_rating": 3}, {}, r"the interaction has no rating"),
        ("user,item,rating\na,x,1\n", {"least_rating": 3}, {}, r"all 1 interactions are rated below 3"),
        ("user,item\na,x\na,y\n", {}, {}, r"no user is left with 3 interactions"),
        ("user,item\na,x\nb,y\nc,z\n", {"user_at_least": 1}, {"validation": 0, "test": 0}, r"no user has two interactions"),
        ("user,item\na,x\na,y\na,z\n", {}, {"splits": {"test": ["log.csv"]}, "sources": ["log.csv"]}, r"splits them by itself"),
        ("user,item\na,x\na,y\na,z\n", {}, {"deduplicate": "near"}, r"near duplicates are told by their words"),
        ("user,item,split\na,x,1\n", {"spilt": "time"}, {}, r"did you mean 'split'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, content: str, options: dict, data: dict, sentence: str) -> None:
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(UserError, match=sentence):
        prepared(tmp_path, options, **data)
    assert not (tmp_path / "data").exists()


def test_a_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("a film\n")
    with pytest.raises(UserError, match="a plain file has no field"):
        prepared(tmp_path, sources=["log.txt"])


def test_a_recommender_begins_from_no_open_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="begins from no open model"):
        tasks.find("recommendation")().adopt(tmp_path)


# Quality


def test_finds_what_comes_next_and_beats_item_neighbours(trained) -> None:
    task, model, tokenizer, data = trained
    learnt, judged = (list(open_split(data, name).examples(task)) for name in ("train", "test"))
    ours, (name, theirs) = task.measure(model, tokenizer, judged), task.baseline(learnt, judged)
    assert name == "item neighbours"
    assert task.metrics[0].compute(ours) > task.metrics[0].compute(theirs)
    assert (ours["catalogue"] == len(KINDS) * (EACH + 1)).all()
    assert "21 items, items chosen before left out" in task.signatures()["ndcg_at_10"]
    said = task.findings(ours, judged, []).sentences
    assert "of 21 items are among the first ten" in said[0].en


def test_the_measured_rank_is_the_place_in_the_answer(trained) -> None:
    task, model, tokenizer, data = trained
    judged = list(open_split(data, "test").examples(task))
    for example, rank in zip(judged, task.measure(model, tokenizer, judged)["rank"], strict=True):
        answered = ask(trained, **{**task.request(example), "k": 100})["recommendations"]
        assert [each["item"] for each in answered].index(example.items[-1]) + 1 == rank


def test_an_item_that_nobody_chose_is_recommended_by_its_text(trained) -> None:
    """Each kind has a film that was never seen in training; it is ranked above the new films of other kinds."""
    task = trained[0]
    new = {task.catalogue.items[place] for place in range(task.catalogue.seen, len(task.catalogue.items))}
    assert new == {"106", "206", "306"}  # and 900, of which nothing is known, is not among them
    for kind in range(len(KINDS)):
        answered = ask(trained, history=[str(100 * (kind + 1) + film) for film in range(3)], k=100)["recommendations"]
        found = [each for each in answered if each["new"]]
        assert {each["item"] for each in found} == new
        assert found[0]["item"] == f"{100 * (kind + 1) + EACH}"


# Product


def test_reasons_are_what_the_model_says_without_an_item(trained) -> None:
    _, model, _, _ = trained
    history = ["100", "200", "101"]
    answered = ask(trained, history=history, k=4, reasons=5)

    def log_probability(of: str, items: Sequence[str]) -> float:
        places = [trained[0].catalogue.places[item] for item in items]
        with torch.inference_mode():
            logits = model(torch.tensor([[FIRST_ITEM + place for place in places]]))[0, -1]
        return float(logits.log_softmax(-1)[trained[0].catalogue.places[of]])

    for each in answered["recommendations"]:
        expected = {
            item: log_probability(each["item"], history) - log_probability(each["item"], [x for x in history if x != item])
            for item in history
        }
        told = {reason["item"]: reason["influence"] for reason in each["because"]}
        assert told.keys() == {item for item, influence in expected.items() if influence > 0}
        for item, influence in told.items():
            assert influence == pytest.approx(expected[item], abs=1e-4)
        assert list(told.values()) == sorted(told.values(), reverse=True)
    assert all(len(each["because"]) <= 1 for each in ask(trained, history=history)["recommendations"])
    assert all(not each["because"] for each in ask(trained, history=history, reasons=0)["recommendations"])


def test_the_reason_is_of_the_same_kind(trained) -> None:
    best = ask(trained, history=["200", "100", "101"], k=1)["recommendations"][0]
    assert best["item"].startswith("1")
    assert best["because"][0]["item"].startswith("1")
    assert best["because"][0]["title"] == f"Film {best['because'][0]['item']} / 影片"


def test_a_history_of_one(trained) -> None:
    answered = ask(trained, history=["100"], k=1)
    best = answered["recommendations"][0]
    assert best["item"] == "101"
    assert answered["fallback"] is None
    # Without it nothing is left, and popularity stands in the place of the model's word.
    task, model, _, _ = trained
    counts = np.array([*task.catalogue.counts, *[0.5] * 3])
    with torch.inference_mode():
        told = model(torch.tensor([[FIRST_ITEM + task.catalogue.places["100"]]]))[0, -1].log_softmax(-1)
    place = task.catalogue.places["101"]
    expected = float(told[place]) - math.log(counts[place] / counts.sum())
    assert best["because"] == [{"item": "100", "title": "Film 100 / 影片", "influence": pytest.approx(expected, abs=1e-4)}]


def test_nothing_to_go_by_gives_what_is_popular_and_says_so(trained) -> None:
    task = trained[0]
    for history in ([], ["never heard of"]):
        answered = ask(trained, history=history, k=5)
        assert answered["fallback"] == "popularity"
        assert [each["item"] for each in answered["recommendations"]] == task.catalogue.items[:5]
        assert answered["unknown"] == history
        assert all(not each["because"] for each in answered["recommendations"])


def test_what_is_unknown_is_named_and_changes_nothing(trained) -> None:
    plain = ask(trained, history=["100", "101"])
    with_unknown = ask(trained, history=["100", "never heard of", "101"])
    assert with_unknown["unknown"] == ["never heard of"]
    assert with_unknown["recommendations"] == plain["recommendations"]


def test_what_was_chosen_before_is_left_out_unless_it_is_asked_for(trained) -> None:
    history = ["100", "101", "102"]
    every = {each["item"] for each in ask(trained, history=history, k=100)["recommendations"]}
    assert every.isdisjoint(history)
    assert len(every) == 21 - 3
    assert {each["item"] for each in ask(trained, history=history, k=100, exclude_seen=False)["recommendations"]} >= set(history)


def test_items_are_called_by_name_or_title_and_found_by_a_part_of_it(trained) -> None:
    assert ask(trained, history=["film 100 / 影片", 101])["history"] == [
        {"item": "100", "title": "Film 100 / 影片"},
        {"item": "101", "title": "Film 101 / 影片"},
    ]
    assert {each["item"] for each in ask(trained, search="FILM 10")["items"]} == {"100", "101", "102", "103", "104", "105", "106"}
    assert ask(trained, search="影片", k=3)["items"] == [trained[0].catalogue.named(place) for place in range(3)]
    assert ask(trained, search="no such film")["items"] == []


def test_a_title_that_several_items_have_is_refused() -> None:
    state = {"items": ["a", "b"], "titles": ["Same", "same "], "counts": [2, 1], "terms": [], "terms_of_items": None}
    task: Any = tasks.find("recommendation")(state=state)
    with pytest.raises(UserError, match=r"2 items are called 'Same'.*'a', 'b'"):
        task.catalogue.find("Same")
    assert task.catalogue.find("b") == 1
    assert task.catalogue.call("a") == "a"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"user": "7"}, "unknown field 'user'"),
        ({"history": "100"}, "the field 'history'"),
        ({"history": [], "k": 0}, "the field 'k'"),
        ({"history": [], "k": 1000}, "the field 'k'"),
        ({"history": ["100"], "search": "film"}, "search and history were both sent"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(trained, request_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ask(trained, **request_)
