"""What happened in each step: metrics.jsonl, and the picture of the loss."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ..contracts.smoothing import smooth
from ..store.files import write_atomic


class Journal:
    """One JSON object a line, each with its `step`. A run that went back writes its steps again, below."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._file: TextIO | None = None

    def start(self, lines: int) -> None:
        """Keep the first `lines` lines, which are those of the checkpoint that the run goes on from."""
        kept = self.rows()[:lines]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.lines = len(kept)
        self._file = self.path.open("a", encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a line; it is in the file when this returns, and on the disk after `sync`."""
        assert self._file is not None, "started"
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()
        self.lines += 1

    def sync(self) -> None:
        assert self._file is not None, "started"
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def rows(self) -> list[dict[str, Any]]:
        """Every whole line."""
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text("utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break  # cut off by a kill; nothing stands after it
        return rows


def draw_loss(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A picture of the training loss (each step, faint, and smoothed), the validation loss, and the rewinds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    validation = [(row["step"], row["validation_loss"]) for row in rows if "validation_loss" in row]
    rewinds = [row["step"] for row in rows if "rewind" in row]
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # English alone: matplotlib brings no font with Chinese characters.
    if losses:
        steps, values = zip(*losses, strict=True)
        axes.plot(steps, values, color="#9db4d6", linewidth=0.8, label="training, each step")
        axes.plot(steps, smooth(values), color="#2b5a9e", linewidth=1.8, label="training, smoothed")
    if validation:
        steps, values = zip(*validation, strict=True)
        axes.plot(steps, values, color="#c8501e", marker="o", markersize=4, linewidth=1.8, label=f"validation, last {values[-1]:.3f}")
    for number, step in enumerate(rewinds):
        axes.axvline(step, color="#888888", linestyle=":", label="rewound" if number == 0 else None)
    axes.set(xlabel="step", ylabel="loss (nats)", title="Loss")
    axes.grid(alpha=0.25)
    if losses or validation:
        axes.legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomic(path, content.getvalue())
