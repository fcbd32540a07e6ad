"""Decoding and the sampler, against decoding without a cache and against counted frequencies."""

from __future__ import annotations

import math

import pytest
import torch

from lodestar.model.config import ModelConfig, RotaryScaling
from lodestar.model.generate import generate, sample, stream
from lodestar.model.transformer import Transformer


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig(31, width=24, depth=2, heads=4, key_value_heads=2, context=24, initial_std=0.4)).eval()


def greedy_without_cache(model: Transformer, tokens: torch.Tensor, steps: int) -> torch.Tensor:
    start = tokens.shape[1]
    for _ in range(steps):
        tokens = torch.cat((tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)), 1)
    return tokens[:, start:]


def test_cached_greedy_decoding_equals_uncached(model: Transformer) -> None:
    prompt = torch.randint(0, 31, (3, 4))
    assert torch.equal(generate(model, prompt, 20), greedy_without_cache(model, prompt, 20))


@pytest.mark.parametrize("rows", [1, 3])
def test_decoding_past_the_original_context_of_longrope_equals_uncached(rows: int) -> None:
    """All keys turn by other angles there; with padding, where the longest row crosses."""
    torch.manual_seed(0)
    scaling = RotaryScaling("longrope", original_context=9, short_factors=(1.0, 1.0, 1.0), long_factors=(2.0, 9.0, 30.0))
    config = ModelConfig(31, width=24, depth=2, heads=4, context=24, initial_std=0.4, rotary_scaling=scaling)
    model, prompt = Transformer(config).eval(), torch.randint(0, 31, (rows, 6))
    expected = greedy_without_cache(model, prompt, 16)
    assert torch.equal(generate(model, prompt, 16), expected)
    mask = torch.tensor([[False] * 2 + [True] * 6] * rows)
    mask[0] = True
    padded = torch.cat((torch.randint(0, 31, (rows, 2)), prompt), 1)
    assert torch.equal(generate(model, padded, 16, attention_mask=mask)[:1], greedy_without_cache(model, padded[:1], 16))


def test_encoder_decoder_decoding_equals_uncached() -> None:
    torch.manual_seed(1)
    config = ModelConfig(31, width=24, depth=2, heads=4, context=24, architecture="encoder-decoder", position="sinusoidal", initial_std=0.4)
    model = Transformer(config).eval()
    source, tokens = torch.randint(0, 31, (2, 6)), torch.zeros(2, 1, dtype=torch.long)
    source_mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    ours = generate(model, tokens, 8, source_tokens=source, source_mask=source_mask)
    for _ in range(8):
        logits = model(tokens, source_tokens=source, source_mask=source_mask)
        tokens = torch.cat((tokens, logits[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(ours, tokens[:, 1:])


def test_rows_of_different_lengths_decode_as_if_alone(model: Transformer) -> None:
    short, long = torch.randint(0, 31, (1, 2)), torch.randint(0, 31, (1, 6))
    rows = torch.cat((torch.cat((torch.zeros(1, 4, dtype=torch.long), short), 1), long))
    together = generate(model, rows, 10, attention_mask=torch.tensor([[False] * 4 + [True] * 2, [True] * 6]))
    assert torch.equal(together, torch.cat((generate(model, short, 10), generate(model, long, 10))))


def test_stops_at_a_stop_token_and_counts_it(model: Transformer) -> None:
    prompt = torch.randint(0, 31, (1, 4))
    free = generate(model, prompt, 20)[0].tolist()
    stop = free[5]
    assert generate(model, prompt, 20, stop_ids=[stop])[0].tolist() == free[: free.index(stop) + 1]


def test_a_stopped_row_waits_for_the_others(model: Transformer) -> None:
    prompts = torch.randint(0, 31, (2, 4))
    free = generate(model, prompts, 20)
    stop = int(free[0, 0])
    drawn = generate(model, prompts, 20, stop_ids=[stop])
    assert (drawn[0] == stop).all()
    other = free[1].tolist()
    expected = other[: other.index(stop) + 1] if stop in other else other
    assert drawn[1, : len(expected)].tolist() == expected


def test_same_seed_same_text_other_seed_other_text(model: Transformer) -> None:
    prompt = torch.randint(0, 31, (1, 4))
    first, again, other = (generate(model, prompt, 20, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_asking_beyond_the_context_is_refused_before_the_first_step(model: Transformer) -> None:
    with pytest.raises(ValueError, match="prompt of 5 tokens and 20 new ones exceed the context of 24"):
        next(stream(model, torch.zeros(1, 5, dtype=torch.long), 20))


def test_nothing_asked_nothing_drawn(model: Transformer) -> None:
    assert generate(model, torch.zeros(2, 5, dtype=torch.long), 0).shape == (2, 0)


def counted(logits: torch.Tensor, **options: float) -> torch.Tensor:
    """Frequencies of 40,000 draws."""
    draws = sample(logits.expand(40_000, -1), generator=torch.Generator().manual_seed(0), **options)  # type: ignore[arg-type]
    return torch.bincount(draws, minlength=logits.shape[-1]) / 40_000


PROBABILITIES = torch.tensor([0.1, 0.4, 0.2, 0.3])


# Four standard deviations of 40,000 draws at p = 0.5 are 0.01.
def test_sampling_follows_the_softmax() -> None:
    torch.testing.assert_close(counted(PROBABILITIES.log()), torch.tensor([0.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(counted(PROBABILITIES.log(), temperature=1.0), PROBABILITIES, rtol=0, atol=0.01)
    sharpened = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    torch.testing.assert_close(counted(PROBABILITIES.log(), temperature=0.5), sharpened, rtol=0, atol=0.01)


def test_top_k_and_top_p_keep_the_likeliest() -> None:
    kept_two = torch.tensor([0.0, 4 / 7, 0.0, 3 / 7])
    torch.testing.assert_close(counted(PROBABILITIES.log(), temperature=1.0, top_k=2), kept_two, rtol=0, atol=0.01)
    torch.testing.assert_close(counted(PROBABILITIES.log(), temperature=1.0, top_p=0.65), kept_two, rtol=0, atol=0.01)
    only_one = torch.tensor([0.0, 1.0, 0.0, 0.0])
    torch.testing.assert_close(counted(PROBABILITIES.log(), temperature=1.0, top_p=1e-9), only_one)
    kept_three = torch.tensor([0.0, 4 / 9, 2 / 9, 3 / 9])
    torch.testing.assert_close(counted(PROBABILITIES.log(), temperature=1.0, top_p=0.75), kept_three, rtol=0, atol=0.01)
    assert math.isclose(float(counted(PROBABILITIES.log(), temperature=1.0, top_p=1.0)[0]), 0.1, abs_tol=0.01)
