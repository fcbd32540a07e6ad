"""Which weights a model has, told by few of them."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

SAMPLED = 2_048
"""Numbers at either end of each tensor that the fingerprint is of."""


def base_fingerprint(model: nn.Module) -> str:
    """A SHA-256, in hex, of the names, the shapes and some numbers of each parameter.

    The same for the same weights, whether held in float32 or bfloat16 and however they are laid out in files; reading the sample costs
    next to nothing, even of weights that are memory-mapped. Of a model of codes it is that of the model that they were made from, which
    `quantize` leaves in the attribute `fingerprint`.
    """
    known: str | None = getattr(model, "fingerprint", None)
    if known is not None:
        return known
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(_sample(tensor))
    return digest.hexdigest()


def in_base(model: nn.Module, place: str) -> bool:
    """Whether a layer is one of those that a base has, which can be coded and adapted; not of what stands beside it and is trained whole.

    A model names what stands beside its base in the attribute `beside_base`: the beginnings of such places.
    """
    beside: tuple[str, ...] = getattr(model, "beside_base", ())
    return not place.startswith(beside)


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().flatten()
    numbers = torch.cat((flat[:SAMPLED], flat[-SAMPLED:])).to("cpu", torch.bfloat16)
    return numbers.view(torch.uint8).numpy().tobytes()
