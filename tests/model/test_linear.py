"""The linear layer's fast way, against the product in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lodestar.model import native
from lodestar.model.linear import Linear, linear

needs_compiler = pytest.mark.skipif(native.library() is None, reason="no C compiler here")


def bf16(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


@needs_compiler
@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, native.MOST_ROWS),
    columns=st.integers(1, 12),
    rows=st.integers(1, 70),
    bias=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_compiled_product_is_the_float64_product_rounded(batch: int, columns: int, rows: int, bias: bool, seed: int) -> None:
    x, weight = bf16(batch, 32 * columns, seed=seed), bf16(rows, 32 * columns, seed=seed + 1)
    offset = bf16(rows, seed=seed + 2) if bias else None
    product = native.linear_bf16(x, weight, offset)
    assert product is not None
    exact = x.double() @ weight.double().T + (offset.double() if offset is not None else 0.0)
    # One rounding to bfloat16 (2^-9 of the value), and float32 sums of at most 384 products of about 1.
    torch.testing.assert_close(product.double(), exact, rtol=2**-8, atol=1e-4)


@needs_compiler
def test_infinities_and_nans_pass_through() -> None:
    x, weight = torch.ones(1, 32).bfloat16(), torch.ones(3, 32).bfloat16()
    weight[0, 0], weight[1, 5] = torch.inf, torch.nan
    product = native.linear_bf16(x, weight, None)
    assert product is not None
    assert product[0, 0].isinf()
    assert product[0, 1].isnan()
    assert product[0, 2] == 32


def test_widths_and_layouts_that_the_compiled_product_does_not_take_give_the_same_numbers() -> None:
    with torch.inference_mode():
        for x, weight in (
            (bf16(1, 1, 40, seed=0), bf16(7, 40, seed=1)),  # not a multiple of 32
            (bf16(1, 64, seed=0), bf16(64, 7, seed=1).T),  # not contiguous
            (bf16(9, 64, seed=0), bf16(7, 64, seed=1)),  # many rows
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
            assert native.linear_bf16(x, weight, None) is None
            torch.testing.assert_close(linear(x, weight).double(), x.double() @ weight.double().T, rtol=2**-7, atol=1e-2)
        assert list((tmp_path / "cache" / "lodestar").iterdir()) == []
    finally:
        native.library.cache_clear()
