"""Beam search against every sequence there is, and against `transformers` on the same weights."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.build.formats import load_model
from lodestar.model.beam import BeamSettings, beam_search, best_continuations
from lodestar.model.config import ModelConfig
from lodestar.model.generate import generate
from lodestar.model.steps import TransformerStep
from lodestar.model.transformer import Transformer

END = 0


class Table:
    """A `Step` whose logits follow from a sentence and all tokens so far, by a seed: no model could be less regular."""

    def __init__(self, sentences: int, vocabulary: int, seed: int) -> None:
        self.vocabulary, self.seed = vocabulary, seed
        self.rows: list[tuple[int, ...]] = [(sentence,) for sentence in range(sentences)]

    def logits(self, row: tuple[int, ...]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, *row)) % (1 << 31))
        return 2 * torch.randn(self.vocabulary, generator=generator)

    def begin(self) -> torch.Tensor:
        return torch.stack([self.logits(row) for row in self.rows])

    def next(self, tokens_R: torch.Tensor) -> torch.Tensor:
        self.rows = [(*row, token) for row, token in zip(self.rows, tokens_R.tolist(), strict=True)]
        return self.begin()

    def reorder(self, rows_R: torch.Tensor, *, same_sources: bool) -> None:
        before = [row[0] for row in self.rows]
        self.rows = [self.rows[row] for row in rows_R.tolist()]
        if same_sources:
            assert [row[0] for row in self.rows] == before


def every_sequence(table: Table, sentence: int, limit: int, settings: BeamSettings) -> list[tuple[float, list[int]]]:
    """All finished sequences of at most `limit` tokens with their scores, the best first."""
    found = []
    for length in range(limit):
        for tokens in itertools.product(range(1, table.vocabulary), repeat=length):
            row: tuple[int, ...] = (sentence,)
            total = 0.0
            for token in (*tokens, END):
                total += float(table.logits(row).log_softmax(-1)[token])
                row = (*row, token)
            found.append((total / settings.penalty(length + 1), list(tokens)))
    return sorted(found, reverse=True)


@settings(max_examples=25)
@given(
    st.integers(2, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 1000), st.floats(-1, 2),
    st.sampled_from(["power", "gnmt"]), st.integers(1, 4),
)  # fmt: skip
def test_with_beams_for_every_sequence_it_finds_the_best_there_are(vocabulary, limits, seed, penalty, normalization, best):
    chosen = BeamSettings(vocabulary ** max(limits), penalty, normalization)
    found = beam_search(Table(len(limits), vocabulary, seed), limits, [END], chosen, best=best)
    for sentence, (limit, hypotheses) in enumerate(zip(limits, found, strict=True)):
        expected = every_sequence(Table(len(limits), vocabulary, seed), sentence, limit, chosen)[:best]
        assert [one.tokens for one in hypotheses] == [tokens for _, tokens in expected]
        for one, (score, tokens) in zip(hypotheses, expected, strict=True):
            assert one.score == pytest.approx(score, abs=1e-4)
            assert one.score == pytest.approx(one.log_probability / chosen.penalty(len(tokens) + 1), abs=1e-5)
            assert one.finished


@settings(max_examples=40)
@given(st.integers(2, 5), st.integers(2, 8), st.integers(0, 1000), st.floats(-1, 2), st.sampled_from(["power", "gnmt"]))
def test_stopping_early_changes_no_answer(beams, vocabulary, seed, penalty, normalization):
    """A search that is kept from stopping by asking for more hypotheses than there are goes on to the limit."""
    chosen = BeamSettings(beams, penalty, normalization)
    early = beam_search(Table(3, vocabulary, seed), [7] * 3, [END], chosen)
    late = beam_search(Table(3, vocabulary, seed), [7] * 3, [END], chosen, best=1000)
    for first, all_of_them in zip(early, late, strict=True):
        if all_of_them[0].finished:
            assert first[0] == all_of_them[0]
        else:
            assert not first[0].finished


@given(st.integers(1, 4), st.integers(0, 1000))
def test_a_sentence_is_the_same_alone_and_among_others(beams, seed):
    chosen, limits = BeamSettings(beams), [3, 7, 5, 1]
    together = beam_search(Table(4, 6, seed), limits, [END, 1], chosen)
    for sentence, limit in enumerate(limits):
        table = Table(4, 6, seed)
        table.rows = [(sentence,)]
        assert beam_search(table, [limit], [END, 1], chosen) == [together[sentence]]
        assert len(together[sentence][0].tokens) + together[sentence][0].finished <= limit
        assert not {END, 1} & set(together[sentence][0].tokens)


def test_the_usual_stop_is_sooner():
    steps = []
    for stopping in ("usual", "exact"):
        table = Table(1, 5, 3)
        beam_search(table, [40], [END], BeamSettings(3, 1.0, stopping=stopping))
        steps.append(len(table.rows[0]))
    assert steps[0] < steps[1]


def test_banned_tokens_are_not_written_and_their_probability_is_lost():
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    values, ids = best_continuations(logits, 2, torch.tensor([False, False, True, True]))
    assert ids.tolist() == [[1, 0]]
    torch.testing.assert_close(values, logits.log_softmax(-1)[:, [1, 0]])


IDS: dict[str, Any] = {
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": None,
    "forced_bos_token_id": None,
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "vocab_size": 61, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 3,
    "encoder_ffn_dim": 36, "decoder_ffn_dim": 36, "max_position_embeddings": 40, "init_std": 0.35, **IDS,
}  # fmt: skip


@pytest.fixture(scope="module", params=["marian", "bart"])
def pair(request, tmp_path_factory):
    """One small model of random weights, as transformers and as we read it; its end mark is made likely enough to come."""
    torch.manual_seed(4)
    kind = {"marian": ("MarianConfig", "MarianMTModel"), "bart": ("BartConfig", "BartForConditionalGeneration")}[request.param]
    theirs = getattr(transformers, kind[1])(getattr(transformers, kind[0])(**SHAPE)).eval()
    theirs.final_logits_bias[0, 2] = 3.5
    theirs.final_logits_bias[0, 1] = -50.0
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    return theirs, load_model(folder)


def padded_sources():
    torch.manual_seed(7)
    sources = torch.randint(3, 61, (6, 9))
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 9, 2, 6])[:, None]
    return sources.masked_fill(~mask, 1), mask


@pytest.mark.parametrize("beams", [2, 5])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("stopping", ["exact", "usual"])
def test_finds_what_transformers_finds(pair, beams, penalty, stopping):
    theirs, ours = pair
    sources, mask = padded_sources()
    most = 24
    expected = theirs.generate(
        input_ids=sources, attention_mask=mask.long(), num_beams=beams, length_penalty=penalty, max_new_tokens=most,
        early_stopping="never" if stopping == "exact" else False, do_sample=False, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    with torch.inference_mode():
        step = TransformerStep(ours, torch.full((6, 1), 2), most, source_tokens=sources, source_mask=mask)
        found = beam_search(step, [most] * 6, [2], BeamSettings(beams, penalty, stopping=stopping))
    compared = 0
    for row, (hypotheses, tokens) in enumerate(zip(found, expected.sequences.tolist(), strict=True)):
        written = tokens[1:]
        if 2 not in written:
            continue  # transformers also returns hypotheses that the limit cut off
        compared += 1
        assert hypotheses[0].tokens == written[: written.index(2)]
        assert hypotheses[0].score == pytest.approx(float(expected.sequences_scores[row]), abs=1e-4)
    assert compared >= 4


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("unrepeated", [2, 3])
def test_nothing_is_said_twice_as_in_transformers(pair, beams, unrepeated):
    theirs, ours = pair
    sources, mask = padded_sources()
    expected = theirs.generate(
        input_ids=sources, attention_mask=mask.long(), num_beams=beams, max_new_tokens=24, no_repeat_ngram_size=unrepeated,
        early_stopping="never" if beams > 1 else False, do_sample=False,
    )  # fmt: skip
    with torch.inference_mode():
        step = TransformerStep(ours, torch.full((6, 1), 2), 24, source_tokens=sources, source_mask=mask)
        found = beam_search(step, [24] * 6, [2], BeamSettings(beams, unrepeated=unrepeated))
    compared = 0
    for (one, *_), tokens in zip(found, expected.tolist(), strict=True):
        stretches = list(zip(*(one.tokens[start:] for start in range(unrepeated)), strict=False))
        assert len(set(stretches)) == len(stretches)
        if 2 in tokens[1:] or beams == 1:
            compared += 1
            assert one.tokens == (tokens[1 : tokens.index(2, 1)] if 2 in tokens[1:] else tokens[1:])
    assert compared >= 3


def test_one_beam_is_greedy_decoding(pair):
    _, ours = pair
    sources, mask = padded_sources()
    start = torch.full((6, 1), 2)
    expected = generate(ours, start, 20, stop_ids=[2], source_tokens=sources, source_mask=mask)
    with torch.inference_mode():
        step = TransformerStep(ours, start, 20, source_tokens=sources, source_mask=mask)
        found = beam_search(step, [20] * 6, [2], BeamSettings(1))
    for (one,), tokens in zip(found, expected.tolist(), strict=True):
        assert one.tokens == (tokens[: tokens.index(2)] if 2 in tokens else tokens)


def test_a_decoder_goes_on_from_prompts_of_unequal_lengths():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(vocabulary_size=23, width=16, depth=2, heads=2, context=24, initial_std=0.4)).eval()
    prompts = [[3, 4, 5, 6], [7, 8], [9]]
    padded = torch.tensor([[1] * (4 - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[False] * (4 - len(prompt)) + [True] * len(prompt) for prompt in prompts])
    chosen = BeamSettings(3)
    with torch.inference_mode():
        together = beam_search(TransformerStep(model, padded, 9, attention_mask=mask), [9] * 3, [END], chosen)
        for prompt, (one,) in zip(prompts, together, strict=True):
            alone = beam_search(TransformerStep(model, torch.tensor([prompt]), 9), [9], [END], chosen)[0][0]
            assert alone.tokens == one.tokens
            assert math.isclose(alone.score, one.score, abs_tol=1e-4)
            # The score is that of the tokens, read at once.
            read = torch.tensor([[*prompt, *one.tokens]])
            table = model(read)[0].log_softmax(-1)
            written = [*one.tokens, END] if one.finished else one.tokens
            total = sum(float(table[len(prompt) - 1 + place, token]) for place, token in enumerate(written))
            assert math.isclose(total, one.log_probability, abs_tol=1e-3)
    with pytest.raises(ValueError, match="exceed the context"):
        TransformerStep(model, padded, 21)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 5), width=st.integers(1, 300), count=st.integers(1, 9), bans=st.integers(0, 3), seed=st.integers(0, 99))
@torch.inference_mode()
def test_the_likeliest_by_compiled_code_are_those_by_torch(rows, width, count, bans, seed):
    drawn = torch.Generator().manual_seed(seed)
    logits_RV = torch.randn(rows, width, generator=drawn) * 10
    banned_V = torch.zeros(width, dtype=torch.bool)
    banned_V[torch.randint(width, (bans,), generator=drawn)] = True
    before = logits_RV.clone()
    ours = best_continuations(logits_RV, count, banned_V)
    assert torch.equal(logits_RV, before)
    right = best_continuations(logits_RV.double(), count, banned_V)
    torch.testing.assert_close(ours[0], right[0], rtol=0, atol=1e-4)  # of logits up to 40
    assert torch.equal(ours[1][ours[0].isfinite()], right[1][right[0].isfinite()])
