"""The one place that randomness comes from: every generator is derived from a seed and a purpose.

Two purposes with the same seed get independent streams, so adding a draw to one never moves the other.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, the same on every machine and in every process."""
    key = "\x1f".join([str(seed), *map(str, purpose)]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derive_seed(seed, *purpose)))
