"""Opening a checkpoint and using it takes 1.1 times its weights at most, whatever has to be done to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lodestar import ModelConfig, save_model
from lodestar.model.meta import without_storage
from lodestar.model.transformer import Transformer

WIDTH = 768
LLAMA = ModelConfig(8_000, WIDTH, 4, 8, 64, tied_embeddings=False, feed_forward_width=2_048)
GPT2 = ModelConfig(
    8_000, WIDTH, 4, 8, 64, position="learned", norm="layer", bias=True, feed_forward="gelu-tanh", norm_epsilon=1e-5
)  # fmt: skip
PROGRAM = """
import sys
from pathlib import Path
import torch
from lodestar import load_model

def memory(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024

def use(folder):
    model = load_model(folder, dtype=getattr(torch, sys.argv[3]), check=sys.argv[4] == "check")
    with torch.inference_mode():
        model(torch.arange(3)[None])
    return model

torch.set_num_threads(1)
use(sys.argv[1])  # what the libraries take once and for all
Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
before = memory("VmRSS")
model = use(sys.argv[2])
weights = sum(parameter.nbytes for parameter in model.parameters())
print((memory("VmHWM") - before) / weights)
"""


def write(folder: Path, config: ModelConfig, family: str) -> None:
    with without_storage():
        model = Transformer(config)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)
    save_model(model, folder, family=family)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a part of a process")
@pytest.mark.parametrize(
    ("config", "family", "dtype", "check"),
    [
        (LLAMA, "llama", "float32", ""),
        (LLAMA, "llama", "float32", "check"),  # every number read
        (LLAMA, "llama", "bfloat16", ""),  # every number converted
        (LLAMA, "phi3", "float32", ""),  # split
        (GPT2, "gpt2", "float32", "check"),  # transposed and split
    ],
)
def test_the_peak_of_memory(tmp_path: Path, config: ModelConfig, family: str, dtype: str, check: str) -> None:
    small = ModelConfig.from_dict({**config.to_dict(), "vocabulary_size": 16, "width": 64, "depth": 1, "feed_forward_width": 64})
    write(tmp_path / "small", small, family)
    write(tmp_path / "model", config, family)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "small"), str(tmp_path / "model"), dtype, check or "look"]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    share = float(finished.stdout)
    assert share <= 1.1
    assert share >= 0.5, "what was measured is not the loading"
