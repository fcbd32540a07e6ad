"""Gemma 2. Gemma team 2024, https://arxiv.org/abs/2408.00118."""

from __future__ import annotations

from ...model.config import ModelConfig
from .decoders import FEED_FORWARD, GEMMA_DEFAULTS, GEMMA_LAST_NORM, GEMMA_NORMS, SELF_ATTENTION, TIED, decoder, read_gemma, write_gemma
from .family import Family, Fields, Rule
from .fields import read_windows


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*GEMMA_NORMS, *SELF_ATTENTION, *FEED_FORWARD], GEMMA_LAST_NORM)


def read_config(fields: Fields) -> ModelConfig:
    return read_gemma(fields, layer_windows=read_windows(fields, lambda layer: layer % 2 == 0))


FAMILY = Family(
    name="gemma2",
    architectures=("Gemma2ForCausalLM",),
    read_config=read_config,
    write_config=write_gemma,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**GEMMA_DEFAULTS, "max_position_embeddings": 8_192, "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
)
