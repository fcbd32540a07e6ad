"""The C beside this file, compiled once a machine where a compiler is at hand; everything works without it, only slower.

It is C behind `ctypes`, not a torch extension: it compiles in half a second instead of half a minute, and needs no headers.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

SOURCES = ("linear.c", "attention.c")
HEADERS = ("vectors.h",)
# No -lgomp: the parallel loops run on torch's own threads, which are loaded already. A second set would fight them for the cores.
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-fPIC", "-c")
MOST_ROWS = 4
"""Above so many rows of input, oneDNN's product is as fast (measured: bench/decode 2026-11)."""

log = logging.getLogger(__name__)


def linear_bf16(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """x · weightᵀ + bias: (…, I), (O, I), (O) → (…, O), for a few rows of `x`. All bfloat16 on the CPU; autograd does not see it.

    None where this machine has no compiled library, I is not a multiple of 32, or a tensor is not contiguous: take another way.
    """
    loaded = library()
    rows, columns = weight.shape
    if loaded is None or columns % 32 or not (x.is_contiguous() and weight.is_contiguous()):
        return None
    y = x.new_empty(*x.shape[:-1], rows)
    offsets = None if bias is None else bias.data_ptr()
    _check(
        loaded.linear_bf16(
            x.data_ptr(), weight.data_ptr(), offsets, y.data_ptr(), x.numel() // columns, columns, rows, torch.get_num_threads()
        )
    )
    return y


def takes_attention(queries_BHTD: Tensor, keys_BHTD: Tensor, values_BHTD: Tensor) -> bool:
    """Whether `attention_forward` can be given these: float32 or bfloat16 on the CPU, equal shapes, heads of a multiple of 32 numbers."""
    inputs = (queries_BHTD, keys_BHTD, values_BHTD)
    return (
        queries_BHTD.dtype in (torch.float32, torch.bfloat16)
        and queries_BHTD.shape[-1] % 32 == 0
        and all(x.dtype == queries_BHTD.dtype and x.shape == queries_BHTD.shape and x.device.type == "cpu" for x in inputs)
        and library() is not None
    )


def attention_forward(queries_BHTD: Tensor, keys_BHTD: Tensor, values_BHTD: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """softmax(QKᵀ/√d_k)·V under a causal mask, (B, H, T, D), and the logarithm of each query's sum, (B, H, T) float32.

    Args:
        allowed: (B or 1, 1, T, T), True where a query sees a key: at least itself. Keys after the query are hidden, whatever it says.
    """
    loaded = library()
    assert loaded is not None, "takes_attention was asked"
    batch, heads, length, width = queries_BHTD.shape
    mixed_BHTD = queries_BHTD.new_empty(batch, length, heads, width).transpose(1, 2)
    log_sums_BHT = queries_BHTD.new_empty(batch, heads, length, dtype=torch.float32)
    mask = None if allowed is None else allowed.contiguous()
    arguments = [_Tensor.of(x) for x in (queries_BHTD, keys_BHTD, values_BHTD, mixed_BHTD)]
    _check(loaded.attention_forward(*arguments, log_sums_BHT.data_ptr(), _Shape.of(queries_BHTD, mask)))
    return mixed_BHTD, log_sums_BHT


def attention_backward(
    queries_BHTD: Tensor,
    keys_BHTD: Tensor,
    values_BHTD: Tensor,
    allowed: Tensor | None,
    mixed_BHTD: Tensor,
    log_sums_BHT: Tensor,
    gradient_BHTD: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values, from what `attention_forward` was given and gave, and the gradient of its output."""
    loaded = library()
    assert loaded is not None, "takes_attention was asked"
    mask = None if allowed is None else allowed.contiguous()
    gradients = [torch.empty_like(mixed_BHTD) for _ in range(3)]
    if gradient_BHTD.stride(-1) != 1:
        gradient_BHTD = gradient_BHTD.contiguous()
    inputs = [_Tensor.of(x) for x in (queries_BHTD, keys_BHTD, values_BHTD, mixed_BHTD, gradient_BHTD)]
    outputs = [_Tensor.of(x) for x in gradients]
    _check(loaded.attention_backward(*inputs, log_sums_BHT.data_ptr(), *outputs, _Shape.of(queries_BHTD, mask)))
    return gradients[0], gradients[1], gradients[2]


class _Tensor(ctypes.Structure):
    """`Tensor` of attention.c."""

    _fields_ = [("data", ctypes.c_void_p), *((stride, ctypes.c_long) for stride in ("batch", "head", "token"))]

    @classmethod
    def of(cls, x_BHTD: Tensor) -> _Tensor:
        assert x_BHTD.stride(-1) == 1, "a head's numbers lie side by side"
        return cls(x_BHTD.data_ptr(), *x_BHTD.stride()[:3])


class _Shape(ctypes.Structure):
    """`Shape` of attention.c."""

    _fields_ = [
        *((size, ctypes.c_long) for size in ("batch", "heads", "length", "width")),
        *((number, ctypes.c_int) for number in ("bf16", "threads")),
        ("allowed", ctypes.c_void_p),
        ("allowed_batch", ctypes.c_long),
    ]

    @classmethod
    def of(cls, x_BHTD: Tensor, mask: Tensor | None) -> _Shape:
        pointer, stride = (None, 0) if mask is None else (mask.data_ptr(), mask.stride(0) if mask.shape[0] > 1 else 0)
        return cls(*x_BHTD.shape, x_BHTD.dtype == torch.bfloat16, torch.get_num_threads(), pointer, stride)


def _check(code: int) -> None:
    if code:
        raise MemoryError("no memory for a matrix product")


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they cannot be had: not Linux, no C compiler, no place to keep them."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    try:
        built = _cache_folder() / f"native-{_fingerprint(compiler)}.so"
        if not built.exists():
            _compile(compiler, built)
        loaded = ctypes.CDLL(str(built))
    except (OSError, subprocess.SubprocessError) as error:
        # Speed is all that is lost, and the reason may be a read-only home or half a compiler: nothing the user did.
        log.info("the compiled functions are not used: %s", error)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_long
    tensor, shape = ctypes.POINTER(_Tensor), ctypes.POINTER(_Shape)
    loaded.linear_bf16.argtypes = [*[pointer] * 4, *[number] * 3, ctypes.c_int]
    loaded.attention_forward.argtypes = [*[tensor] * 4, pointer, shape]
    loaded.attention_backward.argtypes = [*[tensor] * 5, pointer, *[tensor] * 3, shape]
    return loaded


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lodestar"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _fingerprint(compiler: str) -> str:
    """Of all that shapes the machine code, the processor's features included: a home folder may be shared by unlike machines."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    sources = [Path(__file__).with_name(name).read_text() for name in (*SOURCES, *HEADERS)]
    return hashlib.sha256("\n".join([*sources, compiler, features, *FLAGS]).encode()).hexdigest()[:16]


def _compile(compiler: str, built: Path) -> None:
    """Under a temporary name first: another process may be compiling, too."""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        sources = [str(Path(__file__).with_name(name)) for name in SOURCES]
        objects = [f"{folder}/{name}.o" for name in SOURCES]
        commands = [[compiler, *FLAGS, source, "-o", compiled] for source, compiled in zip(sources, objects, strict=True)]
        commands.append([compiler, "-shared", *objects, "-lm", "-o", f"{folder}/native.so"])
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        os.replace(f"{folder}/native.so", built)  # noqa: PTH105 - the standard library's one atomic rename
