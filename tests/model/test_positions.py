"""Positions: rotary ones and their scalings, relative buckets and sinusoids, by hand and in a model that reads and decodes with them."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from lodestar.model.cache import KVCache
from lodestar.model.config import ModelConfig, RotaryScaling
from lodestar.model.positions import relative_buckets, rotary_frequencies, rotary_tables, rotate, sinusoids
from lodestar.model.transformer import Transformer


def random_model(config: ModelConfig, seed: int) -> Transformer:
    """With weights so large that positions make a difference, in float64."""
    torch.manual_seed(seed)
    return Transformer(dataclasses.replace(config, initial_std=0.4)).eval().double()


def test_rotary_scores_depend_on_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    cos, sin = (table.double() for table in rotary_tables(torch.arange(64), rotary_frequencies(8, 10_000.0)))

    def score(at: int, to: int) -> float:
        return float((rotate(q, cos[at : at + 1], sin[at : at + 1]) * rotate(k, cos[to : to + 1], sin[to : to + 1])).sum())

    assert score(5, 2) == pytest.approx(score(40, 37), rel=1e-4)  # the tables are float32
    assert score(5, 2) != pytest.approx(score(5, 3), rel=1e-2)


SCALED = [
    RotaryScaling("linear", factor=4.0),
    RotaryScaling("dynamic", factor=2.0, original_context=6),
    RotaryScaling("llama3", factor=8.0, original_context=64, low_frequency_factor=1.0, high_frequency_factor=4.0),
    RotaryScaling("yarn", factor=4.0, original_context=32, attention_factor=1.1),
    RotaryScaling("longrope", original_context=6, attention_factor=1.2, short_factors=(1.0, 1.1), long_factors=(2.0, 3.0)),
]


@pytest.mark.parametrize("scaling", SCALED, ids=lambda scaling: scaling.kind)
def test_scaled_rotary_decodes_as_it_reads(scaling: RotaryScaling) -> None:
    """Within the original context for the scalings whose angles change past it: cached keys keep the angles that they were made with."""
    length = 6 if scaling.kind in ("dynamic", "longrope") else 12
    model = random_model(ModelConfig(17, width=12, depth=2, heads=3, context=24, rotary_scaling=scaling), seed=4)
    tokens = torch.randint(0, 17, (2, length))
    cache = KVCache(model.config, 2, length, dtype=torch.float64)
    parts = [model(tokens[:, at : at + 1], cache=cache) for at in range(length)]
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens), rtol=1e-6, atol=1e-6)
    plain = random_model(ModelConfig(17, width=12, depth=2, heads=3, context=24), seed=4)
    assert not torch.allclose(model(torch.randint(0, 17, (1, 12))), plain(torch.randint(0, 17, (1, 12))))


def test_scaled_rotary_frequencies_by_hand() -> None:
    plain = rotary_frequencies(4, 100.0)
    torch.testing.assert_close(plain, torch.tensor([1.0, 0.1], dtype=torch.float64))
    torch.testing.assert_close(rotary_frequencies(4, 100.0, SCALED[0]), plain / 4)
    # dynamic, 12 tokens of 6: base 100 · (2 · 2 - 1)^(4 / 2) = 900
    torch.testing.assert_close(rotary_frequencies(4, 100.0, SCALED[1], 12), torch.tensor([1.0, 1 / 30], dtype=torch.float64))
    torch.testing.assert_close(rotary_frequencies(4, 100.0, SCALED[1], 5), plain)
    # llama3 over 64 tokens: the first pair turns 10.2 times (stays), the second 1.02: (1.0186 - 1) / 3 = 0.0062 of it stays
    stays = (6.4 / (2 * math.pi) - 1) / 3
    torch.testing.assert_close(
        rotary_frequencies(4, 100.0, SCALED[2]), torch.tensor([1.0, 0.1 * stays + 0.1 / 8 * (1 - stays)], dtype=torch.float64)
    )
    torch.testing.assert_close(rotary_frequencies(4, 100.0, SCALED[4], 6), plain / torch.tensor([1.0, 1.1], dtype=torch.float64))
    torch.testing.assert_close(rotary_frequencies(4, 100.0, SCALED[4], 7), plain / torch.tensor([2.0, 3.0], dtype=torch.float64))


def test_a_context_longer_than_the_tables_is_read_all_the_same() -> None:
    config = ModelConfig(5, width=4, depth=1, heads=1, context=6_000)
    model = random_model(config, seed=1)
    tokens = torch.randint(0, 5, (1, 5_000))
    last = model(tokens)[:, -1]
    assert model.decoder is not None
    assert model.decoder.rotary is not None
    assert len(model.decoder.rotary.cos) > 5_000
    short = random_model(ModelConfig(5, width=4, depth=1, heads=1, context=6_000, window=8), seed=1)
    near = random_model(ModelConfig(5, width=4, depth=1, heads=1, context=6_000, window=8), seed=1)
    # With a window the last token's answer depends on the last 8 alone, wherever they stand: angles are relative.
    torch.testing.assert_close(short(tokens)[:, -1], near(tokens[:, -8:])[:, -1], rtol=1e-3, atol=1e-3)
    assert torch.isfinite(last).all()


def test_relative_buckets_by_hand() -> None:
    # 8 buckets, causal: 0-3 exact, then log steps to 16: 4 → 4, 6 → 4 + 4·ln(1.5)/ln(4) = 5.2, 16 and more → 7; later keys share 0.
    found = relative_buckets(20, 20, causal=True, buckets=8, furthest=16)
    assert [int(found[19, 19 - d]) for d in (0, 1, 3, 4, 6, 16, 19)] == [0, 1, 3, 4, 5, 7, 7]
    assert int(found[3, 9]) == 0
    both = relative_buckets(20, 20, causal=False, buckets=8, furthest=16)
    assert int(both[5, 4]) == 1
    assert int(both[5, 6]) == 5


def test_sinusoids_by_hand() -> None:
    table = sinusoids(3, 4)
    torch.testing.assert_close(table[0], torch.tensor([0.0, 1.0, 0.0, 1.0]))
    torch.testing.assert_close(table[2], torch.tensor([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]))
