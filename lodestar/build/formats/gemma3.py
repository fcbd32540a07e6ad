"""Gemma 3, its text part. Gemma team 2025, https://arxiv.org/abs/2503.19786."""

from __future__ import annotations

from typing import Any

from ...model.config import ModelConfig
from .decoders import FEED_FORWARD, GEMMA_DEFAULTS, GEMMA_LAST_NORM, GEMMA_NORMS, SELF_ATTENTION, TIED, decoder, read_gemma, write_gemma
from .family import PLUS_ONE, Family, Fields, Rule
from .fields import read_rotary, read_windows, write_scaling

GEMMA_QK_NORMS = (
    Rule("self_attn.q_norm", "attention.query_norm", PLUS_ONE),
    Rule("self_attn.k_norm", "attention.key_norm", PLUS_ONE),
)


def tensors(config: ModelConfig, fields: Fields) -> list[Rule]:
    return decoder(config, [*GEMMA_NORMS, *SELF_ATTENTION, *GEMMA_QK_NORMS, *FEED_FORWARD], GEMMA_LAST_NORM)


def read_config(fields: Fields) -> ModelConfig:
    every = fields.get("sliding_window_pattern", fields.get("_sliding_window_pattern", 6))
    nested = fields.get("rope_parameters") or {}
    everywhere, windowed = (dict(nested.get(kind) or {}) for kind in ("full_attention", "sliding_attention"))
    everywhere |= fields.get("rope_scaling") or {}
    return read_gemma(
        fields,
        qk_norm=True,
        layer_windows=read_windows(fields, lambda layer: bool((layer + 1) % every)),
        **read_rotary(fields, {"rope_theta": fields["rope_theta"], **everywhere}),
        local_rotary_base=float(windowed.get("rope_theta") or fields["rope_local_base_freq"]),
    )


def write_config(config: ModelConfig) -> dict[str, Any]:
    scaling, local = write_scaling(config), config.local_rotary_base or config.rotary_base
    return {
        **write_gemma(config),
        "rope_scaling": scaling or None,
        "rope_local_base_freq": local,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", **scaling, "rope_theta": config.rotary_base},
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        },
    }


def text_only(fields: Fields) -> dict[str, Any]:
    """The config.json of the text part, where the folder holds a model that also sees."""
    if "text_config" not in fields:
        return dict(fields)
    ids = {name: fields[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in fields}
    return {**ids, **fields["text_config"], "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text"}


FAMILY = Family(
    name="gemma3_text",
    architectures=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    model_types=("gemma3",),
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    flat=text_only,
    prefix="model.",
    tied=TIED,
    renamed=((r"^(model\.)?language_model\.(model\.)?", "model."), (r"^model\.lm_head\.", "lm_head.")),
    ignored=(r"^(model\.)?(vision_tower|multi_modal_projector)\.",),
    defaults={
        # Google's own configs leave out what they do not change, sizes included.
        **GEMMA_DEFAULTS, "vocab_size": 262_208, "hidden_size": 2_304, "intermediate_size": 9_216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "max_position_embeddings": 131_072, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
    },
)  # fmt: skip
