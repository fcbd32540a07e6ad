"""Compiled functions for the CPU, for float32 and bfloat16. Everything works without them, only slower: ask `takes` first."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .library import library as library
from .structures import AttentionShape, Matrix, Model, Step, TensorView
from .structures import takes_group as takes_group

MOST_ROWS = 16
"""Above so many rows of input, oneDNN's product is as fast (measured 2026-11: bench/RESULTS.d/speed.md)."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """x · weightᵀ + bias: (…, I), (O, I), (O) → (…, O), for a few rows of `x`. All bfloat16 or all float32, on the CPU; autograd does
    not see it. None where this machine has no compiled library, or a tensor is not contiguous: take another way.
    """
    if library() is None or not (x.is_contiguous() and weight.is_contiguous()):
        return None
    return _linear(x, Matrix.of(weight, bias))


def linear_codes(x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None, *, columns: int, group: int, code: str) -> Tensor | None:
    """x · weightᵀ + bias for the weights that codes mean (see `QuantizedLinear`), for rows of float32 or bfloat16.

    Beside int8 and int4, x keeps 15 bits and a sign, with a scale for each 128 columns. None where another way must be taken.
    """
    if library() is None or not x.is_contiguous() or not takes_group(columns, group):
        return None
    return _linear(x, Matrix.of_codes(codes, scales, bias, columns=columns, group=group, code=code))


def _linear(x: Tensor, matrix: Matrix) -> Tensor:
    y = x.new_empty(*x.shape[:-1], matrix.rows)
    _check(_library().linear(matrix, x.data_ptr(), y.data_ptr(), x.numel() // matrix.columns, *_kind(x)))
    return y


def decode(model: Model, step: Step) -> None:
    """One token a row through all layers: see decode.h."""
    _check(_library().decode(model, step, torch.get_num_threads()))


def takes(*tensors: Tensor) -> bool:
    """Whether the functions below can be given these: equally float32 or bfloat16, on the CPU, the last axis a multiple of 32."""
    first = tensors[0]
    fits = all(x.dtype == first.dtype and x.device.type == "cpu" and x.shape[-1] % 32 == 0 for x in tensors)
    return fits and first.dtype in (torch.float32, torch.bfloat16) and library() is not None


def attention_forward(queries_BHTD: Tensor, keys_BHTD: Tensor, values_BHTD: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    """softmax(QKᵀ/√d_k)·V under a causal mask, (B, H, T, D), and the logarithm of each query's sum, (B, H, T) float32.

    Args:
        allowed: (B or 1, 1, T, T), True where a query sees a key: at least itself. Keys after the query are hidden, whatever it says.
    """
    batch, heads, length, width = queries_BHTD.shape
    mixed_BHTD = queries_BHTD.new_empty(batch, length, heads, width).transpose(1, 2)
    log_sums_BHT = queries_BHTD.new_empty(batch, heads, length, dtype=torch.float32)
    mask = None if allowed is None else allowed.contiguous()
    arguments = [TensorView.of(x) for x in (queries_BHTD, keys_BHTD, values_BHTD, mixed_BHTD)]
    _check(_library().attention_forward(*arguments, log_sums_BHT.data_ptr(), AttentionShape.of(queries_BHTD, mask)))
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
    mask = None if allowed is None else allowed.contiguous()
    gradients = [torch.empty_like(mixed_BHTD) for _ in range(3)]
    if gradient_BHTD.stride(-1) != 1:
        gradient_BHTD = gradient_BHTD.contiguous()
    inputs = [TensorView.of(x) for x in (queries_BHTD, keys_BHTD, values_BHTD, mixed_BHTD, gradient_BHTD)]
    outputs = [TensorView.of(x) for x in gradients]
    _check(_library().attention_backward(*inputs, log_sums_BHT.data_ptr(), *outputs, AttentionShape.of(queries_BHTD, mask)))
    return gradients[0], gradients[1], gradients[2]


def rms_norm_forward(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """x / √(mean(x²) + ε) · weight for contiguous x (…, W) and float32 weight (W); and 1 / √(mean(x²) + ε), (rows,) float32."""
    y, width = torch.empty_like(x), x.shape[-1]
    inverses = torch.empty(x.numel() // width)
    _library().rms_norm_forward(
        x.data_ptr(), weight.data_ptr(), epsilon, y.data_ptr(), inverses.data_ptr(), len(inverses), width, *_kind(x)
    )
    return y, inverses


def rms_norm_backward(x: Tensor, weight: Tensor, inverses: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and of weight, from that of the result."""
    d_x, width = torch.empty_like(x), x.shape[-1]
    d_weights = torch.zeros(torch.get_num_threads(), width)
    _library().rms_norm_backward(
        x.data_ptr(), weight.data_ptr(), inverses.data_ptr(), gradient.data_ptr(), d_x.data_ptr(), d_weights.data_ptr(),
        len(inverses), width, *_kind(x),
    )  # fmt: skip
    return d_x, d_weights.sum(0)


