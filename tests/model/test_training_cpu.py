"""The hand-written gradients of CPU training, against autograd of the plain formulas in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lodestar.model import native, training_cpu
from lodestar.model.attention import attend, make_mask
from lodestar.model.blocks import Dropout
from lodestar.model.config import ModelConfig
from lodestar.model.positions import rotary_frequencies, rotary_tables
from lodestar.model.transformer import Transformer

needs_compiler = pytest.mark.skipif(native.library() is None, reason="no C compiler here")
DTYPES = [torch.float32, torch.bfloat16]


def draws(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()


def close(ours: Tensor, exact: Tensor, dtype: torch.dtype, *, at_least: float = 0.0) -> None:
    """float32: some hundred roundings of 6e-8. bfloat16: inputs are exact, a handful of roundings of 4e-3 are not.

    Both are relative to the largest number, or to `at_least` where the numbers are differences of others of that size.
    """
    assert ours.dtype == dtype
    scale = max(exact.abs().max().item(), at_least)
    tolerance = 2e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours.double(), exact.double(), rtol=tolerance, atol=tolerance * scale)


def check(fast: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype) -> None:
    """Equal outputs and equal gradients for a random gradient of the output."""
    ours, exact_inputs = fast(*inputs), [x.detach().double().requires_grad_() for x in inputs]
    exact = plain(*exact_inputs)
    close(ours, exact, dtype)
    gradient = torch.randn(exact.shape, generator=torch.Generator().manual_seed(99)).to(dtype)
    gradients = torch.autograd.grad(ours, inputs, gradient)
    for our, right in zip(gradients, torch.autograd.grad(exact, exact_inputs, gradient.double()), strict=True):
        close(our, right, dtype, at_least=1.0)


def written_out(queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None) -> Tensor:
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    visible = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() if allowed is None else allowed
    return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ values


@needs_compiler
@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    length=st.integers(1, 150),
    width=st.sampled_from([32, 64, 96]),
    documents=st.sampled_from(["none", "shared", "each"]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 999),
)
def test_compiled_attention_is_the_formula(
    batch: int, heads: int, length: int, width: int, documents: str, dtype: torch.dtype, seed: int
) -> None:
    inputs = [draws(batch, heads, length, width, seed=seed + n, dtype=dtype) for n in range(3)]
    rows = 1 if documents == "shared" else batch
    ids = torch.randint(0, 2, (rows, length), generator=torch.Generator().manual_seed(seed)).cumsum(-1)
    mask = make_mask(length, length, causal=True, document_ids_BT=None if documents == "none" else ids)
    assert native.takes(*inputs)

    def compiled(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return training_cpu.CausalAttention.apply(queries, keys, values, mask.allowed)

    check(compiled, lambda q, k, v: written_out(q, k, v, mask.allowed), inputs, dtype)


@needs_compiler
def test_compiled_attention_takes_the_layout_of_a_fused_projection_and_grouped_heads() -> None:
    packed = draws(2, 70, 4 + 2 + 2, 32, seed=0, dtype=torch.float32)

    def split(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = x.transpose(1, 2).split((4, 2, 2), dim=1)
        return queries, keys, values

    def grouped(x: Tensor) -> Tensor:
        queries, keys, values = split(x)
        return written_out(queries, keys.repeat_interleave(2, 1), values.repeat_interleave(2, 1), None)

    mask = make_mask(70, 70, causal=True)
    check(lambda x: attend(*split(x), mask), grouped, [packed], torch.float32)


@needs_compiler
@pytest.mark.parametrize("causal", [False, True])
def test_autocast_does_not_round_what_attention_adds_up(causal: bool) -> None:
    """A source's padding is hidden, and two heads of queries share one of keys: bfloat16 in and out, float32 between."""
    queries = draws(2, 4, 9, 32, seed=0, dtype=torch.bfloat16)
    keys, values = (draws(2, 2, 9, 32, seed=n, dtype=torch.bfloat16) for n in (1, 2))
    real = torch.arange(9) < torch.tensor([[9], [5]])
    mask = make_mask(9, 9, causal=causal, attention_mask_BS=real)
    assert mask.allowed is not None
    table = mask.allowed

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return written_out(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), table)

    with torch.autocast("cpu", torch.bfloat16):
        check(lambda q, k, v: attend(q, k, v, mask), plain, [queries, keys, values], torch.bfloat16)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_each_number_by_itself_and_its_gradient_keeps_the_same(dtype: torch.dtype, p: float) -> None:
    dropout, shape = Dropout(p), (300, 1056)  # rows, chunks and threads do not end together
    x = torch.ones(shape, dtype=dtype).requires_grad_()
    torch.manual_seed(0)
    y, again = dropout(x), dropout(x)
    assert y.grad_fn is not None
    assert "Dropout" in y.grad_fn.name()
    kept = [one.detach().ne(0) for one in (y, again)]
    torch.testing.assert_close(y[kept[0]], torch.full_like(y[kept[0]], 1 / (1 - p)))
    # Of n numbers, kept with probability q: within 5 standard deviations; so are the pairs of neighbours, of rows, of two calls.
    q, n = 1 - p, x.numel()
    first, second, flat = *kept, kept[0].flatten()
    pairs = (
        first & second, first & second.roll(1, 1), first & first.roll(1, 1), first & first.roll(1, 0), flat & flat.roll(1024),
    )  # fmt: skip
    for events, chance in ((first, q), (second, q), *((pair, q * q) for pair in pairs)):
        assert abs(events.sum().item() - n * chance) < 5 * math.sqrt(n * chance * (1 - chance) * (1 + 2 * q)), chance
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    torch.testing.assert_close(torch.autograd.grad(y, x, gradient)[0], torch.where(kept[0], gradient.float() / q, 0).to(dtype))
    torch.manual_seed(0)
    assert torch.equal(dropout(x), y)


