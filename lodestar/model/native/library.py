"""The C beside this file: compiled once a machine where a compiler is at hand, and loaded.

It is C behind `ctypes`, not a torch extension: it compiles in seconds instead of half a minute, and needs no headers.
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .structures import AttentionShape, Matrix, Model, Step, TensorView

SOURCES = ("matrix.c", "numbers.c", "codes.c", "panels.c", "decode.c", "decode_parts.c", "attention.c", "rows.c", "loss.c", "best.c")
HEADERS = ("vectors.h", "matrix.h", "decode.h")
# No -lgomp: the parallel loops run on torch's own threads, which are loaded already. A second set would fight them for the cores.
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-fPIC", "-c")

log = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they cannot be had: not Linux, no C compiler, no place to keep them."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    try:
        built = _cache_folder() / f"native-{_fingerprint(compiler)}.so"
        if not built.exists():
            compile_to(built, compiler)
        return load(built)
    except (OSError, subprocess.SubprocessError) as error:
        # Speed is all that is lost, and the reason may be a read-only home or half a compiler: nothing the user did.
        log.info("the compiled functions are not used: %s", error)
        return None


def load(built: Path) -> ctypes.CDLL:
    """The functions of a compiled library, with the types of their arguments."""
    loaded = ctypes.CDLL(str(built))
    pointer, number, flag = ctypes.c_void_p, ctypes.c_long, ctypes.c_int
    tensor, shape = ctypes.POINTER(TensorView), ctypes.POINTER(AttentionShape)
    loaded.linear.argtypes = [ctypes.POINTER(Matrix), pointer, pointer, number, flag, flag]
    loaded.decode.argtypes = [ctypes.POINTER(Model), ctypes.POINTER(Step), flag]
    loaded.attention_forward.argtypes = [*[tensor] * 4, pointer, shape]
    loaded.attention_backward.argtypes = [*[tensor] * 5, pointer, *[tensor] * 3, shape]
    loaded.rms_norm_forward.argtypes = [pointer, pointer, ctypes.c_float, pointer, pointer, number, number, flag, flag]
    loaded.rms_norm_backward.argtypes = [*[pointer] * 6, number, number, flag, flag]
    loaded.rotate.argtypes = [tensor, tensor, pointer, pointer, number, flag, *[number] * 4, flag, flag]
    loaded.relu2.argtypes = [*[pointer] * 3, number, flag, flag]
    loaded.dropout.argtypes = [pointer, ctypes.c_uint64, ctypes.c_double, pointer, number, flag, flag]
    loaded.gelu_tanh.argtypes = [*[pointer] * 3, number, flag, flag]
    loaded.softmax_gradient.argtypes = [*[pointer] * 3, number, number, flag]
    loaded.best.argtypes = [*[pointer] * 4, *[number] * 4, flag]
    loaded.swiglu_forward.argtypes = [*[pointer] * 3, number, flag, flag]
    loaded.swiglu_backward.argtypes = [*[pointer] * 5, number, flag, flag]
    return loaded


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lodestar"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _fingerprint(compiler: str) -> str:
    """Of all that shapes the machine code, the processor's features included: a home folder may be shared by unlike machines."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    sources = [Path(__file__).with_name(name).read_text() for name in (*SOURCES, *HEADERS)]
    return hashlib.sha256("\n".join([*sources, compiler, features, *FLAGS]).encode()).hexdigest()[:16]


def compile_to(built: Path, compiler: str, flags: Sequence[str] = FLAGS) -> None:
    """All sources at once, and under a temporary name first: another process may be compiling, too."""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        sources = [str(Path(__file__).with_name(name)) for name in SOURCES]
        objects = [f"{folder}/{name}.o" for name in SOURCES]
        commands = [[compiler, *flags, source, "-o", compiled] for source, compiled in zip(sources, objects, strict=True)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        _run([compiler, "-shared", *objects, "-lm", "-o", f"{folder}/native.so"])
        os.replace(f"{folder}/native.so", built)  # noqa: PTH105 - the standard library's one atomic rename


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)
