"""Questions about drawn scenes: our model, the same model blind to the picture, and the most common answer, in the same run.

    python -m bench.quality.multimodal                              # scenes, three seeds of 14 minutes, each twice: seeing and blind
    python -m bench.quality.multimodal --minutes 2 --seeds 1
    python -m bench.quality.multimodal --reads sounds

Data: scenes that the project draws (prepare/scenes.py), or tunes that it plays (prepare/tunes.py): four coloured shapes at most, or four
notes; questions in English and Chinese with exact answers. What is judged on has a pair of shape and colour (or instrument and height)
that no scene or tune to learn from has; a twentieth of what is learnt from is held out, to watch the loss on. Nothing is chosen on the
test.

Ours goes the product's way: prepare, train, measure. The blind model is the same one, trained on the same questions for as long, with noise
in the place of every picture and sound: what it knows are the questions. Shown are exact matches with bootstrap intervals, of all questions
and of each kind; the paired difference to the blind model with its interval, and the exact McNemar test's p (two-sided); and of questions
that are answered with yes or no the accuracy, the share of yes to what is not there, and the lean to yes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest, t
from torch import nn

from bench.rounds import machine
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.contracts.clock import seconds
from lodestar.contracts.media import Picture, Recording
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.file_answers import FALSE_YES, YES_BIAS, YES_NO_ACCURACY, by_kind
from lodestar.evaluate.squad import EXACT_MATCH
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.prepare.robot_voice import RATE, wave_file
from lodestar.prepare.scenes import SIZE, Asked, scenes
from lodestar.prepare.tunes import tunes
from lodestar.tasks.multimodal import Exchange, Multimodal
from lodestar.train.loop import train

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "pictures": {"size": SIZE, "patch": 8, "merge": 1},
    "sounds": {"reads": "sounds", "rate": RATE, "merge": 4, "seconds": 5},
}
MODEL: dict[str, Any] = {"depth": 3, "width": 96, "heads": 3}
CONTEXT, ROWS = 128, 32
LEARNT, JUDGED = 4_000, 300
"""Scenes, each with some six questions."""
Columns = Mapping[str, np.ndarray]


class Drawn(Multimodal):
    """The task with data of any size, seeing or blind."""

    blind = False

    @classmethod
    def builtins(cls) -> Mapping[str, Any]:
        return {
            f"{name}-{reads}": partial(cls.drawn, reads, count, held_out=held_out)
            for reads in OPTIONS
            for name, count, held_out in (("learnt", LEARNT, False), ("judged", JUDGED, True))
        }

    @classmethod
    def drawn(cls, reads: str, count: int, *, held_out: bool) -> Sequence[Exchange]:
        return list(exchanges(reads, count, held_out=held_out, blind=cls.blind))


class Blind(Drawn):
    """Every picture and every sound is noise."""

    blind = True


def exchanges(reads: str, count: int, *, held_out: bool, blind: bool) -> Iterator[Exchange]:
    """The questions about so many scenes or tunes."""
    noise = generator(int(held_out), "blind", reads)
    if reads == "pictures":
        for scene in islice(scenes(held_out=held_out), count):
            nothing = noise.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
            seen = Picture.of_pixels(nothing) if blind else Picture.of(scene.png())
            yield from (_exchange("<image>", asked, images=[seen]) for asked in scene.questions())
    else:
        for tune in islice(tunes(held_out=held_out), count):
            # Of one length, which would tell the number of notes.
            heard = Recording.of(wave_file(noise.normal(0, 0.1, RATE)) if blind else tune.wav())
            yield from (_exchange("<audio>", asked, audios=[heard]) for asked in tune.questions())


def _exchange(sign: str, asked: Asked, **files: Any) -> Exchange:
    messages = [{"role": "user", "content": f"{sign}\n{asked.question}"}, {"role": "assistant", "content": asked.answer}]
    return Exchange(messages=messages, kind=asked.kind, **files)


def prepared(kind: type[Drawn], reads: str, folder: Path) -> Drawn:
    """The task's data in a folder."""
    task = kind(OPTIONS[reads])
    data = DataSettings(
        sources=[f"builtin:learnt-{reads}"], splits={"test": [f"builtin:judged-{reads}"]}, validation=0.05, test=0, vocabulary=400
    )
    prepare(task, data, folder, folder / "data", context=CONTEXT)
    return task


