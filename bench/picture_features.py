"""What the features of pictures see: ours beside a random network's, by the labels that they tell and by what moves them (decisions/0011).

    python -m bench.picture_features

Data: CIFAR-10 in $LODESTAR_DATA. Logistic regression on the features of 300 pictures a label tells the labels of 150 others each; and the
Fréchet distance of one half of the training pictures from the other, as it is, and spoilt in several ways, over that of the halves as they
are.
"""

from __future__ import annotations

import math
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from bench.rounds import machine
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import generator
from lodestar.evaluate.features import features
from lodestar.evaluate.frechet import frechet_distance
from lodestar.evaluate.pixel_gaussians import PixelGaussians
from lodestar.prepare.pictures import read_square

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "image-classification" / "cifar10"
LEARNT, ASKED = 300, 150
"""Pictures of each label."""
PENALTIES = (0.01, 0.1)
Features = Callable[[np.ndarray], np.ndarray]


def pictures(path: Path, of_each: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures of each label (n, 3, 32, 32), and the labels (n,)."""
    found, labels, counts = [], [], Counter[str]()
    with tarfile.open(path) as tar:
        for member in tar:
            label = Path(member.name).parent.name
            if member.isfile() and counts[label] < of_each and (file := tar.extractfile(member)) is not None:
                counts[label] += 1
                found.append(read_square(file.read(), 32, "crop")[0])
                labels.append(label)
    return np.stack(found), np.unique(labels, return_inverse=True)[1]


def random_network(seed: int) -> Features:
    """Three convolutions with weights of the right size, a mean over the picture, and 64 random directions (after Naeem et al. 2020)."""
    drawn = torch.Generator().manual_seed(seed)
    widths = (3, 64, 128, 256)
    weights = [torch.randn(b, a, 3, 3, generator=drawn) * math.sqrt(2 / (9 * a)) for a, b in pairwise(widths)]
    directions = torch.linalg.qr(torch.randn(256, 256, generator=drawn))[0][:, :64]

    def look(pixels: np.ndarray) -> np.ndarray:
        parts = []
        for part in torch.from_numpy(pixels).split(250):
            x = part.float() / 127.5 - 1
            for weight in weights:
                x = F.avg_pool2d(F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight)), 2)
            parts.append(x.mean((2, 3)) @ directions)
        return torch.cat(parts).numpy().astype(np.float64)

    return look


def spoilt(rows: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray) -> Mapping[str, np.ndarray]:
    """The same pictures in worse states, and others in their place."""
    random = generator(0, "spoilt")
    noisy = {f"noise of {level}": rows + random.normal(0, level, rows.shape) for level in (5, 20)}
    blurred = {f"blur of {width}": gaussian_filter(rows.astype(float), (0, 0, width, width)) for width in (0.5, 1.0)}
    swapped = rows.copy()
    swapped[:, :, :16, :16], swapped[:, :, 16:, 16:] = rows[:, :, 16:, 16:], rows[:, :, :16, :16]
    gaussians = PixelGaussians(others, [str(label) for label in other_labels])
    drawn = np.stack([gaussians.draw(str(label), 0, str(number)) for number, label in enumerate(labels)])
    ways = {
        **noisy, **blurred, "two quarters swapped": swapped, "upside down": rows[:, :, ::-1], "six labels of ten": rows[labels < 6],
        "Gaussian of each label's pixels": drawn,
    }  # fmt: skip
    return {name: np.clip(each, 0, 255).astype(np.uint8) for name, each in ways.items()}


def main() -> None:
    print(machine({"torch": torch.__version__, "numpy": np.__version__}, seed=0))
    (learnt, truth), (asked, expected) = pictures(DATA / "train.tar", LEARNT), pictures(DATA / "test.tar", ASKED)
    order = generator(0, "halves").permutation(len(learnt))
    one, other = np.array_split(order, 2)
    ways = spoilt(learnt[other], truth[other], learnt[one], truth[one])
    headings = ["features", "numbers", "labels told", "ms a picture", "distance of the halves", *(f"× {name}" for name in ways)]
    print("\n| " + " | ".join(headings) + " |")
    print("|---" * len(headings) + "|")
    named: Mapping[str, Features] = {"scattering": features, **{f"random network, seed {seed}": random_network(seed) for seed in (0, 1)}}
    for name, look in named.items():
        begin = seconds()
        known, unknown = look(learnt), look(asked)
        each_ms = 1000 * (seconds() - begin) / (len(learnt) + len(asked))
        models = [make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=300)) for penalty in PENALTIES]
        told = max(float(model.fit(known, truth).score(unknown, expected)) for model in models)
        floor = frechet_distance(known[one], known[other])
        moved = [frechet_distance(known[one], look(each)) / floor for each in ways.values()]
        cells = [name, str(known.shape[1]), f"{told:.3f}", f"{each_ms:.1f}", f"{floor:.4g}", *(f"{times:.1f}" for times in moved)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
