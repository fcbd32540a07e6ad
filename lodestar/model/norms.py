"""The norms. Each gives back the number type it is given, whatever autocast says."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from . import training_cpu
from .config import ModelConfig


class RMSNorm(nn.RMSNorm):
    """x / √(mean(x²) + ε) · weight. Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, W) → (…, W)."""
        assert self.eps is not None
        if training_cpu.takes(x):
            return training_cpu.RMSNorm.apply(x, self.weight, self.eps)
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """(x − mean) / √(variance + ε) · weight + bias. Ba et al. 2016, https://arxiv.org/abs/1607.06450."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, W) → (…, W)."""
        return super().forward(x).to(x.dtype)


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm of the config's choice, over the model width."""
    if config.norm == "rms":
        return RMSNorm(config.width, eps=config.norm_epsilon)
    return LayerNorm(config.width, eps=config.norm_epsilon, bias=config.has_bias("norm"))
