"""llama.cpp's architectures: which config each can say, and how it names what the config says and the tensors.

https://github.com/ggml-org/llama.cpp/blob/master/src/llama-model.cpp and src/models/. An architecture is chosen by the config, not by
the family that a model came from: what has Llama's shape is written as `llama`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.config import BIASED, ModelConfig, RotaryScaling
from .container import Value

_ANY = object()
"""Whatever the config says here, the architecture can say, too."""
_PLAIN: dict[str, Any] = {
    "architecture": "decoder", "position": "rotary", "position_offset": 0, "rotary_share": 1.0, "local_rotary_base": None, "norm": "rms",
    "norm_place": "pre", "embedding_norm": False, "skip_first_norm": False, "feed_forward": "swiglu", "qk_norm": False,
    "token_types": 0, "scaled_embeddings": False, "output_scale": 1.0, "output_bias": False, "attention_cap": None, "logit_cap": None,
    "experts_normalized": True, "dense_layers": (),
}  # fmt: skip
"""Llama's choices."""

_PROJECTIONS = {
    "attn_q": ("attention.query",), "attn_k": ("attention.key",), "attn_v": ("attention.value",), "attn_output": ("attention.output",),
}  # fmt: skip
_NORMS = {
    "attn_norm": ("attention_norm",), "attn_q_norm": ("attention.query_norm",), "attn_k_norm": ("attention.key_norm",),
    "post_attention_norm": ("attention_output_norm",), "ffn_norm": ("feed_forward_norm",), "post_ffw_norm": ("feed_forward_output_norm",),
}  # fmt: skip
_FEED_FORWARD = {"ffn_gate": ("feed_forward.gate",), "ffn_up": ("feed_forward.up",), "ffn_down": ("feed_forward.down",)}
_FUSED_ATTENTION = {"attn_qkv": ("attention.query", "attention.key", "attention.value"), "attn_output": ("attention.output",)}
_FUSED_FEED_FORWARD = {"ffn_up": ("feed_forward.gate", "feed_forward.up"), "ffn_down": ("feed_forward.down",)}


@dataclass(frozen=True)
class GGUFArchitecture:
    """One of llama.cpp's."""

    name: str
    choices: Mapping[str, Any]
    """What fields of the config must be, where they are not as in `_PLAIN`."""
    needs: frozenset[str] = frozenset()
    """The biases that it has."""
    allows: frozenset[str] = frozenset()
    """Those that it may have."""
    layer: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {**_NORMS, **_PROJECTIONS, **_FEED_FORWARD})
    """Its modules of a layer, and which of ours each is; several are stacked."""
    interleaved: bool = False
    """Rotary positions turn neighbours, (x_0, x_1), not halves, (x_0, x_{d/2}): queries and keys are written in that order."""
    scalings: tuple[str, ...] = ("linear", "yarn")
    experts: bool | None = False
    """Whether it has them; None: both ways."""
    windows: int = 0
    """Of so many layers, one after the other, all but the last have the window; 0 where it has no windows."""


ARCHITECTURES = (
    GGUFArchitecture(
        "gpt2", {"position": "learned", "norm": "layer", "feed_forward": "gelu-tanh"}, needs=frozenset(BIASED), scalings=(),
        layer={**_NORMS, **_FUSED_ATTENTION, **_FEED_FORWARD},
    ),
    GGUFArchitecture("qwen2", {}, needs=frozenset(("query", "key", "value"))),
    GGUFArchitecture(
        "llama", {}, allows=frozenset(("query", "key", "value", "output", "feed_forward")), interleaved=True,
        scalings=("linear", "yarn", "llama3"), experts=None,
    ),
    GGUFArchitecture("qwen3", {"qk_norm": True, "qk_norm_over": "head"}),
    GGUFArchitecture("qwen3moe", {"qk_norm": True, "qk_norm_over": "head"}, experts=True),
    GGUFArchitecture("olmo2", {"norm_place": "output", "qk_norm": True, "qk_norm_over": "all"}),
    GGUFArchitecture(
        "gemma2",
        {"norm_place": "sandwich", "feed_forward": "geglu-tanh", "scaled_embeddings": True, "attention_cap": _ANY, "logit_cap": _ANY,
         "tied_embeddings": True},
        scalings=("linear",), windows=2,
    ),
    GGUFArchitecture(
        "gemma3",
        {"norm_place": "sandwich", "feed_forward": "geglu-tanh", "scaled_embeddings": True, "qk_norm": True, "qk_norm_over": "head",
         "local_rotary_base": _ANY},
        scalings=("linear",), windows=6,
    ),
    GGUFArchitecture(
        "phi3", {"rotary_share": _ANY}, scalings=("longrope",), layer={**_NORMS, **_FUSED_ATTENTION, **_FUSED_FEED_FORWARD},
    ),
)  # fmt: skip
"""In the order in which they are tried."""


def choose(config: ModelConfig) -> GGUFArchitecture:
    """The first architecture that can say all of a config.

    Raises:
        ValueError: none can; the sentence tells what the nearest one lacks.
    """
    lacking = {architecture.name: differences(config, architecture) for architecture in ARCHITECTURES}
    for architecture in ARCHITECTURES:
        if not lacking[architecture.name]:
            return architecture
    name = min(lacking, key=lambda name: len(lacking[name]))
    raise ValueError(f"llama.cpp has no architecture for the model's shape: in {name}, the nearest, {'; '.join(lacking[name])}")


