"""The flow against its closed forms: where the velocity of a Gaussian is known, the way must end where it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from lodestar.build.flow import FIXED_TIMES, between, draw_times, fixed_looks, noise, scales, walk
from lodestar.build.sampling import Sampler

MEAN, STD = 0.7, 0.4


def gaussian_velocity(x: Tensor, time: float) -> Tensor:
    """Of pictures from N(MEAN, STD²): E[ε − x | x_t], by the regression of one normal number on another."""
    spread = (1 - time) ** 2 * STD**2 + time**2
    return -MEAN + (time - (1 - time) * STD**2) / spread * (x - (1 - time) * MEAN)


@pytest.mark.parametrize(("how", "order"), [("euler", 1), ("heun", 2), ("adams", 2)])
def test_each_sampler_ends_at_the_flows_end_with_an_error_of_its_order(how: Sampler, order: int) -> None:
    start = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    wanted = MEAN + STD * start  # the flow moves each quantile of the noise to the same quantile of the pictures
    errors = []
    for steps in (32, 64):
        *_, last = walk(gaussian_velocity, start, steps, how)
        errors.append(float((last.x - wanted).abs().max()))
        assert torch.equal(last.x, last.guess)
    assert errors[1] < 0.05
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_one_step_of_euler_is_one_straight_line_and_looks_once() -> None:
    asked: list[float] = []

    def velocity(x: Tensor, time: float) -> Tensor:
        asked.append(time)
        return 3 * x

    (step,) = walk(velocity, torch.ones(1, 1, 1, 1), 1, "euler")
    assert (asked, float(step.x)) == ([1.0], -2.0)
    asked.clear()
    list(walk(velocity, torch.ones(1, 1, 1, 1), 4, "heun"))
    assert asked == [1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
    asked.clear()
    list(walk(velocity, torch.ones(1, 1, 1, 1), 4, "adams"))
    assert asked == [1.0, 0.75, 0.5, 0.25]


def test_a_guess_on_the_way_is_the_picture_where_there_is_but_one() -> None:
    picture = torch.randn(1, 3, 4, 4)

    def velocity(x: Tensor, time: float) -> Tensor:
        return (x - picture) / time  # ε − x, of the only picture that there is

    for step in walk(velocity, torch.randn(1, 3, 4, 4), 5, "euler"):
        torch.testing.assert_close(step.guess, picture)


def test_a_network_of_zeros_is_the_best_linear_guess_and_leaves_variance_one() -> None:
    """By regression on drawn pictures and noise of variance 1; what is left, over `out`, has variance 1 at every time."""
    random = np.random.default_rng(0)
    pictures, noises = random.normal(size=(2, 400_000))
    for time in (0.05, 0.3, 0.5, 0.8, 1.0):
        x, velocity = (1 - time) * pictures + time * noises, noises - pictures
        told = scales(torch.tensor([time], dtype=torch.float64))
        into, skip, out = (float(each) for each in told)
        assert skip == pytest.approx(float((x * velocity).mean() / (x * x).mean()), abs=0.01)
        assert np.std(into * x) == pytest.approx(1, abs=0.01)
        assert np.std((velocity - skip * x) / out) == pytest.approx(1, abs=0.01)


def test_between_is_a_straight_line() -> None:
    picture, drawn = torch.randn(3, 3, 2, 2), torch.randn(3, 3, 2, 2)
    way = between(picture, drawn, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(way[0], picture[0])
    torch.testing.assert_close(way[1], 0.75 * picture[1] + 0.25 * drawn[1])
    torch.testing.assert_close(way[2], drawn[2])


def test_times_are_logit_normal_and_those_of_validation_its_quantiles() -> None:
    torch.manual_seed(0)
    times = draw_times(20_000, torch.device("cpu"))
    logits = torch.logit(times).numpy()
    assert (logits.mean(), logits.std()) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))
    looks = list(fixed_looks(torch.Size((1, 2, 2)), torch.device("cpu")))
    middles = 1 / (1 + np.exp(-norm.ppf((np.arange(FIXED_TIMES) + 0.5) / FIXED_TIMES)))
    assert [time for time, _ in looks] == pytest.approx(middles.tolist(), rel=1e-5)
    again = list(fixed_looks(torch.Size((1, 2, 2)), torch.device("cpu")))
    assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in zip(looks, again, strict=True))


def test_noise_of_one_purpose_does_not_depend_on_the_others_nor_move_the_global_generator() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    several = noise(3, ["a", "b", 7], (1, 4, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(several[1:2], noise(3, ["b"], (1, 4, 4)))
    assert not torch.equal(several[0], several[1])
    assert not torch.equal(several, noise(4, ["a", "b", 7], (1, 4, 4)))
