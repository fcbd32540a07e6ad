"""Peak memory and throughput of `prepare` on one large text file: the figure to hold is a peak under 1 GB on 1 GB of text.

    python -m bench.prepare [--gigabytes 1.0]

The file is made up in a temporary folder: words in Zipf's proportions, English-like and Chinese, a paragraph to a line. The step runs
in a process of its own, so that the peak is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import generator

LIMIT_BYTES = 1_000_000_000

STEP = """
import json, sys
from pathlib import Path
from lodestar.contracts.settings import DataSettings
from lodestar.prepare import prepare
from lodestar.tasks import find

root = Path(sys.argv[1])
record = prepare(find("text-generation")(), DataSettings(sources=["corpus.txt"]), root, root / "prepared")
print(record.model_dump_json())
"""


def write_corpus(path: Path, size: int, chinese: float = 0.2) -> None:
    """Write `size` bytes of made-up text, a share of it Chinese."""
    draw = generator(0, "corpus")
    syllables = ["ba", "con", "der", "es", "fi", "gen", "ha", "in", "ka", "lo", "mar", "ne", "or", "qui", "re", "sta", "ter", "un"]
    english = ["".join(draw.choice(syllables, draw.integers(1, 5))) for _ in range(200_000)]
    hanzi = ["".join(chr(0x4E00 + int(point)) for point in draw.zipf(1.3, draw.integers(1, 4)) % 3500) for _ in range(20_000)]
    written = 0
    with path.open("wb") as file:
        while written < size:
            for words, gap, share in ((english, " ", 1 - chinese), (hanzi, "", chinese)):
                # Zipf's law with exponent 1 over a finite vocabulary: the logarithm of the rank is uniform.
                ranks = np.exp(draw.random(int(600_000 * share)) * np.log(len(words))).astype(int) - 1
                lines = (gap.join(words[rank] for rank in part) for part in np.array_split(ranks, len(ranks) // 80))
                written += file.write(("\n".join(lines) + "\n\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    size = int(parser.parse_args().gigabytes * 1e9)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_corpus(root / "corpus.txt", size)
        started = seconds()
        done = subprocess.run([sys.executable, "-c", STEP, str(root)], check=True, stdout=subprocess.PIPE, text=True)
        elapsed = seconds() - started
        record = json.loads(done.stdout)
        disk = sum(file.stat().st_size for file in (root / "prepared").rglob("*") if file.is_file())
    peak = record["cost"]["peak_memory_bytes"]
    tokens = sum(split["tokens"] for split in record["facts"]["splits"].values())
    print(f"machine    {platform.machine()}, {os.cpu_count()} cores, {platform.platform()}")
    print("versions   " + ", ".join(f"{name} {version}" for name, version in record["versions"].items() if name != "platform"))
    print(f"text       {size / 1e9:.2f} GB -> {tokens:,} tokens, {disk / 1e9:.2f} GB on disk")
    cpu = record["cost"]["cpu_seconds"]
    print(f"time       {elapsed:.0f} s, {size / 1e6 / elapsed:.1f} MB/s; {cpu:.0f} s of processor time, {size / 1e6 / cpu:.1f} MB/s a core")
    print(f"peak RSS   {peak / 1e6:.0f} MB, {peak / LIMIT_BYTES:.2f} of the limit of 1 GB: {'kept' if peak < LIMIT_BYTES else 'BROKEN'}")


if __name__ == "__main__":
    main()
