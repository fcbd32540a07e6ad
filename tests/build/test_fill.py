"""Gaps: what is learnt of them, and what a model is asked."""

from __future__ import annotations

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from lodestar.build.completion import CompletionRequest, complete, prompt_tokens
from lodestar.build.fill import FILL_TOKENS, FillMarks, draw_gap, near_gap, rows_with_gaps
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import END_OF_TEXT, Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import train_tokenizer

TEXT = "".join(f"def f{number}(x):\n    return x + {number}  # 加{number}\n\n\n" for number in range(40))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT], 300, FILL_TOKENS)


@pytest.fixture(scope="module")
def marks(tokenizer: Tokenizer) -> FillMarks:
    found = FillMarks.of(tokenizer)
    assert found is not None
    return found


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=2))
def test_a_gap_is_part_of_its_text_and_never_empty(text: str) -> None:
    gap = draw_gap(text)
    assert "".join(gap) == text
    assert gap.middle
    assert draw_gap(text) == gap


def read_back(row: list[int], tokenizer: Tokenizer, marks: FillMarks) -> str:
    """The text of a row, its middle moved back to its place."""
    inside = row[1:-1] if row[-1] == tokenizer.end_of_text else row[1:]
    if inside[0] != marks.suffix:
        return tokenizer.decode(inside)
    prefix = inside.index(marks.prefix)
    return tokenizer.decode(inside[prefix + 1 :]) + tokenizer.decode(inside[1:prefix])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_document_s_rows_hold_all_of_it_in_order(tokenizer: Tokenizer, marks: FillMarks, share: float) -> None:
    context = 64
    rows = list(rows_with_gaps(TEXT, tokenizer, marks, context, share))
    assert "".join(read_back(row, tokenizer, marks) for row in rows) == TEXT
    gapped = [row for row in rows if row[1] == marks.suffix]
    assert all(len(row) <= 0.8 * context for row in gapped)
    assert {row[0] for row in rows} == {tokenizer.opening}
    assert all(row[-1] == tokenizer.end_of_text for row in [*gapped, rows[-1]])
    if share == 0.0:
        assert len(rows) == 1
    if share == 1.0:
        assert rows == gapped
    if share == 0.4:
        assert 0 < len(gapped) < len(rows) or len(rows) > 3


@pytest.mark.parametrize("marked", [FillMarks(1, 2), FillMarks(1, 2, 3)], ids=["suffix first", "prefix first"])
@pytest.mark.parametrize("room", [6, 7, 8, 26, 40, 4000])
def test_what_is_read_near_a_gap_touches_it_and_has_room(tokenizer: Tokenizer, marked: FillMarks, room: int) -> None:
    gap = TEXT.index("return x + 20")
    before, after = tokenizer.encode(TEXT[:gap]), tokenizer.encode(TEXT[gap:])
    row = near_gap(tokenizer, marked, TEXT[:gap], TEXT[gap:], room)
    free = room - 1 - sum(mark is not None for mark in marked)
    sizes = [
        (ahead, following)
        for ahead in range(1, len(before) + 1)
        if (following := min(free - ahead, len(after))) >= 1
        and row == [tokenizer.opening, *marked.prompt(before[-ahead:], after[:following])]
    ]
    ((ahead, following),) = sizes
    assert ahead + following == min(free, len(before) + len(after)), "no room is left over"
    assert abs(ahead - following) <= 1 or following == len(after) or ahead == len(before), "as much of one side as of the other"


def test_what_one_side_lacks_the_other_gets(tokenizer: Tokenizer, marks: FillMarks) -> None:
    many, few = tokenizer.encode(TEXT), tokenizer.encode("x = 1\n")
    assert near_gap(tokenizer, marks, "x = 1\n", TEXT, 40) == [tokenizer.opening, *marks.prompt(few, many[: 37 - len(few)])]
    assert near_gap(tokenizer, marks, TEXT, "x = 1\n", 40) == [tokenizer.opening, *marks.prompt(many[len(few) - 37 :], few)]
    assert near_gap(tokenizer, marks, "", "x = 1\n", 40) == [tokenizer.opening, *marks.prompt([], few)]


def test_the_marks_of_open_families_are_known() -> None:
    for names in (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")):
        backend = tokenizers.Tokenizer(models.BPE())
        backend.add_special_tokens([END_OF_TEXT, *names])
        marks = FillMarks.of(Tokenizer(backend))
        assert marks == FillMarks(1, 2, 3)
        assert marks.prompt([7], [8, 9]) == [1, 7, 2, 8, 9, 3]
    assert FillMarks.of(train_tokenizer([TEXT], 300, ())) is None


def test_a_suffix_is_read_in_its_place_or_refused(tokenizer: Tokenizer, marks: FillMarks) -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocabulary_size, width=32, depth=2, heads=2, context=64, initial_std=0.5)).eval()
    asked = CompletionRequest(prompt="def f", suffix="return x", max_tokens=4)
    read = prompt_tokens(model, tokenizer, asked)
    expected = [tokenizer.opening, marks.suffix, *tokenizer.encode("return x"), marks.prefix, *tokenizer.encode("def f")]
    assert read == expected
    told = complete(model, tokenizer, asked)
    with torch.inference_mode():
        assert tokenizer.encode(told["text"])[:1] == [int(model(torch.tensor([expected]))[0, -1].argmax())] or told["text"] == ""
    with pytest.raises(UserError, match="the context has 64 tokens"):
        prompt_tokens(model, tokenizer, CompletionRequest(prompt="def f", suffix="return x\n" * 60, max_tokens=4))
    long = CompletionRequest(prompt=TEXT, suffix=TEXT, max_tokens=4, truncate_prompt_tokens=-1)
    assert prompt_tokens(model, tokenizer, long) == near_gap(tokenizer, marks, TEXT, TEXT, 60)
    with pytest.raises(UserError, match="has not learnt to fill a gap"):
        prompt_tokens(model, train_tokenizer([TEXT], 300, ()), asked)
