"""Several adapters over one model in memory: each is a model of its own to who asks, as in vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..build.adapters import load_adapter, use_adapter
from ..contracts.errors import UserError
from .engine import Work


def load_adapters(model: nn.Module, adapters: Mapping[str, Path], served: str) -> None:
    """Put adapters beside the model's weights, each by its name.

    Args:
        served: the name of the model itself, which no adapter may have.

    Raises:
        UserError: a name is taken or unfit, or a folder holds no adapter, or one for another base; the sentence names the folder.
    """
    for name, folder in adapters.items():
        if name == served:
            raise UserError(f"the model itself is called {name!r}", where="adapter", fix="give the adapter another name")
        load_adapter(model, folder, name)
    if adapters:
        model.requires_grad_(False)


def through(model: nn.Module, adapter: str | None, work: Work) -> Work:
    """The same work, each turn of it with this adapter, or with none of the model's: between the turns, others' work takes its own."""

    def steps() -> Iterator[Any]:
        with use_adapter(model, adapter):
            inner = work()
        try:
            while True:
                with use_adapter(model, adapter):
                    try:
                        event = next(inner)
                    except StopIteration:
                        return
                yield event
        finally:
            close = getattr(inner, "close", None)
            if close is not None:
                close()

    return steps
