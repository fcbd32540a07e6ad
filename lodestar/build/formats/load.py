"""An open checkpoint → a module. All that can be wrong is found from the headers, before a number is read."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...contracts.errors import UserError
from ...contracts.tokenizer import SOURCE_TOKENIZER, TOKENIZER
from ...model.config import ModelConfig
from ...model.meta import make_buffers, without_storage
from . import hub
from .family import Binding, Family, Fields, families
from .folder import CONFIG, Origin, find_kept, find_weights, read_fields, stamp
from .tensors import Stored, TensorFile, copied
from .vocabulary import check_vocabulary

SAMPLED = 4_096
"""Numbers of each tensor that are looked at for NaN and infinity."""
CHECKED = 1 << 22
"""Numbers looked at before their memory is given back, where all are."""


def load_model(
    source: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    revision: str | None = None,
    check: bool = False,
) -> nn.Module:
    """Read an open checkpoint; the module is in eval mode.

    The weights are memory-mapped: they take memory as they are used, and at most what they weigh. A few numbers of each tensor are looked
    at for NaN and infinity; the attribute `origin` of the module tells where it is from.

    Args:
        source: a folder in Hugging Face's layout, or the id of a model on the hub ("Qwen/Qwen2.5-0.5B").
        dtype: convert the weights; kept as written where None.
        revision: the branch, tag or commit on the hub; the newest where None.
        check: look at every number (about a second a gigabyte).

    Raises:
        UserError: there is no such model, its architecture is unknown, or its files do not fit it or each other.
    """
    folder, commit = hub.resolve(source, revision, accept=lambda folder: find_family(read_fields(folder), folder / CONFIG))
    fields = read_fields(folder)
    family = find_family(fields, folder / CONFIG)
    _refuse_quantised(fields, folder / CONFIG)
    found = family.flat(fields)
    fields = family.full(found)
    weights = Weights(find_weights(folder), family)
    config = read_config(family, fields, folder / CONFIG)
    bound = _Bound(family, config, fields, weights, folder)
    check_vocabulary(folder / TOKENIZER, bound.config.vocabulary_size)
    check_vocabulary(folder / SOURCE_TOKENIZER, bound.config.source_vocabulary_size or bound.config.vocabulary_size)
    weights.check_finite(bound.wanted, every=check)
    model = bound.fill(dtype, device)
    files = tuple(file.path for file in weights.files)
    model.origin = Origin(  # type: ignore[assignment]
        family.name, found, files, find_kept(folder), str(source), commit, tuple(stamp(file) or (0, 0) for file in files)
    )  # fmt: skip
    return model.eval()


def find_family(fields: Fields, where: Path) -> Family:
    """The family of a config.json.

    Raises:
        UserError: it is none that is known; the sentence has the nearest and all.
    """
    named = fields.get("architectures") or ()
    by_architecture = {name: family for family in families() for name in family.architectures}
    for name in named:
        if name in by_architecture:
            return by_architecture[name]
    kind = fields.get("model_type")
    if not named:
        for family in families():
            if kind in (family.name, *family.model_types):
                return family
    asked = str(named[0] if named else kind)
    nearest = difflib.get_close_matches(asked, by_architecture, n=1, cutoff=0.0)[0]
    fix = f"the nearest known one is {nearest}, and all are {', '.join(sorted(by_architecture))}"
    raise UserError(f"the architecture {asked!r} is unknown", where=where, fix=fix)


def _refuse_quantised(fields: Fields, where: Path) -> None:
    scheme = fields.get("quantization_config")
    if isinstance(scheme, Mapping):
        how = scheme.get("quant_method", "in some way")
        fix = "take the checkpoint that it was made from, and quantise that with `lodestar quantize`"
        raise UserError(f"the weights are quantised ({how}), and only plain ones are read", where=where, fix=fix)


def read_config(family: Family, fields: Fields, where: Path) -> ModelConfig:
    """The config that a family's config.json (with the defaults filled in) stands for."""
    try:
        return family.read_config(fields)
    except KeyError as error:
        raise UserError(f"the field {error.args[0]!r} is missing", where=where, fix="restore the file") from None
    except (TypeError, ValueError) as error:
        raise UserError(str(error), where=where) from None


class Weights:
    """The tensors of a checkpoint, by the names of its family's table."""

    def __init__(self, paths: Iterable[Path], family: Family) -> None:
        self.files = [TensorFile(path) for path in paths]
        self._places: dict[str, tuple[TensorFile, str]] = {}
        for file in self.files:
            for stored in file.stored:
                name = family.known_as(stored)
                if name in self._places:
                    raise UserError(f"{name!r} stands in {self._places[name][0].path.name}, too", where=file.path, fix="remove one of them")
                self._places[name] = file, stored

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def names(self) -> set[str]:
        return set(self._places)

    def rename(self, old: str, new: str) -> None:
        self._places[new] = self._places.pop(old)

    def drop(self, name: str) -> None:
        del self._places[name]

    def stored(self, name: str) -> Stored:
        file, stored = self._places[name]
        return file.stored[stored]

    def tensor(self, name: str) -> Tensor:
        """A view of the mapped file."""
        file, stored = self._places[name]
        return file.tensor(stored)

    def release(self, names: Iterable[str]) -> None:
        """Give back the memory of these tensors' pages, which nobody has changed."""
        for name in names:
            file, stored = self._places[name]
            file.release(stored)

    def equal(self, one: str, other: str) -> bool:
        """Whether two tensors are one and the same."""
        same = torch.equal(self.tensor(one), self.tensor(other)) if self.stored(one).shape == self.stored(other).shape else False
        self.release((one, other))
        return same

    def check_finite(self, names: Iterable[str], *, every: bool) -> None:
        """Look at some numbers of each tensor, or at every one, for NaN and infinity.

        Raises:
            UserError: there is one; the sentence names the tensor.
        """
        for name in sorted(names):
            tensor = self.tensor(name)
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            flat = tensor.flatten()
            for part in flat.split(CHECKED) if every else (flat[:SAMPLED], flat[-SAMPLED:]):
                if not _finite(part):
                    where = self._places[name][0].path
                    raise UserError(f"{name!r} holds NaN or infinity", where=where, fix="download or train the model again")
                if every:
                    self.release((name,))


