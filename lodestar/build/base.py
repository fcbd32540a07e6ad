"""A model to begin from: an open checkpoint, or one of Lodestar's, to be fine-tuned whole or by an adapter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..contracts.adapter import AdapterSettings
from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.settings import ModelSettings
from ..contracts.task import Task
from ..contracts.tokenizer import Tokenizer
from ..model.config import ModelConfig
from ..model.meta import make_buffers, without_storage
from ..model.transformer import Transformer
from .adapters import add_adapter, merge, save_adapter, train_only
from .bundle import load_bundle
from .heads import SpanClassifier
from .opening import find_folder, identity, is_open, open_config, open_tokenizer
from .quantize import dequantize, quantize
from .sizes import LEARNING_RATE_TIMES_WIDTH, Derived

LONGEST_CONTEXT = 2_048
"""Of fine-tuning where the settings name none: a row of attention costs the square of it. # assumed"""
BATCH_TOKENS = 8_192
"""Tokens in one step where the settings name none. # assumed: about the 32 to 64 conversations that recipes take"""
# An adapter takes the rate at which a model of this width would be trained from nothing, the weights themselves a tenth of it: 3e-4 and
# 3e-5 at width 4096, as in Hu et al. 2021 and Touvron et al. 2023. # assumed for other widths
FULL_SHARE = 0.1
PASSES = 3
"""Over the data, where the settings name no tokens. # assumed, as usual for instructions; more are learnt by heart"""


@dataclass(frozen=True)
class Base:
    """The model to begin from, without its weights."""

    folder: Path
    config: ModelConfig
    tokenizer: Tokenizer
    identity: str


def find_base(source: str, root: Path) -> Base:
    """The base that venture.yaml names.

    Args:
        source: a folder, relative to `root`, or the id of a model on the hub.

    Raises:
        UserError: there is no such model, it is damaged, or of an unknown architecture.
    """
    beside = root / Path(source).expanduser()
    return _read(find_folder(beside if beside.exists() else source))


@lru_cache(maxsize=2)
def _read(folder: Path) -> Base:
    return Base(folder, open_config(folder), open_tokenizer(folder), identity(folder))


def derive_from(base: Base, settings: ModelSettings, decided: Mapping[str, Any], adapter: AdapterSettings | None) -> Derived:
    """The model's shape as the base has it, and the scale of its fine-tuning.

    Args:
        decided: the fields of ModelConfig that the task decides.

    Raises:
        UserError: the task needs another architecture, or the settings another shape.
    """
    config, learned = base.config, base.config.position == "learned"
    wanted = decided.get("architecture", config.architecture)
    if wanted != config.architecture:
        what = f"the task needs a model that is a {wanted}, and the base is a {config.architecture}"
        raise UserError(what, where="model.base", fix="name another base")
    if settings.overrides:
        raise UserError("a base has its shape already", where="model.overrides", fix="remove the overrides, or model.base")
    context = settings.context or (config.context if learned else min(config.context, LONGEST_CONTEXT))
    if context > config.context or (learned and context != config.context):
        what = f"context is {context}, and the base reads {'exactly' if learned else 'at most'} {config.context} tokens"
        raise UserError(what, where="model", fix=f"give {config.context}, or none")
    config = dataclasses.replace(config, context=context, dropout=float(decided.get("dropout", 0.0)))
    rate = LEARNING_RATE_TIMES_WIDTH / config.width * (1.0 if adapter is not None else FULL_SHARE)
    part, zh = ("an adapter", "适配器") if adapter is not None else ("all weights", "全部权重")
    count, reads = config.parameter_count(), base.config.context
    lines = (
        Words(f"from {base.folder}: {count:,} parameters", f"基座 {base.folder}：参数 {count:,} 个"),
        Words(f"context {context:,} tokens; the base reads {reads:,}", f"上下文 {context:,} 个词元；基座为 {reads:,}"),
        Words(f"trains {part}, learning rate {rate:.2g}", f"训练{zh}，学习率 {rate:.2g}"),
    )
    return Derived(config, max(BATCH_TOKENS, context), rate, lines, passes=PASSES)


def begin_from(base: Base, task: Task, config: ModelConfig, adapter: AdapterSettings | None) -> nn.Module:
    """The task's model with the base's weights, in float32 where they are all trained; with an adapter, it and the task's head train.

    What the task has beside the base (a classifier's head) begins at random, from torch's random state; but for the head of a base that
    finds answers already, where the task's is of the same shape.

    Raises:
        UserError: the base is damaged, or the task's model is of another kind.
    """
    dtype = None if adapter is not None else torch.float32
    loaded = _load(base, task, dtype)
    source = getattr(loaded, "transformer", loaded)
    if not isinstance(source, Transformer):
        raise UserError(
            f"the base is a {type(source).__name__}, which the task cannot begin from", where=base.folder, fix="name another base"
        )
    config = dataclasses.replace(config, tied_embeddings=source.config.tied_embeddings)
    coded = adapter is not None and adapter.base != "as-is"
    # Copies: the file is memory-mapped, and training writes. What becomes codes is not copied first.
    state = {name: value if coded else value.clone() for name, value in source.state_dict().items()}
    with without_storage():
        model = task.build(config)
    if isinstance(model, Transformer):
        model.load_state_dict(state, assign=True)
        make_buffers(model)
    else:
        model = task.build(config)
        inner = model.transformer
        assert isinstance(inner, Transformer)
        inner.load_state_dict(state)
        if isinstance(model, SpanClassifier) and isinstance(loaded, SpanClassifier) and model.shape == loaded.shape:
            model.output.load_state_dict(loaded.output.state_dict())  # the ends of an answer mean the same in every model
    if isinstance(model, Transformer) and model.output_bias is not None and config.architecture == "encoder-decoder":
        # Of BART and Marian, transformers keeps it as a buffer, which no one trains.
        model.output_bias.requires_grad_(False)
    model.origin = getattr(loaded, "origin", None)  # type: ignore[assignment]
    if adapter is not None:
        if adapter.base != "as-is":
            quantize(model, code=adapter.base)
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()
        add_adapter(model, adapter)
        train_only(model, "default")
        for name, parameter in model.named_parameters():
            # The task's head is as new as the adapter; `base` is what an adapter stands beside.
            if not isinstance(model, Transformer) and not name.startswith("transformer.") and ".base." not in name:
                parameter.requires_grad_(parameter.is_floating_point())
    return model


def merge_adapter(model: nn.Module, folder: Path) -> None:
    """Make a trained model plain, its adapter merged; and keep, of an open base, the adapter alone in `folder`, as peft reads it; but where
    the model has a tower beside its base, without which the adapter answers nothing.
    """
    if getattr(model, "origin", None) is not None and not hasattr(model, "beside_base"):
        save_adapter(model, folder, replace=True)
    merge(model, keep=False)
    if getattr(model, "quantization", None) is not None:
        dequantize(model, torch.float32)


def _load(base: Base, task: Task, dtype: torch.dtype | None) -> nn.Module:
    if is_open(base.folder):
        from .formats import load_model

        return load_model(base.folder, dtype=dtype)
    return load_bundle(base.folder, lambda _, config: task.build(config), dtype=dtype).model
