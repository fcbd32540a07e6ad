"""The memory of tensors, counted as they come and go."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Inside, counts every tensor that an operation returns, until it is freed.

    What the C library or torch's allocator on a GPU holds would say less: they keep some of what is freed. What compiled functions of ours
    need for a moment is not seen; it is some kilobytes a thread.

    Attributes:
        history: the bytes of the tensors that were alive after each operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: list[int] = []
        self._bytes = 0
        self._seen: set[int] = set()

    def add(self, tensor: Tensor) -> None:
        """Count a tensor that may have been there before; views of one storage count once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._seen:
            self._seen.add(key)
            self._bytes += size
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._bytes -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self.add(value)
        self.history.append(self._bytes)
        return out