def learnt(task: Drawn, folder: Path, minutes: float, seed: int) -> tuple[Columns, dict[str, Any]]:
    """Test columns, and what the training came to."""
    tokenizer = Tokenizer.load(folder / "data")
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides=MODEL)
    config = derive(settings, task.architecture(), tokenizer.vocabulary_size).config
    plan = TrainSettings(
        batch_tokens=ROWS * CONTEXT, micro_batch_tokens=ROWS * CONTEXT, minutes=minutes, learning_rate=0.002, seed=seed, ema=0.99
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
    record = train(task, model, loader, lambda: validation, plan, folder / f"train-{seed}", save=save)
    return measured[0], {"parameters": int(record.facts["parameters"]), "rows": int(record.facts["tokens"]) // CONTEXT}


def told(columns: Columns) -> str:
    """The cells of one method."""
    (exact,) = scores([EXACT_MATCH], columns, resamples=2000, confidence=0.95, seed=0)
    rest = (f"{metric.compute(columns):.1%}" for metric in (YES_NO_ACCURACY, FALSE_YES, YES_BIAS))
    return " | ".join([f"{exact.value:.1%} [{exact.low:.1%}, {exact.high:.1%}]", *rest])


def against(ours: Columns, blind: Columns) -> str:
    """The paired difference, and McNemar's p."""
    found = paired_difference(EXACT_MATCH, blind, ours, resamples=2000, confidence=0.95, seed=0)
    gained = int(((ours["exact"] > 0) & (blind["exact"] == 0)).sum())
    lost = int(((ours["exact"] == 0) & (blind["exact"] > 0)).sum())
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return f"{found.value:+.1%} [{found.low:+.1%}, {found.high:+.1%}] | {p:.2g}"


def one_kind(reads: str, arguments: argparse.Namespace) -> None:
    """Prepare, train and judge all methods, and print a line for each."""
    with tempfile.TemporaryDirectory() as place:
        folders = {"ours": Path(place) / "ours", "blind": Path(place) / "blind"}
        for folder in folders.values():
            folder.mkdir()
        tasks = {name: prepared(kind, reads, folders[name]) for name, kind in (("ours", Drawn), ("blind", Blind))}
        examples = {split: list(open_split(folders["ours"] / "data", split).examples(tasks["ours"])) for split in ("train", "test")}
        kinds = [example.kind for example in examples["test"]]
        print(f"\n{reads}: {len(examples['train']):,} questions to learn from, {len(kinds):,} to judge on\n")
        print("| method | seed | exact match | yes or no | false yes | lean to yes | less blind | p | parameters | rows seen | minutes |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        name, common = tasks["ours"].baseline(examples["train"], examples["test"])
        print(f"| {name} | | {told(common)} | | | | | |", flush=True)
        found: list[float] = []
        last: Columns = common
        for seed in range(arguments.seeds):
            begin = seconds()
            blind, _ = learnt(tasks["blind"], folders["blind"], arguments.minutes, seed)
            print(f"| blind | {seed} | {told(blind)} | | | | | {(seconds() - begin) / 60:.1f} |", flush=True)
            begin = seconds()
            last, facts = learnt(tasks["ours"], folders["ours"], arguments.minutes, seed)
            spent = (seconds() - begin) / 60
            cells = [told(last), against(last, blind), f"{facts['parameters']:,}", f"{facts['rows']:,}", f"{spent:.1f}"]
            print(f"| ours | {seed} | {' | '.join(cells)} |", flush=True)
            found.append(EXACT_MATCH.compute(last))
        if len(found) > 1:
            wide = t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / len(found) ** 0.5
            print(f"\nours, mean of {len(found)} seeds: {np.mean(found):.1%} ± {wide:.1%}")
        print(f"\n| kind (seed {arguments.seeds - 1}) | questions | ours | most common answer |\n|---|---|---|---|")
        for ours, other in zip(by_kind(last, kinds), by_kind(common, kinds), strict=True):
            print(f"| {ours.kind} | {ours.questions} | {ours.value:.1%} [{ours.low:.1%}, {ours.high:.1%}] | {other.value:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", nargs="+", choices=OPTIONS, default=["pictures"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=14.0, help="of each training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine({"torch": version("torch")}, seed=0), f"{arguments.threads} threads", f"seeds 0 to {arguments.seeds - 1}", sep="; ")
    for reads in arguments.reads:
        one_kind(reads, arguments)


if __name__ == "__main__":
    main()
