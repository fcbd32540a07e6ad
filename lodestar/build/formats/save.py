"""A module → an open checkpoint that Hugging Face's libraries read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...contracts.errors import UserError, unknown
from ...contracts.tokenizer import SOURCE_TOKENIZER, Tokenizer
from ...model.adapted import Adapted
from ...model.config import BIASED, ModelConfig
from ...model.meta import without_storage
from ...model.quantized import QuantizedLinear
from ...store.files import atomic_folder, ensure_space, write_atomic, write_json
from ...store.tensors import write_tensors
from .family import Binding, Family, families
from .folder import CONFIG, INDEX, WEIGHTS, Origin, origin_of

SHARD_BYTES = 2_000_000_000
CHAT_TEMPLATE = "chat_template.jinja"


def save_model(
    model: nn.Module,
    folder: str | Path,
    *,
    family: str | None = None,
    tokenizer: Tokenizer | None = None,
    chat_template: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    replace: bool = False,
) -> None:
    """Write a model as a new folder in Hugging Face's layout, whole or not at all.

    A model that `load_model` read goes back as its own family, with its tokenizer, chat template and generation config beside it. Any
    other goes as the first family that can say all of its config.

    Args:
        family: its name ("llama"), in place of the one found.
        tokenizer: in place of the one that the model was read with.
        chat_template: in Jinja, in place of the one that the model was read with.
        shard_bytes: the most that one file of weights holds, but for a tensor that is larger by itself.
        replace: whether a folder that stands there gives way.

    Raises:
        UserError: no family can say the config, the model holds codes or adapters, the folder exists, or the disk is full.
    """
    folder = Path(folder)
    _check_plain(model)
    origin = origin_of(model)
    config = config_of(model)
    chosen = _choose_family(config, model, origin, family)
    if origin is not None and origin.family != chosen.name:
        origin = None
    fields = _fields(chosen, config, origin, model, tokenizer)
    kept = [] if origin is None else list(origin.kept)
    if tokenizer is not None:
        kept = [file for file in kept if not file.name.startswith("tokenizer.") and file.name != SOURCE_TOKENIZER]
    for file in kept:
        if not file.is_file():
            raise UserError("the file is gone since the model was read", where=file, fix="restore it, or give save_model a tokenizer")
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    _refuse_changed(chosen, config, chosen.full(fields), state)
    bindings = chosen.bindings(config, chosen.full(fields), state)
    ensure_space(folder, sum(tensor.nbytes for tensor in state.values()))
    with atomic_folder(folder, replace=replace) as partial:
        write_json(partial / CONFIG, fields)
        for file in kept:
            shutil.copyfile(file, partial / file.name)
        if tokenizer is not None:
            for name, content in tokenizer.files().items():
                write_atomic(partial / name, content)
        if chat_template is not None:
            write_atomic(partial / CHAT_TEMPLATE, chat_template)
        _write_weights(partial, _shards(bindings, state, shard_bytes), state, next(model.parameters()).dtype)


def _check_plain(model: nn.Module) -> None:
    """Raises: UserError: a layer is not a plain weight."""
    for module in model.modules():
        if isinstance(module, Adapted):
            raise UserError("the model has adapters beside its weights", fix="merge the one that is to stay, or save the adapter by itself")
        if isinstance(module, QuantizedLinear):
            raise UserError("the model's weights are codes, and its format holds numbers", fix="dequantize the model first")


def _refuse_changed(family: Family, config: ModelConfig, fields: dict[str, Any], state: Mapping[str, Tensor]) -> None:
    with without_storage():
        plain = family.build(config, fields).state_dict()
    if other := sorted(set(state) ^ set(plain)):
        what = f"the model is not as its config says: {other[0]!r} is {'more' if other[0] in state else 'missing'}"
        raise UserError(what, fix="merge its adapters, or give it plain weights again, before writing it")


def config_of(model: nn.Module) -> ModelConfig:
    """The config of a Transformer, or of the one inside a head."""
    config = getattr(getattr(model, "transformer", model), "config", None)
    assert isinstance(config, ModelConfig), "a model with a config, or with a transformer that has one"
    return config


def find_expressive(config: ModelConfig, model: nn.Module) -> list[Family]:
    """The families that can say all of a model and its config: reading what they write gives it back."""
    return [family for family in families() if _unsaid(family, config, model) == []]


def _unsaid(family: Family, config: ModelConfig, model: nn.Module) -> list[str] | None:
    """What of a config reads otherwise after a family has written it; None where it cannot write it at all."""
    parts = family.write_parts(model, {})
    if parts is None:
        return None
    try:
        read = _plain(family.read_config(family.full({**family.write_config(config), **parts})))
    except (KeyError, TypeError, ValueError):
        return None
    return [name for name, value in _plain(config).items() if read[name] != value]


def _plain(config: ModelConfig) -> dict[str, Any]:
    """What of a config shapes the answers: a default written out equals the default, and training's settings do not count."""
    derived = {"key_value_heads": config.kv_heads, "head_width": config.head_size, "feed_forward_width": config.hidden_width}
    training = {"dropout": 0.0, "initial_std": 0.0}
    windows = {"window": None, "layer_windows": tuple(config.window_of(layer) for layer in range(config.depth))}
    biases = {"bias": False, "biased": tuple(sorted(part for part in BIASED if config.has_bias(part)))}
    # Relative positions have no end, and the formats that have them (T5's) name no context.
    endless = {"context": 0} if config.position == "relative" else {}
    return {**config.to_dict(), **derived, **training, **windows, **biases, **endless}


