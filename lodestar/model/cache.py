"""The keys and values of the tokens seen so far, so that decoding computes each of them once."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ModelConfig


class KVCache:
    """Room for `length` tokens in each decoder layer; filled by `Transformer.forward(cache=...)`.

    Attributes:
        length: tokens held so far, the same in every row.
        cross: per layer, the keys and values of an encoder-decoder's source, computed at the first step.
    """

    def __init__(
        self, config: ModelConfig, batch_size: int, capacity: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        config = config.of_decoder()
        shape = (config.decoder_layers, batch_size, config.kv_heads, capacity, config.head_size)
        self.keys_LBHSD = torch.empty(shape, dtype=dtype, device=device)
        self.values_LBHSD = torch.empty(shape, dtype=dtype, device=device)
        self.cross: dict[int, tuple[Tensor, Tensor]] = {}
        self.capacity = capacity
        self.length = 0

    def extend(self, layer: int, keys_BHTD: Tensor, values_BHTD: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new tokens of one layer behind `length`; returns all keys and values so far, (B, H, length + T, D).

        `advance` moves `length` once every layer has written.
        """
        end = self.length + keys_BHTD.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, and {end} are needed; make it longer")
        self.keys_LBHSD[layer, :, :, self.length : end] = keys_BHTD
        self.values_LBHSD[layer, :, :, self.length : end] = values_BHTD
        return self.keys_LBHSD[layer, :, :, :end], self.values_LBHSD[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        self.length += tokens

    def reorder(self, rows_R: Tensor, *, cross: bool = True) -> None:
        """Row r holds what row rows_R[r] held; rows may be dropped, and repeated.

        Args:
            cross: the source's keys and values, too; no, where each row's source is the same as before.
        """
        room = self.keys_LBHSD.shape[1]
        for name in ("keys_LBHSD", "values_LBHSD"):
            held = getattr(self, name)
            moved = held[:, rows_R, :, : self.length]
            if len(rows_R) > room:
                held = held.new_empty((held.shape[0], len(rows_R), *held.shape[2:]))
            held = held[:, : len(rows_R)]
            held[:, :, :, : self.length] = moved
            setattr(self, name, held)
        if cross:
            self.cross = {layer: (keys[rows_R], values[rows_R]) for layer, (keys, values) in self.cross.items()}

    def memory_bytes(self) -> int:
        """What the self-attention's keys and values take."""
        return 2 * self.keys_LBHSD.numel() * self.keys_LBHSD.element_size()
