"""What is measured of a picture generator, and what a person is shown of it: its pictures, and whether they are copies.

Axes: n and m pictures, C channels, Y rows and X columns of pixels.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import numpy as np

from ..contracts.findings import Findings
from ..contracts.language import Language, Words
from ..contracts.progress import track
from ..contracts.score import Columns
from .confusion import INK, short, svg, text, width_of
from .features import features
from .frechet import FID
from .manifold import PICTURE_PRECISION, PICTURE_RECALL, manifold_columns, squared_distances

GENERATION_METRICS = (FID, PICTURE_PRECISION, PICTURE_RECALL)
AMONG_OTHERS = ("precise", "recalled")
"""Columns that say where a picture stands among all that are measured with it."""
ROWS, ACROSS, PAIRS = 10, 8, 8
"""Of the grid; and pairs of a picture and the nearest that was learnt from."""
COMPARED = 500
"""Pictures made, and real ones that were not learnt from, whose nearest are looked for."""
PART = 1024
"""Pictures that were learnt from that are held at once."""
TILE, GAP, NAME_SIZE = 56, 4, 12
"""Pixels: a picture's side as it is shown, the gap between two, and the letters of a row's name."""
Encode = Callable[[np.ndarray], bytes]
"""Pixels (C, Y, X) → a PNG."""


def generation_columns(real: Iterable[np.ndarray], made_nCYX: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of `GENERATION_METRICS`, of real pictures (C, Y, X) and of as many that were made for what they show; and `pixels`."""
    real_nF, made_nF = features(real), features(made_nCYX)
    return {"real": real_nF, "made": made_nF, **manifold_columns(real_nF, made_nF), "pixels": made_nCYX}


def generation_findings(
    columns: Columns, prompts: Sequence[str], real: Sequence[np.ndarray], learnt: Iterable[np.ndarray], encode: Encode
) -> Findings:
    """A grid of what is made, and whether it is copied from what was learnt.

    Args:
        prompts: what each picture was to show (n,).
        real: the pictures (C, Y, X) of the same records, none of which was learnt from; the first ones are enough.
        learnt: the pictures (C, Y, X) that were learnt from.
    """
    made_nCYX = columns["pixels"]
    made, unseen = made_nCYX[:COMPARED], np.stack(real[:COMPARED])
    ways, nearest = nearest_learnt(np.concatenate((made, unseen)), track(learnt, "compare", "picture"))
    near, far = ways[: len(made)], ways[len(made) :]
    pairs = [(made[place], nearest[place]) for place in np.argsort(near, kind="stable")[:PAIRS]]
    titles = {
        "made": Words("What it makes, for what it is asked", "它按要求生成的图片"),
        "nearest": Words(
            "The pictures nearest to one that was learnt from (above), and that one (below)",
            "与训练图片最接近的生成图片（上）和对应的训练图片（下）",
        ),
    }
    pictures = {
        "made": Words(*(_grid(made_nCYX, prompts, titles["made"], language, encode) for language in ("en", "zh"))),
        "nearest": Words(*(_pairs(pairs, titles["nearest"], language, encode) for language in ("en", "zh"))),
    }
    return Findings(pictures, titles, [copying(near, far)])


def copied_share(near_n: np.ndarray, far_m: np.ndarray) -> float:
    """How often a picture that was made is nearer to something learnt than a real one that was not learnt from is, of all pairs, equal
    ways counted half: 0.5 where both are as near, 1 where what was learnt is given back (after Meehan et al. 2020,
    https://arxiv.org/abs/2004.05675).
    """
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(far_m, near_n).statistic / (len(near_n) * len(far_m)))


def copying(near_n: np.ndarray, far_m: np.ndarray) -> Words:
    """`copied_share` as a sentence."""
    share = copied_share(near_n, far_m)
    return Words(
        f"Copies: in {share:.0%} of cases a picture that was made is nearer to one that was learnt from than an unseen real picture is (50%"
        " where nothing is copied, 100% where the training pictures are given back; smooth pictures are nearer to anything).",
        f"复制检查：在 {share:.0%} 的情形中，生成的图片比未见过的真实图片更接近某张训练图片"
        "（毫无复制时为 50%，照搬训练图片时为 100%；平滑的图片与什么都更接近）。",
    )


def nearest_learnt(pictures_nCYX: np.ndarray, learnt: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The squared way, by pixels, from each picture to the nearest that was learnt from (n,), and that one (n, C, Y, X)."""
    rows = pictures_nCYX.reshape(len(pictures_nCYX), -1)
    ways, nearest = np.full(len(rows), np.inf), np.zeros_like(pictures_nCYX)
    remaining = iter(learnt)
    while part := list(islice(remaining, PART)):
        others = np.stack(part)
        found = list(squared_distances(rows, others.reshape(len(others), -1)))
        places, part_ways = (np.concatenate([each(table, 1) for table in found]) for each in (np.argmin, np.min))
        nearer = part_ways < ways
        ways[nearer], nearest[nearer] = part_ways[nearer], others[places[nearer]]
    return ways, nearest


def _grid(pictures: np.ndarray, prompts: Sequence[str], title: Words, language: Language, encode: Encode) -> str:
    """A row for each prompt, its name before it."""
    of_prompt: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        of_prompt.setdefault(prompt, []).append(place)
    # Labels come several times; of texts, each once.
    several = [places for places in of_prompt.values() if len(places) > 1][:ROWS]
    rows = [places[:ACROSS] for places in several or list(of_prompt.values())[: 2 * ROWS]]
    named = {prompts[places[0]]: [pictures[place] for place in places] for places in rows}
    return _rows(named, title.in_language(language), encode)


def _pairs(pairs: Sequence[tuple[np.ndarray, np.ndarray]], title: Words, language: Language, encode: Encode) -> str:
    names = (Words("made", "生成的"), Words("learnt from", "训练用的"))
    return _rows(
        {name.in_language(language): [pair[row] for pair in pairs] for row, name in enumerate(names)}, title.in_language(language), encode
    )


def _rows(named: Mapping[str, Sequence[np.ndarray]], title: str, encode: Encode) -> str:
    """Pictures in rows, each with its name before it, as an SVG."""
    shown = [short(name, 44) for name in named]
    left = 16 + 0.62 * NAME_SIZE * max(map(width_of, shown))
    parts = [
        text(left - 8, row * (TILE + GAP) + TILE / 2 + 4, name, size=NAME_SIZE, anchor="end", color=INK) for row, name in enumerate(shown)
    ]
    for row, pictures in enumerate(named.values()):
        parts += [_tile(picture, left + column * (TILE + GAP), row * (TILE + GAP), encode) for column, picture in enumerate(pictures)]
    return svg(left + max(map(len, named.values())) * (TILE + GAP), len(named) * (TILE + GAP), parts, title)


def _tile(picture: np.ndarray, x: float, y: float, encode: Encode) -> str:
    content = base64.b64encode(encode(picture)).decode()
    return (
        f'<image x="{x}" y="{y}" width="{TILE}" height="{TILE}" style="image-rendering:pixelated" href="data:image/png;base64,{content}"/>'
    )
