"""A picture whose label one patch decides: every method must find it, and the test must believe it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lodestar.build.augment import scaled
from lodestar.build.picture_labels import picture_logits
from lodestar.build.reading import read_picture
from lodestar.build.stems import PatchShape
from lodestar.build.towers import PictureClassifier
from lodestar.contracts.errors import UserError
from lodestar.contracts.reading import Reading
from lodestar.explain.patches import attended_json, explain_picture, look_at, picture_json
from lodestar.explain.patches_page import picture_document, picture_plain
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig

LABELS = ["dusk", "dawn", "night"]
"""The last one of a picture without a colour: so a grey picture has no other label."""
COLOURS = torch.tensor([[220, 40, 30], [30, 60, 230]], dtype=torch.uint8)
SIZE, PATCH = 8, 2
GRID = SIZE // PATCH


@dataclass(frozen=True)
class Sky:
    model: PictureClassifier

    def picture(self, label: int, place: int, seed: int = 0) -> np.ndarray:
        """Grey noise, and in one patch a colour that decides."""
        random = torch.Generator().manual_seed(seed)
        pixels = torch.randint(90, 166, (1, SIZE, SIZE), generator=random, dtype=torch.uint8).repeat(3, 1, 1)
        row, column = (PATCH * part for part in divmod(place, GRID))
        if label < len(COLOURS):
            pixels[:, row : row + PATCH, column : column + PATCH] = COLOURS[label][:, None, None]
        return pixels.numpy()

    def read(self, label: int, place: int, output: str | None = None, temperature: float = 1.0) -> Reading:
        return read_picture(self.model, self.picture(label, place), LABELS, output, temperature)


@pytest.fixture(scope="module", params=["mean", "token"])
def sky(request: pytest.FixtureRequest) -> Sky:
    shape = PatchShape(SIZE, SIZE, PATCH, PATCH, prefix=int(request.param == "token"))
    config = ModelConfig.from_dict({
        "vocabulary_size": 0, "width": 32, "depth": 2, "heads": 2, "context": shape.tokens, "architecture": "encoder", "position": "none",
        "qk_norm": True,
    })  # fmt: skip
    torch.manual_seed(0)
    made = Sky(PictureClassifier(config, shape, 3, grid=True))
    optimizer = torch.optim.AdamW(made.model.parameters(), 3e-3)
    for step in range(120):
        labels = torch.arange(33) % 3
        places = torch.randint(0, GRID**2, (33,)).tolist()
        rows = enumerate(zip(labels.tolist(), places, strict=True))
        pixels = np.stack([made.picture(label, place, 33 * step + row) for row, (label, place) in rows])
        loss = F.cross_entropy(made.model(scaled(torch.from_numpy(pixels))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    made.model.eval()
    assert float(loss.detach()) < 0.1
    return made


@pytest.mark.parametrize(("label", "place"), [(0, 5), (1, 14), (1, 3)])
def test_the_patch_that_decides_counts_most_and_is_believed(sky: Sky, label: int, place: int) -> None:
    made = finish(explain_picture(sky.model, sky.read(label, place)))
    assert made.answer == LABELS[label]
    assert int(made.importance["gradients"].argmax()) == place
    assert made.verdicts["gradients"].wins
    assert made.attribution.complete
    assert made.probability == pytest.approx(
        float(torch.from_numpy(picture_logits(sky.model, [made.picture])[0]).softmax(-1)[label]), rel=1e-4
    )
    # Without the one patch nothing is left that could decide.
    assert made.verdicts["gradients"].curve[-1] < 0.9


def test_a_label_that_was_not_given_can_be_asked_about_and_temperature_counts(sky: Sky) -> None:
    reading = sky.read(0, 5, output="night", temperature=2.0)
    made = finish(explain_picture(sky.model, reading, orders=19))
    logits = torch.from_numpy(picture_logits(sky.model, [made.picture])[0])
    assert made.answer == "night"
    assert made.probability == pytest.approx(float((logits / 2).softmax(-1)[2]), rel=1e-4)
    assert int(made.importance["gradients"].argmin()) == 5  # it speaks against it
    with pytest.raises(UserError, match="unknown label 'noon'"):
        sky.read(0, 5, output="noon")


def test_curves_are_of_pictures_whose_patches_are_grey(sky: Sky) -> None:
    made = finish(explain_picture(sky.model, sky.read(1, 9), orders=19))
    order = np.argsort(-made.importance["rollout"], kind="stable")
    for step, share in enumerate(made.chance.shares):
        pixels = made.picture.copy()
        for patch in order[: round(share * GRID**2)]:
            row, column = (PATCH * part for part in divmod(int(patch), GRID))
            pixels[:, row : row + PATCH, column : column + PATCH] = 128
        expected = torch.from_numpy(picture_logits(sky.model, [pixels])[0]).softmax(-1)[1]
        assert made.verdicts["rollout"].curve[step] == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


def test_attention_is_what_the_answering_states_look_at(sky: Sky) -> None:
    prefix = sky.model.stem.shape.prefix
    seen = look_at(sky.model, sky.read(0, 5))
    shares = torch.stack(seen.maps).sum(-1)
    assert shares.shape == (2, 2)
    if prefix:
        assert float(shares.max()) < 1 + 1e-6
        assert float(shares.min()) < 0.99  # it looks at itself, too
    else:
        torch.testing.assert_close(shares, torch.ones_like(shares))
    one = look_at(sky.model, sky.read(0, 5), layer=1, head=0)
    np.testing.assert_allclose(one.chosen, seen.maps[1][0])
    np.testing.assert_allclose(seen.chosen, torch.stack(seen.maps).mean((0, 1)))
    assert np.shape(attended_json(seen)["attention"]) == (GRID, GRID)
    with pytest.raises(UserError, match="there is no layer 3; the model has 2"):
        look_at(sky.model, sky.read(0, 5), layer=2)


def test_the_page_draws_each_method_over_the_picture_in_both_languages(sky: Sky) -> None:
    from PIL import Image

    made = finish(explain_picture(sky.model, sky.read(1, 3), orders=19))
    for language, words in (("en", "Attention roll-out"), ("zh", "注意力展开")):
        page = picture_document(made, model="sky v1", language=language)  # type: ignore[arg-type] # one of the two
        assert words in page
        assert page.count('class="seen"') == 6
        assert "<script" not in page
        assert " style=" not in page  # a page that forbids inline styles shows it, too
        assert words in picture_plain(made, "rollout", language)  # type: ignore[arg-type]
    import base64

    found = re.search(r'href="data:image/png;base64,([^"]+)"', page)
    assert found is not None
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))
    np.testing.assert_array_equal(drawn.transpose(2, 0, 1), made.picture)
    told = picture_json(made)
    assert {method: np.shape(values) for method, values in told["patches"].items()} == dict.fromkeys(
        ("gradients", "rollout", "attention"), (GRID, GRID)
    )


def test_over_http_the_same_is_told(sky: Sky) -> None:
    """The whole way of a request is tested with the task; here, that a picture is told from a text."""
    from lodestar.contracts.media import ImagePart, Picture
    from lodestar.explain.request import answer
    from lodestar.prepare import special_tokenizer
    from lodestar.tasks.image_classification import ImageClassification

    pooling = "token" if sky.model.stem.shape.prefix else "mean"
    task = ImageClassification({"size": SIZE, "patch": PATCH, "stem": "patches", "pooling": pooling}, {"labels": LABELS})
    part = ImagePart.of(Picture.of_pixels(sky.picture(1, 3)), "image/png")
    body = {"request": {"input": part}, "orders": 19, "language": "zh"}
    *_, told = answer(task, sky.model, special_tokenizer(), body)
    assert told is not None
    assert told["answer"] == "dawn"
    assert "图" in told["summary"]
    assert told["faithfulness"]["gradients"]["believed"]
    *_, drawn = answer(task, sky.model, special_tokenizer(), {**body, "html": True})
    assert drawn is not None
    assert {"html", "css", "layers", "heads"} <= set(drawn)
    *_, maps = answer(task, sky.model, special_tokenizer(), {**body, "only": "attention", "layer": 1})
    assert maps is not None
    assert set(maps) == {"layers", "heads", "attention"}
    with pytest.raises(UserError, match="several pictures were sent"):
        list(answer(task, sky.model, special_tokenizer(), {"request": {"input": [part]}}))
