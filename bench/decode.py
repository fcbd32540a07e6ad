"""Decoding one token at a time: Lodestar beside transformers.generate, and what reading the weights allows.

A GPT-2 of 124M parameters (12 layers, width 768, vocabulary 50,257, tied) in bfloat16 with random weights, greedy, batch 1. A token's time
is that of generating 1 + N tokens less that of generating 1 from the same prompt, over N: the prompt's own pass is left out.

The read limit is the time to sum a buffer of as many bytes as the weights, and one of 1 GiB, over and over, with as many threads: by
torch where no C compiler is at hand, else by the loop that reads fastest of the two.

    python -m bench.decode [--rounds 8] [--tokens 48] [--threads 2]
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from bench.rounds import interleave, machine, ratios, spread, work
from lodestar.model import native
from lodestar.model.config import ModelConfig
from lodestar.model.generate import generate
from lodestar.model.transformer import Transformer

VOCABULARY, DEPTH, WIDTH, HEADS, CONTEXT = 50_257, 12, 768, 12, 1024
PROMPT, SEED = 32, 0
GIBIBYTE = 1 << 30
NAMES = ("ours", "ours without C", "gpt2", "read weights", "read 1 GiB")
READER = """
float read_all(const float *from, long count) {
  float sum = 0;
#pragma omp parallel for simd reduction(+ : sum) schedule(static)
  for (long i = 0; i < count; i++) sum += from[i];
  return sum;
}
"""


def config() -> ModelConfig:
    return ModelConfig(
        vocabulary_size=VOCABULARY, width=WIDTH, depth=DEPTH, heads=HEADS, context=CONTEXT,
        position="learned", norm="layer", feed_forward="gelu", bias=True,
    )  # fmt: skip


def weight_bytes() -> int:
    """What one token reads: every parameter but the positions that are not its own; the tied embedding is the output, too."""
    return 2 * (config().parameter_count() - CONTEXT * WIDTH)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    model: nn.Module = GPT2LMHeadModel(GPT2Config())
    return model


def per_token(generate_tokens: Callable[[int], object], tokens: int) -> Callable[[], float]:
    """Seconds a token, the prompt's pass left out."""

    def measure() -> float:
        begin = time.perf_counter()
        generate_tokens(1)
        middle = time.perf_counter()
        generate_tokens(1 + tokens)
        return (time.perf_counter() - middle - (middle - begin)) / tokens

    return measure


def reading(size: int) -> Callable[[], float]:
    """Seconds to read `size` bytes once, the fastest way at hand, of three readings."""
    numbers = torch.ones(size // 4)
    ways: list[Callable[[], object]] = [numbers.sum]
    compiler = shutil.which("gcc")
    if compiler is not None:
        folder = Path(tempfile.mkdtemp())
        (folder / "read.c").write_text(READER, "utf-8")
        flags = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512", "-fopenmp", "-fPIC"]
        subprocess.run([compiler, *flags, "-c", folder / "read.c", "-o", folder / "read.o"], check=True)
        subprocess.run([compiler, "-shared", folder / "read.o", "-o", folder / "read.so"], check=True)  # on torch's threads, as ours
        read_all = ctypes.CDLL(str(folder / "read.so")).read_all
        read_all.argtypes = [ctypes.c_void_p, ctypes.c_long]
        shutil.rmtree(folder)
        ways.append(lambda: read_all(numbers.data_ptr(), numbers.numel()))

    def measure() -> float:
        best = float("inf")
        for way in ways:
            begin = time.perf_counter()
            for _ in range(3):
                way()
            best = min(best, (time.perf_counter() - begin) / 3)
        return best

    return measure


def contender(name: str, tokens: int) -> Callable[[], float]:
    torch.manual_seed(SEED)
    prompt = torch.randint(0, VOCABULARY, (1, PROMPT))
    if name.startswith("read"):
        return reading(GIBIBYTE if name.endswith("GiB") else weight_bytes())
    if name == "gpt2":
        peer = gpt2().bfloat16().eval()
        mask = torch.ones_like(prompt)
        return per_token(
            lambda n: peer.generate(  # type: ignore[operator]
                prompt, attention_mask=mask, max_new_tokens=n, min_new_tokens=n, do_sample=False, pad_token_id=0
            ),
            tokens,
        )
    if name.endswith("without C"):
        native.library = lambda: None  # type: ignore[assignment]
    model = Transformer(config()).bfloat16().eval()
    return per_token(lambda n: generate(model, prompt, n), tokens)


def report(taken: dict[str, list[float]]) -> None:
    size = weight_bytes()
    print(f"\na token reads {size / 1e6:.0f} MB of weights")
    for name in ("read weights", "read 1 GiB"):
        bytes_read = GIBIBYTE if name.endswith("GiB") else size
        print(f"{name:15} {spread([bytes_read / s / 1e9 for s in taken[name]], 1)} GB/s")
    for name in ("ours", "ours without C", "gpt2"):
        shares = [
            spread([size / s / (bytes_read / limit) for s, limit in zip(taken[name], taken[read], strict=True)])
            for read, bytes_read in (("read weights", size), ("read 1 GiB", GIBIBYTE))
        ]
        against = spread(ratios(taken["gpt2"], taken[name]))
        rate = spread([1 / s for s in taken[name]], 1)
        print(f"{name:15} {rate} tokens/s; {against} × gpt2; of the limit {shares[0]} (weights), {shares[1]} (1 GiB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=NAMES)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.worker:
        work(contender(arguments.worker, arguments.tokens))
        return
    import transformers

    print(machine({"torch": torch.__version__, "transformers": transformers.__version__}, seed=SEED))
    options = ["--threads", str(arguments.threads), "--tokens", str(arguments.tokens)]
    report(interleave("bench.decode", NAMES, arguments.rounds, warm_up=2, options=options))


if __name__ == "__main__":
    main()
