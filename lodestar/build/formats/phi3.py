"""Phi-3 and Phi-4. Abdin et al. 2024, https://arxiv.org/abs/2404.14219, https://arxiv.org/abs/2412.08905."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import DEFAULTS, PRE_NORMS, TIED, decoder, read_decoder, write_decoder
from .family import SPLIT, Family, Fields, Rule
from .fields import longrope_attention, one_window

LAYER = (
    *PRE_NORMS,
    Rule("self_attn.qkv_proj", ("attention.query", "attention.key", "attention.value"), SPLIT),
    Rule("self_attn.o_proj", "attention.output"),
    Rule("mlp.gate_up_proj", ("feed_forward.gate", "feed_forward.up"), SPLIT),
    Rule("mlp.down_proj", "feed_forward.down"),
)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, LAYER)


def read_config(fields: Fields) -> ModelConfig:
    return read_decoder(_longrope(fields), window=fields["sliding_window"])


def _longrope(fields: Fields) -> Fields:
    """Early Phi-3 configs call longrope "su" or "yarn"."""
    scaling = fields.get("rope_scaling")
    if not scaling or "short_factor" not in scaling:
        return fields
    return {**fields, "rope_scaling": {**scaling, "type": "longrope", "rope_type": "longrope"}}


def write_config(config: ModelConfig) -> dict[str, Any]:
    fields = {**write_decoder(config), "sliding_window": one_window(config)}
    if config.head_size * config.heads == config.width:
        del fields["head_dim"]  # which Phi-3 derives
    scaling = config.rotary_scaling
    if scaling is None:
        return fields
    original = scaling.original_context
    if scaling.kind != "longrope" or original is None:
        raise ValueError(f"the format has no rotary scaling but longrope, and the model has {scaling.kind}")
    fields["original_max_position_embeddings"] = original
    if scaling.attention_factor == longrope_attention(config.context, original):
        # transformers 4 takes exactly these three, and derives the factor.
        fields["rope_scaling"] = {"type": "longrope", **{name: fields["rope_scaling"][name] for name in ("short_factor", "long_factor")}}
    return fields


FAMILY = Family(
    name="phi3",
    architectures=("Phi3ForCausalLM",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    prefix="model.",
    tied=TIED,
    defaults={**DEFAULTS, "max_position_embeddings": 4_096, "rms_norm_eps": 1e-5, "sliding_window": None},
)
