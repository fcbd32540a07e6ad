"""Adapters: what is trained beside the frozen weights of a model, kept apart from it, chosen by request, and merged when it is final."""

from __future__ import annotations

from .attach import Adapters as Adapters
from .attach import adapted_layers as adapted_layers
from .attach import add_adapter as add_adapter
from .attach import remove_adapters as remove_adapters
from .attach import train_only as train_only
from .attach import use_adapter as use_adapter
from .files import load_adapter as load_adapter
from .files import save_adapter as save_adapter
from .merge import merge as merge
from .merge import unmerge as unmerge
