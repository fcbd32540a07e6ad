"""Batches against a reference written out token by token, on streams whose token at place i is i."""

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
from lodestar.prepare.loader import PackedLoader, PaddedLoader, Sequential, make_loader
from lodestar.prepare.shards import Examples, open_split, write_examples, write_tokens

PAD = 99_999


class Span(Example):
    """A record whose tokens are `begin`, `begin` + 1, …"""

    begin: int
    length: int


class SpanTask:
    """All of a task that opening records needs."""

    example = Span


SPANS: Any = SpanTask()


@contextmanager
def opened(lengths):
    """A split with records of these lengths."""
    starts = np.cumsum([0, *lengths]).tolist()
    spans = [Span(begin=begin, length=length) for begin, length in zip(starts, lengths, strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "train")
        write_examples(place, (span.model_dump_json().encode() + b"\n" for span in spans), len(spans))

        def encode(span):
            tokens = range(span.begin, span.begin + span.length)
            return {"tokens": list(tokens), "doubled": [2 * token for token in tokens], "length": span.length}

        examples = Examples(place, SPANS)
        write_tokens(place, examples, lambda example: [encode(example)], 100_000, lambda batch: None, "encode")
        yield open_split(Path(folder), "train")


lengths_lists = st.lists(st.integers(0, 12), min_size=1, max_size=30).filter(lambda lengths: sum(lengths) >= 12)


def check_packed_row(batch, row, starts, total):
    """Each token of a row: its target, position and document, by the definition."""
    tokens = batch["tokens"][row].tolist()
    documents = [int(np.searchsorted(starts, token, side="right")) - 1 for token in tokens]
    for place, token in enumerate(tokens):
        assert token == tokens[0] + place
        crosses = token + 1 in starts or token + 1 >= total
        assert batch["targets"][row, place] == (IGNORE if crosses else token + 1)
        assert batch["doubled"][row, place] == 2 * token
        if "document_ids" in batch:
            same = (batch["document_ids"][row] == batch["document_ids"][row, place]).tolist()
            assert same == [document == documents[place] for document in documents]
            assert batch["positions"][row, place] == token - max(starts[documents[place]], tokens[0])
    return len(set(documents)) > 1


@settings(max_examples=50)
@given(lengths_lists, st.integers(1, 4), st.integers(1, 11), st.integers(0, 3))
def test_packed_rows_are_as_defined_and_an_epoch_learns_each_token_once(lengths, rows, context, seed):
    with opened(lengths) as split:
        starts = np.cumsum([0, *[length for length in lengths if length]])
        loader = PackedLoader(split, rows=rows, context=context, seed=seed)
        total = sum(lengths)
        learnt: list[int] = []
        while not learnt or loader.state_dict()["epoch"] == 0:
            before = loader.state_dict()
            batch = loader.next_batch()
            assert batch["tokens"].shape == batch["targets"].shape == (rows, context)
            assert batch["tokens"].dtype == batch["targets"].dtype == torch.int64
            several = [check_packed_row(batch, row, starts, total) for row in range(rows)]
            assert ("document_ids" in batch) == any(several)
            now = loader.state_dict()
            first_epoch = rows if now["epoch"] == 0 else len(loader_starts(split, context, seed)) - before["row"]
            learnt += batch["tokens"][:first_epoch].flatten().tolist()
        assert len(set(learnt)) == len(learnt), "no token twice"
        assert set(learnt) == set(range(min(learnt), max(learnt) + 1))
        assert min(learnt) < context, "the offset"
        assert max(learnt) >= total - 1 - context, "less than a row is left at the end"


def loader_starts(split, context, seed):
    return PackedLoader(split, rows=1, context=context, seed=seed)._starts


@given(lengths_lists, st.sampled_from(["packed", "padded"]), st.integers(1, 5), st.integers(1, 11), st.integers(0, 25), st.integers(0, 9))
def test_after_loading_its_state_the_very_same_batches_follow(lengths, batching, rows, context, position, seed):
    with opened(lengths) as split:

        def new():
            return make_loader(split, batching, rows=rows, context=context, seed=seed, pad=PAD)

        loader = new()
        for _ in range(position):
            loader.next_batch()
        state = loader.state_dict()
        expected = [loader.next_batch() for _ in range(12)]
        again = new()
        again.next_batch()
        again.load_state_dict(state)
        assert again.state_dict() == state
        for batch in expected:
            found = again.next_batch()
            assert found.keys() == batch.keys()
            assert all(torch.equal(found[name], batch[name]) for name in batch)


def test_epochs_and_seeds_differ():
    with opened([50] * 40) as split:

        def epoch(seed, number):
            loader = PackedLoader(split, rows=1, context=16, seed=seed)
            loader.load_state_dict({**loader.state_dict(), "epoch": number})
            return [loader.next_batch()["tokens"][0, 0].item() for _ in range(100)]

        one, two, other = epoch(0, 0), epoch(0, 1), epoch(1, 0)
        assert one == epoch(0, 0)
        assert one != two != other != one
        assert {begin % 16 for begin in one} != {begin % 16 for begin in two}, "the rows begin elsewhere"


@settings(max_examples=50)
@given(lengths_lists, st.integers(1, 5), st.integers(1, 9), st.integers(0, 3))
def test_padded_rows_are_as_defined_and_an_epoch_visits_each_record_with_tokens_once(lengths, rows, context, seed):
    with opened(lengths) as split:
        loader = PaddedLoader(split, rows=rows, context=context, seed=seed, pad=PAD)
        assert loader.truncated == sum(length > context for length in lengths)
        starts = np.cumsum([0, *lengths])
        seen: list[Any] = []
        while not seen or loader.state_dict()["epoch"] == 0:
            batch = loader.next_batch()
            count, width = batch["tokens"].shape
            assert 1 <= count <= rows
            assert width in (context, *range(0, context, 8), 1)
            for row in range(count):
                real = batch["attention_mask"][row].tolist()
                tokens = batch["tokens"][row].tolist()
                kept = tokens[: sum(real)]
                length = batch["length"][row].item()
                assert real == [True] * len(kept) + [False] * (width - len(kept))
                assert set(tokens[len(kept) :]) <= {PAD}
                assert len(kept) == min(length, context)
                assert kept == list(range(kept[0], kept[0] + len(kept))) if kept else length == 0
                assert batch["doubled"][row].tolist() == [2 * token for token in kept] + [0] * (width - len(kept))
                seen.append((kept[0] if kept else None, length))
        expected = [(int(begin), length) for begin, length in zip(starts, lengths, strict=False) if length]
        assert sorted(seen, key=str) == sorted(expected, key=str)


def test_records_of_like_length_share_a_batch():
    lengths = np.random.default_rng(0).integers(1, 200, 2000).tolist()
    with opened(lengths) as split:
        loader = PaddedLoader(split, rows=16, context=256, seed=0, pad=PAD)
        batches = [loader.next_batch() for _ in range(125)]
    real = sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert real == sum(lengths)
    # At random, the longest of 16 is nearly 200 and half of each batch is padding.
    assert real / sum(batch["tokens"].numel() for batch in batches) > 0.9
    widths = [batch["tokens"].shape[1] for batch in batches]
    assert widths != sorted(widths), "short and long batches alternate"


@settings(max_examples=50)
@given(lengths_lists, st.integers(1, 4), st.integers(1, 40))
def test_an_evaluation_sees_every_target_once(lengths, rows, context):
    with opened(lengths) as split:
        total, starts = sum(lengths), np.cumsum([0, *[length for length in lengths if length]])
        packed = Sequential(split, "packed", rows=rows, context=context, pad=PAD)
        targets = np.concatenate([batch["targets"].numpy().ravel() for batch in packed])
        assert sorted(targets[targets != IGNORE].tolist()) == sorted(set(range(1, total)) - set(starts.tolist()))
        assert len(packed) == len(list(packed))
        for batch in packed:
            inside = batch["tokens"] != PAD
            assert (batch["targets"][~inside] == IGNORE).all()
            for row in range(len(inside)):
                real = int(inside[row].sum())
                check_packed_row({name: value[:, :real] for name, value in batch.items()}, row, starts, total)
            if "document_ids" in batch:
                ids = batch["document_ids"]
                for row in range(len(ids)):
                    assert not set(ids[row][inside[row]].tolist()) & set(ids[row][~inside[row]].tolist()), "no token meets the padding"
        padded = Sequential(split, "padded", rows=rows, context=context, pad=PAD)
        assert sorted(int(length) for batch in padded for length in batch["length"]) == sorted(length for length in lengths if length)
        limited = Sequential(split, "padded", rows=rows, context=context, pad=PAD, limit=2)
        assert len(limited) == min(2, len(padded))


def test_a_context_longer_than_the_data_is_refused_before_anything_is_trained():
    with opened([10, 10]) as split:
        PackedLoader(split, rows=1, context=19, seed=0).next_batch()
        with pytest.raises(UserError) as caught:
            PackedLoader(split, rows=1, context=20, seed=0)
    assert str(caught.value) == (
        "model.context: the train split has 20 tokens, too few for one row of the context 20; "
        "set model.context to 19 or less, or give more data."
    )


def test_the_state_of_another_run_is_refused():
    with opened([10, 10]) as split:
        state = PackedLoader(split, rows=2, context=8, seed=0).state_dict()
        for loader in (
            PackedLoader(split, rows=2, context=8, seed=1), PackedLoader(split, rows=3, context=8, seed=0),
            PaddedLoader(split, rows=2, context=8, seed=0, pad=PAD),
        ):  # fmt: skip
            with pytest.raises(UserError, match=r"place in the data was taken with .*; train with the settings and the data"):
                loader.load_state_dict(state)
    with opened([10, 11]) as other, pytest.raises(UserError, match="taken with tokens 20, and here it is 21"):
        PackedLoader(other, rows=2, context=8, seed=0).load_state_dict(state)


def test_a_split_knows_its_records_and_is_refused_when_damaged():
    with opened([3, 0, 5]) as split:
        examples = split.examples(SPANS)
        assert len(examples) == split.records == 3
        assert list(examples) == [examples[0], examples[1], examples[-1]] == [*examples[:2], Span(begin=3, length=5)]
        with pytest.raises(IndexError):
            examples[3]
        assert split.tokens.tolist() == list(range(8))
        assert split.lengths.tolist() == split.numbers["length"].tolist() == [3, 0, 5]
        (split.folder / "tokens.bin").write_bytes(b"x")
        with pytest.raises(UserError, match=r"tokens\.bin: the prepared data is damaged"):
            open_split(split.folder.parent, "train")
        with pytest.raises(UserError, match="no validation split here; run `lodestar prepare` first"):
            open_split(split.folder.parent, "validation")


def test_small_vocabularies_take_two_bytes_a_token(tmp_path):
    write_examples(tmp_path / "train", [b'{"begin": 0, "length": 1}\n'], 1)
    examples = Examples(tmp_path / "train", SPANS)
    write_tokens(tmp_path / "train", examples, lambda span: [{"tokens": [65_535]}], 65_536, lambda batch: None, "encode")
    assert open_split(tmp_path, "train").tokens.dtype == np.uint16
    assert (tmp_path / "train" / "tokens.bin").read_bytes() == b"\xff\xff"