@needs_compiler
def test_dropout_does_not_depend_on_the_threads() -> None:
    x, threads = torch.ones(64, 1024), torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(native.dropout(x, 0.3, 2**63 + 12345))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@needs_compiler
def test_an_infinite_or_undefined_number_is_not_hidden() -> None:
    queries, keys, values = (draws(1, 1, 40, 32, seed=n, dtype=torch.float32).detach() for n in range(3))
    keys[0, 0, 7, 0] = torch.nan
    mixed, _ = native.attention_forward(queries, keys, values, None)
    assert mixed[0, 0, :7].isfinite().all()
    assert mixed[0, 0, 7:].isnan().all()


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 15])
def test_rms_norm(dtype: torch.dtype, rows: int) -> None:
    def plain(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight

    def compiled(x: Tensor, weight: Tensor) -> Tensor:
        return training_cpu.RMSNorm.apply(x, weight, 1e-3)

    # The weight's gradient is a sum over the rows.
    check(compiled, plain, [draws(rows, 96, seed=0, dtype=dtype), draws(96, seed=1, dtype=dtype)], dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("own_positions", [False, True])
def test_rotate_turns_pairs_and_its_gradient_turns_back(dtype: torch.dtype, own_positions: bool) -> None:
    cos, sin = rotary_tables(torch.arange(12), rotary_frequencies(32, 100.0))
    if own_positions:
        positions = torch.stack((torch.arange(9), torch.arange(9).flip(0)))
        cos, sin = cos[positions][:, None], sin[positions][:, None]
    else:
        cos, sin = cos[3:], sin[3:]

    def plain(x: Tensor) -> Tensor:
        turned = torch.complex(x[..., :16], x[..., 16:]) * torch.complex(cos.double(), sin.double())
        return torch.cat((turned.real, turned.imag), -1)

    def compiled(x: Tensor) -> Tensor:
        return training_cpu.Rotate.apply(x, cos, sin)

    check(compiled, plain, [draws(2, 3, 9, 32, seed=0, dtype=dtype)], dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 32), (5, 7, 96)])
