"""The compiled steps of a beam search, against those by the modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lodestar.build.quantize import quantize
from lodestar.model import native
from lodestar.model.beam import BeamSettings, beam_search
from lodestar.model.config import ModelConfig
from lodestar.model.steps import CompiledStep, TransformerStep, make_step
from lodestar.model.transformer import Transformer

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C compiler here")

BASE: dict[str, Any] = {
    "vocabulary_size": 61, "width": 48, "depth": 2, "heads": 6, "context": 40, "initial_std": 0.15, "architecture": "encoder-decoder",
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "marian": {
        "position": "sinusoidal-halves", "norm": "layer", "norm_place": "post", "feed_forward": "silu", "bias": True,
        "scaled_embeddings": True, "output_bias": True,
    },
    "bart": {
        "position": "learned", "position_offset": 2, "norm": "layer", "norm_place": "post", "feed_forward": "gelu", "bias": True,
        "embedding_norm": True, "decoder_depth": 3, "decoder_heads": 3, "decoder_feed_forward_width": 70,
    },
    "ours": {"key_value_heads": 2, "qk_norm": True},
    "sandwich": {"norm_place": "sandwich", "position": "none", "attention_cap": 4.0, "qk_norm": True, "qk_norm_over": "all"},
    "decoder": {"architecture": "decoder", "key_value_heads": 3},
    "learned decoder": {"architecture": "decoder", "position": "learned"},
}  # fmt: skip


def make(family: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(**{**BASE, **FAMILIES[family]})).eval()
    for name, parameter in model.named_parameters():  # norms and biases that would show if they were left out
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.2)
    return model.to(dtype)


def both(model: Transformer, batch: int, prompt: int, beams: int, *, padded: bool) -> tuple[CompiledStep, TransformerStep]:
    """At their beginnings, over the same drawn texts."""
    given: dict[str, Tensor | None] = {}
    if model.encoder is not None:
        lengths = torch.randint(1, 12, (batch, 1)) if padded else torch.full((batch, 1), 9)
        lengths[0] = 11 if padded else 9
        given["source_tokens"] = torch.randint(2, 61, (batch, int(lengths.max())))
        given["source_mask"] = torch.arange(int(lengths.max())) < lengths if padded else None
    elif padded:
        given["attention_mask"] = torch.arange(prompt) >= torch.randint(0, prompt, (batch, 1))
    tokens = torch.randint(2, 61, (batch, prompt))
    compiled = make_step(model, tokens, 15, beams=beams, **given)
    assert isinstance(compiled, CompiledStep)
    return compiled, TransformerStep(model, tokens, 15, **given)


@settings(deadline=None, max_examples=40)
@given(
    family=st.sampled_from(sorted(FAMILIES)), batch=st.integers(1, 9), prompt=st.integers(1, 4), beams=st.integers(1, 4),
    padded=st.booleans(), seed=st.integers(0, 99), threads=st.integers(1, 2), dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)  # fmt: skip
@torch.inference_mode()
def test_rows_that_go_on_from_each_other_have_the_logits_of_the_modules(family, batch, prompt, beams, padded, seed, threads, dtype):
    model = make(family, dtype, seed)
    compiled, plain = both(model, batch, prompt, beams, padded=padded)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        answers = [(compiled.begin(), plain.begin())]
        sentences = torch.arange(batch)
        for step in range(7):
            if step in (2, 5):  # some sentences are done
                going = sentences.unique()[: max(1, len(sentences.unique()) - 1)]
                sentences_next = going.repeat_interleave(beams)
            else:
                sentences_next = sentences.unique().repeat_interleave(beams)
            rows = torch.stack([drawn_from((sentences == sentence).nonzero().flatten()) for sentence in sentences_next])
            same = torch.equal(sentences_next, sentences)
            sentences = sentences_next
            for one in (compiled, plain):
                one.reorder(rows, same_sources=same)
            tokens = torch.randint(2, 61, (len(rows),))
            answers.append((compiled.next(tokens), plain.next(tokens)))
    finally:
        torch.set_num_threads(before)
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    for ours, right in answers:
        torch.testing.assert_close(ours.float(), right.float(), rtol=tolerance, atol=tolerance * right.abs().max().item())


def drawn_from(rows: Tensor) -> Tensor:
    return rows[torch.randint(len(rows), ())]


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_search_finds_the_same(family: str) -> None:
    model = make(family)
    found = [beam_search(step, [12] * 7, [1], BeamSettings(beams=4)) for step in both(model, 7, 1, 4, padded=True)]
    assert [[one.tokens for one in best] for best in found[0]] == [[one.tokens for one in best] for best in found[1]]


@torch.inference_mode()
def test_of_codes_logits_are_those_of_the_weights_they_mean() -> None:
    model = make("marian")
    quantize(model, code="int8", group=16, head=True)
    compiled, plain = both(model, 5, 1, 2, padded=True)
    ours, right = compiled.begin(), plain.begin()
    torch.testing.assert_close(ours, right, rtol=1e-3, atol=1e-3 * right.abs().max().item())  # inputs of a product keep 15 bits


@torch.inference_mode()
def test_sources_padded_on_the_left_are_left_to_the_modules() -> None:
    model, tokens = make("marian"), torch.randint(2, 61, (2, 1))
    mask = torch.tensor([[False, True, True], [True, True, True]])
    step = make_step(model, tokens, 5, beams=2, source_tokens=torch.randint(2, 61, (2, 3)), source_mask=mask)
    assert isinstance(step, TransformerStep)