def differences(config: ModelConfig, architecture: GGUFArchitecture) -> list[str]:
    """What of a config an architecture cannot say, each as words."""
    wanted = {**_PLAIN, **architecture.choices}
    if not config.qk_norm:
        wanted.pop("qk_norm_over", None)
    found = [
        f"{name} is {value!r}, and the model's is {getattr(config, name)!r}"
        for name, value in wanted.items()
        if value is not _ANY and getattr(config, name) != value
    ]
    biases = frozenset(part for part in BIASED if config.has_bias(part) and not (part == "norm" and config.norm == "rms"))
    if not architecture.needs <= biases <= architecture.needs | architecture.allows:
        found.append(f"biases are not those of the model ({', '.join(sorted(biases)) or 'none'})")
    if (architecture.experts is not None and architecture.experts != bool(config.experts)) or (config.experts and "feed_forward" in biases):
        found.append("there are no experts like the model's" if config.experts else "there are experts, and the model has none")
    return [*found, *_scaling_differences(config.rotary_scaling, architecture), *_attention_differences(config, architecture)]


def _scaling_differences(scaling: RotaryScaling | None, architecture: GGUFArchitecture) -> list[str]:
    if scaling is None:
        return []
    if scaling.kind not in architecture.scalings:
        return [f"there is no rotary scaling {scaling.kind}"]
    if scaling.kind == "yarn" and (
        not math.isclose(scaling.attention_factor, 0.1 * math.log(scaling.factor) + 1.0, rel_tol=1e-6)
        or (scaling.beta_fast, scaling.beta_slow, scaling.truncate) != (32.0, 1.0, True)
    ):
        return ["yarn has no settings but its usual ones"]
    return []


def _attention_differences(config: ModelConfig, architecture: GGUFArchitecture) -> list[str]:
    found = []
    scale = config.attention_scale
    if scale is not None and not math.isclose(scale, config.head_size**-0.5, rel_tol=1e-6):
        found.append(f"attention_scale is 1/√{config.head_size}, and the model's is {scale:.6g}")
    windows = [config.window_of(layer) for layer in range(config.depth)]
    if architecture.windows and any(window is not None and window < config.context for window in windows):
        each = architecture.windows
        window = next(window for window in windows if window is not None)
        if windows != [window if layer % each < each - 1 else None for layer in range(config.depth)]:
            found.append(f"all but every {each}th layer have the one window, and the model's are others")
    return found


def usable_context(config: ModelConfig, architecture: GGUFArchitecture) -> int:
    """The context within which llama.cpp's answers are the model's: where it has no windows, the smallest of them."""
    windows = () if architecture.windows else (config.window_of(layer) for layer in range(config.depth))
    return min((config.context, *(window for window in windows if window is not None)))


def describe(config: ModelConfig, architecture: GGUFArchitecture) -> dict[str, Value]:
    """The config in the architecture's words."""
    epsilon = "layer_norm_rms_epsilon" if config.norm == "rms" else "layer_norm_epsilon"
    fields: dict[str, Value] = {
        "vocab_size": config.vocabulary_size,
        "context_length": usable_context(config, architecture),
        "embedding_length": config.width,
        "block_count": config.depth,
        "feed_forward_length": config.expert_hidden_width if config.experts else config.hidden_width,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_size,
        "attention.value_length": config.head_size,
        f"attention.{epsilon}": config.norm_epsilon,
    }
    if config.experts:
        fields |= {
            "expert_count": config.experts,
            "expert_used_count": config.experts_per_token,
            "expert_feed_forward_length": config.expert_hidden_width,
        }
    if architecture.windows:
        windows = [window for layer in range(config.depth) if (window := config.window_of(layer)) is not None]
        fields["attention.sliding_window"] = windows[0] if windows else config.context
    if config.attention_cap is not None:
        fields["attn_logit_softcapping"] = float(config.attention_cap)
    if config.logit_cap is not None:
        fields["final_logit_softcapping"] = float(config.logit_cap)
    if config.position == "rotary":
        fields |= _rotary(config)
    return {f"{architecture.name}.{key}": value for key, value in fields.items()}


def _rotary(config: ModelConfig) -> dict[str, Value]:
    fields: dict[str, Value] = {"rope.dimension_count": config.rotary_width, "rope.freq_base": float(config.rotary_base)}
    if config.local_rotary_base is not None:
        fields["rope.freq_base_swa"] = float(config.local_rotary_base)
    scaling = config.rotary_scaling
    if scaling is None or scaling.kind == "llama3":  # which is a tensor of factors
        return fields
    fields["rope.scaling.type"] = scaling.kind
    if scaling.kind in ("linear", "yarn"):
        fields["rope.scaling.factor"] = float(scaling.factor)
    if scaling.kind in ("yarn", "longrope"):
        assert scaling.original_context is not None
        fields["rope.scaling.original_context_length"] = scaling.original_context
    if scaling.kind == "longrope":
        fields["rope.scaling.attn_factor"] = float(scaling.attention_factor)
    return fields
