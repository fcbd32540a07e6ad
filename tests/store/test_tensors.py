"""Safetensors files of our own writing, read by the library."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from lodestar.store.tensors import write_tensors

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {f"重量.{dtype}": (torch.randn(3, 5) * 9).to(dtype) for dtype in TYPES}
    tensors |= {
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
        "turned": torch.arange(12.0).view(3, 4).T,
        "slice": torch.arange(10.0)[::3],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    file = tmp_path / "new" / "model.safetensors"
    write_tensors(file, tensors, {"format": "pt"})
    read = load_file(file)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor.detach())
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_a_file_is_the_librarys_own_to_the_last_byte(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3.0), "a": torch.arange(5, dtype=torch.int64), "c": torch.ones(3, dtype=torch.bfloat16)}
    write_tensors(tmp_path / "one", tensors)
    assert (tmp_path / "one").read_bytes() == save(tensors)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    write_tensors(file, {"a": torch.ones(2)})
    before = file.read_bytes()
    with pytest.raises(KeyError):
        write_tensors(file, {"a": torch.ones(2, dtype=torch.complex64)})
    assert file.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights"]
