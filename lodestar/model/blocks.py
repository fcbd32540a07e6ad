"""One layer of a Transformer: attention, feed-forward, and the norms and residual sums around them.

Axes: B batch, T tokens, S source tokens, W model width, F hidden width of the feed-forward, N tokens of all rows, K experts a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import training_cpu
from .attention import Attention, Mask
from .cache import KVCache
from .conditioning import Modulation, modulate
from .config import ModelConfig
from .linear import Linear
from .norms import make_norm

Activation = Callable[[Tensor], Tensor]
Told = tuple[Tensor, Tensor, Tensor]
"""A sublayer's shift, scale and gate, (B, 1, W) each."""


class Dropout(nn.Dropout):
    """Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        if self.training and 0 < self.p < 1 and training_cpu.takes(x):
            return training_cpu.Dropout.apply(x, self.p)
        return super().forward(x)


def relu2(x: Tensor) -> Tensor:
    """relu(x)². So et al. 2021, https://arxiv.org/abs/2109.08668."""
    return training_cpu.Relu2.apply(x) if training_cpu.takes(x) else F.relu(x).square()


def quick_gelu(x: Tensor) -> Tensor:
    """x · σ(1.702 x). Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415, section 2."""
    return x * torch.sigmoid(1.702 * x)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by tanh. Hendrycks and Gimpel 2016, section 2."""
    return training_cpu.GeluTanh.apply(x) if training_cpu.takes(x) else F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu-tanh": gelu_tanh,
    "quick-gelu": quick_gelu,
    "relu": F.relu,
    "relu2": relu2,
    "silu": F.silu,
    "swiglu": F.silu,
    "geglu": F.gelu,
    "geglu-tanh": gelu_tanh,
    "reglu": F.relu,
}
"""Of each choice of `ModelConfig.feed_forward`."""


class FeedForward(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, config: ModelConfig, hidden_width: int) -> None:
        super().__init__()
        bias = config.has_bias("feed_forward")
        self.up = Linear(config.width, hidden_width, bias=bias)
        self.down = Linear(hidden_width, config.width, bias=bias)
        self.activation = ACTIVATIONS[config.feed_forward]

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(…, W) → (…, W)."""
        return self.down(self.activation(self.up(x_BTW)))


class GatedFeedForward(nn.Module):
    """down(activation(gate(x)) · up(x)). Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    def __init__(self, config: ModelConfig, hidden_width: int) -> None:
        super().__init__()
        bias = config.has_bias("feed_forward")
        self.gate = Linear(config.width, hidden_width, bias=bias)
        self.up = Linear(config.width, hidden_width, bias=bias)
        self.down = Linear(hidden_width, config.width, bias=bias)
        self.activation = ACTIVATIONS[config.feed_forward]

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(…, W) → (…, W)."""
        gate, up = self.gate(x_BTW), self.up(x_BTW)
        if self.activation is F.silu and training_cpu.takes(gate, up):
            return self.down(training_cpu.SwiGLU.apply(gate, up))
        return self.down(self.activation(gate) * up)


class MixtureOfExperts(nn.Module):
    """Σ share_e(x) · expert_e(x) over the experts that a router picks for each token.

    Shazeer et al. 2017, https://arxiv.org/abs/1701.06538; the shares are a softmax over all experts, as in Mixtral and Qwen 3.
    """

    def __init__(self, config: ModelConfig, experts: int) -> None:
        super().__init__()
        self.per_token, self.normalized = config.experts_per_token, config.experts_normalized
        self.router = Linear(config.width, experts, bias=False)
        make = GatedFeedForward if config.gated else FeedForward
        self.experts = nn.ModuleList(make(config, config.expert_hidden_width) for _ in range(experts))

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(…, W) → (…, W)."""
        x_NW = x_BTW.flatten(0, -2)
        shares_NK, picked_NK = self.router(x_NW).float().softmax(-1).topk(self.per_token, dim=-1)
        if self.normalized:
            shares_NK = shares_NK / shares_NK.sum(-1, keepdim=True)
        mixed_NW = torch.zeros_like(x_NW)
        for number in picked_NK.unique().tolist():
            rows, places = (picked_NK == number).nonzero(as_tuple=True)
            answer = self.experts[number](x_NW[rows]) * shares_NK[rows, places, None].to(x_NW.dtype)
            mixed_NW = mixed_NW.index_add(0, rows, answer.to(x_NW.dtype))
        return mixed_NW.view_as(x_BTW)


def make_feed_forward(config: ModelConfig, layer: int) -> nn.Module:
    """The feed-forward of the config's choice for a layer, counted from 0."""
    if experts := config.experts_of(layer):
        return MixtureOfExperts(config, experts)
    return GatedFeedForward(config, config.hidden_width) if config.gated else FeedForward(config, config.hidden_width)


