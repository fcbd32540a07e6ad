"""torch.compile around a task's loss, where it is asked for or pays."""

from __future__ import annotations

import os
import shutil
from typing import Literal

import torch

from ..contracts.errors import UserError
from ..contracts.task import Objective
from .trainer import LossFunction


def loss_function(task: Objective, wanted: Literal["auto", "yes", "no"], device: torch.device) -> LossFunction:
    """The task's loss, compiled or not. All of it is compiled, so that the cross-entropy fuses with the last product.

    `auto` compiles on a GPU alone: on a CPU it costs half a minute and gains nothing in bf16 (0.90 to 0.97 times as fast, measured).

    Raises:
        UserError: it was asked for, and there is no compiler on this machine.
    """
    if wanted == "no" or (wanted == "auto" and (device.type == "cpu" or not _can_compile(device))):
        return task.loss
    if not _can_compile(device):
        needed = "a C++ compiler" if device.type == "cpu" else "Triton and a C compiler"
        raise UserError(f"torch.compile needs {needed}, and there is none", where="train.compile", fix="install it, or choose auto")
    return torch.compile(task.loss)


def _can_compile(device: torch.device) -> bool:
    compiler = any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++"))
    if device.type == "cpu":
        return compiler
    from torch.utils._triton import has_triton

    return compiler and bool(has_triton())
