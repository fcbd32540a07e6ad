"""One layer of a Transformer: attention, feed-forward, and the norms and residual sums around them.

Axes: B batch, T tokens, S source tokens, W model width, F hidden width of the feed-forward.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from . import training_cpu
from .attention import Attention, Mask
from .cache import KVCache
from .config import ModelConfig
from .linear import Linear
from .norms import make_norm


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)). Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.hidden_width, bias=config.bias)
        self.up = Linear(config.width, config.hidden_width, bias=config.bias)
        self.down = Linear(config.hidden_width, config.width, bias=config.bias)

    def forward(self, x_BTW: Tensor) -> Tensor:
        gate, up = self.gate(x_BTW), self.up(x_BTW)
        return self.down(training_cpu.SwiGLU.apply(gate, up) if training_cpu.takes(gate, up) else F.silu(gate) * up)


class FeedForward(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, config: ModelConfig, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.up = Linear(config.width, config.hidden_width, bias=config.bias)
        self.down = Linear(config.hidden_width, config.width, bias=config.bias)
        self.activation = activation

    def forward(self, x_BTW: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x_BTW)))


def relu2(x: Tensor) -> Tensor:
    """relu(x)². So et al. 2021, https://arxiv.org/abs/2109.08668."""
    return training_cpu.Relu2.apply(x) if training_cpu.takes(x) else F.relu(x).square()


def make_feed_forward(config: ModelConfig) -> nn.Module:
    """The feed-forward of the config's choice."""
    if config.feed_forward == "swiglu":
        return SwiGLU(config)
    return FeedForward(config, F.gelu if config.feed_forward == "gelu" else relu2)


class Block(nn.Module):
    """Self-attention, cross-attention where `cross`, and the feed-forward, each a residual step.

    Pre-norm: x + f(norm(x)) (Xiong et al. 2020). Post-norm: norm(x + f(x)) (Vaswani et al. 2017).
    """

    def __init__(self, config: ModelConfig, *, cross: bool) -> None:
        super().__init__()
        self.pre = config.norm_place == "pre"
        self.attention, self.attention_norm = Attention(config), make_norm(config)
        self.cross_attention = Attention(config) if cross else None
        self.cross_norm = make_norm(config) if cross else None
        self.feed_forward, self.feed_forward_norm = make_feed_forward(config), make_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x_BTW: Tensor,
        mask: Mask,
        *,
        rotary: tuple[Tensor, Tensor] | None = None,
        source_BSW: Tensor | None = None,
        source_mask: Mask | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """(B, T, W) → (B, T, W)."""
        x_BTW = self._residual(x_BTW, self.attention_norm, lambda x: self.attention(x, mask, rotary=rotary, cache=cache, layer=layer))
        if self.cross_attention is not None and self.cross_norm is not None:
            cross = self.cross_attention
            seen = source_mask or Mask()
            x_BTW = self._residual(x_BTW, self.cross_norm, lambda x: cross(x, seen, source_BSW=source_BSW, cache=cache, layer=layer))
        return self._residual(x_BTW, self.feed_forward_norm, self.feed_forward)

    def _residual(self, x_BTW: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre:
            return x_BTW + self.dropout(sublayer(norm(x_BTW)))
        return norm(x_BTW + self.dropout(sublayer(x_BTW)))
