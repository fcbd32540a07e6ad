"""mT5: T5 1.1 for 101 languages. Xue et al. 2021, https://arxiv.org/abs/2010.11934."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .family import Family, Fields
from .t5 import DEFAULTS, IGNORED, TIED, read_t5, tensors, write_t5


def read_config(fields: Fields) -> ModelConfig:
    return read_t5(fields, scaled=False)


def write_config(config: ModelConfig) -> dict[str, Any]:
    return write_t5(config, "MT5")


FAMILY = Family(
    name="mt5",
    architectures=("MT5ForConditionalGeneration", "MT5EncoderModel"),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    tied=TIED,
    ignored=IGNORED,
    defaults={
        **DEFAULTS, "vocab_size": 250112, "d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
    },
)  # fmt: skip
