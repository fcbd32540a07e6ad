"""Lodestar: a written vision, kept all the way to a model in production.

The names below load what they need when they are first used; `import lodestar` alone loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build.formats import load_model as load_model
    from .build.formats import load_tokenizer as load_tokenizer
    from .build.formats import save_model as save_model
    from .contracts.errors import UserError as UserError
    from .contracts.task import Task as Task
    from .contracts.tokenizer import Tokenizer as Tokenizer
    from .model.cache import KVCache as KVCache
    from .model.config import ModelConfig as ModelConfig
    from .model.generate import generate as generate
    from .model.transformer import Transformer as Transformer
    from .venture.venture import Venture as Venture

_HOMES = {
    "KVCache": "model.cache",
    "ModelConfig": "model.config",
    "Task": "contracts.task",
    "Tokenizer": "contracts.tokenizer",
    "Transformer": "model.transformer",
    "UserError": "contracts.errors",
    "Venture": "venture.venture",
    "generate": "model.generate",
    "load_model": "build.formats",
    "load_tokenizer": "build.formats",
    "save_model": "build.formats",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the one list of names is the table above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
