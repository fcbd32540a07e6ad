"""A whole evaluation on a task that counts letters: what it writes, what it repeats, what it refuses, and how two are compared."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.record import RunRecord
from lodestar.contracts.settings import EvaluateSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.compare import Comparison, compare
from lodestar.evaluate.scorecard import choose, clusters_of, evaluate, example_id, read_clusters, read_measurements
from lodestar.prepare import train_tokenizer
from lodestar.store.files import read_json

sys.path.insert(0, str(Path(__file__).parent))  # the process that measures latency must find the task's module
from parity_task import KinParity, Parity, model  # type: ignore[import-not-found]

SETTINGS = EvaluateSettings(resamples=200)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["xxxx"], 300)


@pytest.fixture(scope="module")
def folders(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Evaluations of models of several skills on the same examples."""
    root = tmp_path_factory.mktemp("evaluations")
    for skill in (60, 66, 95):
        evaluate(Parity(), model(skill), tokenizer, Parity.sample(), Parity.sample(), SETTINGS, root / str(skill))
    return {skill: root / str(skill) for skill in (60, 66, 95)}


def test_scores_are_those_of_the_columns_and_the_record_comes_with_them(folders: dict[int, Path]) -> None:
    ids, tables = read_measurements(folders[95])
    assert ids.tolist() == [example_id(example) for example in Parity.sample()]
    card, record = read_json(folders[95] / "scorecard.json"), RunRecord.parse(read_json(folders[95] / "record.json"), where="record.json")
    scores = {score["metric"]: score for score in card["scores"]}
    assert scores["accuracy"]["value"] == (tables["model"]["label"] == tables["model"]["predicted"]).mean()
    assert scores["accuracy"]["low"] < scores["accuracy"]["value"] < scores["accuracy"]["high"]
    assert card["baseline_name"] == "the commonest label"
    assert [score.model_dump(mode="json") for score in record.scores] == card["scores"]
    assert record.facts == {"examples": 120, "available": 120, "baseline": "the commonest label"}
    assert set(record.outputs) == {"scorecard.json", "measurements.npz", "scorecard.png"}


def test_latency_memory_and_size_are_of_a_process_that_only_answers(folders: dict[int, Path]) -> None:
    _, tables = read_measurements(folders[95])
    system = tables["system"]
    assert (system["latency_ms"] > 0).all()
    assert 50e6 < system["memory_bytes"].max() < 2e9
    assert (np.diff(system["memory_bytes"]) >= 0).all()
    assert (system["model_bytes"] == 4).all()  # one float32
    assert np.isnan(system["tokens"]).all()
    metrics = {score["metric"] for score in read_json(folders[95] / "scorecard.json")["scores"]}
    assert {"latency_ms_p50", "latency_ms_p95", "memory_bytes", "model_bytes"} <= metrics
    assert "tokens_per_second" not in metrics  # nothing is written token by token


def test_the_same_evaluation_is_not_done_twice_and_another_replaces_it(tokenizer: Tokenizer, tmp_path: Path) -> None:
    examples = Parity.sample()

    def run(skill: int, inputs: dict[str, str] | None) -> tuple[float, int]:
        card = evaluate(Parity(), model(skill), tokenizer, examples, examples, SETTINGS, tmp_path / "out", inputs=inputs)
        return card.scores[0].value, (tmp_path / "out" / "record.json").stat().st_mtime_ns

    first = run(80, {"model": "a"})
    assert run(80, {"model": "a"}) == first
    other = run(90, {"model": "b"})
    assert other[0] > first[0]
    # Without a name for the model, nobody can know that it is the same one.
    assert run(90, None)[1] != other[1]


