"""Decoding by one compiled call, against the modules themselves: the same numbers, over the choices that a config has."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lodestar.model import fast, native
from lodestar.model.blocks import Block
from lodestar.model.cache import KVCache
from lodestar.model.config import ModelConfig, RotaryScaling
from lodestar.model.generate import generate
from lodestar.model.linear import Linear
from lodestar.model.quantized import QuantizedLinear
from lodestar.model.transformer import Transformer

needs_compiler = pytest.mark.skipif(native.library() is None, reason="no C compiler here")

BASE: dict[str, Any] = {"vocabulary_size": 61, "width": 48, "depth": 3, "heads": 6, "context": 40, "initial_std": 0.15}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt-2": {"position": "learned", "norm": "layer", "feed_forward": "gelu-tanh", "bias": True},
    "llama": {"key_value_heads": 2, "feed_forward_width": 100, "tied_embeddings": False},
    "llama 3": {"key_value_heads": 3, "rotary_scaling": RotaryScaling("llama3", factor=8.0, original_context=16)},
    "dynamic rotary": {"rotary_scaling": RotaryScaling("dynamic", factor=2.0, original_context=12)},
    "qwen 2": {"key_value_heads": 1, "biased": ("query", "key", "value"), "rotary_base": 1e6},
    "qwen 3": {"key_value_heads": 2, "qk_norm": True, "head_width": 20},
    "mistral": {"key_value_heads": 2, "window": 5},
    "gemma 2": {
        "norm_place": "sandwich", "feed_forward": "geglu-tanh", "attention_cap": 5.0, "logit_cap": 3.0, "scaled_embeddings": True,
        "attention_scale": 0.3, "layer_windows": (4, None, 4),
    },
    "gemma 3": {"norm_place": "sandwich", "qk_norm": True, "layer_windows": (4, 4, None), "local_rotary_base": 100.0},
    "olmo 2": {"norm_place": "output", "qk_norm": True, "qk_norm_over": "all", "key_value_heads": 2},
    "phi-like": {"rotary_share": 0.5, "norm": "layer", "bias": True, "feed_forward": "gelu", "output_bias": True, "tied_embeddings": False},
    "opt": {"position": "learned", "position_offset": 2, "norm": "layer", "bias": True, "feed_forward": "relu"},
    "first gpt": {"position": "learned", "norm": "layer", "norm_place": "post", "feed_forward": "quick-gelu", "bias": True},
    "ours": {"qk_norm": True, "feed_forward": "relu2", "tied_embeddings": False},
    "sinusoids": {"position": "sinusoidal", "embedding_norm": True, "skip_first_norm": True, "feed_forward": "silu", "output_scale": 0.5},
    "no positions": {"position": "none", "feed_forward": "reglu", "head_width": 5, "feed_forward_width": 33},
    "odd": {"width": 45, "heads": 5, "head_width": 6, "feed_forward_width": 77, "feed_forward": "geglu"},
}  # fmt: skip


def make(changes: dict[str, Any], dtype: torch.dtype = torch.float32, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(**{**BASE, **changes})).eval()
    for name, parameter in model.named_parameters():  # norms and biases that would show if they were left out
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.2)
    return model.to(dtype)


def quantize(model: Transformer, code: str, group: int | None) -> Transformer:
    """Every linear layer, with random codes; one group a row where None."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is Linear:
                columns, has_bias = child.in_features, child.bias is not None
                layer = QuantizedLinear(columns, child.out_features, code=code, group=group or columns, bias=has_bias)  # type: ignore[arg-type]
                layer.codes.random_(*((-127, 128) if code == "int8" else (0, 256)))
                layer.scales.copy_(torch.rand(layer.scales.shape) * 0.3 / (127 if code == "int8" else 8))
                if child.bias is not None:
                    layer.bias = child.bias
                setattr(parent, name, layer)
    return model


