"""An answer about a picture that one square of it decides: gradients find the square, and curves are of pictures made grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lodestar.build.multimodal import MultimodalDecoder, PictureTower
from lodestar.build.stems import PatchShape
from lodestar.build.towers import PictureEncoder
from lodestar.contracts.reading import Reading, Written
from lodestar.explain.patches import explain_picture, look_at, picture_json
from lodestar.explain.patches_page import picture_document
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig

SIZE, PATCH, MERGE = 8, 2, 2
GRID = SIZE // PATCH // MERGE
BEGIN, ASK, ANSWERS = 0, 2, (3, 4, 5)
"""The ids: a mark, the question, and the answers of a picture with a red square, a blue one and none."""
COLOURS = np.array([[220, 40, 30], [30, 60, 230]], np.uint8)
PLACES = list(range(1, 1 + GRID**2))


@dataclass(frozen=True)
class Asker:
    model: MultimodalDecoder

    def picture(self, answer: int, place: int, seed: int = 0) -> np.ndarray:
        """Grey noise, and in one square a colour that decides."""
        pixels = np.random.default_rng(seed).integers(90, 166, (1, SIZE, SIZE), dtype=np.uint8).repeat(3, 0)
        if answer < 2:
            row, column = (PATCH * MERGE * part for part in divmod(place, GRID))
            pixels[:, row : row + PATCH * MERGE, column : column + PATCH * MERGE] = COLOURS[answer][:, None, None]
        return pixels

    def logits(self, pictures: np.ndarray) -> torch.Tensor:
        ids = torch.tensor([[BEGIN, *PLACES, ASK]]).expand(len(pictures), -1) * torch.tensor([1, *[0] * len(PLACES), 1])
        places = torch.tensor([[False, *[True] * len(PLACES), False]]).expand(len(pictures), -1)
        return self.model(ids, places, (torch.from_numpy(pictures),))[:, -1]

    def read(self, picture: np.ndarray, answer: int) -> Reading:
        tokens = [BEGIN, *[0] * len(PLACES), ASK, ANSWERS[answer]]
        return Reading(tokens, Written(len(tokens) - 1), "red", picture=picture, places=PLACES)


@pytest.fixture(scope="module")
def asker() -> Asker:
    torch.manual_seed(0)
    shape = PatchShape(SIZE, SIZE, PATCH, PATCH, prefix=0)
    encoder = ModelConfig(0, width=16, depth=1, heads=2, context=shape.tokens, architecture="encoder", position="none", qk_norm=True)
    tower = PictureTower(PictureEncoder(encoder, shape, grid=True), MERGE)
    made = Asker(MultimodalDecoder(ModelConfig(6, width=24, depth=2, heads=2, context=16, qk_norm=True), tower, "mlp"))
    optimizer = torch.optim.AdamW(made.model.parameters(), 3e-3)
    for step in range(150):
        answers = torch.arange(24) % 3
        places = torch.randint(0, GRID**2, (24,)).tolist()
        pictures = np.stack([made.picture(int(a), p, 24 * step + n) for n, (a, p) in enumerate(zip(answers, places, strict=True))])
        loss = F.cross_entropy(made.logits(pictures), answers + ANSWERS[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    made.model.eval()
    assert float(loss.detach()) < 0.1
    return made


@pytest.mark.parametrize(("answer", "place"), [(0, 0), (1, 3), (0, 2)])
def test_the_square_that_decides_counts_most(asker: Asker, answer: int, place: int) -> None:
    picture = asker.picture(answer, place)
    made = finish(explain_picture(asker.model, asker.read(picture, answer)))
    assert made.grid == (GRID, GRID)
    assert int(made.importance["gradients"].argmax()) == place
    assert made.attribution.complete
    with torch.inference_mode():
        expected = float(asker.logits(picture[None]).softmax(-1)[0, ANSWERS[answer]])
        grey = np.full_like(picture, 128)
        nothing = float(asker.logits(grey[None]).softmax(-1)[0, ANSWERS[answer]])
    assert made.probability == pytest.approx(expected, rel=1e-4)
    assert made.verdicts["gradients"].curve[-1] == pytest.approx(nothing, rel=1e-3, abs=1e-6)
    # With all orders that four squares can go in, the best order is as good as any.
    assert made.chance.exhaustive
    assert made.verdicts["gradients"].area <= made.chance.areas.mean()


def test_attention_is_what_the_answering_state_looks_at(asker: Asker) -> None:
    reading = asker.read(asker.picture(0, 1), 0)
    seen = look_at(asker.model, reading)
    assert [tuple(layer.shape) for layer in seen.maps] == [(2, GRID**2)] * 2
    shares = torch.stack(seen.maps).sum(-1)
    assert float(shares.min()) > 0
    assert float(shares.max()) < 1  # it looks at the question and at itself, too
    made = finish(explain_picture(asker.model, reading, orders=1))
    assert 0 < made.importance["rollout"].sum() < 1
    assert np.shape(picture_json(made)["attention"]) == (GRID, GRID)
    page = picture_document(made, model="asker", language="zh")
    assert "答案" in page
    assert page.count('class="seen"') == 6