def rotate(x_BHTD: Tensor, cos: Tensor, sin: Tensor, *, back: bool = False) -> Tensor:
    """`positions.rotate`, or its inverse; cos and sin contiguous float32, (T, D/2) or (B, 1, T, D/2)."""
    batch, heads, length, width = x_BHTD.shape
    y_BHTD = x_BHTD.new_empty(batch, length, heads, width).transpose(1, 2)
    table_batch = cos.stride(0) if cos.ndim == 4 and cos.shape[0] > 1 else 0
    _library().rotate(
        TensorView.of(x_BHTD), TensorView.of(y_BHTD), cos.data_ptr(), sin.data_ptr(), table_batch, back, batch, heads, length, width,
        *_kind(x_BHTD),
    )  # fmt: skip
    return y_BHTD


def relu2(x: Tensor, gradient: Tensor | None = None) -> Tensor:
    """relu(x)², or where `gradient` is given 2 · relu(x) · gradient. Contiguous."""
    y = torch.empty_like(x)
    _library().relu2(x.data_ptr(), None if gradient is None else gradient.data_ptr(), y.data_ptr(), x.numel(), *_kind(x))
    return y


def gelu_tanh(x: Tensor, gradient: Tensor | None = None) -> Tensor:
    """GELU by tanh; where `gradient` is given, that of x. Contiguous."""
    y = torch.empty_like(x)
    _library().gelu_tanh(x.data_ptr(), None if gradient is None else gradient.data_ptr(), y.data_ptr(), x.numel(), *_kind(x))
    return y


def dropout(x: Tensor, share: float, seed: int) -> Tensor:
    """x / (1 − share) with a share of the numbers, which follow from the seed (0 ≤ seed < 2⁶⁴) and their places, set to 0. Contiguous."""
    y = torch.empty_like(x)
    _library().dropout(x.data_ptr(), seed, share, y.data_ptr(), x.numel(), *_kind(x))
    return y


def softmax_gradient(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """−log softmax(logits)[target] of each row, (N,) float32; in place, the logits become its gradient, softmax − one at the target.

    Args:
        logits_NV: float32, contiguous, on the CPU. Of any width; ask `library` alone.

    Raises:
        IndexError: a target is not in the vocabulary.
    """
    # C would write past the end of a row.
    if len(targets_N) and not 0 <= int(targets_N.min()) <= int(targets_N.max()) < logits_NV.shape[1]:
        raise IndexError(f"a target is not one of the {logits_NV.shape[1]} logits")
    losses_N, targets_N = logits_NV.new_empty(len(logits_NV)), targets_N.contiguous()
    _library().softmax_gradient(
        logits_NV.data_ptr(), targets_N.data_ptr(), losses_N.data_ptr(), *logits_NV.shape, torch.get_num_threads()
    )  # fmt: skip
    return losses_N


def best(logits_RV: Tensor, count: int, banned: Tensor) -> tuple[Tensor, Tensor] | None:
    """The largest `count` log-probabilities of each row and their ids, (R, count), the largest first; none of the `banned` ids, which are
    distinct. None where another way must be taken: there is no library, or the logits are not contiguous float32 on the CPU.
    """
    rows, width = logits_RV.shape
    plain = logits_RV.dtype == torch.float32 and logits_RV.device.type == "cpu" and logits_RV.is_contiguous()
    if library() is None or not plain or torch.is_grad_enabled() or count + len(banned) > width:
        return None
    values_RC, ids_RC = logits_RV.new_empty(rows, count), torch.empty(rows, count, dtype=torch.long)
    _library().best(
        logits_RV.data_ptr(), banned.data_ptr(), values_RC.data_ptr(), ids_RC.data_ptr(), rows, width, count, len(banned),
        torch.get_num_threads(),
    )  # fmt: skip
    return values_RC, ids_RC


def swiglu_forward(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up. Contiguous."""
    y = torch.empty_like(up)
    _library().swiglu_forward(gate.data_ptr(), up.data_ptr(), y.data_ptr(), up.numel(), *_kind(up))
    return y


def swiglu_backward(gate: Tensor, up: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up."""
    d_gate, d_up = torch.empty_like(gate), torch.empty_like(up)
    _library().swiglu_backward(
        gate.data_ptr(), up.data_ptr(), gradient.data_ptr(), d_gate.data_ptr(), d_up.data_ptr(), up.numel(), *_kind(up)
    )
    return d_gate, d_up


def _kind(x: Tensor) -> tuple[bool, int]:
    """The last two arguments of every function: whether the numbers are bfloat16, and how many threads share the work."""
    return x.dtype == torch.bfloat16, torch.get_num_threads()


def _library() -> ctypes.CDLL:
    loaded = library()
    assert loaded is not None, "takes was asked"
    return loaded


def _check(code: int) -> None:
    if code:
        raise MemoryError("no memory for a matrix product")
