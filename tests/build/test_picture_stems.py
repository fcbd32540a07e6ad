"""The front ends of pictures beside ViT's own, which tests/build/test_formats_vision.py compares with transformers'."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lodestar.build.picture_stems import ConvolutionStem, GridPositions
from lodestar.build.stems import PatchShape
from lodestar.build.towers import PictureClassifier
from lodestar.model.config import ModelConfig
from lodestar.model.meta import make_buffers, without_storage
from lodestar.model.positions import sinusoids


def config(shape: PatchShape, **fields: object) -> ModelConfig:
    return ModelConfig.from_dict({
        "vocabulary_size": 0, "width": 32, "depth": 2, "heads": 2, "context": shape.tokens, "architecture": "encoder", "position": "none",
        **fields,
    })  # fmt: skip


@pytest.mark.parametrize(("patch", "prefix"), [(1, 0), (2, 0), (4, 1)])
def test_convolutions_give_one_embedding_a_patch_row_by_row(patch: int, prefix: int) -> None:
    torch.manual_seed(0)
    shape = PatchShape(16, 24, patch, patch, prefix=prefix)
    stem = ConvolutionStem(shape, 32).eval()
    pixels = torch.randn(2, 3, 16, 24)
    made = stem(pixels)
    assert made.shape == (2, shape.tokens, 32)
    assert made[:, :prefix].equal(stem.prefix.expand(2, -1, -1))
    # A pixel reaches the patch that it is in, and its neighbours; without the norms, which are over the whole picture, no others.
    stem.norms = nn.ModuleList(nn.Identity() for _ in stem.norms)
    row, column = (size - 2 for size in shape.grid)
    changed = pixels.clone()
    changed[:, :, row * patch + patch // 2, column * patch + patch // 2] += 3
    moved_RC = (stem(changed) - stem(pixels))[0, prefix:].norm(dim=-1).reshape(shape.grid)
    assert moved_RC[row, column] > 0
    moved_RC[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
    assert not moved_RC.any()


def test_no_answer_depends_on_what_else_is_in_the_batch() -> None:
    torch.manual_seed(0)
    stem = ConvolutionStem(PatchShape(16, 16, 4, 4, prefix=0), 32)
    pixels = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(stem(pixels)[2:3], stem(pixels[2:3]), atol=1e-5, rtol=1e-5)


def test_patches_that_cannot_be_halved_to_are_refused() -> None:
    with pytest.raises(ValueError, match="patches of 2, 4, 8, 16 … pixels, not 6×6; choose one of these"):
        ConvolutionStem(PatchShape(12, 12, 6, 6), 32)
    with pytest.raises(ValueError, match="a width that 4 divides, and it is 30"):
        GridPositions(PatchShape(8, 8, 4, 4), 30)
    with pytest.raises(ValueError, match="the pictures are 3×8×8, and the model reads 3×16×16"):
        ConvolutionStem(PatchShape(16, 16, 4, 4), 32)(torch.zeros(1, 3, 8, 8))


def test_grid_positions_are_the_sinusoids_of_the_row_beside_those_of_the_column() -> None:
    shape = PatchShape(12, 20, 4, 4, prefix=1)
    made = GridPositions(shape, 64)(torch.zeros(1, shape.tokens, 64))[0]
    assert not made[0].any()
    one = sinusoids(8, 32, "sinusoidal-halves")  # all sines before all cosines, as Marian has them
    for row in range(3):
        for column in range(5):
            torch.testing.assert_close(made[1 + row * 5 + column], torch.cat((one[row], one[column])).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("stem", "grid", "prefix"), [("convolutions", True, 0), ("patches", False, 1), ("convolutions", False, 0)])
def test_a_classifier_is_made_again_from_its_weights_alone(stem: str, grid: bool, prefix: int) -> None:
    shape = PatchShape(16, 16, 4, 4, prefix=prefix)
    torch.manual_seed(0)
    chosen = config(shape, position="none" if grid else "learned")
    model = PictureClassifier(chosen, shape, 7, stem=stem, grid=grid).eval()  # type: ignore[arg-type] # one of the two
    with without_storage():
        again = PictureClassifier(chosen, shape, 7, stem=stem, grid=grid)  # type: ignore[arg-type]
    again.load_state_dict(model.state_dict(), assign=True)
    make_buffers(again)
    pixels = torch.randn(3, 3, 16, 16)
    assert again.eval()(pixels).equal(model(pixels))
    assert model(pixels).shape == (3, 7)


def test_without_a_token_before_the_patches_their_mean_decides() -> None:
    shape = PatchShape(8, 8, 4, 4, prefix=0)
    model = PictureClassifier(config(shape), shape, 3, grid=True).eval()
    pixels = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model(pixels), model.outputs[0](model.hidden(pixels).mean(1)))
