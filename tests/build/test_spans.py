"""Answers as spans: windows, the joint best span, and the loss, each against its definition."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lodestar.build.heads import SpanClassifier
from lodestar.build.spans import _best_pair, best_span_of_each, best_spans, span_losses
from lodestar.build.windows import ASKED, LEAST_ROOM, QUESTION, TEXT, Window, windows
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer

TEXTS = ["The cat sat on the mat, and the dog barked at 3.5 cats.", "我爱北京天安门，天安门上太阳升。", "Wo ist die Katze? 고양이 😀é"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 3, 300, single_characters=True)


def reader(tokenizer: Tokenizer, context: int = 40, token_types: int = 3) -> SpanClassifier:
    torch.manual_seed(0)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, context, architecture="encoder", token_types=token_types, initial_std=0.5)
    return SpanClassifier(config).eval()


def test_a_short_text_is_one_row_with_marks_and_types(tokenizer: Tokenizer) -> None:
    (row,) = windows(tokenizer, "the Cat?", "A cat sat.", None)
    end = tokenizer.end_of_text
    asked, text = tokenizer.encode("the Cat?"), tokenizer.encode("A cat sat.")
    assert row.tokens == [end, *asked, end, *text, end]
    assert row.first == len(asked) + 2
    assert row.token_types[: row.first] == [QUESTION] * row.first


def test_the_words_of_a_text_that_are_asked_for_have_a_type_of_their_own(tokenizer: Tokenizer) -> None:
    text = "A cat's mat, cats; 北京天安门"
    (row,) = windows(tokenizer, "Where is the CAT of 北门?", text, None)
    for (start, end), kind in zip(row.offsets, row.token_types[row.first : -1], strict=True):
        asked = (start >= 1 and end <= 5) or text[start:end] in "北门"  # not the beginning of cats
        assert kind == (ASKED if asked else TEXT), text[start:end]


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=200), longest=st.integers(LEAST_ROOM + 10, 60), overlap=st.integers(0, 40))
def test_windows_cover_every_token_in_order_and_fit(tokenizer: Tokenizer, text: str, longest: int, overlap: int) -> None:
    found = windows(tokenizer, "cat?", text, longest, overlap)
    tokens, offsets = tokenizer.encode_with_offsets(text)
    assert tokenizer.encode(text) == tokens
    assert all(len(window.tokens) <= longest for window in found)
    covered: list[int] = []
    for number, window in enumerate(found):
        inside = window.tokens[window.first : window.first + len(window.offsets)]
        shared = min(overlap, len(found[0].offsets) // 2) if number else 0
        assert covered[len(covered) - shared :] == inside[:shared]
        covered += inside[shared:]
    assert covered == tokens
    assert len(found) == 1 or len(found[-1].offsets) > 0
    for start, end in offsets:
        assert any(window.place(start, end) != (0, 0) for window in found if (start, end) in window.offsets)


def test_a_question_that_leaves_no_room_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"question: the question has \d+ tokens, and beside a text the model reads at most 29"):
        windows(tokenizer, "why? " * 40, "text", 40)


def test_the_places_of_an_answer_hold_its_characters(tokenizer: Tokenizer) -> None:
    text = "我爱北京天安门, said the 😀 cat."
    (row,) = windows(tokenizer, "?", text, None)
    for answer in ("北京", "天安门", "the 😀", "cat", "我"):
        start = text.index(answer)
        first, last = row.place(start, start + len(answer))
        begin, end = row.offsets[first - row.first][0], row.offsets[last - row.first][1]
        assert text[begin:end].strip() == answer
        assert tokenizer.decode(row.tokens[first : last + 1]).strip() == answer


def test_an_answer_that_a_window_lacks_a_part_of_has_no_place_in_it() -> None:
    window = Window([1, 2, 3, 4, 5], [0] * 5, 2, [(10, 12), (12, 15)])
    assert window.place(10, 15) == (2, 3)
    assert window.place(12, 13) == (3, 3)
    assert window.place(9, 12) == window.place(14, 16) == (0, 0)


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12),
    st.integers(1, 12),
)
def test_the_best_pair_is_the_best_of_all_permitted_pairs(tokens: Sequence[tuple[float, float, int, int]], longest: int) -> None:
    starts = np.cumsum([gap + (0 if place == 0 else tokens[place - 1][3]) for place, (_, _, gap, _) in enumerate(tokens)])
    ends = starts + [width for *_, width in tokens]
    start, end = np.array([one for one, *_ in tokens]), np.array([one for _, one, *_ in tokens])
    permitted = [
        (start[i] + end[j], i, j) for i in range(len(tokens)) for j in range(i, len(tokens)) if i == j or ends[j] - starts[i] <= longest
    ]
    first, last, score = _best_pair(start, end, starts, ends, longest)
    assert score == max(permitted)[0]
    assert (score, first, last) in permitted


def test_a_long_text_is_answered_as_its_windows_are(tokenizer: Tokenizer) -> None:
    """The best span and the least score of none over windows, each put to the model by hand."""
    model, question, text = reader(tokenizer), "the cat?", " ".join(TEXTS)
    rows = windows(tokenizer, question, text, 40, 10)
    assert len(rows) > 2
    within = {place for place in range(1, len(text)) if re.fullmatch("[a-zA-Zé]{2}", text[place - 1 : place + 1])}
    spans, nulls = [], []
    with torch.inference_mode():
        for row in rows:
            logits = model(torch.tensor([row.tokens]), None, torch.tensor([row.token_types]))[0].double()
            nulls.append(float(logits[0].sum()))
            for i, (begin, _) in enumerate(row.offsets):
                for j, (_, end) in enumerate(row.offsets[i:], i):
                    blank = any(not text[slice(*row.offsets[place])].strip() for place in (i, j))
                    if (i == j or end - begin <= 30) and not blank and not {begin, end} & within:
                        spans.append((float(logits[row.first + i, 0] + logits[row.first + j, 1]), text[begin:end].strip()))
    (found,) = best_spans(model, tokenizer, question, [text], longest_answer=30, overlap=10)
    assert found.windows == len(rows)
    assert found.null_score == pytest.approx(min(nulls), abs=1e-5)
    assert found.score == pytest.approx(max(spans)[0], abs=1e-5)
    assert text[found.start : found.end] == max(spans)[1]
    assert 0 < found.probability < 1


def test_texts_together_are_answered_as_alone(tokenizer: Tokenizer) -> None:
    model = reader(tokenizer)
    together = best_span_of_each(model, tokenizer, [("where?", text) for text in TEXTS] + [("谁?", " \t天 \n")])
    for place, (span, text) in enumerate(zip(together, [*TEXTS, " \t天 \n"], strict=True)):
        (alone,) = best_spans(model, tokenizer, "where?" if place < 3 else "谁?", [text])
        assert (span.context, span.start, span.end, span.windows) == (place, alone.start, alone.end, alone.windows)
        assert span.score == pytest.approx(alone.score, abs=1e-5)
    assert (together[3].start, together[3].end) == (2, 3)


@pytest.mark.parametrize("token_types", [0, 1, 2, 3])
def test_a_model_of_fewer_token_types_reads_as_many_as_it_has(tokenizer: Tokenizer, token_types: int) -> None:
    (found,) = best_spans(reader(tokenizer, token_types=token_types), tokenizer, "cat?", ["A cat."])
    assert found.end > found.start


def test_the_loss_is_the_cross_entropy_over_the_real_tokens(tokenizer: Tokenizer) -> None:
    model = reader(tokenizer)
    rows = [windows(tokenizer, "the cat?", text, None)[0].tokens[:length] for text, length in zip(TEXTS, (20, 12, 16), strict=True)]
    places = [(4, 6), (9, 10), (15, 16)]  # the last ends behind its row
    mask = torch.tensor([[place < len(row) for place in range(24)] for row in rows])
    batch = {
        "tokens": torch.tensor([row + [1] * (24 - len(row)) for row in rows]),
        "attention_mask": mask,
        "token_types": torch.zeros(3, 24, dtype=torch.long),
        "start": torch.tensor([start for start, _ in places]),
        "end": torch.tensor([end for _, end in places]),
    }
    with torch.inference_mode():
        losses = span_losses(model, batch)
        for row, (start, end), loss in zip(rows, [*places[:2], (0, 0)], losses, strict=True):
            logits = model(torch.tensor([row]), None, torch.zeros(1, len(row), dtype=torch.long))[0]
            expected = sum(F.cross_entropy(logits[:, side], torch.tensor(place)) for side, place in ((0, start), (1, end))) / 2
            assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_an_answer_does_not_begin_or_end_within_a_word_unless_there_is_no_other(tokenizer: Tokenizer) -> None:
    model = reader(tokenizer)
    for text in ("barkedcats 2025 matdog", "сидел кот", "barkedcatsmatdog" * 30):
        (found,) = best_spans(model, tokenizer, "the cat?", [text], longest_answer=12)
        whole = re.fullmatch(r"\S+( \S+)*", text[found.start : found.end])
        assert whole
        if " " in text:
            assert (" " + text + " ")[found.start] == " " == (" " + text + " ")[found.end + 1]
    (found,) = best_spans(model, tokenizer, "?", ["고양이가 앉았다"], longest_answer=1)  # a syllable of a word of Korean may be one
    assert found.end - found.start == 1
