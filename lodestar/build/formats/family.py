"""What an open family is: how its config.json says what a `ModelConfig` says, and which of its tensors is which of ours.

A family's file is a table of names and a mapping of fields, both ways, and ends with `FAMILY = Family(...)`. `families()` finds it there.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ...model.config import ModelConfig
from ...model.meta import without_storage
from ...model.transformer import Transformer

Fields = Mapping[str, Any]
"""The content of a config.json."""
Tensors = Sequence[Tensor]


@dataclass(frozen=True)
class Transform:
    """How theirs become ours, and ours theirs. Both ways must work on meta tensors, which is how shapes are checked.

    What `read` gives back stays memory-mapped where it is a contiguous view of its input.
    """

    read: Callable[[Tensors, Tensors], Tensors]
    """Theirs, and ours without storage for their shapes → ours."""
    write: Callable[[Tensors], Tensors]
    """Ours → theirs."""
    widens: bool = False
    """Ours are float32 whatever theirs are; theirs are written in the type of the model."""


def _transposed(tensors: Tensors) -> Tensors:
    """Matrices transposed; a bias stays."""
    return [tensor.mT if tensor.ndim == 2 else tensor for tensor in tensors]


def _split(theirs: Tensors, like: Tensors) -> Tensors:
    (whole,) = theirs
    return whole.split([len(part) for part in like])


SAME = Transform(lambda theirs, like: theirs, lambda ours: ours)
TRANSPOSED = Transform(lambda theirs, like: _transposed(theirs), _transposed)
"""(in, out) ↔ (out, in): GPT-2's Conv1D."""
SPLIT = Transform(_split, lambda ours: [torch.cat(list(ours))])
"""One of theirs ↔ several of ours, one after the other along the first axis: fused projections."""
TRANSPOSED_SPLIT = Transform(
    lambda theirs, like: _split(_transposed(theirs), like), lambda ours: _transposed([torch.cat(list(ours))])
)  # fmt: skip
PLUS_ONE = Transform(
    lambda theirs, like: [1 + tensor.float() for tensor in theirs], lambda ours: [tensor.float() - 1 for tensor in ours], widens=True
)  # fmt: skip
"""Gemma's norms multiply by 1 + w. In float32, since 1 + w takes away the low bits of a small w."""


@dataclass(frozen=True)
class Rule:
    """One of theirs ↔ one of ours, or several where the transform fuses or splits.

    A name is a tensor's, or a module's: then the rule holds for each tensor that our module has (`.weight`, `.bias`).
    """

    theirs: str | tuple[str, ...]
    ours: str | tuple[str, ...]
    transform: Transform = SAME

    def inside(self, theirs: str, ours: str) -> Rule:
        """The same rule with a prefix before all names of either side."""
        return Rule(
            tuple(theirs + name for name in as_tuple(self.theirs)), tuple(ours + name for name in as_tuple(self.ours)), self.transform
        )


