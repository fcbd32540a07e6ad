"""Altered pictures, each against its definition, on pixels that tell where they come from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lodestar.build.augment import cropped, cut_and_mixed, erased, flipped, mixed_up, scaled, smoothed, soft_cross_entropy
from lodestar.build.picture_labels import Alterations, altered

COUNT, SIZE, LABELS = 64, 12, 5


@pytest.fixture
def pixels() -> Tensor:
    """No two pixels of a row or column are alike: the first channel is the row, the second the column, the third the picture."""
    torch.manual_seed(0)
    row = torch.arange(SIZE, dtype=torch.uint8)
    made = torch.stack((row[:, None].expand(SIZE, SIZE), row[None].expand(SIZE, SIZE), torch.zeros(SIZE, SIZE, dtype=torch.uint8)))
    batch = made.repeat(COUNT, 1, 1, 1)
    batch[:, 2] = torch.arange(COUNT, dtype=torch.uint8)[:, None, None] + 100
    return batch


@pytest.fixture
def targets() -> Tensor:
    return F.one_hot(torch.arange(COUNT) % LABELS, LABELS).float()


def test_half_of_the_pictures_are_mirrored_and_the_others_stay(pixels: Tensor) -> None:
    made = flipped(pixels)
    mirrored = [bool(one.equal(old.flip(-1))) for one, old in zip(made, pixels, strict=True)]
    same = [bool(one.equal(old)) for one, old in zip(made, pixels, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_a_moved_picture_shows_each_pixel_at_its_new_place_and_repeats_its_border(pixels: Tensor) -> None:
    made, moves = cropped(pixels, 3), set()
    for picture in made:
        down, across = int(picture[0, 6, 6]) - 6, int(picture[1, 6, 6]) - 6
        moves.add((down, across))
        place = torch.arange(SIZE)
        assert picture[0, :, 0].tolist() == (place + down).clamp(0, SIZE - 1).tolist()
        assert picture[1, 0].tolist() == (place + across).clamp(0, SIZE - 1).tolist()
    assert {down for down, _ in moves} == {across for _, across in moves} == set(range(-3, 4))


def test_a_rectangle_of_so_many_pictures_is_noise(pixels: Tensor) -> None:
    made = erased(pixels, 0.5)
    hidden = 0
    for old, new in zip(pixels, made, strict=True):
        changed = (old != new).any(0)
        if changed.any():
            hidden += 1
            rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
            area = int(rows.max() - rows.min() + 1) * int(columns.max() - columns.min() + 1)
            # Rounding to whole pixels, of sides and of what noise leaves as it was.
            assert area <= 0.5 * SIZE**2
            assert changed.sum() >= 0.9 * area
    assert 16 < hidden < 48
    assert erased(pixels, 0.0).equal(pixels)


def test_mixed_pictures_are_weighted_means_and_so_are_their_labels(pixels: Tensor, targets: Tensor) -> None:
    made, shares = mixed_up(scaled(pixels), targets, 0.8)
    torch.testing.assert_close(shares.sum(1), torch.ones(COUNT))
    # The third channel is a line in the picture's number: λ·i + (1 - λ)·j, the same in all its pixels.
    number = (made[:, 2] + 2) * 63.75 - 100
    torch.testing.assert_close(number, number[:, :1, :1].expand_as(number), atol=1e-3, rtol=0)
    for i in range(COUNT):
        value, found = float(number[i, 0, 0]), False
        for j in range(COUNT):
            if i == j:
                found |= bool(torch.allclose(shares[i], targets[i]) and abs(value - i) < 1e-3)
                continue
            kept = (value - j) / (i - j)
            found |= -1e-4 <= kept <= 1 + 1e-4 and bool(torch.allclose(shares[i], kept * targets[i] + (1 - kept) * targets[j], atol=1e-4))
        assert found


def test_labels_are_shared_by_the_area_that_is_left(pixels: Tensor, targets: Tensor) -> None:
    made, shares = cut_and_mixed(scaled(pixels), targets, 1.0)
    numbers = ((made[:, 2] + 2) * 63.75 - 100).round().long()
    several = 0
    for i in range(COUNT):
        own = numbers[i] == i
        kept = float(own.float().mean())
        others = numbers[i][~own].unique().tolist()
        assert len(others) <= 1  # of one other picture alone,
        if others:
            several += 1
            inside = ~own
            rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
            assert inside.sum() == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)  # in one rectangle,
            assert made[i, 0][inside].equal(scaled(pixels)[others[0], 0][inside])  # at the same places
            torch.testing.assert_close(shares[i], kept * targets[i] + (1 - kept) * targets[others[0]])
    assert several > COUNT / 2


def test_the_share_that_is_kept_is_drawn_from_beta(targets: Tensor) -> None:
    torch.manual_seed(1)
    many = torch.zeros(20_000, 3, 1, 1)
    _, shares = mixed_up(many, torch.eye(2).repeat(10_000, 1), 0.4)
    mixed = shares[:, 0][(shares[:, 0] > 1e-6) & (shares[:, 0] < 1 - 1e-6)]
    from scipy.stats import beta, kstest

    # Half of the pairs have the same label; λ and 1 - λ are alike in law.
    assert kstest(mixed.double().numpy(), beta(0.4, 0.4).cdf).pvalue > 1e-4


def test_smoothed_labels_and_their_loss(targets: Tensor) -> None:
    logits = torch.randn(COUNT, LABELS, dtype=torch.float64)
    expected = F.cross_entropy(logits, targets.argmax(1), label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(soft_cross_entropy(logits, smoothed(targets.double(), 0.1)), expected)


@pytest.mark.parametrize("how", [Alterations(flip=True, crop=2, erase=0.4, mixup=0.3, cutmix=1.0, label_smoothing=0.1), Alterations()])
def test_the_same_state_of_the_generator_gives_the_same_pictures(pixels: Tensor, how: Alterations) -> None:
    labels = torch.arange(COUNT) % LABELS
    state = torch.get_rng_state()
    first, shares = altered(pixels, labels, LABELS, how)
    torch.set_rng_state(state)
    again, _ = altered(pixels, labels, LABELS, how)
    assert first.equal(again)
    torch.testing.assert_close(shares.sum(1), torch.ones(COUNT))
    if how == Alterations():
        assert first.equal(scaled(pixels))


@pytest.mark.parametrize(
    ("name", "value"), [("flip", True), ("crop", 2), ("erase", 1.0), ("mixup", 1.0), ("cutmix", 1.0), ("label_smoothing", 0.2)]
)
def test_each_is_on_by_its_name_alone(pixels: Tensor, name: str, value: float) -> None:
    labels = torch.arange(COUNT) % LABELS
    plain, plain_shares = altered(pixels, labels, LABELS, Alterations())
    made, shares = altered(pixels, labels, LABELS, Alterations.model_validate({name: value}))
    assert not (made.equal(plain) and shares.equal(plain_shares))
    changes: dict[str, Callable[[], bool]] = {"label_smoothing": lambda: made.equal(plain)}
    assert changes.get(name, lambda: not made.equal(plain))()
