"""The top of a catalogue against torch.topk, with and without codes."""

from __future__ import annotations

import pytest
import torch

from lodestar.build import top_items
from lodestar.build.top_items import TopItems
from lodestar.model import native


def drawn(items: int, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(items, width), torch.randn(width)


@pytest.mark.parametrize("coded_from", [0, 1 << 40])
def test_the_best_are_those_of_topk(coded_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_items, "CODED_FROM", coded_from)
    vectors, state = drawn(20_000)
    index = TopItems(vectors)
    assert (index._codes is not None) == (coded_from == 0)
    assert index.memory_bytes == vectors.nbytes + (20_000 * (64 + 4) if coded_from == 0 else 0)
    scores = vectors @ state
    values, items = index.best(state, 10)
    expected = scores.topk(10)
    assert items.tolist() == expected.indices.tolist()
    torch.testing.assert_close(values, expected.values)
    without = expected.indices[[0, 3, 7]].tolist()
    scores[without] = -torch.inf
    assert index.best(state, 10, without)[1].tolist() == scores.topk(10).indices.tolist()


@pytest.mark.parametrize("coded_from", [0, 1 << 40])
def test_recall_is_whole_over_many_states(coded_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_items, "CODED_FROM", coded_from)
    vectors, _ = drawn(20_000)
    index, states = TopItems(vectors), torch.randn(50, 64)
    for state in states:
        assert set(index.best(state, 20)[1].tolist()) == set((vectors @ state).topk(20).indices.tolist())


def test_as_many_as_there_are_and_no_more() -> None:
    vectors, state = drawn(5)
    index = TopItems(vectors)
    assert sorted(index.best(state, 10)[1].tolist()) == [0, 1, 2, 3, 4]
    assert sorted(index.best(state, 10, [1, 4, 4])[1].tolist()) == [0, 2, 3]
    assert index.best(state, 3, range(5))[1].tolist() == []


@pytest.mark.parametrize("coded_from", [0, 1 << 40])
def test_without_a_compiler_it_is_the_same(coded_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_items, "CODED_FROM", coded_from)
    vectors, state = drawn(3_000)
    with_library = TopItems(vectors).best(state, 10, [0, 1, 2])
    monkeypatch.setattr(native, "best", lambda *_: None)
    without = TopItems(vectors).best(state, 10, [0, 1, 2])
    assert with_library[1].tolist() == without[1].tolist()
    torch.testing.assert_close(with_library[0], without[0])


def test_a_state_of_zeros_has_no_favourite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_items, "CODED_FROM", 0)
    values, items = TopItems(drawn(500)[0]).best(torch.zeros(64), 3)
    assert values.tolist() == [0, 0, 0]
    assert len(set(items.tolist())) == 3


def test_of_equal_scores_the_earlier_item_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for coded_from in (0, 1 << 40):
        monkeypatch.setattr(top_items, "CODED_FROM", coded_from)
        assert TopItems(torch.ones(500, 32)).best(torch.ones(32), 4)[1].tolist() == [0, 1, 2, 3]
