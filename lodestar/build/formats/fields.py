"""What several families write alike in config.json: activations and rotary positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...model.config import FeedForward, ModelConfig, RotaryScaling
from .family import Fields

_PLAIN: dict[str, FeedForward] = {
    "gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh", "gelu_fast": "gelu-tanh", "gelu": "gelu", "gelu_python": "gelu",
    "quick_gelu": "quick-gelu", "relu": "relu", "relu2": "relu2", "silu": "silu", "swish": "silu",
}  # fmt: skip
_GATED: dict[str, FeedForward] = {"silu": "swiglu", "gelu": "geglu", "gelu-tanh": "geglu-tanh", "relu": "reglu"}
_THEIRS = {"gelu-tanh": "gelu_new", "quick-gelu": "quick_gelu"}


def from_activation(name: str, *, gated: bool = False) -> FeedForward:
    """The feed-forward with the activation that config.json names."""
    plain = _PLAIN.get(name)
    found = _GATED.get(plain) if gated and plain else plain
    if found is None:
        raise ValueError(f"the activation {name!r} is not one that Lodestar has; use one of {', '.join(sorted(_PLAIN))}")
    return found


def to_activation(feed_forward: FeedForward) -> str:
    """The inverse of `from_activation`."""
    plain = next((plain for plain, gated in _GATED.items() if gated == feed_forward), feed_forward)
    return _THEIRS.get(plain, plain)


def only(fields: Fields, **supported: Any) -> None:
    """Refuse a field that is set to anything but the one value that our model has."""
    for name, value in supported.items():
        if fields.get(name, value) not in (value, None):
            raise ValueError(f"{name} is {fields[name]!r}, which Lodestar does not have; it reads {value!r}")


def read_rotary(fields: Fields, rope: Fields | None = None) -> dict[str, Any]:
    """`rotary_base`, `rotary_scaling`, `rotary_share` and `context` of a config.json that has `rope_parameters` (transformers 5), or
    `rope_theta` with perhaps `rope_scaling` (4).

    Args:
        rope: in place of what the fields hold under these names.
    """
    if rope is None:
        rope = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) or "default"
    share = rope.get("partial_rotary_factor", fields.get("partial_rotary_factor")) or 1.0
    found = {
        "rotary_base": float(rope.get("rope_theta") or fields.get("rope_theta") or 10_000.0),
        "rotary_share": float(share),
        "context": int(fields["max_position_embeddings"]),
    }
    if kind == "default":
        return found
    scaling = _read_scaling("longrope" if kind == "su" else kind, rope, fields)
    if kind in ("dynamic", "yarn"):
        # The limit in config.json is often that of the first training, and the scaling is there to pass it.
        assert scaling.original_context is not None
        found["context"] = max(found["context"], int(scaling.original_context * scaling.factor))
    return {**found, "rotary_scaling": scaling}


def _read_scaling(kind: str, rope: Fields, fields: Fields) -> RotaryScaling:
    longest = int(fields["max_position_embeddings"])
    original = fields.get("original_max_position_embeddings") or rope.get("original_max_position_embeddings") or longest
    factor = rope.get("factor")
    if kind == "linear":
        return RotaryScaling("linear", float(rope["factor"]))
    if kind == "dynamic":
        return RotaryScaling("dynamic", float(rope["factor"]), longest)
    if kind == "llama3":
        low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
        return RotaryScaling("llama3", float(rope["factor"]), original, low_frequency_factor=low, high_frequency_factor=high)
    if kind == "yarn":
        factor = float(factor or longest / original)
        return RotaryScaling(
            "yarn", factor, original, beta_fast=float(rope.get("beta_fast") or 32), beta_slow=float(rope.get("beta_slow") or 1),
            truncate=rope.get("truncate", True), attention_factor=_yarn_attention(rope, factor),
        )  # fmt: skip
    if kind == "longrope":
        given = rope.get("attention_factor")
        attention = longrope_attention(longest, original, factor) if given is None else float(given)
        return RotaryScaling(
            "longrope", original_context=original, attention_factor=attention,
            short_factors=tuple(map(float, rope["short_factor"])), long_factors=tuple(map(float, rope["long_factor"])),
        )  # fmt: skip
    raise ValueError(f"the rotary scaling {kind!r} is not one that Lodestar has; use linear, dynamic, yarn, longrope or llama3")


def _yarn_attention(rope: Fields, factor: float) -> float:
    """0.1 ln(factor) + 1. Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.4; DeepSeek's two numbers where they are given."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])

    def stretched(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    over, under = rope.get("mscale"), rope.get("mscale_all_dim")
    return stretched(over) / stretched(under) if over and under else stretched(1.0)


def longrope_attention(longest: int, original: int, factor: float | None = None) -> float:
    """√(1 + ln s / ln original) for s times the first training's context. Ding et al. 2024, https://arxiv.org/abs/2402.13753."""
    longer = factor or longest / original
    return 1.0 if longer <= 1 else math.sqrt(1 + math.log(longer) / math.log(original))


def write_rotary(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `read_rotary`, in both forms, so that readers of either find theirs."""
    scaling = write_scaling(config)
    share = {"partial_rotary_factor": config.rotary_share} if config.rotary_share != 1.0 else {}
    context = config.context
    if config.rotary_scaling is not None and config.rotary_scaling.kind == "dynamic":
        context = config.rotary_scaling.original_context or context
    return {
        "max_position_embeddings": context,
        "rope_theta": config.rotary_base,
        "rope_scaling": scaling or None,
        "rope_parameters": {"rope_type": "default", **scaling, "rope_theta": config.rotary_base, **share},
        **share,
    }


def write_scaling(config: ModelConfig) -> dict[str, Any]:
    """The fields of a rotary scaling; none where there is none."""
    scaling = config.rotary_scaling
    if scaling is None:
        return {}
    found: dict[str, Any] = {"rope_type": scaling.kind}
    if scaling.kind != "longrope":
        found["factor"] = scaling.factor
    if scaling.kind in ("yarn", "longrope", "llama3"):
        found["original_max_position_embeddings"] = scaling.original_context
    if scaling.kind == "llama3":
        found |= {"low_freq_factor": scaling.low_frequency_factor, "high_freq_factor": scaling.high_frequency_factor}
    if scaling.kind == "yarn":
        found |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow, "truncate": scaling.truncate}
    if scaling.kind in ("yarn", "longrope"):
        found["attention_factor"] = scaling.attention_factor
    if scaling.kind == "longrope":
        found |= {"short_factor": list(scaling.short_factors), "long_factor": list(scaling.long_factors)}
    return found


def read_windows(fields: Fields, slides: Callable[[int], bool]) -> tuple[int | None, ...] | None:
    """`layer_windows` of a config.json that has `sliding_window` and perhaps `layer_types`; None where no layer has a window.

    Args:
        slides: whether a layer, counted from 0, has the window where `layer_types` is left out.
    """
    window, kinds = fields.get("sliding_window"), fields.get("layer_types")
    if window is None:
        return None
    depth = fields["num_hidden_layers"]
    sliding = [kind == "sliding_attention" for kind in kinds] if kinds else [slides(layer) for layer in range(depth)]
    return tuple(window if one else None for one in sliding) if any(sliding) else None


def write_windows(config: ModelConfig) -> dict[str, Any]:
    """`sliding_window` and `layer_types`, the inverse of `read_windows`."""
    kinds = [config.window_of(layer) for layer in range(config.depth)]
    sizes = set(kinds) - {None}
    if len(sizes) > 1:
        raise ValueError(f"the layers' windows are of {len(sizes)} sizes, and the format has one")
    types = ["full_attention" if kind is None else "sliding_attention" for kind in kinds]
    return {"sliding_window": sizes.pop() if sizes else None, "layer_types": types}


def one_window(config: ModelConfig) -> int | None:
    """The window that all layers share, for a format that has one."""
    kinds = {config.window_of(layer) for layer in range(config.depth)}
    if len(kinds) > 1:
        raise ValueError("the layers' windows differ, and the format has one")
    return kinds.pop()
