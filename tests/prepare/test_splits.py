"""A record's split is a function of the record: pinned by literals, so no later version may move one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.task import Example
from lodestar.prepare.records import canonical_json, digest
from lodestar.prepare.splits import TEST, TRAIN, VALIDATION, assign


class Note(Example):
    text: str


def settings(validation=0.05, test=0.05, **others):
    return DataSettings(sources=["x"], validation=validation, test=test, **others)


def units(*texts):
    return np.array([int.from_bytes(digest(canonical_json(Note(text=text)))[:8], "big") for text in texts], np.uint64)


def free(count):
    return np.full(count, -1, np.int8)


def test_pinned():
    texts = [f"note {number}" for number in range(40)]
    split = assign(units(*texts), free(40), settings(0.2, 0.2))
    assert [texts[index] for index in np.flatnonzero(split == TEST)] == PINNED_TEST
    assert [texts[index] for index in np.flatnonzero(split == VALIDATION)] == PINNED_VALIDATION


PINNED_TEST = [f"note {number}" for number in (2, 20, 23, 32, 39)]
PINNED_VALIDATION = [f"note {number}" for number in (5, 7, 15, 19, 27, 28, 30, 35)]


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_adding_records_moves_none(seed, extra):
    """Unless a split would have been empty, which a hundred records at 20% rule out (0.8^100 is 2e-10)."""
    unit = np.random.default_rng(seed).integers(0, 2**64, 100 + extra, np.uint64, endpoint=False)
    whole = assign(unit, free(len(unit)), settings(0.2, 0.2))
    part = assign(unit[extra:], free(100), settings(0.2, 0.2))
    assert (whole[extra:] == part).all()


def test_shares_are_kept_and_a_larger_test_keeps_its_records():
    unit = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64, endpoint=False)
    small, large = (assign(unit, free(len(unit)), settings(0.05, test)) for test in (0.05, 0.1))
    # Five standard errors of a share of 5% among 100,000.
    assert abs((small == TEST).mean() - 0.05) < 0.0035
    assert abs((small == VALIDATION).mean() - 0.05) < 0.0035
    assert (large[small == TEST] == TEST).all()
    none = assign(unit, free(len(unit)), settings(0, 0))
    assert (none == TRAIN).all()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=30, unique=True))
def test_a_tiny_data_set_fills_every_split_and_moves_as_few_records_as_it_must(values):
    unit = np.array(values, np.uint64)
    split = assign(unit, free(len(unit)), settings())
    assert {TRAIN, VALIDATION, TEST} == set(split.tolist())
    drawn = unit / 2.0**64
    by_rule = np.where(drawn < 0.05, TEST, np.where(drawn < 0.1, VALIDATION, TRAIN))
    assert (split != by_rule).sum() == 3 - len(set(by_rule.tolist()))


def test_fewer_records_than_splits_are_refused():
    with pytest.raises(UserError, match=r"^data: 2 records are too few to fill train, validation, test \(train "):
        assign(units("a", "b"), free(2), settings())
    with pytest.raises(UserError, match="1 record is too few to fill train, test"):
        assign(units("a"), free(1), settings(validation=0))
    assert assign(units("a"), free(1), settings(0, 0)).tolist() == [TRAIN]


def test_an_explicit_split_is_its_files_and_no_more():
    unit = np.random.default_rng(1).integers(0, 2**64, 1000, np.uint64, endpoint=False)
    explicit = free(1000)
    explicit[:100] = TEST
    split = assign(unit, explicit, settings(splits={"test": ["t"]}))
    assert np.flatnonzero(split == TEST).tolist() == list(range(100))
    assert 20 < (split == VALIDATION).sum() < 80
    with pytest.raises(UserError, match="too few to fill train, validation, test"):
        assign(unit[:3], np.full(3, TEST, np.int8), settings(splits={"test": ["t"]}))


def test_records_of_one_document_share_a_split():
    unit = np.repeat(units(*map(str, range(8))), 5)
    split = assign(unit, free(40), settings())
    assert all(len(set(split[start : start + 5].tolist())) == 1 for start in range(0, 40, 5))
