"""The tower of a multimodal model: as its options say, or as another model of ours has it, whose weights it begins with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from ..contracts.errors import UserError
from ..model.config import ModelConfig, Position
from ..store.files import read_json
from .bundle import CONFIG, QUANTIZATION, TASK, WEIGHTS
from .opening import identity, is_open

ENCODER = {"image-classification": "pictures", "speech-recognition": "sounds"}
"""Tasks whose models can be a tower, and what it reads."""


def read_front_end(folder: Path, reads: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a release of another task says of its encoder: `config`, `prefix` (learnt tokens before the patches) and `identity`, as JSON.

    Args:
        reads: what the tower is to read.
        options: how files are to be read, which must be as that model was trained.

    Raises:
        UserError: there is no such model, it reads something else, or reads it otherwise.
    """
    where, fix = "options.front", "name the folder of a release of image-classification, or of speech-recognition for sounds"
    if not (folder / CONFIG).is_file() or is_open(folder):
        raise UserError(f"{folder} holds no model of Lodestar's", where=where, fix=fix)
    told, fields = read_json(folder / TASK), read_json(folder / CONFIG)
    if ENCODER.get(str(told.get("task"))) != reads:
        raise UserError(
            f"{folder} holds a model of the task {told.get('task')}, and the front end is to read {reads}", where=where, fix=fix
        )
    if QUANTIZATION in fields:
        raise UserError(
            f"the weights of {folder} are codes, which cannot be trained", where=where, fix="name the model before its weights were coded"
        )
    theirs: Mapping[str, Any] = told.get("options", {})
    for name, ours in options.items():
        found = theirs.get(name, DEFAULTS[name])
        if found != ours:
            raise UserError(
                f"{folder} was trained with {name}: {found}, and here it is {ours}", where=f"options.{name}", fix=f"set it to {found}"
            )
    return {"config": fields, "prefix": int(theirs.get("pooling") == "token"), "identity": identity(folder)}


DEFAULTS: Mapping[str, Any] = {
    "size": 32,
    "patch": 4,
    "fit": "crop",
    "stem": "convolutions",
    "positions": "grid",
    "rate": 16_000,
    "bands": 40,
}
"""Of the options of those tasks that must agree; the same as this task's own."""


def tower_config(
    decoder: ModelConfig, front: Mapping[str, Any] | None, *, depth: int, width: int | None, context: int, position: Position
) -> ModelConfig:
    """The encoder's shape: the one that it begins from, else as wide as the decoder.

    Args:
        front: from `read_front_end`.
        depth, width, position: of an encoder that begins at random; the decoder's width, and heads as wide as its, where None.
        context: positions that it sees at once.
    """
    if front is None:
        wide = width or decoder.width
        return ModelConfig(
            vocabulary_size=0, width=wide, depth=depth, heads=max(1, wide // decoder.head_size), context=context, architecture="encoder",
            position=position, qk_norm=True, feed_forward="relu2", dropout=decoder.dropout,
        )  # fmt: skip
    given = ModelConfig.from_dict(dict(front["config"]))
    if given.architecture == "encoder-decoder":
        given = dataclasses.replace(
            given, architecture="encoder", decoder_depth=None, decoder_heads=None, decoder_feed_forward_width=None, source_context=None,
            source_vocabulary_size=None,
        )  # fmt: skip
    return dataclasses.replace(given, vocabulary_size=0, context=context)


def load_front_end(encoder: nn.Module, folder: Path, expected: str) -> None:
    """Give a tower's encoder the weights of another model's.

    Args:
        expected: the identity that the folder had when the data was prepared.

    Raises:
        UserError: the folder is gone, damaged, or holds another model now.
    """
    if not (folder / CONFIG).is_file() or identity(folder) != expected:
        fix = "name a release, which does not change, and run again"
        raise UserError(f"{folder} is not the model that it was when the data was prepared", where="options.front", fix=fix)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            known = set(file.keys())
            state = {name: file.get_tensor(name) for name in encoder.state_dict() if name in known}
        encoder.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"the weights cannot be read ({error})", where=folder / WEIGHTS, fix="restore the folder") from None
