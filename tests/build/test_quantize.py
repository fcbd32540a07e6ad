"""Codes of 4 and 8 bits: their error against a closed form and torchao's, their memory, and their way through a bundle."""

import copy
import json
import math
from typing import Any

import pytest
import tokenizers
import torch
from torch.nn import functional as F

from lodestar.build.adapters import add_adapter, load_adapter, merge, save_adapter, use_adapter
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.language import next_token_loss
from lodestar.build.quantize import GROUPS, Quantization, coded, dequantize, memory_bytes, quantize
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.linear import Linear
from lodestar.model.quantized import QuantizedLinear
from lodestar.model.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of the peers

IDS = torch.tensor([[5, 9, 2, 33, 7, 1], [3, 3, 8, 60, 21, 4]])


def byte_tokenizer() -> Tokenizer:
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())])}
    return Tokenizer(tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [])))


def tiny(**changes: Any) -> Any:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocabulary_size": 300,
        "width": 64,
        "depth": 2,
        "heads": 4,
        "context": 32,
        "feed_forward_width": 96,
        "initial_std": 0.1,
    }
    return Transformer(ModelConfig(**(shape | changes))).eval()


def error(weight: torch.Tensor, **settings: Any) -> float:
    """Root of the mean squared error, as a share of the weight's."""
    layer = coded(weight, None, **settings)
    return float((layer.dequantized(torch.float32) - weight).norm() / weight.norm())


def test_what_the_codes_hold_exactly_they_give_back():
    scale = 0.25
    levels = torch.arange(-8, 8).repeat(3, 2) * scale
    assert error(levels, code="int4", group=32) == 0
    assert error(torch.arange(-127, 129).clamp(max=127).repeat(3, 1) * scale, code="int8", group=256) == 0
    layer = coded(torch.zeros(3, 64), None, "nf4", 32)
    assert not layer.dequantized(torch.float32).any()


def test_error_of_eight_bits_is_that_of_even_rounding():
    """Numbers even in [-1, 1] over steps of 1/127: an error of step/√12 beside 1/√3, so 1/254."""
    weight = torch.rand(256, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert error(weight, code="int8", group=128) == pytest.approx(1 / 254, rel=0.03)


@pytest.mark.parametrize(("code", "most"), [("int4", 0.085), ("nf4", 0.083), ("int8", 0.0055)])
def test_error_on_normal_weights(code, most):
    """The measured errors in bench/RESULTS.d/quantize.md, of groups of 32."""
    weight = torch.randn(512, 256, generator=torch.Generator().manual_seed(0))
    assert error(weight, code=code, group=32) < most
    assert error(weight, code=code, group=128) > error(weight, code=code, group=32)


@pytest.mark.parametrize(("code", "bits"), [("int4", 4), ("int8", 8)])
def test_no_worse_than_torchao(code, bits):
    quantization: Any = pytest.importorskip("torchao.quantization")
    config = {
        4: lambda: quantization.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=quantization.PerGroup(32)),  # type: ignore[attr-defined]
        8: lambda: quantization.IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=quantization.PerGroup(32)),
    }[bits]()
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    holder = torch.nn.Sequential(torch.nn.Linear(128, 64, bias=False))
    holder[0].weight = torch.nn.Parameter(weight.clone())
    quantization.quantize_(holder, config)
    with torch.no_grad():
        theirs = holder(torch.eye(128)).T
    assert error(weight, code=code, group=32) <= 1.01 * float((theirs - weight).norm() / weight.norm())


