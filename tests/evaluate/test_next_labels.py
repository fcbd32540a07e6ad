"""What to label next: unsure, and unlike what is on the list already."""

from __future__ import annotations

import numpy as np
import pytest

from lodestar.evaluate.next_labels import next_labels


def test_the_unsure_come_before_the_sure_and_a_repetition_comes_last() -> None:
    probabilities = np.array([[0.99, 0.01], [0.5, 0.5], [0.5, 0.5], [0.55, 0.45]])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    picks = next_labels(probabilities, vectors, 4, seed=0)
    assert [pick.index for pick in picks[:2]] == [1, 3]
    assert picks[0].newness == 1
    assert picks[0].margin == 0
    assert sorted(pick.index for pick in picks) == [0, 1, 2, 3]
    assert picks[[pick.index for pick in picks].index(2)].newness == 0


def test_distances_are_those_between_the_gradients_written_out() -> None:
    random = np.random.default_rng(0)
    probabilities, vectors = random.dirichlet([1, 1, 1], 12), random.normal(size=(12, 5))
    guess = probabilities == probabilities.max(1, keepdims=True)
    gradients = np.einsum("nc,nw->ncw", probabilities - guess, vectors).reshape(12, -1)
    picks = next_labels(probabilities, vectors, 12)
    for place, pick in enumerate(picks):
        before = [other.index for other in picks[:place]]
        length = np.linalg.norm(gradients[pick.index])
        nearest = min((np.linalg.norm(gradients[pick.index] - gradients[other]) for other in before), default=length)
        assert pick.newness == pytest.approx(min(1.0, nearest / length), abs=1e-6)


def test_equal_seeds_draw_equally_and_no_text_twice() -> None:
    random = np.random.default_rng(0)
    probabilities, vectors = random.dirichlet([1, 1], 300), random.normal(size=(300, 8))
    first, again = (next_labels(probabilities, vectors, 50, seed=3) for _ in range(2))
    assert first == again
    assert len({pick.index for pick in first}) == 50
    several = next_labels(probabilities, vectors, 50, several=True)
    assert min(pick.margin for pick in several) >= 0
