"""Linear layers with adapters: a frozen weight, and beside it small trained matrices, of which a request or a row chooses.

Axes: B batch, I input width, O output width, R rank, N rows of all leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .frozen import Base, Product, weight_of
from .linear import Linear
from .meta import without_storage
from .quantized import QuantizedLinear

Choice = str | None | tuple[str | None, ...]
"""The name of an adapter for the whole batch, None for the base alone, or one of these for each row of the batch."""

_CHOSEN: ContextVar[Mapping[int, Choice]] = ContextVar("chosen adapters", default={})  # noqa: B039 - never changed in place


class Selection:
    """Which adapter is at work, told to all layers of one model at once; by thread or task where `using` chooses."""

    def __init__(self) -> None:
        self.default: Choice = None

    @property
    def current(self) -> Choice:
        return _CHOSEN.get().get(id(self), self.default)

    @contextmanager
    def using(self, choice: Choice) -> Iterator[None]:
        """Inside, `choice` instead of the default."""
        token = _CHOSEN.set({**_CHOSEN.get(), id(self): choice})
        try:
            yield
        finally:
            _CHOSEN.reset(token)


class Adapter(nn.Module):
    """What is added to a weight: scale · up · down (Hu et al. 2021, https://arxiv.org/abs/2106.09685); where there is a magnitude, the
    sum's rows are then given that length (DoRA, Liu et al. 2024, https://arxiv.org/abs/2402.09353).

    Attributes:
        down: (R, I). up: (O, R). magnitude: (O,), or None. All float32, whatever the base is.
    """

    def __init__(self, base: Base, rank: int, scale: float, *, dropout: float = 0.0, magnitude: bool = False) -> None:
        super().__init__()
        self.rank, self.scale = rank, scale
        device = base.codes.device if isinstance(base, QuantizedLinear) else base.weight.device
        self.down = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        # As nn.Linear, and so as `peft`: uniform within 1/√I. With `up` at zero the model is at first the base.
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.magnitude = nn.Parameter(row_norms(weight_of(base).float())) if magnitude else None
        self.dropout = nn.Dropout(dropout)

    def delta(self) -> Tensor:
        """scale · up · down, (O, I) float32."""
        return self.scale * (self.up @ self.down)


def row_norms(weight_OI: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight_OI, dim=1)


class Adapted(nn.Module):
    """A frozen linear layer and its adapters by name.

    Attributes:
        squares: ‖row‖² of the base (O,), once it was asked for.

    Args:
        wide: products of bfloat16 numbers are computed in float32, see `frozen.product_dtype`.
    """

    squares: Tensor | None

    def __init__(self, base: Base, selection: Selection, *, wide: bool = False) -> None:
        super().__init__()
        self.base, self.selection, self.wide = base, selection, wide
        self.in_features, self.out_features = base.in_features, base.out_features
        self.adapters = nn.ModuleDict()
        self.register_buffer("squares", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) → (…, O); with a choice for each row (B, …, I) → (B, …, O)."""
        choice = self.selection.current
        if isinstance(choice, tuple):
            return self._by_row(x, choice)
        adapter = self.adapter(choice)
        return self._plain(x) if adapter is None else self._adapted(x, adapter)

    def adapter(self, name: str | None) -> Adapter | None:
        """The adapter of that name, where this layer has one."""
        if name is None or name not in self.adapters:
            return None
        adapter = self.adapters[name]
        assert isinstance(adapter, Adapter)
        return adapter

    def _plain(self, x: Tensor) -> Tensor:
        return Product.apply(x, None, None, self.base, 1.0, self.wide, True) if _wants_gradient(x) else self.base(x)

    def _adapted(self, x: Tensor, adapter: Adapter) -> Tensor:
        dropped = adapter.dropout(x)
        if adapter.magnitude is None:
            if dropped is x:
                return self._sum(x, adapter, bias=True)
            return self._plain(x) + self._side(dropped, adapter)
        ratio_O = (adapter.magnitude / self._norms(adapter)).to(x.dtype)
        if dropped is x:
            y = self._sum(x, adapter, bias=False) * ratio_O
            return y if self.base.bias is None else y + self.base.bias.to(y.dtype)
        # What is dropped is dropped from the change of the base's own product, too; as `peft` does.
        changed = Product.apply(dropped, None, None, self.base, 1.0, self.wide, False)
        return self._plain(x) + (ratio_O - 1) * changed + ratio_O * self._side(dropped, adapter)

    def _sum(self, x: Tensor, adapter: Adapter, *, bias: bool) -> Tensor:
        """x · (W + scale · up · down)ᵀ, and the base's bias where `bias`."""
        if torch.is_grad_enabled():
            return Product.apply(x, adapter.down, adapter.up, self.base, adapter.scale, self.wide, bias)
        y = self.base(x) if bias or self.base.bias is None else self.base(x) - self.base.bias.to(x.dtype)
        return y + self._side(x, adapter)

    def _side(self, x: Tensor, adapter: Adapter) -> Tensor:
        """scale · x · downᵀ · upᵀ."""
        return F.linear(F.linear(x, adapter.down.to(x.dtype)), (adapter.scale * adapter.up).to(x.dtype))

    @torch.no_grad()
    def _norms(self, adapter: Adapter) -> Tensor:
        """‖row‖ of W + scale · up · down, (O,): constants in the gradient (Liu et al. 2024, section 4.3).

        ‖w‖² + 2 w·δ + ‖δ‖² with δ never written out: the products have the rank for their inner or outer width.
        """
        weight_OI = weight_of(self.base).float()
        if self.squares is None:
            self.squares = row_norms(weight_OI).square()
        down_RI, up_OR = adapter.down, adapter.scale * adapter.up
        mixed_OR = 2 * (weight_OI @ down_RI.mT) + up_OR @ (down_RI @ down_RI.mT)
        return (self.squares + (mixed_OR * up_OR).sum(1)).clamp_min_(0).sqrt_()

    def _by_row(self, x: Tensor, choice: tuple[str | None, ...]) -> Tensor:
        if x.shape[0] != len(choice):
            raise ValueError(f"{len(choice)} adapters were chosen for a batch of {x.shape[0]} rows; choose one for each row")
        y = self.base(x)
        for name in set(choice):
            if (adapter := self.adapter(name)) is not None:
                rows = [row for row, chosen in enumerate(choice) if chosen == name]
                y[rows] = self._adapted(x[rows], adapter)
        return y

    @torch.no_grad()
    def merged(self, name: str, dtype: torch.dtype) -> Linear:
        """A linear layer with the base's and the adapter's effect in one weight: computed in float32, then of type `dtype`."""
        adapter = self.adapter(name)
        assert adapter is not None
        weight_OI = weight_of(self.base).float() + adapter.delta()
        if adapter.magnitude is not None:
            weight_OI *= (adapter.magnitude / row_norms(weight_OI))[:, None]
        bias = self.base.bias
        with without_storage():
            layer = Linear(self.in_features, self.out_features, bias=bias is not None)
        layer.weight = nn.Parameter(weight_OI.to(dtype), requires_grad=False)
        layer.register_parameter("bias", bias)
        return layer


def _wants_gradient(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad
