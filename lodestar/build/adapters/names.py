"""Our layers in the words of the family that the model is of, which are `peft`'s words, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...contracts.errors import UserError
from ..formats.family import TRANSPOSED, TRANSPOSED_SPLIT, Family, families
from ..formats.folder import Origin
from ..formats.save import config_of, find_expressive


@dataclass(frozen=True)
class Names:
    """The linear layers of one model, both ways."""

    ours: Mapping[str, tuple[str, ...]]
    """Their layer's name → the names of ours, in the order of their rows: more than one where theirs is fused."""
    prefix: str
    """What stands before their names and is left out in a bare model."""
    transposed: bool
    """Whether they hold weights as (in, out)."""
    source: str | None
    revision: str | None

    def theirs(self, name: str) -> str | None:
        """The name of their layer by a name found in a file; None where ours has no such layer."""
        return next((found for found in (name, self.prefix + name) if found in self.ours), None)

    def short(self, adapted: set[str]) -> list[str]:
        """`adapted` as `peft`'s target_modules: the last parts of names where these mean no other layer, else whole names."""
        lasts = {name.rpartition(".")[2] for name in adapted}
        meant = {name for name in self.ours if name.rpartition(".")[2] in lasts}
        return sorted(lasts if meant == adapted else adapted)


def names_of(model: nn.Module) -> Names:
    """The names in the family that the model was read from, or in the first that can say its config.

    Raises:
        UserError: there is none.
    """
    config, origin = config_of(model), _origin(model)
    family = _family(model, origin)
    fields: Mapping[str, Any] | None = None if origin is None else origin.fields
    single = {theirs: (ours,) for ours, theirs in family.module_names(config, fields).items()}
    rules = family.tensors(config, family.full(family.write_config(config) if fields is None else fields))
    return Names(
        single | dict(family.fused_names(config, fields)), family.prefix,
        any(rule.transform in (TRANSPOSED, TRANSPOSED_SPLIT) for rule in rules),
        None if origin is None else origin.source, None if origin is None else origin.revision,
    )  # fmt: skip


def _origin(model: nn.Module) -> Origin | None:
    origin: Origin | None = getattr(model, "origin", None)
    return origin


def _family(model: nn.Module, origin: Origin | None) -> Family:
    if origin is not None:
        return next(family for family in families() if family.name == origin.family)
    able = find_expressive(config_of(model), model)
    if not able:
        raise UserError("no open format can say all of the model's config, and adapters are saved in its words", fix="merge the adapter")
    return able[0]