class Block(nn.Module):
    """Self-attention, cross-attention where `cross`, and the feed-forward, each a residual step.

    pre: x + f(norm(x)) (Xiong et al. 2020). post: norm(x + f(x)) (Vaswani et al. 2017). sandwich: x + norm(f(norm(x))) (Ding et al. 2021).
    output: x + norm(f(x)) (OLMo 2, 2025). Conditioned: x + gate · f(norm(x) · (1 + scale) + shift), see `Modulation`.
    """

    def __init__(self, config: ModelConfig, layer: int, *, cross: bool) -> None:
        super().__init__()
        self.after_sum = config.norm_place == "post"

        def before() -> nn.Module:
            return nn.Identity() if config.norm_place == "output" else make_norm(config)

        def after() -> nn.Module:
            return make_norm(config) if config.norm_place in ("sandwich", "output") else nn.Identity()

        skip = config.skip_first_norm and layer == 0 and not self.after_sum
        self.attention = Attention(config)
        self.attention_norm, self.attention_output_norm = nn.Identity() if skip else before(), after()
        self.cross_attention = Attention(config) if cross else None
        self.cross_norm = before() if cross else None
        self.cross_output_norm = after() if cross else None
        self.feed_forward = make_feed_forward(config, layer)
        self.feed_forward_norm, self.feed_forward_output_norm = before(), after()
        self.modulation = Modulation(config, 9 if cross else 6) if config.conditioning == "adaptive" else None
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x_BTW: Tensor,
        mask: Mask,
        *,
        rotary: tuple[Tensor, Tensor] | None = None,
        source_BSW: Tensor | None = None,
        source_mask: Mask | None = None,
        condition_BW: Tensor | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """(B, T, W) → (B, T, W)."""
        told = self._told(condition_BW)
        x_BTW = self._residual(
            x_BTW, self.attention_norm, self.attention_output_norm,
            lambda x: self.attention(x, mask, rotary=rotary, cache=cache, layer=layer), next(told),
        )  # fmt: skip
        if self.cross_attention is not None and self.cross_norm is not None and self.cross_output_norm is not None:
            cross, seen = self.cross_attention, source_mask or Mask()
            x_BTW = self._residual(
                x_BTW, self.cross_norm, self.cross_output_norm,
                lambda x: cross(x, seen, source_BSW=source_BSW, cache=cache, layer=layer), next(told),
            )  # fmt: skip
        return self._residual(x_BTW, self.feed_forward_norm, self.feed_forward_output_norm, self.feed_forward, next(told))

    def _told(self, condition_BW: Tensor | None) -> Iterator[Told | None]:
        """For each sublayer in turn, its shift, scale and gate; None where nothing is conditioned."""
        if self.modulation is None:
            return repeat(None)
        assert condition_BW is not None, "the Transformer has looked"
        vectors = self.modulation(condition_BW)
        return zip(vectors[::3], vectors[1::3], vectors[2::3], strict=True)

    def _residual(
        self, x_BTW: Tensor, norm: nn.Module, output_norm: nn.Module, sublayer: Callable[[Tensor], Tensor], told: Told | None
    ) -> Tensor:
        if told is not None:
            shift, scale, gate = told
            return x_BTW + gate * self.dropout(sublayer(modulate(norm(x_BTW), shift, scale)))
        if self.after_sum:
            return norm(x_BTW + self.dropout(sublayer(x_BTW)))
        return x_BTW + self.dropout(output_norm(sublayer(norm(x_BTW))))
