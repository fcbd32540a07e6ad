"""Pictures from nothing: our flow Transformer beside a convolutional variational autoencoder, trained as long in the same run.

    python -m bench.quality.image_generation --out grids                          # CIFAR-10, three seeds of 45 minutes on two cores
    python -m bench.quality.image_generation --minutes 1 --seeds 1 --count 200

Data: image-classification/cifar10 in $LODESTAR_DATA: 20,000 pictures to learn from, of which a twentieth is held out to choose the guidance
on, and its own 7,981 to judge by, of which the first `--count` by a drawn order are taken; as many are made, for the same labels. Ours goes
the product's way: prepare, train, measure. The peer is the usual small one: four convolutions each way, a label beside the code, the
decoder's variance at its best value (Rybkin et al. 2020, https://arxiv.org/abs/2006.13202), its mean shown, Adam.

Shown are FID, precision and recall on Lodestar's fixed features (decisions/0011) with bootstrap intervals; the same FID on the features of
a judge, a small network that learns the labels of the training pictures first, and the share of pictures that it takes for what was
asked for; and how often a picture is nearer to a training picture than an unseen one is. `real` are training pictures in the place of
made ones: the floor, at this count. In the end the mean of the seeds' ratios with Student's interval. `--out` gets a grid of each, a
label a row.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t
from torch import Tensor, nn
from torch.nn import functional as F

from bench.rounds import machine
from lodestar.build.augment import flipped, scaled
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.flow import noise
from lodestar.build.generating import as_bytes
from lodestar.build.sampling import Sampling
from lodestar.build.sizes import derive
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed, generator
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.frechet import frechet_distance
from lodestar.evaluate.generated import COMPARED, GENERATION_METRICS, copied_share, generation_columns, nearest_learnt
from lodestar.evaluate.pixel_gaussians import PixelGaussians
from lodestar.prepare import Sequential, make_loader, open_split, prepare, special_tokenizer
from lodestar.prepare.pictures import png, sheet
from lodestar.tasks.image_generation import ImageGeneration
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "image-classification"
SETTINGS = DataSettings(sources=["cifar10/train.tar"], splits={"test": ["cifar10/test.tar"]}, validation=0.05)
OPTIONS: Mapping[str, Any] = {"size": 32, "patch": 4, "sampling": {"steps": 20}}
MODEL: Mapping[str, Any] = {"depth": 6, "width": 192, "heads": 3}
TRAIN: Mapping[str, Any] = {"learning_rate": 0.01, "ema": 0.999}
ROWS = 64
"""Pictures in a step of either."""
GUIDANCES = (1.0, 1.5, 2.5)
CHOSEN_ON = 300
"""Held-out pictures that the guidance is chosen on."""
GRID_GUIDANCE, ACROSS = 3.0, 10
CODE = 64
"""Numbers of the autoencoder's code."""


@dataclass(frozen=True)
class Pictures:
    """Of one split: pixels (n, 3, Y, X) uint8 and labels (n,)."""

    pixels: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, task: ImageGeneration, folder: Path, split: str) -> Pictures:
        opened = open_split(folder, split)
        everything = np.arange(opened.records)
        return cls(opened.array_rows(everything)["pixels"], np.asarray(opened.numbers["label"]))

    def some(self, count: int, purpose: str) -> Pictures:
        """So many in an order that is drawn."""
        chosen = generator(0, purpose).permutation(len(self.labels))[:count]
        return Pictures(self.pixels[chosen], self.labels[chosen])

    def like(self, labels: np.ndarray) -> np.ndarray:
        """Pictures of these labels, each another one where there are enough."""
        used = dict.fromkeys(range(labels.max() + 1), 0)
        of_label = {label: np.flatnonzero(self.labels == label) for label in used}
        taken = []
        for label in labels.tolist():
            taken.append(of_label[label][used[label] % len(of_label[label])])
            used[label] += 1
        return self.pixels[taken]


