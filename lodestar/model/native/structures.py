"""The structs of the C beside this file, field by field. Whoever makes one keeps the tensors that it points into."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

KINDS = ("float32", "bfloat16", "int8", "int4", "nf4")
"""`Kind` of matrix.h."""
NARROWEST_GROUP, CODE_BLOCK = 8, 128
"""Groups of columns narrower than a block are at least so wide, and divide it."""


RMS_NORM, LAYER_NORM = 1, 2
"""`NormKind` of decode.h; 0 is none."""


def fields(kind: type, names: str) -> list[tuple[str, type]]:
    """Fields of one type."""
    return [(name, kind) for name in names.split()]


def is_bf16(x: Tensor | None) -> bool:
    """Whether a tensor's numbers are bfloat16; else they are float32."""
    return x is not None and x.dtype == torch.bfloat16


def pointer(x: Tensor | None) -> int | None:
    """Where a tensor's numbers are."""
    return None if x is None else x.data_ptr()


class TensorView(ctypes.Structure):
    """`Tensor` of vectors.h."""

    _fields_ = [*fields(ctypes.c_void_p, "data"), *fields(ctypes.c_long, "batch head token")]

    @classmethod
    def of(cls, x_BHTD: Tensor) -> TensorView:
        assert x_BHTD.stride(-1) == 1, "a head's numbers lie side by side"
        return cls(x_BHTD.data_ptr(), *x_BHTD.stride()[:3])


class AttentionShape(ctypes.Structure):
    """`Shape` of attention.c."""

    _fields_ = [
        *fields(ctypes.c_long, "batch heads length width"),
        *fields(ctypes.c_int, "bf16 threads"),
        ("allowed", ctypes.c_void_p),
        ("allowed_batch", ctypes.c_long),
    ]

    @classmethod
    def of(cls, x_BHTD: Tensor, mask: Tensor | None) -> AttentionShape:
        where, stride = (None, 0) if mask is None else (mask.data_ptr(), mask.stride(0) if mask.shape[0] > 1 else 0)
        return cls(*x_BHTD.shape, is_bf16(x_BHTD), torch.get_num_threads(), where, stride)


class Matrix(ctypes.Structure):
    """`Matrix` of matrix.h."""

    _fields_ = [
        *fields(ctypes.c_void_p, "numbers scales bias"),
        *fields(ctypes.c_long, "rows columns group"),
        *fields(ctypes.c_int, "kind bias_bf16"),
    ]

    @classmethod
    def of(cls, weight_OI: Tensor, bias: Tensor | None) -> Matrix:
        """Of contiguous float32 or bfloat16 numbers."""
        kind = KINDS.index(str(weight_OI.dtype).removeprefix("torch."))
        return cls(weight_OI.data_ptr(), None, pointer(bias), *weight_OI.shape, 0, kind, is_bf16(bias))

    @classmethod
    def of_codes(cls, codes: Tensor, scales_ON: Tensor, bias: Tensor | None, *, columns: int, group: int, code: str) -> Matrix:
        """Of codes, as in `QuantizedLinear`."""
        kind = KINDS.index(code)
        return cls(codes.data_ptr(), scales_ON.data_ptr(), pointer(bias), len(codes), columns, group, kind, is_bf16(bias))


def takes_group(columns: int, group: int) -> bool:
    """Whether the products of codes know groups of so many columns."""
    return group in (columns, 0) or group % CODE_BLOCK == 0 or (group >= NARROWEST_GROUP and CODE_BLOCK % group == 0)


class Norm(ctypes.Structure):
    """`Norm` of decode.h."""

    _fields_ = [*fields(ctypes.c_void_p, "weight bias"), ("epsilon", ctypes.c_float), *fields(ctypes.c_int, "kind bf16")]


class Layer(ctypes.Structure):
    """`Layer` of decode.h."""

    _fields_ = [
        *fields(Norm, "attention_norm attention_output_norm feed_forward_norm feed_forward_output_norm query_norm key_norm"),
        *fields(Norm, "cross_norm cross_output_norm cross_query_norm"),
        *fields(Matrix, "query key value output cross_query cross_output gate up down"),
        *fields(ctypes.c_void_p, "keys values cross_keys cross_values"),
        ("window", ctypes.c_long),
        ("table", ctypes.c_int),
    ]


class Model(ctypes.Structure):
    """`Model` of decode.h."""

    _fields_ = [
        ("layers", ctypes.POINTER(Layer)),
        ("norm", Norm),
        ("head", Matrix),
        *fields(ctypes.c_long, "depth width heads key_value_heads head_width rotary_width capacity source_capacity"),
        *fields(ctypes.c_float, "attention_scale attention_cap output_scale"),
        *fields(ctypes.c_int, "norm_place activation norm_over_all cache_bf16"),
    ]


class Step(ctypes.Structure):
    """`Step` of decode.h."""

    _fields_ = [
        *fields(ctypes.c_void_p, "embedded logits first_keys slots sources source_lengths"),
        ("cos", ctypes.c_void_p * 2),
        ("sin", ctypes.c_void_p * 2),
        *fields(ctypes.c_long, "batch length table_step"),
    ]