@torch.inference_mode()
def both(model: Transformer, tokens: Tensor, prompt: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Logits (B, T - prompt, V) of the tokens after the prompt: by the compiled call, and by the modules without a cache."""
    batch, length = tokens.shape
    cache = KVCache(model.config, batch, length, dtype=model.dtype)
    positions = None if mask is None else (mask.long().cumsum(-1) - 1).clamp(min=0)
    padding = torch.zeros(batch, dtype=torch.long) if mask is None else (~mask).sum(-1)
    if prompt:
        model.hidden(
            tokens[:, :prompt], cache=cache, attention_mask=None if mask is None else mask[:, :prompt],
            positions=None if positions is None else positions[:, :prompt],
        )  # fmt: skip
    assert fast.takes(model, batch)
    decoder = fast.TokenDecoder(model, cache)
    steps = [
        decoder.step(tokens[:, t : t + 1], None if positions is None else positions[:, t : t + 1], padding) for t in range(prompt, length)
    ]
    return torch.stack(steps, 1), model(tokens, attention_mask=mask, positions=positions)[:, prompt:].float()


def close(ours: Tensor, right: Tensor, tolerance: float) -> None:
    """Relative to the largest logit: sums of some hundred products, three layers deep."""
    torch.testing.assert_close(ours, right, rtol=tolerance, atol=tolerance * right.abs().max().item())


@needs_compiler
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_modules(family: str) -> None:
    if "dynamic" in family:  # its angles depend on the length, so that keys in a cache keep those of their time: see the test below
        pytest.skip("no answer without a cache to compare with")
    model = make(FAMILIES[family])
    ours, right = both(model, torch.randint(0, 61, (3, 17)), prompt=6)
    close(ours, right, 1e-5)


@needs_compiler
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_decoding_is_that_of_the_modules_token_for_token(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(FAMILIES[family])
    prompt = torch.randint(0, 61, (2, 5))
    ours = generate(model, prompt, 20)
    monkeypatch.setattr(native, "library", lambda: None)
    assert torch.equal(ours, generate(model, prompt, 20))


@needs_compiler
@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_logits_are_nearer_to_the_exact_ones_than_the_modules_are(family: str) -> None:
    if "dynamic" in family:
        pytest.skip("no answer without a cache to compare with")
    model = make(FAMILIES[family], torch.bfloat16)
    exact_model = copy.deepcopy(model).float()
    tokens = torch.randint(0, 61, (2, 12))
    ours, modules = both(model, tokens, prompt=4)
    with torch.inference_mode():
        exact = exact_model(tokens)[:, 4:]
    assert (ours - exact).square().mean() <= (modules - exact).square().mean()
    close(ours, modules, 0.1)


@needs_compiler
@pytest.mark.parametrize(("code", "group"), [("int8", 16), ("int8", None), ("int4", 16), ("int4", 8), ("int4", None), ("nf4", 16)])
@pytest.mark.parametrize("family", ["gpt-2", "qwen 2", "gemma 2", "ours"])
def test_quantised_weights_give_the_logits_of_the_weights_they_mean(family: str, code: str, group: int | None) -> None:
    model = quantize(make(FAMILIES[family]), code, group)
    assert any(isinstance(module, QuantizedLinear) for module in model.modules())
    ours, right = both(model, torch.randint(0, 61, (3, 14)), prompt=4)
    close(ours, right, 1e-3)  # the inputs of a product keep 15 bits


@needs_compiler
@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 40), prompt=st.integers(0, 5), threads=st.integers(1, 2), family=st.sampled_from(sorted(FAMILIES)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_rows_threads_and_prompts(batch: int, prompt: int, threads: int, family: str, dtype: torch.dtype, seed: int) -> None:
    if "dynamic" in family:
        return
    model = make(FAMILIES[family], dtype, seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, right = both(model, torch.randint(0, 61, (batch, prompt + 4)), prompt)
    finally:
        torch.set_num_threads(before)
    close(ours, right, 1e-5 if dtype == torch.float32 else 0.1)


@needs_compiler
@pytest.mark.parametrize("family", ["gpt-2", "llama", "gemma 3", "sinusoids"])
def test_padding_on_the_left_changes_nothing(family: str) -> None:
    model = make(FAMILIES[family])
    mask = torch.tensor([[False] * 3 + [True] * 13, [True] * 16, [False] + [True] * 15])
    ours, right = both(model, torch.randint(0, 61, (3, 16)), 6, mask)
    close(ours, right, 1e-5)


@needs_compiler
@torch.inference_mode()
def test_what_it_does_not_know_is_left_to_the_modules() -> None:
    model = make({})
    assert fast.takes(model, 1)
    assert not fast.takes(model, fast.most_rows() + 1)
    with torch.enable_grad():
        assert not fast.takes(model, 1)
    assert model.decoder is not None
    block = model.decoder.blocks[1]
    assert isinstance(block, Block)
    handle = block.attention.register_forward_hook(lambda *_: None)
    assert not fast.takes(model, 1)
    handle.remove()
    for changes in ({"experts": 4}, {"position": "relative"}):
        assert not fast.takes(Transformer(dataclasses.replace(model.config, **changes)).eval(), 1)
    assert not fast.takes(make({}, torch.float64), 1)
    block.feed_forward.up = nn.Sequential(nn.Linear(48, 128))
    assert not fast.takes(model, 1)


@needs_compiler
@torch.inference_mode()
def test_the_cache_that_is_full_is_said() -> None:
    model = make({})
    decoder = fast.TokenDecoder(model, KVCache(model.config, 1, 1))
    decoder.step(torch.zeros(1, 1, dtype=torch.long), None, torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match="the cache holds 1 tokens, and one more is needed"):
        decoder.step(torch.zeros(1, 1, dtype=torch.long), None, torch.zeros(1, dtype=torch.long))


@needs_compiler
def test_weights_that_are_trained_further_are_read_as_they_are_then() -> None:
    model = make({})
    prompt = torch.randint(0, 61, (1, 4))
    before = generate(model, prompt, 12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(torch.randn_like(parameter) * 0.3 + 1)
    after = generate(model, prompt, 12)
    assert not torch.equal(before, after)
    assert torch.equal(after, generate(copy.deepcopy(model), prompt, 12))