@dataclass(frozen=True)
class Binding:
    """A rule at work: the tensors of either side by their full names."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    transform: Transform


def as_tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def inside(theirs: str, ours: str, rules: Iterable[Rule]) -> list[Rule]:
    """The rules with a prefix before all names of either side: `inside("bert.", "transformer.", rules)`."""
    return [rule.inside(theirs, ours) for rule in rules]


def layers(theirs: str, ours: str, count: int, rules: Iterable[Rule]) -> list[Rule]:
    """The rules of one layer for each of `count`: `layers("model.layers", "decoder.blocks", config.depth, rules)`."""
    table = list(rules)
    return [rule.inside(f"{theirs}.{number}.", f"{ours}.{number}.") for number in range(count) for rule in table]


def _transformer(config: ModelConfig, fields: Fields) -> nn.Module:
    return Transformer(config)


@dataclass(frozen=True)
class Family:
    """A family of open checkpoints.

    `read_config` and `write_config` may raise KeyError for a field that is missing and ValueError, with a sentence, for a choice that
    our Transformer does not have; the user is told with the file's name.
    """

    name: str
    """The `model_type` that is written to config.json."""
    architectures: tuple[str, ...]
    """The names in config.json's `architectures` that are read; the first one is written where nothing else is known."""
    read_config: Callable[[Fields], ModelConfig]
    write_config: Callable[[ModelConfig], dict[str, Any]]
    """What of config.json follows from the config, but for `model_type`; `architectures` where it follows, too."""
    tensors: Callable[[ModelConfig, Fields], Sequence[Rule]]
    """The table of names; each of our tensors stands in one rule."""
    build: Callable[[ModelConfig, Fields], nn.Module] = _transformer
    """The module that the tensors belong to; called with the meta device as default."""
    write_parts: Callable[[nn.Module, Fields], dict[str, Any] | None] = lambda module, fields: {}
    """What of config.json follows from what stands around the Transformer: a front end's shape, a head's labels. Given the module and the
    fields that it was read with, if it was; None for a module that is none of the family's.
    """
    model_types: tuple[str, ...] = ()
    """Other `model_type`s that are read as this family."""
    flat: Callable[[Fields], dict[str, Any]] = dict
    """config.json → the fields of the part that is read, where a folder holds more than our model."""
    defaults: Fields = field(default_factory=dict)
    """What the family's config.json may leave out; `read_config` and the others see the fields with these filled in."""
    prefix: str = ""
    """What stands before the names in the table and is left out in a checkpoint of the bare model (`transformer.` of GPT-2)."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Regular expressions and their replacements, for names of older checkpoints."""
    ignored: tuple[str, ...] = ()
    """Regular expressions of tensors that may be left out where the model has no place for them: they follow from the config, or belong
    to a head that it does without.
    """
    tied: Mapping[str, str] = field(default_factory=dict)
    """Tensors that a checkpoint may hold although they are another one, and which: `lm_head.weight` → the embedding's name."""

    def full(self, fields: Fields) -> dict[str, Any]:
        """The fields with the family's defaults where config.json leaves them out."""
        return {**self.defaults, **fields}

    def known_as(self, name: str) -> str:
        """The table's name for a tensor found in a checkpoint."""
        for pattern, replacement in self.renamed:
            name = re.sub(pattern, replacement, name)
        return name

    def ignores(self, name: str) -> bool:
        """Whether a tensor that the model has no place for may be left out."""
        return any(re.search(pattern, name) for pattern in (*IGNORED, *self.ignored))

    def bindings(self, config: ModelConfig, fields: Fields, ours: Iterable[str]) -> list[Binding]:
        """The table, tensor by tensor, for a model whose state has the names `ours`."""
        return bind(self.tensors(config, fields), ours)

    def module_names(self, config: ModelConfig, fields: Fields | None = None) -> dict[str, str]:
        """Our linear layers' names → theirs, for those that are one and the same; a fused one of theirs (GPT-2's `c_attn`, Phi-3's
        `qkv_proj`) is several of ours and stands in `fused_names`.
        """
        return {ours[0]: theirs[0] for theirs, ours in self._modules(config, fields) if len(theirs) == len(ours) == 1}

    def fused_names(self, config: ModelConfig, fields: Fields | None = None) -> dict[str, tuple[str, ...]]:
        """Their fused linear layers' names → the names of ours, in the order of their rows."""
        return {theirs[0]: ours for theirs, ours in self._modules(config, fields) if len(theirs) == 1 < len(ours)}

    def _modules(self, config: ModelConfig, fields: Fields | None) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        fields = self.full(fields if fields is not None else self.write_config(config))
        with without_storage():
            linear = {name for name, module in self.build(config, fields).named_modules() if isinstance(module, nn.Linear)}
        for rule in self.tensors(config, fields):
            ours = tuple(name.removesuffix(".weight") for name in as_tuple(rule.ours))
            if linear.issuperset(ours):
                yield tuple(name.removesuffix(".weight") for name in as_tuple(rule.theirs)), ours


IGNORED = (r"\.rotary_emb\.inv_freq$", r"(^|\.)position_ids$")
"""Buffers that older checkpoints of any family hold."""


def bind(rules: Iterable[Rule], names: Iterable[str]) -> list[Binding]:
    """The rules, tensor by tensor, for a model whose state has these names."""
    names = list(names)
    leaves: dict[str, list[str]] = {name: [""] for name in names}
    for name in names:
        module, dot, leaf = name.rpartition(".")
        leaves.setdefault(module, []).append(dot + leaf)
    found = [
        Binding(tuple(name + leaf for name in as_tuple(rule.theirs)), tuple(name + leaf for name in as_tuple(rule.ours)), rule.transform)
        for rule in rules
        for leaf in leaves.get(as_tuple(rule.ours)[0], ())
    ]
    covered = [name for binding in found for name in binding.ours]
    missing = set(names) - set(covered)
    assert not missing, f"no rule for {sorted(missing)[:3]}"
    assert len(covered) == len(set(covered)), "two rules for one tensor"
    assert not set(covered) - set(names), f"a rule for {sorted(set(covered) - set(names))[:3]}, which the model does not have"
    return found


@cache
def families() -> tuple[Family, ...]:
    """Every family, found by listing this folder."""
    package = import_module(__package__)
    modules = (import_module(f"{__package__}.{found.name}") for found in pkgutil.iter_modules(package.__path__))
    return tuple(module.FAMILY for module in modules if hasattr(module, "FAMILY"))
