"""How long an open checkpoint takes to open, and how much memory, beside transformers.

A random checkpoint of the shape is written into a temporary folder and removed at the end. Each round opens it in fresh processes, one
after the other; importing the libraries does not count, and the files are in the disk's cache ("warm").

python -m bench.formats [--shape llama-1b] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from bench.rounds import machine, spread
from lodestar import ModelConfig, load_model, save_model
from lodestar.build.formats.folder import origin_of
from lodestar.model.transformer import meta_transformer

SHAPES = {
    # Llama 3.2 1B: 1.24 billion parameters.
    "llama-1b": (
        ModelConfig(
            128_256, 2_048, 16, 32, 131_072, key_value_heads=8, feed_forward_width=8_192, rotary_base=500_000.0, norm_epsilon=1e-5
        ),
        torch.bfloat16,
    ),
    # GPT-2 medium: 355 million, most of them in matrices that the file holds transposed.
    "gpt2-medium": (
        ModelConfig(
            50_257, 1_024, 24, 16, 1_024, position="learned", norm="layer", norm_epsilon=1e-5, bias=True, feed_forward="gelu-tanh"
        ),
        torch.float32,
    ),
}  # fmt: skip


def open_ours(folder: str) -> torch.nn.Module:
    return load_model(folder)


def open_ours_checked(folder: str) -> torch.nn.Module:
    return load_model(folder, check=True)


def open_and_hash(folder: str) -> torch.nn.Module:
    model = load_model(folder)
    origin = origin_of(model)
    assert origin is not None
    assert origin.weights_sha256
    return model


def open_theirs(folder: str) -> torch.nn.Module:
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


CONTENDERS: dict[str, Callable[[str], torch.nn.Module]] = {
    "lodestar": open_ours, "lodestar, every number looked at": open_ours_checked, "lodestar, weights hashed": open_and_hash,
    "transformers": open_theirs,
}  # fmt: skip


def memory(field: str) -> int:
    """Bytes of a field of this process: VmRSS now, VmHWM at most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(contender: str, folder: str) -> dict[str, float]:
    """In a process of its own: seconds to open and to the first logits, and the peak of memory over what it was before."""
    if contender == "transformers":
        from transformers import AutoModelForCausalLM  # noqa: F401 - imported before the clock starts
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before, begin = memory("VmRSS"), time.perf_counter()
    model = CONTENDERS[contender](folder)
    opened = time.perf_counter() - begin
    peak_open = memory("VmHWM") - before
    with torch.inference_mode():
        model(torch.zeros(1, 1, dtype=torch.long))
    return {
        "opened_s": opened, "first_logits_s": time.perf_counter() - begin, "peak_open": peak_open, "peak": memory("VmHWM") - before
    }  # fmt: skip


def write_checkpoint(shape: str, folder: Path) -> int:
    """A checkpoint of random numbers; its bytes."""
    config, dtype = SHAPES[shape]
    model = meta_transformer(config).to(dtype).to_empty(device="cpu")
    numbers = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).mul(0.02).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():  # the same numbers again and again: drawing a billion takes minutes
            for part in parameter.view(-1).split(len(numbers)):
                part.copy_(numbers[: len(part)])
    save_model(model, folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def run(contender: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.formats", "--worker", contender, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama-1b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker, options.folder)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        weight = write_checkpoint(options.shape, folder)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
        for number in range(-1, options.rounds):
            for name, found in rounds.items():
                one = run(name, folder)
                if number >= 0:  # the round before fills the disk's cache
                    found.append(one)
    versions = {name: version(name) for name in ("torch", "transformers")}
    print(f"{options.shape}: {weight / 1e9:.2f} GB of weights; {machine(versions, seed=0)}")
    for name, found in rounds.items():
        times = [spread([one[field] for one in found], 2) for field in ("opened_s", "first_logits_s")]
        peaks = [max(one[field] for one in found) / weight for field in ("peak_open", "peak")]
        print(f"{name:34} opened {times[0]} s, first logits {times[1]} s, peak {peaks[0]:.2f} opened, {peaks[1]:.2f} used, of the weights")


if __name__ == "__main__":
    main()
