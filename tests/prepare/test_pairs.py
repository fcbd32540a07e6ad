"""Batches of pairs against their definition, on sequences whose every token says where it stands."""

import tempfile
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
from lodestar.prepare.loader import PairedLoader, Sequential, longest_rows, make_loader
from lodestar.prepare.shards import Examples, open_split, write_examples, write_tokens

PAD = 99_999


class Lengths(Example):
    number: int
    reads: int
    writes: int


class PairTask:
    """All of a task that opening records needs."""

    example = Lengths


PAIRS: Any = PairTask()


def source_of(number, reads):
    return [100 * number + place for place in range(reads)]


def tokens_of(number, writes):
    return [50 + token for token in source_of(number, writes)]


@contextmanager
def opened(lengths):
    """A split with pairs of these lengths, (source, target)."""
    pairs = [Lengths(number=number, reads=reads, writes=writes) for number, (reads, writes) in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "train")
        write_examples(place, (pair.model_dump_json().encode() + b"\n" for pair in pairs), len(pairs))

        def encode(pair):
            tokens = tokens_of(pair.number, pair.writes)
            source = source_of(pair.number, pair.reads) if tokens else []
            return {"source": source, "tokens": tokens, "targets": [token + 1 for token in tokens], "number": pair.number}

        write_tokens(place, Examples(place, PAIRS), lambda example: [encode(example)], 100_000, lambda batch: None, "encode")
        yield open_split(Path(folder), "train")


some_lengths = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=40).filter(
    lambda lengths: any(writes for _, writes in lengths)
)


def rows_of(batch):
    """Number, source, tokens and targets of each row, after a look at the shapes and the padding."""
    rows, width = batch["tokens"].shape
    assert batch["source_tokens"].shape == batch["source_mask"].shape == (rows, batch["source_tokens"].shape[1])
    assert batch["targets"].shape == batch["attention_mask"].shape == (rows, width)
    assert batch["source_mask"].dtype == batch["attention_mask"].dtype == torch.bool
    assert (batch["source_tokens"][~batch["source_mask"]] == PAD).all()
    assert (batch["tokens"][~batch["attention_mask"]] == PAD).all()
    assert (batch["targets"][~batch["attention_mask"]] == IGNORE).all()
    for row in range(rows):
        real, read = batch["attention_mask"][row], batch["source_mask"][row]
        assert not (real[1:] & ~real[:-1]).any(), "padding stands on the right"
        assert not (read[1:] & ~read[:-1]).any()
        yield (
            batch["number"][row].item(),
            batch["source_tokens"][row][read].tolist(),
            batch["tokens"][row][real].tolist(),
            batch["targets"][row][real].tolist(),
        )


@settings(max_examples=60)
@given(some_lengths, st.integers(1, 6), st.integers(2, 13), st.integers(1, 13), st.integers(0, 3))
def test_an_epoch_visits_each_pair_with_tokens_once_in_batches_that_fit(lengths, rows, context, source_context, seed):
    with opened(lengths) as split:
        loader = PairedLoader(split, rows=rows, context=context, seed=seed, pad=PAD, source_context=source_context)
        long = [reads > source_context or writes > context for reads, writes in lengths if writes]
        assert loader.truncated == sum(long)
        seen: list[Any] = []
        while not seen or loader.state_dict()["epoch"] == 0:
            batch = loader.next_batch()
            padded = batch["tokens"].numel() + batch["source_tokens"].numel()
            assert padded <= rows * context or len(batch["tokens"]) == 1
            seen += rows_of(batch)
        expected = [
            (number, source_of(number, reads)[:source_context], tokens_of(number, writes)[:context])
            for number, (reads, writes) in enumerate(lengths)
            if writes
        ]
        assert sorted(seen) == [(*pair, [token + 1 for token in pair[2]]) for pair in expected]
        sequential = Sequential(split, "paired", rows=rows, context=context, pad=PAD, source_context=source_context)
        assert sorted(row for batch in sequential for row in rows_of(batch)) == sorted(seen)


@given(some_lengths, st.integers(1, 5), st.integers(2, 11), st.integers(0, 25), st.integers(0, 9))
def test_after_loading_its_state_the_very_same_batches_follow(lengths, rows, context, position, seed):
    with opened(lengths) as split:

        def new(source_context=7):
            return make_loader(split, "paired", rows=rows, context=context, seed=seed, pad=PAD, source_context=source_context)

        loader = new()
        for _ in range(position):
            loader.next_batch()
        state = loader.state_dict()
        expected = [loader.next_batch() for _ in range(12)]
        again = new()
        again.next_batch()
        again.load_state_dict(state)
        for batch in expected:
            found = again.next_batch()
            assert found.keys() == batch.keys()
            assert all(torch.equal(found[name], batch[name]) for name in batch)
        with pytest.raises(UserError, match="source_context 7, and here it is 8"):
            new(8).load_state_dict(state)


def test_pairs_of_like_lengths_share_a_batch_and_short_and_long_batches_alternate():
    draw = np.random.default_rng(0)
    source = draw.integers(3, 60, 4000)
    target = np.maximum(3, source + draw.integers(-4, 5, 4000))
    with opened(list(zip(source.tolist(), target.tolist(), strict=True))) as split:
        loader = PairedLoader(split, rows=64, context=64, seed=0, pad=PAD)
        batches = [loader.next_batch() for _ in range(60)]
        real = sum(int(batch["attention_mask"].sum() + batch["source_mask"].sum()) for batch in batches)
        padded = [batch["tokens"].numel() + batch["source_tokens"].numel() for batch in batches]
        # At random, the longest of a batch is nearly 60 and half of each is padding.
        assert real / sum(padded) > 0.9
        widths = [batch["tokens"].shape[1] for batch in batches]
        assert widths != sorted(widths)
        other = PairedLoader(split, rows=64, context=64, seed=0, pad=PAD)
        other.load_state_dict({**other.state_dict(), "epoch": 1})
        assert not torch.equal(batches[0]["number"], other.next_batch()["number"])


def test_the_longest_rows_hold_as_many_tokens_as_a_row_is_counted_for():
    with opened([(5, 4), (9, 6), (2, 2)]) as split:
        batch = longest_rows(split, "paired", rows=2, context=32, pad=PAD)
        assert batch["tokens"].shape[0] == 2
        assert batch["tokens"].shape[1] + batch["source_tokens"].shape[1] == 32
        assert sorted(batch["number"].tolist()) == [0, 1]


def test_a_split_knows_its_tokens_of_both_sides():
    with opened([(5, 4), (9, 6), (2, 2)]) as split:
        assert split.all_tokens == 28
        assert split.record_lengths.tolist() == [9, 15, 4]


def test_what_is_too_long_on_either_side_is_counted_and_dropped_where_told():
    cut, drop = Fit("cut", 4, 6), Fit("drop", 4, 6)
    pairs = [{"source": [1] * reads, "tokens": [2] * writes, "targets": [3] * writes} for reads, writes in ((6, 4), (7, 4), (6, 9), (8, 5))]
    assert [cut(pair) for pair in pairs] == pairs
    assert (cut.records, cut.tokens, cut.longest) == (3, 1 + 5 + 3, 9)
    assert [len(drop(pair)["tokens"]) for pair in pairs] == [4, 0, 0, 0]  # type: ignore[arg-type]
    assert (drop.records, drop.tokens) == (3, 11 + 15 + 13)
    refuse = Fit("refuse", 4, 6)
    refuse(pairs[1])
    with pytest.raises(UserError, match="longer than the context"):
        refuse.check("train")
