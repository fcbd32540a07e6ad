"""Adapted layers and their products, against the formulas written out with torch's own operations."""

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lodestar.model import frozen
from lodestar.model.adapted import Adapted, Adapter, Selection
from lodestar.model.cross_entropy import LinearCrossEntropy
from lodestar.model.linear import Linear
from lodestar.model.quantized import QuantizedLinear


def layer_of(
    *, bias: bool = True, dtype: torch.dtype = torch.float32, magnitude: bool = False, wide: bool = False, names: tuple[str, ...] = ("one",)
) -> Any:
    """An adapted layer 64 → 48 whose adapters are not zero."""
    torch.manual_seed(0)
    base = Linear(64, 48, bias=bias).to(dtype).requires_grad_(False)
    layer = Adapted(base, Selection(), wide=wide)
    for name in names:
        adapter = layer.adapters[name] = Adapter(base, 4, 0.5, magnitude=magnitude)
        torch.nn.init.normal_(adapter.up)
        if adapter.magnitude is not None:
            torch.nn.init.normal_(adapter.magnitude, mean=1.0, std=0.1)
    layer.selection.default = names[0]
    return layer


def formula(layer, x, name="one"):
    """Hu et al. 2021, and Liu et al. 2024 with the norm as a constant."""
    adapter = layer.adapters[name]
    weight = layer.base.weight.float() + adapter.scale * adapter.up @ adapter.down
    if adapter.magnitude is not None:
        weight = weight * (adapter.magnitude / torch.linalg.vector_norm(weight, dim=1).detach())[:, None]
    return F.linear(x, weight, layer.base.bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("magnitude", [True, False])
def test_outputs_and_gradients_are_the_formulas(bias, magnitude):
    layer = layer_of(bias=bias, magnitude=magnitude)
    x, plain = (torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    y, expected = layer(x), formula(layer, plain)
    torch.testing.assert_close(y, expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected.detach())
    grown = torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(2))
    parameters = list(layer.adapters["one"].parameters())
    gradients = torch.autograd.grad((y * grown).sum(), [x, *parameters])
    wanted = torch.autograd.grad((expected * grown).sum(), [plain, *parameters])
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-4)
    assert all(parameter.grad is None for parameter in layer.base.parameters())


def test_nothing_but_input_and_inner_product_is_kept():
    """Else a frozen weight in another form, or the output, would take memory until the backward pass."""
    kept = []
    layer, x = layer_of(), torch.randn(7, 64, requires_grad=True)

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    assert sorted(kept) == sorted([(7, 64), (7, 4), (4, 64), (48, 4)])


def test_dropout_scales_what_is_left():
    layer = layer_of()
    layer.adapters["one"].dropout.p = 0.5
    x = torch.ones(4096, 64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x).mean(0), layer.eval()(x)[0], rtol=0.2, atol=0.3)


def test_bfloat16_products_in_float32_are_closer_to_exact(monkeypatch):
    """And the copies of a weight in blocks give what one copy does."""
    exact, x = layer_of(dtype=torch.bfloat16), torch.randn(9, 64, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(1))
    expected = formula(copy.deepcopy(exact).float(), x.float())
    errors = []
    for wide in (True, False):
        y = layer_of(dtype=torch.bfloat16, wide=wide)(x)
        assert y.dtype is torch.bfloat16
        errors.append((y.float() - expected).abs().mean())
    assert errors[0] <= errors[1]
    results = []
    for rows in (frozen.CONVERTED_AT_ONCE, 64 * 10):
        monkeypatch.setattr(frozen, "CONVERTED_AT_ONCE", rows)
        layer, inputs = layer_of(dtype=torch.bfloat16, wide=True), x.clone().requires_grad_()
        layer(inputs).square().sum().backward()
        results.append((layer(x), inputs.grad, layer.adapters["one"].down.grad))
    torch.testing.assert_close(results[0], results[1])


def test_under_autocast_the_products_are_bfloat16():
    layer, x = layer_of(), torch.randn(3, 64, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype is torch.bfloat16
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype is torch.float32
    torch.testing.assert_close(y.float(), formula(layer, x), rtol=0.02, atol=0.05)


def test_rows_choose_for_themselves():
    layer = layer_of(names=("one", "other"))
    x = torch.randn(4, 3, 64)
    with torch.no_grad(), layer.selection.using(("other", None, "one", "other")):
        y = layer(x)
    for row, name in enumerate(("other", None, "one", "other")):
        with torch.no_grad(), layer.selection.using(name):
            torch.testing.assert_close(y[row], layer(x[row : row + 1])[0])
    with layer.selection.using(("one",)), pytest.raises(ValueError, match="1 adapters were chosen for a batch of 4 rows"):
        layer(x)


@pytest.mark.parametrize("magnitude", [True, False])
def test_merged_is_one_weight(magnitude):
    layer, x = layer_of(magnitude=magnitude), torch.randn(5, 64)
    merged = layer.merged("one", torch.float32)
    assert type(merged) is Linear
    torch.testing.assert_close(merged(x), layer(x))


def test_base_of_codes():
    torch.manual_seed(0)
    base = QuantizedLinear(64, 48, code="nf4", group=32, bias=False)
    base.codes, base.scales = torch.randint(0, 256, (48, 32), dtype=torch.uint8), torch.rand(48, 2).bfloat16()
    layer: Any = Adapted(base, Selection())
    layer.adapters["one"] = Adapter(base, 4, 0.5, magnitude=True)
    layer.selection.default = "one"
    x = torch.randn(5, 64, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, F.linear(x, base.dequantized(torch.float32)), rtol=1e-4, atol=1e-4)
    y.sum().backward()
    assert layer.adapters["one"].up.grad.abs().sum() > 0


@pytest.mark.parametrize("rows", [256, 3])
@pytest.mark.parametrize("compiled", [True, False])
def test_cross_entropy_in_parts(monkeypatch, rows, compiled):
    """The loss and both gradients are those of the logits as a whole."""
    if not compiled:
        monkeypatch.setattr("lodestar.model.native.library", lambda: None)
    monkeypatch.setattr("lodestar.model.cross_entropy.FEWEST_ROWS", rows)
    monkeypatch.setattr("lodestar.model.cross_entropy.LOGITS_AT_ONCE", 1)
    monkeypatch.setattr("lodestar.model.cross_entropy.IN_CACHE", 110)
    drawn = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(10, 8, generator=drawn), torch.randn(50, 8, generator=drawn)
    targets = torch.randint(0, 50, (10,), generator=drawn)
    results = []
    for loss in (
        lambda h, w: LinearCrossEntropy.apply(h, w, targets, False),
        lambda h, w: F.cross_entropy(h @ w.T, targets, reduction="sum"),
    ):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        value = loss(h, w)
        (value / 7).backward()
        results.append((value, h.grad, w.grad))
    torch.testing.assert_close(results[0], results[1])


def test_cross_entropy_of_what_no_float_holds():
    """As torch's: far apart, infinite and undefined logits; a target outside of the vocabulary is an error, not a wild write."""
    hidden = torch.tensor([[1.0], [300.0], [-1e30], [torch.inf], [torch.nan]])
    weight, targets = torch.linspace(-1, 1, 40)[:, None], torch.tensor([3, 39, 0, 5, 7])
    losses = [LinearCrossEntropy.apply(hidden[i : i + 1], weight, targets[i : i + 1], False) for i in range(5)]
    expected = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    torch.testing.assert_close(torch.stack(losses), expected, equal_nan=True)
    with pytest.raises((IndexError, RuntimeError)):
        LinearCrossEntropy.apply(hidden[:1], weight, torch.tensor([40]), False)
