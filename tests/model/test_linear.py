"""The linear layer's fast way, against the product in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lodestar.model import native
from lodestar.model.linear import Linear, linear
from lodestar.model.quantized import Code, QuantizedLinear

needs_compiler = pytest.mark.skipif(native.library() is None, reason="no C compiler here")


def draws(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bf16(*shape: int, seed: int) -> Tensor:
    return draws(*shape, seed=seed).bfloat16()


@contextlib.contextmanager
def threads_set(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@needs_compiler
@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, native.MOST_ROWS),
    columns=st.integers(1, 400),
    rows=st.integers(1, 70),
    bias=st.booleans(),
    threads=st.integers(1, 2),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 999),
)
def test_the_compiled_product_is_the_float64_product_rounded(
    batch: int, columns: int, rows: int, bias: bool, threads: int, dtype: torch.dtype, seed: int
) -> None:
    x, weight = draws(batch, columns, seed=seed).to(dtype), draws(rows, columns, seed=seed + 1).to(dtype)
    offset = draws(rows, seed=seed + 2).to(dtype) if bias else None
    with threads_set(threads):
        product = native.linear(x, weight, offset)
    assert product is not None
    exact = x.double() @ weight.double().T + (offset.double() if offset is not None else 0.0)
    # One rounding to bfloat16 (2^-9 of the value), and float32 sums of at most 400 products of about 1.
    torch.testing.assert_close(product.double(), exact, rtol=2**-8 if dtype == torch.bfloat16 else 1e-6, atol=1e-4)


@needs_compiler
@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, native.MOST_ROWS),
    columns_and_group=st.sampled_from(
        [(8, 8), (40, 8), (48, 16), (96, 32), (160, 32), (320, 64), (256, 128), (384, 128), (512, 256), (50, 50), (300, 300), (1000, 1000)]
    ),
    rows=st.integers(1, 40),
    bias=st.booleans(),
    threads=st.integers(1, 2),
    code=st.sampled_from(["int8", "int4"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 999),
)
def test_products_of_codes_are_those_of_the_weights_they_mean(
    batch: int, columns_and_group: tuple[int, int], rows: int, bias: bool, threads: int, code: Code, dtype: torch.dtype, seed: int
) -> None:
    columns, group = columns_and_group
    layer = QuantizedLinear(columns, rows, code=code, group=group, bias=bias)
    generator = torch.Generator().manual_seed(seed)
    layer.codes.random_(*((-127, 128) if code == "int8" else (0, 256)), generator=generator)
    layer.scales.copy_(torch.randn(layer.scales.shape, generator=generator) * 0.01)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, generator=generator)
    x = draws(batch, columns, seed=seed).to(dtype)
    with threads_set(threads):
        product = native.linear_codes(x, layer.codes, layer.scales, layer.bias, columns=columns, group=group, code=code)
    assert product is not None
    weight = layer.dequantized(torch.float64)
    exact = x.double() @ weight.T + (layer.bias.double() if layer.bias is not None else 0.0)
    # The input keeps 2^-16 of its block's largest number, about 4; a sum's error is at most that of all its terms.
    terms = 2**-16 * 5 * weight.abs().sum(-1)
    error = (product.double() - exact).abs() - exact.abs() * (2**-8 if dtype == torch.bfloat16 else 1e-5)
    assert (error <= terms + 1e-5).all()


@needs_compiler
@pytest.mark.parametrize("code", ["int8", "int4"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_in_the_input_of_codes_shows(code: Code, bad: float) -> None:
    layer = QuantizedLinear(256, 3, code=code, group=32, bias=False)
    layer.codes.fill_(1)
    layer.scales.fill_(1.0)
    x = torch.ones(2, 256)
    x[1, 200] = bad
    product = native.linear_codes(x, layer.codes, layer.scales, None, columns=256, group=32, code=code)
    assert product is not None
    assert product[0].isfinite().all()
    assert not product[1].isfinite().any()


@needs_compiler
def test_infinities_and_nans_pass_through() -> None:
    x, weight = torch.ones(1, 32).bfloat16(), torch.ones(3, 32).bfloat16()
    weight[0, 0], weight[1, 5] = torch.inf, torch.nan
    product = native.linear(x, weight, None)
    assert product is not None
    assert product[0, 0].isinf()
    assert product[0, 1].isnan()
    assert product[0, 2] == 32


def test_widths_and_layouts_that_the_compiled_product_does_not_take_give_the_same_numbers() -> None:
    with torch.inference_mode():
        for x, weight in (
            (bf16(1, 1, 40, seed=0), bf16(7, 40, seed=1)),  # no whole vectors
            (bf16(1, 64, seed=0), bf16(64, 7, seed=1).T),  # not contiguous
            (bf16(17, 64, seed=0), bf16(7, 64, seed=1)),  # many rows
        ):
            torch.testing.assert_close(linear(x, weight).double(), x.double() @ weight.double().T, rtol=2**-7, atol=1e-2)


def test_gradients_flow_through_a_single_bfloat16_row() -> None:
    layer = Linear(32, 4).bfloat16()
    layer(bf16(1, 32, seed=0)).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, bf16(1, 32, seed=0).expand(4, 32))


def test_a_compiler_that_fails_costs_speed_alone(tmp_path, monkeypatch) -> None:
    broken = tmp_path / "bin" / "gcc"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native.library.cache_clear()
    try:
        with torch.inference_mode():
            x, weight = bf16(1, 32, seed=0), bf16(5, 32, seed=1)
            assert native.linear(x, weight, None) is None
            torch.testing.assert_close(linear(x, weight).double(), x.double() @ weight.double().T, rtol=2**-7, atol=1e-2)
        assert list((tmp_path / "cache" / "lodestar").iterdir()) == []
    finally:
        native.library.cache_clear()
