"""Rows of whole documents against a reference written out token by token; what is too long; targets that the task gives."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.contracts.task import IGNORE, Example
from lodestar.prepare.fit import Fit
from lodestar.prepare.loader import PackedLoader, Sequential, WholeLoader
from lodestar.prepare.shards import Examples, Split, open_split, write_examples, write_tokens
from lodestar.prepare.whole import pack

PAD = 99_999


class Span(Example):
    """A record whose tokens are `begin`, `begin` + 1, …; every third one is learnt where `marked`."""

    begin: int
    length: int


class SpanTask:
    example = Span


@contextmanager
def opened(lengths: list[int], *, marked: bool = False, fit: Any = lambda encoded: encoded) -> Iterator[Split]:
    starts = np.cumsum([0, *lengths]).tolist()
    spans = [Span(begin=begin, length=length) for begin, length in zip(starts, lengths, strict=False)]

    def encode(span: Span) -> Any:
        tokens = list(range(span.begin, span.begin + span.length))
        targets = [token + 1 if (token + 1) % 3 == 0 and token + 1 < span.begin + span.length else IGNORE for token in tokens]
        return fit({"tokens": tokens, "doubled": [2 * token for token in tokens]} | ({"targets": targets} if marked else {}))

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "train")
        write_examples(place, (span.model_dump_json().encode() + b"\n" for span in spans), len(spans))
        task: Any = SpanTask()
        write_tokens(place, Examples(place, task), lambda example: [encode(example)], 100_000, lambda batch: None, "encode")
        yield open_split(Path(folder), "train")


lengths_lists = st.lists(st.integers(0, 14), min_size=1, max_size=40).filter(lambda lengths: sum(lengths) > 0)


@settings(max_examples=60)
@given(lengths_lists, st.integers(1, 4), st.integers(1, 20), st.booleans())
def test_each_document_stands_whole_in_one_row_once_an_epoch(lengths: list[int], rows: int, context: int, marked: bool) -> None:
    starts = np.cumsum([0, *lengths]).tolist()
    seen: Counter[int] = Counter()
    with opened(lengths, marked=marked) as split:
        for batch in Sequential(split, "whole", rows=rows, context=context, pad=PAD):
            assert batch["tokens"].shape[1] == context
            for tokens, targets, ids, positions, doubled in zip(
                *(batch[name].tolist() for name in ("tokens", "targets", "document_ids", "positions", "doubled")), strict=True
            ):
                place = 0
                while place < context and tokens[place] != PAD:
                    record = max(number for number, begin in enumerate(starts[:-1]) if begin == tokens[place] and lengths[number])
                    size = min(lengths[record], context)
                    seen[record] += 1
                    expected = list(range(starts[record], starts[record] + size))
                    here = slice(place, place + size)
                    assert tokens[here] == expected
                    assert doubled[here] == [2 * token for token in expected]
                    assert positions[here] == list(range(size))
                    assert len(set(ids[here])) == 1
                    assert ids.count(ids[place]) == size
                    told = [token if not marked or token % 3 == 0 else IGNORE for token in expected[1:]]
                    assert targets[here] == [*told, IGNORE]
                    place += size
                assert set(tokens[place:]) <= {PAD}
                assert set(targets[place:]) <= {IGNORE}
    assert seen == Counter(number for number, length in enumerate(lengths) if length)


@settings(max_examples=60)
@given(lengths_lists, st.integers(1, 20))
def test_rows_are_filled_as_best_fit_promises(lengths: list[int], context: int) -> None:
    rows = pack(np.array(lengths), np.arange(len(lengths)), context)
    filled = [sum(min(lengths[document], context) for document in row) for row in rows]
    assert max(filled) <= context
    # No two rows could be one; of any packing like that, at most one row is half empty.
    assert sum(2 * size <= context for size in filled) <= 1


def test_an_order_is_resumed_and_epochs_differ() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, 100).tolist()
    with opened(lengths) as split:
        loader = WholeLoader(split, rows=3, context=32, seed=1, pad=PAD)
        for _ in range(30):
            loader.next_batch()
        state = loader.state_dict()
        assert state["epoch"] > 0
        again = WholeLoader(split, rows=3, context=32, seed=1, pad=PAD)
        first = again.next_batch()["tokens"]
        again.load_state_dict(state)
        for _ in range(30):
            one, two = loader.next_batch(), again.next_batch()
            assert all(torch.equal(one[name], two[name]) for name in one)
        assert not torch.equal(first, one["tokens"])
        with pytest.raises(UserError, match="seed 1, and here it is 2"):
            WholeLoader(split, rows=3, context=32, seed=2, pad=PAD).load_state_dict(state)


def test_a_tasks_own_targets_go_through_packed_rows_too() -> None:
    with opened([7, 5, 9], marked=True) as split:
        for batch in (
            PackedLoader(split, rows=2, context=8, seed=0).next_batch(),
            *Sequential(split, "packed", rows=2, context=8, pad=PAD),
        ):
            tokens, targets = batch["tokens"], batch["targets"]
            learnt = targets != IGNORE
            assert torch.equal(targets[learnt], tokens[learnt] + 1)
            assert set((targets[learnt] % 3).tolist()) <= {0}
        everything = torch.cat([batch["targets"].flatten() for batch in Sequential(split, "packed", rows=2, context=8, pad=PAD)])
        assert sorted(everything[everything != IGNORE].tolist()) == [3, 6, 9, 15, 18]  # 12 begins a document


@pytest.mark.parametrize(("choice", "kept", "records", "tokens"), [("cut", [4, 6, 9], 1, 3), ("drop", [4, 6, 0], 1, 9)])
def test_what_is_too_long_is_counted(choice: Any, kept: list[int], records: int, tokens: int) -> None:
    fit = Fit(choice, 6)
    with opened([4, 6, 9], fit=fit) as split:
        assert split.lengths.tolist() == kept
    assert (fit.records, fit.tokens, fit.longest) == (records, tokens, 9)
    fit.check("train")


def test_what_is_too_long_is_refused_where_the_settings_say_so() -> None:
    fit = Fit("refuse", 6)
    with opened([4, 7, 9], fit=fit), pytest.raises(UserError) as refused:
        fit.check("train")
    assert str(refused.value) == (
        "data.too_long: 2 records of train are longer than the context of 6 tokens (the longest has 9); "
        "set model.context to 9, or data.too_long to cut or drop."
    )  # fmt: skip