def _choose_family(config: ModelConfig, model: nn.Module, origin: Origin | None, name: str | None) -> Family:
    known = {family.name: family for family in families()}
    if name is None and origin is not None:
        name = origin.family
    if name is not None:
        if name not in known:
            raise unknown("family", name, known)
        unsaid = _unsaid(known[name], config, model)
        if unsaid != []:
            what = ", ".join(unsaid) if unsaid else "config"
            fix = "train with that of its base, or name another family"
            raise UserError(f"the format of {name} cannot say the model's {what}", fix=fix)
        return known[name]
    able = find_expressive(config, model)
    if not able:
        raise UserError("no open format can say all of the model's config", fix="train a model of one of the open families' shapes")
    return able[0]


def _fields(family: Family, config: ModelConfig, origin: Origin | None, model: nn.Module, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """config.json: as it came where the model is the same, else with what has changed."""
    kind = str(next(model.parameters()).dtype).removeprefix("torch.")
    parts = family.write_parts(model, {} if origin is None else family.full(origin.fields)) or {}
    if origin is None:
        written = {**_special_ids(tokenizer), **family.write_config(config), **parts, "dtype": kind}
        return {"architectures": [family.architectures[0]], "model_type": family.name, **written}
    fields = dict(origin.fields)
    full = family.full(fields)
    if family.read_config(full) != config:
        fields |= family.write_config(config)
    fields |= {name: value for name, value in parts.items() if full.get(name) != value}
    fields["torch_dtype" if "torch_dtype" in fields else "dtype"] = kind
    return fields


def _special_ids(tokenizer: Tokenizer | None) -> dict[str, int | list[int] | None]:
    """The tokenizer's, where it names them; else none, since transformers' own defaults are ids of the family's first tokenizer."""
    known = None if tokenizer is None else tokenizer.special_ids
    if known is None:
        return {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    ends = list(known.stops) if len(known.stops) > 1 else known.end_of_text
    return {"bos_token_id": known.begin, "eos_token_id": ends, "pad_token_id": known.pad}


def _shards(bindings: list[Binding], state: Mapping[str, Tensor], limit: int) -> list[list[Binding]]:
    """The bindings in the order of their table, cut into files."""
    shards: list[list[Binding]] = [[]]
    total = 0
    for binding in bindings:
        size = sum(state[name].nbytes for name in binding.ours)
        if total and total + size > limit:
            shards.append([])
            total = 0
        shards[-1].append(binding)
        total += size
    return shards


def _write_weights(folder: Path, shards: list[list[Binding]], state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """One file, or several and their index."""
    places: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, 1):
        file = WEIGHTS if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        theirs = dict(_theirs(shard, state, dtype))
        write_tensors(folder / file, theirs, metadata={"format": "pt"})
        places |= dict.fromkeys(theirs, file)
        total += sum(tensor.nbytes for tensor in theirs.values())
    if len(shards) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})


def _theirs(bindings: list[Binding], state: Mapping[str, Tensor], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    for binding in bindings:
        made = binding.transform.write([state[name] for name in binding.ours])
        for name, tensor in zip(binding.theirs, made, strict=True):
            yield name, tensor.to(dtype) if binding.transform.widens else tensor