def test_activations(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x, up = draws(*shape, seed=0, dtype=dtype), draws(*shape, seed=1, dtype=dtype)
    check(training_cpu.Relu2.apply, lambda x: x.clamp_min(0) ** 2, [x], dtype)
    check(training_cpu.GeluTanh.apply, lambda x: torch.nn.functional.gelu(x, approximate="tanh"), [x], dtype)
    check(training_cpu.SwiGLU.apply, lambda gate, up: gate / (1 + torch.exp(-gate)) * up, [x, up], dtype)


@needs_compiler
def test_large_and_undefined_numbers_go_through_the_activations_as_in_torch() -> None:
    x = torch.tensor([-torch.inf, -200.0, -1e-30, 0.0, 200.0, 1e20, torch.nan, 3.0]).repeat(4)
    torch.testing.assert_close(native.relu2(x), x.relu().square(), equal_nan=True)
    torch.testing.assert_close(native.gelu_tanh(x[1:]), torch.nn.functional.gelu(x[1:], approximate="tanh"), equal_nan=True)
    # torch's silu(-inf) is a NaN, too: -inf · 0.
    torch.testing.assert_close(native.swiglu_forward(x, torch.ones(32)), torch.nn.functional.silu(x), equal_nan=True, atol=1e-6, rtol=1e-6)


@needs_compiler
def test_what_does_not_fit_is_left_to_torch() -> None:
    fits = torch.ones(2, 64, requires_grad=True)
    assert training_cpu.takes(fits)
    assert not training_cpu.takes(fits.double())
    assert not training_cpu.takes(torch.ones(2, 40, requires_grad=True))
    assert not training_cpu.takes(fits, fits.bfloat16())
    assert not training_cpu.takes(fits.detach())
    with torch.no_grad():
        assert not training_cpu.takes(fits)


@pytest.mark.parametrize("feed_forward", ["swiglu", "relu2", "gelu-tanh"])
def test_a_model_trained_on_the_cpu_has_the_gradients_of_the_plain_model(feed_forward: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        vocabulary_size=11, width=64, depth=2, heads=2, context=50, key_value_heads=1, qk_norm=True, feed_forward=feed_forward  # type: ignore[arg-type]
    )  # fmt: skip
    fast, plain = Transformer(config), Transformer(config).double()
    plain.load_state_dict(fast.state_dict())
    tokens = torch.randint(0, 11, (3, 50))
    ids = torch.tensor([0, 1, 1, 2, 2])[torch.arange(50) // 10].expand(3, 50)
    fast(tokens, document_ids=ids).square().mean().backward()
    # float64 heads are not taken by the compiled attention, so this side runs the ordinary one.
    plain(tokens, document_ids=ids).square().mean().backward()
    for (name, ours), (_, exact) in zip(fast.named_parameters(), plain.named_parameters(), strict=True):
        assert ours.grad is not None, name
        assert exact.grad is not None, name
        close(ours.grad, exact.grad, torch.float32)


def test_under_autocast_the_residual_stream_is_bfloat16_and_the_logits_are_close() -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(vocabulary_size=11, width=64, depth=2, heads=2, context=20, position="learned", norm="layer"))
    tokens = torch.randint(0, 11, (2, 20))
    exact = model(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.hidden(tokens)
        logits = model.logits(hidden)
    assert hidden.dtype == torch.bfloat16
    # Two layers of some ten roundings of 2^-9 each.
    torch.testing.assert_close(logits.float(), exact, rtol=0.05, atol=0.05 * exact.abs().max().item())
    logits.float().square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in model.parameters())


@needs_compiler
@torch.inference_mode()
def test_a_long_prompt_in_bfloat16_is_attended_to_by_compiled_code() -> None:
    queries, keys, values = (torch.randn(2, heads, 130, 32).bfloat16() for heads in (4, 2, 2))
    assert training_cpu.attends(queries, keys, values)
    assert not training_cpu.attends(queries[:, :, :100], keys, values)
    mixed = attend(queries, keys, values, make_mask(130, 130, causal=True), scale=0.3)
    exact_keys, exact_values = (x.double().repeat_interleave(2, 1) for x in (keys, values))
    exact = written_out(queries.double() * 0.3 * math.sqrt(32), exact_keys, exact_values, None)
    close(mixed, exact, torch.bfloat16)