@pytest.mark.parametrize("code", ["int8", "int4", "nf4"])
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_model_of_codes(tmp_path, code, head, tied):
    model = tiny(tied_embeddings=tied, bias=True)
    plain, before = copy.deepcopy(model), memory_bytes(model)
    savings = quantize(model, code=code, head=head)
    assert (savings.before_bytes, savings.after_bytes) == (before, memory_bytes(model))
    assert savings.layers == 2 * 7 + head
    assert savings.kept == 0
    coded_bytes = sum(layer.memory_bytes() for layer in model.modules() if isinstance(layer, QuantizedLinear))
    weights = sum(layer.in_features * layer.out_features for layer in model.modules() if isinstance(layer, QuantizedLinear))
    biases = sum(layer.bias.numel() for layer in model.modules() if isinstance(layer, QuantizedLinear) and layer.bias is not None)
    group = GROUPS[code] if code == "int4" else 32  # gcd with the widths 64 and 96
    assert coded_bytes >= weights * ({"int8": 8, "int4": 4, "nf4": 4}[code] / 8) + 4 * biases
    assert coded_bytes <= weights * ({"int8": 8, "int4": 4, "nf4": 4}[code] / 8 + 2 / group) + 4 * biases
    with torch.no_grad():
        got, expected = model(IDS), plain(IDS)
    off = float((got - expected).norm() / expected.norm())
    assert 0 < off < (0.03 if code == "int8" else 0.3)

    save_bundle(tmp_path / "model", Bundle(model, plain.config, byte_tokenizer(), {"task": "none"}))
    again = load_bundle(tmp_path / "model", lambda task, config: Transformer(config))
    assert again.model.quantization == Quantization(code, GROUPS[code], head)
    with torch.no_grad():
        assert torch.equal(again.model(IDS), got)
    half: Any = load_bundle(tmp_path / "model", lambda task, config: Transformer(config), dtype=torch.bfloat16).model
    layer = half.decoder.blocks[0].attention.query
    assert layer.scales.dtype is torch.bfloat16
    assert layer.codes.dtype is (torch.int8 if code == "int8" else torch.uint8)
    assert half(IDS).dtype is torch.bfloat16

    dequantize(model)
    assert all(type(layer) is not QuantizedLinear for layer in model.modules())
    with torch.no_grad():  # compiled products of codes keep 15 bits of the input
        torch.testing.assert_close(model(IDS), got, rtol=0, atol=1e-3 * got.abs().max().item())


def test_widths_without_a_group_stay_and_are_counted():
    model = tiny(feed_forward_width=90)
    savings = quantize(model, 4)
    assert (savings.layers, savings.kept) == (2 * 6, 2)
    assert type(model.decoder.blocks[0].feed_forward.down) is Linear


def test_adapters_over_codes(tmp_path):
    """QLoRA: the adapter learns what it learns over the weights that the codes mean, and is for the base that they were made from."""
    model, twin = tiny(), tiny()
    quantize(model, code="nf4")
    quantize(twin, code="nf4")
    dequantize(twin)
    for one in (model, twin):
        torch.manual_seed(1)
        add_adapter(one, AdapterSettings(rank=4))
        loss, _ = next_token_loss(one, {"tokens": IDS[:, :-1], "targets": IDS[:, 1:]})
        loss.backward()
    others = dict(twin.named_parameters())
    for name, mine in model.named_parameters():
        other = others[name]
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-4, msg=f"the gradient of {name} differs")
    assert model.decoder.blocks[0].attention.query.adapters["default"].up.grad.abs().sum() > 0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.add_(parameter.grad.sign(), alpha=-0.01)
        tuned = model(IDS)
        save_adapter(model, tmp_path / "adapter")
        base = tiny()
        load_adapter(base, tmp_path / "adapter")
        merge(model, keep=False)
        assert type(model.decoder.blocks[0].attention.query) is Linear
        torch.testing.assert_close(model(IDS), tuned, rtol=1e-4, atol=1e-4)
        with use_adapter(base, None):
            torch.testing.assert_close(base(IDS), tiny()(IDS))


def test_what_cannot_be_is_refused(tmp_path):
    model = tiny()
    refusals: tuple[tuple[dict[str, Any], str], ...] = (({"bits": 3}, "3 bits"), ({"group": 7}, "7 numbers"))
    for settings, what in refusals:
        with pytest.raises(UserError, match=what):
            quantize(model, **settings)
    with pytest.raises(UserError, match="no output projection"):
        quantize(tiny(architecture="encoder"), head=True)
    quantize(model)
    with pytest.raises(UserError, match="quantised already"):
        quantize(model)
    tuned = tiny()
    add_adapter(tuned, AdapterSettings(rank=2))
    with pytest.raises(UserError, match="has adapters"):
        quantize(tuned)
    save_bundle(tmp_path / "model", Bundle(model, model.config, byte_tokenizer(), {}))
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization": {"code": "int5", "group": 32, "head": False}}))
    with pytest.raises(UserError, match="unknown quantization"):
        load_bundle(tmp_path / "model", lambda task, config: Transformer(config))


def test_loss_moves_little():
    """In nats a token, of a model far from even: what the scorecard shows before and after."""
    plain = tiny(initial_std=0.3)

    def nats(model):
        with torch.no_grad():
            return F.cross_entropy(model(IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).item()

    before = nats(plain)
    assert before > math.log(300)
    for bits, most in ((8, 0.02), (4, 0.3)):
        model = copy.deepcopy(plain)
        quantize(model, bits)
        assert abs(nats(model) - before) < most * before