def test_a_part_of_the_examples_is_drawn_by_the_seed() -> None:
    examples = Parity.sample()
    first, again, other = (choose(examples, EvaluateSettings(examples=30, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(first) == 30
    assert [examples.index(example) for example in first] == sorted(examples.index(example) for example in first)
    assert choose(examples, EvaluateSettings(examples=500)) == list(examples)


def test_nothing_to_measure_on_is_refused_and_nothing_written(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the test split holds no examples"):
        evaluate(Parity(), model(50), tokenizer, [], Parity.sample(), SETTINGS, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def by_name(a: Path, b: Path) -> dict[str, Comparison]:
    return {comparison.metric.name: comparison for comparison in compare(a, b, Parity.metrics, resamples=500)}


def test_the_better_one_is_named_whichever_comes_first(folders: dict[int, Path]) -> None:
    forth, back = by_name(folders[60], folders[95])["accuracy"], by_name(folders[95], folders[60])["accuracy"]
    assert (forth.verdict, back.verdict) == ("b", "a")
    assert forth.difference.value == pytest.approx(-back.difference.value)
    assert "worse is better" not in forth.words("old", "new").en
    assert "new is better" in forth.words("old", "new").en
    assert "new 更好" in forth.words("old", "new").zh


def test_a_difference_too_small_to_tell_says_what_could_be_told(folders: dict[int, Path]) -> None:
    """Six of a hundred more: seven of these 120 examples differ, all to one side, and the paired test finds it; of 30 it cannot."""
    assert by_name(folders[60], folders[66])["accuracy"].verdict == "b"
    same = by_name(folders[60], folders[60])["accuracy"]
    assert same.verdict == "unknown"
    assert "alike on every one of these 120 examples" in same.words("a", "b").en


def test_cannot_tell_apart_below(tokenizer: Tokenizer, tmp_path: Path) -> None:
    settings = EvaluateSettings(resamples=200, examples=30)
    for skill in (60, 62):
        evaluate(Parity(), model(skill), tokenizer, Parity.sample(), Parity.sample(), settings, tmp_path / str(skill))
    found = by_name(tmp_path / "60", tmp_path / "62")["accuracy"]
    if found.difference.standard_error:
        assert found.verdict == "unknown"
        assert f"cannot tell a and b apart below {found.difference.detectable:.2g} on these 30 examples" in found.words("a", "b").en
        assert found.needed is not None
        assert found.needed > 30
        assert f"some {found.needed:,} examples would" in found.words("a", "b").en


def test_different_examples_are_not_compared(tokenizer: Tokenizer, folders: dict[int, Path], tmp_path: Path) -> None:
    evaluate(Parity(), model(60), tokenizer, Parity.sample()[:50], Parity.sample(), SETTINGS, tmp_path / "other")
    with pytest.raises(UserError, match="different examples \\(50 in common of 120 and 50\\)"):
        compare(folders[60], tmp_path / "other", Parity.metrics)


def test_a_metric_that_was_computed_in_two_ways_is_not_compared(folders: dict[int, Path], tmp_path: Path) -> None:
    for name in ("record.json", "measurements.npz"):
        (tmp_path / name).write_bytes((folders[95] / name).read_bytes())
    card = read_json(folders[95] / "scorecard.json") | {"signatures": {"accuracy": "of odd numbers"}}
    (tmp_path / "scorecard.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"accuracy was computed in two ways \(None; of odd numbers\); evaluate both again"):
        compare(folders[60], tmp_path, Parity.metrics)


def test_folders_without_an_evaluation_are_refused(folders: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluation here"):
        compare(folders[60], tmp_path, Parity.metrics)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("record.json", "scorecard.json"):
        (damaged / name).write_bytes((folders[60] / name).read_bytes())
    with pytest.raises(UserError, match="no measurements here"):
        compare(folders[60], damaged, Parity.metrics)
    (damaged / "measurements.npz").write_bytes((folders[60] / "measurements.npz").read_bytes()[:300])
    with pytest.raises(UserError, match=r"measurements\.npz: the file is damaged"):
        compare(folders[60], damaged, Parity.metrics)


def test_another_task_is_refused(folders: dict[int, Path], tmp_path: Path) -> None:
    for name in ("record.json", "scorecard.json", "measurements.npz"):
        (tmp_path / name).write_bytes((folders[60] / name).read_bytes())
    card = json.loads((tmp_path / "scorecard.json").read_text())
    (tmp_path / "scorecard.json").write_text(json.dumps({**card, "task": "another"}))
    with pytest.raises(UserError, match=r"measured parity and .* measured another"):
        compare(folders[60], tmp_path, Parity.metrics)


def test_examples_of_one_kin_are_drawn_together_and_their_texts_are_not_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Twelve words of each of ten kinds: the interval is wider than where each stands alone, and a comparison draws them so, too."""
    cards = [
        evaluate(task(), model(66), tokenizer, task.sample(), task.sample(), SETTINGS, tmp_path / task.name) for task in (Parity, KinParity)
    ]
    alone, kin = (card.score("accuracy") for card in cards)
    assert alone is not None
    assert kin is not None
    assert (kin.value, kin.count) == (alone.value, alone.count)
    assert kin.high - kin.low > 2 * (alone.high - alone.low), "a kind is right throughout or wrong throughout"
    assert read_clusters(tmp_path / Parity.name) is None
    clusters = read_clusters(tmp_path / KinParity.name)
    assert clusters is not None
    assert sorted(Counter(clusters.tolist()).values()) == [12] * 10
    assert "the kind" not in str(clusters.tolist())
    (found,) = (
        each for each in compare(tmp_path / KinParity.name, tmp_path / KinParity.name, KinParity.metrics) if each.metric.name == "accuracy"
    )
    assert found.difference.value == 0


def test_few_kins_tell_too_little_of_how_they_differ() -> None:
    examples = KinParity.sample()
    few = [example for example in examples if int(example.text[:3]) // 12 < 9]
    assert clusters_of(examples, np.array([example_id(each) for each in examples])) is not None
    assert clusters_of(few, np.array([example_id(each) for each in few])) is None
