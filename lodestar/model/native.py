"""The C beside this file, compiled once a machine where a compiler is at hand; everything works without it, only slower.

It is C behind `ctypes`, not a torch extension: it compiles in half a second instead of half a minute, and needs no headers.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("native.c")
# No -lgomp: the parallel loops run on torch's own threads, which are loaded already. A second set would fight them for the cores.
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-fPIC", "-c")
MOST_ROWS = 4
"""Above so many rows of input, oneDNN's product is as fast (measured: bench/decode 2026-11)."""

log = logging.getLogger(__name__)


def linear_bf16(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """x · weightᵀ + bias: (…, I), (O, I), (O) → (…, O), for a few rows of `x`. All bfloat16 on the CPU; autograd does not see it.

    None where this machine has no compiled library, I is not a multiple of 32, or a tensor is not contiguous: take another way.
    """
    loaded = library()
    rows, columns = weight.shape
    if loaded is None or columns % 32 or not (x.is_contiguous() and weight.is_contiguous()):
        return None
    y = x.new_empty(*x.shape[:-1], rows)
    offsets = None if bias is None else bias.data_ptr()
    if loaded.linear_bf16(
        x.data_ptr(), weight.data_ptr(), offsets, y.data_ptr(), x.numel() // columns, columns, rows, torch.get_num_threads()
    ):
        raise MemoryError("no memory for the input of a matrix product")
    return y


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they cannot be had: not Linux, no C compiler, no place to keep them."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    try:
        built = _cache_folder() / f"native-{_fingerprint(compiler)}.so"
        if not built.exists():
            _compile(compiler, built)
        loaded = ctypes.CDLL(str(built))
    except (OSError, subprocess.SubprocessError) as error:
        # Speed is all that is lost, and the reason may be a read-only home or half a compiler: nothing the user did.
        log.info("the compiled matrix products are not used: %s", error)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_long
    loaded.linear_bf16.argtypes = [pointer, pointer, pointer, pointer, number, number, number, ctypes.c_int]
    return loaded


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lodestar"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _fingerprint(compiler: str) -> str:
    """Of all that shapes the machine code, the processor's features included: a home folder may be shared by unlike machines."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256("\n".join([SOURCE.read_text(), compiler, features, *FLAGS]).encode()).hexdigest()[:16]


def _compile(compiler: str, built: Path) -> None:
    """Under a temporary name first: another process may be compiling, too."""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        compiled, linked = f"{folder}/native.o", f"{folder}/native.so"
        for command in ([compiler, *FLAGS, str(SOURCE), "-o", compiled], [compiler, "-shared", compiled, "-o", linked]):
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        os.replace(linked, built)  # noqa: PTH105 - the standard library's one atomic rename
