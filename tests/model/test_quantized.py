"""The linear layer of codes, against weights worked out by hand and against the product with them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lodestar.model import native
from lodestar.model.quantized import NF4_LEVELS, QuantizedLinear, pack, unpack


def layer_of(code, *, bias=True):
    """A layer with drawn codes and scales: 96 → 8 in groups of 32."""
    drawn = torch.Generator().manual_seed(0)
    layer = QuantizedLinear(96, 8, code=code, group=32, bias=bias)
    layer.scales = torch.randn(8, 3, generator=drawn).bfloat16()
    if code == "int8":
        layer.codes = torch.randint(-127, 128, (8, 96), dtype=torch.int8, generator=drawn)
    else:
        layer.codes = pack(torch.randint(0, 16, (8, 96), dtype=torch.uint8, generator=drawn))
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias, generator=drawn)
    return layer


def test_low_half_comes_first():
    codes = torch.tensor([[1, 2, 15, 0]], dtype=torch.uint8)
    assert pack(codes).tolist() == [[0x21, 0x0F]]
    assert torch.equal(unpack(pack(codes)), codes)


def test_levels_worked_by_hand():
    layer = QuantizedLinear(4, 1, code="int4", group=2, bias=False)
    layer.codes, layer.scales = pack(torch.tensor([[0, 8, 15, 9]], dtype=torch.uint8)), torch.tensor([[0.5, -2.0]]).bfloat16()
    assert layer.dequantized(torch.float32).tolist() == [[-4.0, 0.0, -14.0, -2.0]]
    layer = QuantizedLinear(2, 1, code="int8", group=2, bias=False)
    layer.codes, layer.scales = torch.tensor([[-127, 3]], dtype=torch.int8), torch.tensor([[0.25]]).bfloat16()
    assert layer.dequantized(torch.float32).tolist() == [[-31.75, 0.75]]
    layer = QuantizedLinear(2, 1, code="nf4", group=2, bias=False)
    layer.codes, layer.scales = pack(torch.tensor([[0, 12]], dtype=torch.uint8)), torch.tensor([[2.0]]).bfloat16()
    assert layer.dequantized(torch.float32).tolist() == [[-2.0, pytest.approx(2 * NF4_LEVELS[12])]]


@pytest.mark.parametrize("code", ["int8", "int4", "nf4"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_of_input_without_keeping_weights(code, bias):
    layer = layer_of(code, bias=bias)
    x, plain = (torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    y = layer(x)
    expected = F.linear(plain, layer.dequantized(torch.float32), layer.bias)
    assert torch.equal(y, expected)
    with torch.no_grad():  # by compiled code, which keeps 15 bits of the input
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=2**-14 * expected.abs().max().item())
    y.square().sum().backward()
    gradients = None if layer.bias is None else layer.bias.grad.clone()
    layer.zero_grad()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, plain.grad)
    if bias:
        torch.testing.assert_close(gradients, layer.bias.grad)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups of 64 do not divide 96 columns"):
        QuantizedLinear(96, 8, code="int8", group=64)


@pytest.mark.skipif(native.library() is None, reason="no C compiler here")
@settings(deadline=None, max_examples=60)
@given(
    code=st.sampled_from(["int8", "int4", "nf4"]), rows=st.integers(1, 40), columns=st.sampled_from([16, 48, 128, 272, 384, 640, 1040]),
    height=st.integers(1, 70), group=st.sampled_from([8, 16, 32, 64, 128, 256, None]), threads=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]), seed=st.integers(0, 99),
)  # fmt: skip
def test_compiled_products_are_those_of_the_weights_for_any_shape(code, rows, columns, height, group, threads, dtype, seed):
    group = group if group is not None and columns % group == 0 else columns
    drawn = torch.Generator().manual_seed(seed)
    layer = QuantizedLinear(columns, height, code=code, group=group, bias=seed % 2 == 0)
    codes = torch.randint(-127 if code == "int8" else 0, 128 if code == "int8" else 256, layer.codes.shape, generator=drawn)
    layer.codes = codes.to(layer.codes.dtype)
    layer.scales = torch.randn(layer.scales.shape, generator=drawn).bfloat16()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias, generator=drawn)
    x = torch.randn(rows, columns, generator=drawn).to(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            ours = layer(x)
    finally:
        torch.set_num_threads(before)
    weight = layer.dequantized(torch.float64)
    right = F.linear(x.double(), weight, None if layer.bias is None else layer.bias.double())
    kept = 2**-16 * x.double().abs().max() * weight.abs().sum(1).max()  # 15 bits of the input are kept
    rounding = 2**-20 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(ours.double(), right, rtol=rounding, atol=kept.item() + rounding * right.abs().max().item())
