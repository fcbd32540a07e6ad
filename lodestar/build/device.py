"""Where a model goes when nobody says otherwise."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU; one choice for training, measuring and serving, so that figures hold for what is served."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
