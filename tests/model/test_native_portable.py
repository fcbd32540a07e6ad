"""The same C for a processor of 2013: what stands in place of the newest instructions gives the same numbers."""

from __future__ import annotations

import ctypes
import platform
import shutil

import pytest
import torch
from torch import nn

from lodestar.model import fast, native
from lodestar.model.cache import KVCache
from lodestar.model.config import ModelConfig
from lodestar.model.native.library import FLAGS, compile_to, load
from lodestar.model.quantized import Code, QuantizedLinear
from lodestar.model.transformer import Transformer

pytestmark = pytest.mark.skipif(native.library() is None or platform.machine() != "x86_64", reason="no C compiler for this processor here")


@pytest.fixture(scope="module")
def older(tmp_path_factory) -> ctypes.CDLL:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None
    flags = [*(flag for flag in FLAGS if not flag.startswith("-m")), "-march=x86-64-v3", "-Wno-psabi"]
    built = tmp_path_factory.mktemp("native") / "older.so"
    compile_to(built, compiler, flags)
    return load(built)


@pytest.mark.parametrize(("code", "group"), [("int8", 128), ("int8", 16), ("int4", 32), ("int4", 128), ("nf4", 64)])
@pytest.mark.parametrize("rows", [1, 2, 3, 9, 21])
def test_products_of_codes(older: ctypes.CDLL, code: Code, group: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = QuantizedLinear(384, 21, code=code, group=group, bias=True)
    layer.codes.random_(*((-127, 128) if code == "int8" else (0, 256)))
    nn.init.normal_(layer.scales)
    assert layer.bias is not None
    nn.init.normal_(layer.bias)
    x = torch.randn(rows, 384)
    with torch.inference_mode():
        new = layer(x)
        monkeypatch.setattr(native, "library", lambda: older)
        old = layer(x)
    # The sums of a block are whole numbers, and so the same; they are added in another order, or with other roundings.
    torch.testing.assert_close(old, new, rtol=1e-5, atol=1e-5 * new.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_whole_token(older: ctypes.CDLL, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = ModelConfig(61, width=48, depth=2, heads=6, context=12, key_value_heads=2, qk_norm=True, window=4, initial_std=0.2)
    model, tokens, padding = Transformer(config).eval().to(dtype), torch.randint(0, 61, (3, 1)), torch.zeros(3, dtype=torch.long)
    answers = []
    with torch.inference_mode():
        for library in (native.library(), older):
            monkeypatch.setattr(native, "library", lambda library=library: library)
            decoder = fast.TokenDecoder(model, KVCache(config, 3, 8, dtype=dtype))
            answers.append(torch.stack([decoder.step(tokens, None, padding) for _ in range(8)]))
    torch.testing.assert_close(
        answers[1], answers[0], rtol=0, atol=(1e-5 if dtype == torch.float32 else 0.02) * answers[0].abs().max().item()
    )