class Autoencoder(nn.Module):
    """A variational autoencoder of small pictures (Kingma and Welling 2013), with the label beside picture and code."""

    def __init__(self, labels: int, width: int = 64) -> None:
        super().__init__()
        self.labels = labels
        sizes = [3 + labels, width, 2 * width, 4 * width]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(sizes))
        self.code = nn.Linear(16 * 4 * width, 2 * CODE)
        self.begin = nn.Linear(CODE + labels, 16 * 4 * width)
        sizes = [4 * width, 2 * width, width, width // 2]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(sizes))
        self.last = nn.Conv2d(width // 2, 3, 3, padding=1)

    def loss(self, pixels_BCYX: Tensor, labels_B: Tensor) -> Tensor:
        """Minus the evidence lower bound in nats a picture, the decoder's variance at the value that is best for the batch."""
        one_hot = F.one_hot(labels_B, self.labels).float()
        x = torch.cat((pixels_BCYX, one_hot[:, :, None, None].expand(-1, -1, *pixels_BCYX.shape[2:])), 1)
        for layer in self.down:
            x = F.silu(layer(x))
        mean, log_variance = self.code(x.flatten(1)).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = (self.decode(code, labels_B) - pixels_BCYX).square().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return 0.5 * pixels_BCYX[0].numel() * error.log() + divergence

    def decode(self, code: Tensor, labels_B: Tensor) -> Tensor:
        """The mean picture of a code (B, CODE) and a label."""
        x = self.begin(torch.cat((code, F.one_hot(labels_B, self.labels).float()), 1)).unflatten(1, (-1, 4, 4))
        for layer in self.up:
            x = F.silu(layer(x))
        return self.last(x)

    @torch.inference_mode()
    def draw(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """A picture for each label, (n, 3, Y, X) uint8."""
        codes = noise(seed, range(len(labels)), (CODE,))
        return np.concatenate(
            [as_bytes(self.decode(*part)).numpy() for part in zip(codes.split(256), _long(labels).split(256), strict=True)]
        )


class Judge(nn.Module):
    """A small network that tells the labels, with the numbers behind them: a second opinion beside the fixed features."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        sizes = [3, 32, 64, 128, 128]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes[1:])
        self.output = nn.Linear(sizes[-1], labels)

    def features(self, pixels_BCYX: Tensor) -> Tensor:
        """(B, 128), none of them negative."""
        x = pixels_BCYX
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = F.relu(norm(layer(x)))
            x = F.max_pool2d(x, 2) if number < 3 else x
        return x.mean((2, 3))

    def loss(self, pixels_BCYX: Tensor, labels_B: Tensor) -> Tensor:
        return F.cross_entropy(self.output(self.features(pixels_BCYX)), labels_B, label_smoothing=0.1)

    @torch.inference_mode()
    def looks(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each picture the features (n, 128) and the label that it is taken for (n,)."""
        found = [self.features(scaled(torch.from_numpy(part))) for part in np.array_split(pictures, max(1, len(pictures) // 256))]
        features = torch.cat(found)
        return features.numpy(), self.output(features).argmax(1).numpy()


def _long(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))


def learn(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], pictures: Pictures, minutes: float, seed: int, learning_rate: float = 1e-3
) -> int:
    """A plain loop of Adam for so many minutes, the learning rate falling to 0 in a cosine of the time; the pictures seen."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    pixels, labels, seen, begin = torch.from_numpy(pictures.pixels), _long(pictures.labels), 0, seconds()
    torch.manual_seed(derive_seed(seed, "peer"))
    model.train()
    while (share := (seconds() - begin) / (60 * minutes)) < 1:
        chosen = torch.randint(len(pixels), (ROWS,))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.5 * (1 + np.cos(np.pi * share))
        optimizer.zero_grad()
        loss(scaled(flipped(pixels[chosen])), labels[chosen]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        seen += ROWS
    model.eval()
    return seen


def ours(task: ImageGeneration, folder: Path, minutes: float, seed: int) -> tuple[nn.Module, dict[str, int]]:
    """The trained model, with its averaged weights, and what the training came to."""
    tokenizer = special_tokenizer()
    config = derive(ModelSettings(size="tiny", overrides=dict(MODEL)), task.architecture(), tokenizer.vocabulary_size).config
    batch = ROWS * config.context
    plan = TrainSettings(batch_tokens=batch, micro_batch_tokens=batch, minutes=minutes, seed=seed, **TRAIN)
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    shape: dict[str, Any] = {"rows": ROWS, "context": config.context, "pad": tokenizer.pad}
    validation = Sequential(open_split(folder, "validation"), task.batching, limit=4, **shape)
    loader = make_loader(open_split(folder, "train"), task.batching, seed=seed, **shape)
    averaged: dict[str, Tensor] = {}

    def save(trained: nn.Module, place: Path) -> None:
        # The weights are the average's here alone.
        averaged.update({name: value.clone() for name, value in trained.state_dict().items()})
        save_bundle(place, Bundle(trained, config, tokenizer, task.describe()))

    record = train(task, model, loader, lambda: validation, plan, folder.parent / f"train-{seed}", save=save)
    model.load_state_dict(averaged)
    facts = {"parameters": int(record.facts["parameters"]), "seen": int(record.facts["tokens"]) // config.context}
    return model.eval(), facts


def made_by(task: ImageGeneration, model: nn.Module, labels: np.ndarray, seed: int, guidance: float) -> np.ndarray:
    """A picture of ours for each label."""
    how = Sampling.parse({**task.chosen.sampling.model_dump(), "guidance": guidance}, where="bench")
    prompts, drawn = [task.labels[label] for label in labels], noise(seed, range(len(labels)), (3, task.chosen.size, task.chosen.size))
    parts = [task.make(model, special_tokenizer(), prompts[at : at + 250], drawn[at : at + 250], how) for at in range(0, len(prompts), 250)]
    return np.concatenate(parts)


class Judged:
    """What every method is held against, and a line of the table for each."""

    def __init__(self, task: ImageGeneration, learnt: Pictures, real: Pictures, judge: Judge) -> None:
        self.task, self.learnt, self.real, self.judge = task, learnt, real, judge
        self.real_looks = judge.looks(real.pixels)[0]
        self.unseen = nearest_learnt(real.pixels[:COMPARED], learnt.pixels)[0]

    def row(self, name: str, made: np.ndarray, facts: Mapping[str, Any]) -> dict[str, float]:
        """Print a line; FID on the fixed features and on the judge's."""
        columns = generation_columns(self.real.pixels, made)
        measured = {score.metric: score for score in scores(GENERATION_METRICS, columns, resamples=300, confidence=0.95, seed=0)}
        features, taken_for = self.judge.looks(made)
        second = frechet_distance(features, self.real_looks)
        copies = copied_share(nearest_learnt(made[:COMPARED], self.learnt.pixels)[0], self.unseen)
        cells = [
            name,
            *(f"{each.value:.4g} [{each.low:.4g}, {each.high:.4g}]" for each in measured.values()),
            f"{second:.3g}", f"{(taken_for == self.real.labels).mean():.3f}", f"{copies:.2f}",
            *(str(facts.get(key, "")) for key in ("guidance", "parameters", "seen", "minutes")),
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)
        return {"fixed": measured["fid"].value, "judge": second}


def grid(path: Path | None, name: str, pictures: np.ndarray) -> None:
    """Keep a grid, a label a row."""
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.png").write_bytes(png(sheet(pictures, ACROSS)))


def run(arguments: argparse.Namespace) -> None:
    """Prepare, train the judge, and for each seed both methods."""
    out = arguments.out
    with tempfile.TemporaryDirectory() as place:
        folder, task = Path(place) / "data", ImageGeneration(OPTIONS)
        prepare(task, SETTINGS, DATA, folder, context=task.shape.tokens)
        splits = {split: Pictures.of(task, folder, split) for split in ("train", "validation", "test")}
        real = splits["test"].some(arguments.count, "judged")
        print("\n" + ", ".join(f"{len(each.labels):,} {split}" for split, each in splits.items()) + f"; {len(real.labels):,} judged by")
        judge = Judge(len(task.labels))
        torch.manual_seed(0)
        learn(judge, judge.loss, splits["train"], arguments.judge_minutes, 0)
        held = (judge.looks(splits["test"].pixels)[1] == splits["test"].labels).mean()
        print(f"the judge tells {held:.3f} of the test pictures' labels\n")
        names = ["method", "FID", "precision", "recall", "FID, judge", "taken for what was asked", "copies", "guidance", "parameters"]
        print("| " + " | ".join([*names, "pictures seen", "minutes"]) + " |\n" + "|---" * (len(names) + 2) + "|")
        judged = Judged(task, splits["train"], real, judge)
        judged.row("real", splits["train"].like(real.labels), {})
        gaussians = PixelGaussians(splits["train"].pixels, [task.labels[label] for label in splits["train"].labels])
        drawn = np.stack([gaussians.draw(task.labels[label], 0, str(number)) for number, label in enumerate(real.labels)])
        judged.row("Gaussian of each label's pixels", drawn, {})
        rows = np.repeat(np.arange(min(10, len(task.labels))), ACROSS)
        grid(out, "real", splits["test"].like(rows))
        ratios = [one_seed(task, folder, splits, judged, rows, seed, arguments.minutes, out) for seed in range(arguments.seeds)]
        for features in ("fixed", "judge"):
            found = [ratio[features] for ratio in ratios]
            wide = t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.nan
            print(f"\nFID of ours / of the autoencoder, {features} features, {len(found)} seeds: {np.mean(found):.3f} ± {wide:.3f}")


def one_seed(
    task: ImageGeneration, folder: Path, splits: Mapping[str, Pictures], judged: Judged, rows: np.ndarray, seed: int, minutes: float,
    out: Path | None,
) -> dict[str, float]:  # fmt: skip
    """Both methods with one seed: a line and a grid each, and the ratio of their FID."""
    peer = Autoencoder(len(task.labels))
    seen = learn(peer, peer.loss, splits["train"], minutes, seed)
    facts: dict[str, Any] = {"parameters": f"{sum(p.numel() for p in peer.parameters()):,}", "seen": f"{seen:,}", "minutes": minutes}
    theirs = judged.row(f"autoencoder, seed {seed}", peer.draw(judged.real.labels, seed), facts)
    grid(out, f"autoencoder-{seed}", peer.draw(rows, 1))
    model, counts = ours(task, folder, minutes, seed)
    held_out = splits["validation"].some(CHOSEN_ON, "guidance")

    def error(guidance: float) -> float:
        columns = generation_columns(held_out.pixels, made_by(task, model, held_out.labels, 2, guidance))
        return frechet_distance(columns["made"], columns["real"])

    guidance = min(GUIDANCES, key=error)
    facts = {**{key: f"{value:,}" for key, value in counts.items()}, "guidance": guidance, "minutes": minutes}
    mine = judged.row(f"ours, seed {seed}", made_by(task, model, judged.real.labels, seed, guidance), facts)
    grid(out, f"ours-{seed}", made_by(task, model, rows, 1, GRID_GUIDANCE))
    return {features: mine[features] / theirs[features] for features in mine}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=45, help="of training each method with each seed")
    parser.add_argument("--judge-minutes", type=float, default=4)
    parser.add_argument("--count", type=int, default=2000, help="pictures that are made, and real ones that they are judged by")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="where the grids are kept")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    versions = {name: version(name) for name in ("torch", "numpy", "scipy")}
    print(machine(versions, seed=0), f"{given.threads} threads", f"seeds 0 to {given.seeds - 1}", sep="; ")
    run(given)


if __name__ == "__main__":
    main()