class _Bound:
    """A module without storage, and which of the checkpoint's tensors is which of its own."""

    def __init__(self, family: Family, config: ModelConfig, fields: dict[str, Any], weights: Weights, folder: Path) -> None:
        self.weights = weights
        bindings = self._bind(family, config, fields)
        if family.prefix and not any(name.startswith(family.prefix) for name in weights.names):
            for name in {name for binding in bindings for name in binding.theirs if name.startswith(family.prefix)}:
                if (bare := name.removeprefix(family.prefix)) in weights:
                    weights.rename(bare, name)
        untied = self._resolve_ties(family.tied, bindings)
        if untied and config.tied_embeddings:
            # The config is wrong, as transformers takes it, too.
            bindings = self._bind(family, dataclasses.replace(config, tied_embeddings=False), {**fields, "tie_word_embeddings": False})
        self.bindings = bindings
        self.wanted = [name for binding in bindings for name in binding.theirs]
        self._check_names(family, folder)
        self._check_shapes(folder)

    def _bind(self, family: Family, config: ModelConfig, fields: Fields) -> list[Binding]:
        self.config = config
        with without_storage():
            self.module = family.build(config, fields)
        self.like = self.module.state_dict()
        return family.bindings(config, fields, self.like)

    def _resolve_ties(self, tied: Mapping[str, str], bindings: list[Binding]) -> bool:
        """Take away the copies of tied tensors; whether one differs from what it should be a copy of."""
        wanted = {name for binding in bindings for name in binding.theirs}
        for copy, kept in tied.items():
            if copy not in self.weights or copy in wanted:
                continue
            if kept not in self.weights:
                self.weights.rename(copy, kept)
            elif self.weights.equal(copy, kept):
                self.weights.drop(copy)
            else:
                return True
        return False

    def _check_names(self, family: Family, folder: Path) -> None:
        wanted = set(self.wanted)
        unknown = {name for name in self.weights.names - wanted if not family.ignores(name)}
        for names, what, fix in (
            (wanted - self.weights.names, "missing", "download or save the model again"),
            (unknown, "unknown to its config", "the weights and config.json are of different models, or the model has "
             "parts that Lodestar does not have"),
        ):  # fmt: skip
            if names:
                first = ", ".join(repr(name) for name in sorted(names)[:3])
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                verb = "is" if len(names) == 1 else "are"
                raise UserError(f"{first}{more} {verb} {what}", where=folder, fix=fix)

    def _check_shapes(self, folder: Path) -> None:
        wrong = []
        for binding in self.bindings:
            for name, expected in zip(binding.theirs, binding.transform.write([self.like[name] for name in binding.ours]), strict=True):
                found = self.weights.stored(name).shape
                if found != tuple(expected.shape):
                    wrong.append(f"{name!r} has the shape {list(found)}, and config.json says {list(expected.shape)}")
        if wrong:
            more = f", and {len(wrong) - 3} more tensors differ" if len(wrong) > 3 else ""
            raise UserError("; ".join(wrong[:3]) + more, where=folder, fix="the weights and config.json are of different models")

    def fill(self, dtype: torch.dtype | None, device: torch.device | str) -> nn.Module:
        """The module with its weights."""
        state = {name: value for binding in self.bindings for name, value in self._read(binding, dtype, device)}
        self.module.load_state_dict(state, assign=True)
        make_buffers(self.module, device)
        return self.module

    def _read(self, binding: Binding, dtype: torch.dtype | None, device: torch.device | str) -> Iterable[tuple[str, Tensor]]:
        theirs = [self.weights.tensor(name) for name in binding.theirs]
        mapped = {tensor.untyped_storage().data_ptr() for tensor in theirs}
        ours = binding.transform.read(theirs, [self.like[name] for name in binding.ours])
        for name, tensor in zip(binding.ours, ours, strict=True):
            wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            here = torch.device(device).type == "cpu" and tensor.dtype == wanted and tensor.is_contiguous()
            if here and tensor.untyped_storage().data_ptr() in mapped:
                yield name, tensor
            elif here:
                yield name, tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
            else:
                yield name, copied(tensor, wanted, device, lambda: self.weights.release(binding.theirs))


def _finite(numbers: Tensor) -> bool:
    """Whether none is NaN or infinity: of numbers with a NaN among them, the smallest and the largest are NaN."""
    numbers = numbers.float() if numbers.element_size() == 1 else numbers
    return bool(torch.isfinite(torch.stack(torch.aminmax(numbers))).all())
