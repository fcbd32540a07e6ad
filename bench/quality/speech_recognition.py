"""Spoken digits from scratch: our recogniser on the customary split, and on a speaker that it never heard, each in turn.

    python -m bench.quality.speech_recognition                                # three seeds; 45 minutes for each of the two figures
    python -m bench.quality.speech_recognition --split speakers --seeds 1 --minutes 2

Data: speech-recognition/fsdd in $LODESTAR_DATA: 2,500 recordings at 8 kHz of ten English digits, 50 of each by each of five speakers. The
customary split judges on each speaker's first five of a digit (index 0–4) and learns from the others; `speakers` judges on all of one
speaker's and learns from the other four. Of what is learnt from, a twentieth is held out, to watch the loss on; nothing is chosen on it or
on the test. Ours goes the product's way: prepare, train, measure; it spells the digits' names, and does not know that there are only ten.
The peer is the task's own baseline: the text of the training recording that sounds most alike.

Shown is the word error rate, which of single digits is the share of recordings that are not written down exactly (or more: a digit may be
heard as two words), with its bootstrap interval; in the end the mean over seeds with Student's interval.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t
from torch import nn

from bench.rounds import machine
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.error_rate import CER, WER
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.speech_recognition import SpeechRecognition
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "speech-recognition" / "fsdd" / "recordings"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
OPTIONS = {"rate": 8_000, "slowest": 0.85, "fastest": 1.15, "masks": 1, "noise": 0.3}
MODEL: dict[str, Any] = {"depth": 3, "width": 96, "heads": 3}
CONTEXT, ROWS = 256, 32
MINUTES = {"customary": 14.0, "speakers": 2.8}
Columns = Mapping[str, np.ndarray]


def recordings() -> list[tuple[Path, int, str, int]]:
    """File, digit, speaker and index of each."""
    found = []
    for path in sorted(DATA.glob("*.wav")):
        digit, speaker, index = path.stem.split("_")
        found.append((path, int(digit), speaker, int(index)))
    return found


def prepared(folder: Path, test: Callable[[str, int], bool], seed: int) -> SpeechRecognition:
    """The split that judges on the recordings that `test` names, by speaker and index, prepared in a folder."""
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for path, digit, speaker, index in recordings():
        lines["test" if test(speaker, index) else "train"].append(json.dumps({"audio": str(path), "text": NAMES[digit]}))
    for name, each in lines.items():
        (folder / f"{name}.jsonl").write_text("\n".join(each) + "\n")
    task = SpeechRecognition(OPTIONS)
    data = DataSettings(sources=["train.jsonl"], splits={"test": ["test.jsonl"]}, validation=0.05, vocabulary=300)
    prepare(task, data, folder, folder / "data", seed=seed, context=CONTEXT)
    return task


def learnt(task: SpeechRecognition, folder: Path, minutes: float, seed: int) -> tuple[Columns, dict[str, Any]]:
    """Test columns, and what the training came to."""
    tokenizer = Tokenizer.load(folder / "data")
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides=MODEL)
    config = derive(settings, task.architecture(), tokenizer.vocabulary_size).config
    plan = TrainSettings(
        batch_tokens=ROWS * CONTEXT, micro_batch_tokens=ROWS * CONTEXT, minutes=minutes, learning_rate=0.01, seed=seed, ema=0.99
    )
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "pad": tokenizer.pad}
    validation = Sequential(open_split(folder / "data", "validation"), task.batching, **shape)
    test = list(open_split(folder / "data", "test").examples(task))
    measured: list[Columns] = []

    def save(trained: nn.Module, place: Path) -> None:
        measured.append(task.measure(trained, tokenizer, test))  # the weights are the average's here alone
        save_bundle(place, Bundle(trained, config, tokenizer, task.describe()))

    loader = make_loader(open_split(folder / "data", "train"), task.batching, seed=seed, **shape)
    record = train(task, model, loader, lambda: validation, plan, folder / "train", save=save)
    frames = open_split(folder / "data", "train").all_tokens
    return measured[0], {"parameters": record.facts["parameters"], "passes": int(record.facts["tokens"]) / frames}


def one(name: str, test: Callable[[str, int], bool], minutes: float, seed: int) -> tuple[float, float]:
    """Ours' and the baseline's word error rate on a split, printed."""
    with tempfile.TemporaryDirectory() as place:
        folder, begin = Path(place), seconds()
        task = prepared(folder, test, seed)
        columns, facts = learnt(task, folder, minutes, seed)
        spent = seconds() - begin
        examples = {split: list(open_split(folder / "data", split).examples(task)) for split in ("train", "test")}
        _, peer = task.baseline(examples["train"], examples["test"])
    (wer,) = scores([WER], columns, resamples=1_000, confidence=0.95, seed=0)
    print(
        f"| {name} | {seed} | {len(examples['train']):,} | {len(examples['test']):,} | {wer.value:.2%} ({wer.low:.2%} – {wer.high:.2%}) | "
        f"{CER.compute(columns):.2%} | {WER.compute(peer):.2%} | {facts['parameters']:,} | {facts['passes']:.0f} | {spent / 60:.1f} |",
        flush=True,
    )
    return wer.value, WER.compute(peer)


def summary(name: str, rates: list[float], peer: float) -> None:
    wide = t.ppf(0.975, len(rates) - 1) * np.std(rates, ddof=1) / len(rates) ** 0.5 if len(rates) > 1 else None
    shown = f"{np.mean(rates):.2%}" if wide is None else f"{np.mean(rates):.2%} ± {wide:.2%}"
    print(f"\n{name}: word error rate {shown}, mean of {len(rates)} seeds; nearest recording {peer:.2%}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("customary", "speakers", "both"), default="both")
    parser.add_argument("--minutes", type=float, help="of each training; else as many as make three quarters of an hour in all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine({"torch": version("torch")}, seed=0), f"seeds 0 to {arguments.seeds - 1}", sep="; ")
    print("| test | seed | learnt from | judged on | WER | CER | nearest recording | parameters | passes | minutes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    found: dict[str, tuple[list[float], float]] = {}
    if arguments.split in ("customary", "both"):
        pairs = [
            one("index 0–4", lambda _, index: index < 5, arguments.minutes or MINUTES["customary"], seed) for seed in range(arguments.seeds)
        ]
        found["customary split"] = [ours for ours, _ in pairs], pairs[0][1]
    if arguments.split in ("speakers", "both"):
        known = [name for name in SPEAKERS if any(speaker == name for _, _, speaker, _ in recordings())]
        rates, peers = [], []
        for seed in range(arguments.seeds):
            minutes = arguments.minutes or MINUTES["speakers"]
            pairs = [one(name, lambda speaker, _, name=name: speaker == name, minutes, seed) for name in known]  # type: ignore[misc]
            rates.append(float(np.mean([ours for ours, _ in pairs])))
            peers.append(float(np.mean([peer for _, peer in pairs])))
        found["a speaker never heard"] = rates, peers[0]
    for name, (values, peer) in found.items():
        summary(name, values, peer)


if __name__ == "__main__":
    main()
