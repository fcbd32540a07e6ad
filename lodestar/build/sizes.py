"""The one dial: a size gives width, depth, heads, batch, learning rate and token budget, and says how."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contracts.errors import UserError, unknown
from ..contracts.language import Words
from ..contracts.settings import ModelSettings
from ..model.config import ModelConfig

DEPTHS = {"tiny": 4, "small": 6, "medium": 12, "large": 20}
"""Layers of each size; everything else follows."""
HEAD_WIDTH = 64
CONTEXTS = {"tiny": 256, "small": 512, "medium": 1024, "large": 2048}

# Learning rate × width stays constant, as the update of a hidden matrix should (Yang et al. 2022, https://arxiv.org/abs/2203.03466).
# measured: 0.01 at width 128 with Muon, bench/lm_quality 2026-11; assumed to carry over to AdamW, whose step it is scaled to.
LEARNING_RATE_TIMES_WIDTH = 0.01 * 128
# Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556: about 20 tokens a parameter are best for a given amount of computation.
TOKENS_PER_PARAMETER = 20
# Muennighoff et al. 2023, https://arxiv.org/abs/2305.16264: up to four passes over the same data are nearly as good as new data.
PASSES = 4


@dataclass(frozen=True)
class Derived:
    """What the dial gave."""

    config: ModelConfig
    batch_tokens: int
    """Tokens in one optimiser step."""
    learning_rate: float
    """The peak."""
    lines: tuple[Words, ...]
    """The derivation, a line a value, for a person."""
    passes: int | None = None
    """Passes over the data that are trained on where the user names no tokens; 20 tokens a parameter where None."""


def derive(
    settings: ModelSettings, decided: Mapping[str, Any], vocabulary_size: int, source_vocabulary_size: int | None = None
) -> Derived:  # fmt: skip
    """The model and the training scale of a size.

    Args:
        settings: the size and what is set by hand.
        decided: the fields of ModelConfig that the task decides; what is set by hand wins over them.
        vocabulary_size: of the tokenizer.
        source_vocabulary_size: of what is read, where that has a tokenizer of its own.

    Raises:
        UserError: an override is no field of ModelConfig, has the wrong type, or does not fit the others.
    """
    depth = DEPTHS[settings.size]
    fields: dict[str, Any] = {"depth": depth, "context": settings.context or CONTEXTS[settings.size]}
    fields |= {"qk_norm": True, "feed_forward": "relu2", **decided}
    _check_overrides(settings.overrides)
    fields |= settings.overrides
    fields.setdefault("width", HEAD_WIDTH * int(fields["depth"]))
    fields.setdefault("heads", max(1, int(fields["width"]) // HEAD_WIDTH))
    try:
        vocabularies = {"vocabulary_size": vocabulary_size, "source_vocabulary_size": source_vocabulary_size}
        config = ModelConfig.from_dict({**vocabularies, **fields})
    except (TypeError, ValueError) as error:
        raise UserError(str(error), where="model") from None
    # Larger models want larger batches (McCandlish et al. 2018); the rule is a power of two near depth² × 64. assumed.
    batch_tokens = 1 << (64 * config.depth * config.depth).bit_length()
    learning_rate = LEARNING_RATE_TIMES_WIDTH / config.width
    lines = _explain(settings, config, batch_tokens, learning_rate)
    return Derived(config, batch_tokens, learning_rate, lines)


def token_budget(config: ModelConfig, data_tokens: int) -> tuple[int, Words]:
    """Tokens to train on where the user names none, and why: 20 a parameter, but at most four passes over the data."""
    wanted, available = TOKENS_PER_PARAMETER * config.parameter_count(), PASSES * data_tokens
    if wanted <= available:
        return wanted, Words(f"tokens {wanted:,}: 20 for each parameter", f"训练词元 {wanted:,}：每个参数 20 个")
    return available, Words(f"tokens {available:,}: {PASSES} passes over the data", f"训练词元 {available:,}：数据读 {PASSES} 遍")


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    of_tokenizer = ("vocabulary_size", "source_vocabulary_size")
    known = {field.name: str(field.type) for field in dataclasses.fields(ModelConfig) if field.name not in of_tokenizer}
    for name, value in overrides.items():
        if name not in known:
            raise unknown("field", name, known, where="model.overrides")
        kinds = [kind.strip() for kind in re.sub(r"\[.*?\]", "", known[name]).split("|")]
        right = {
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
            "bool": isinstance(value, bool),
            "None": value is None,
            "tuple": isinstance(value, list | tuple),
            "RotaryScaling": isinstance(value, Mapping),
        }
        # The named choices are strings, and ModelConfig checks which.
        if not any(right.get(kind, isinstance(value, str)) for kind in kinds):
            raise UserError(f"{name} is {value!r}", where="model.overrides", fix=f"give a value of type {known[name]}")


def _explain(settings: ModelSettings, config: ModelConfig, batch_tokens: int, learning_rate: float) -> tuple[Words, ...]:
    by_hand = ", ".join(settings.overrides)
    heads = f"{config.heads}" if config.kv_heads == config.heads else f"{config.heads} ({config.kv_heads} of keys and values)"
    lines = [
        Words(f"size {settings.size}: {config.depth} layers", f"规模 {settings.size}：{config.depth} 层"),
        Words(f"width {config.width}: {HEAD_WIDTH} for each layer", f"宽度 {config.width}：每层 {HEAD_WIDTH}"),
        Words(f"heads {heads}, each {config.head_size} wide", f"注意力头 {heads}，每头宽 {config.head_size}"),
        Words(f"context {config.context} tokens", f"上下文 {config.context} 个词元"),
        Words(f"parameters {config.parameter_count():,}", f"参数 {config.parameter_count():,} 个"),
        Words(f"batch {batch_tokens:,} tokens a step: grows with depth²", f"每步 {batch_tokens:,} 个词元：随层数平方增长"),
        Words(f"learning rate {learning_rate:.2g}: 0.01 × 128 / width", f"学习率 {learning_rate:.2g}：0.01 × 128 / 宽度"),
    ]
    if by_hand:
        lines.append(Words(f"set by hand: {by_hand}", f"手动设定：{by_hand}"))
    return tuple(lines)
