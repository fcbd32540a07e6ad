"""Integrated gradients against closed forms, completeness, and captum."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from lodestar.explain.gradients import MOST, integrated_gradients
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer


def test_a_linear_model_gives_each_input_its_term() -> None:
    torch.manual_seed(0)
    weights, x, base = torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 3)
    found = finish(integrated_gradients(lambda rows: (rows * weights).sum((1, 2)), x, base))
    torch.testing.assert_close(found.values, (weights * (x - base)).sum(-1).double(), rtol=1e-5, atol=1e-6)
    assert found.complete
    assert found.points == 32


def test_a_product_is_shared_by_halves() -> None:
    """f = x₁ x₂ from 0: each factor gets ½ x₁ x₂, by the integral of α."""
    x = torch.tensor([[3.0], [4.0]])
    found = finish(integrated_gradients(lambda rows: rows[:, 0, 0] * rows[:, 1, 0], x, torch.zeros(2, 1)))
    torch.testing.assert_close(found.values, torch.tensor([6.0, 6.0], dtype=torch.float64))


def test_points_are_added_until_the_values_add_up() -> None:
    """A step that is steep beside 32 points."""
    found = finish(integrated_gradients(lambda rows: torch.tanh(60 * (rows[:, 0, 0] - 0.47)), torch.ones(1, 1), torch.zeros(1, 1)))
    assert found.complete
    assert 32 < found.points <= MOST
    assert found.difference == pytest.approx(2.0, abs=1e-6)


def test_a_jump_never_adds_up_and_says_so() -> None:
    found = finish(integrated_gradients(lambda rows: (rows[:, 0, 0] > 0.47) + 0.0 * rows[:, 0, 0], torch.ones(1, 1), torch.zeros(1, 1)))
    assert not found.complete
    assert found.gap == pytest.approx(-1.0)


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    made = Transformer(ModelConfig(architecture="decoder", vocabulary_size=40, width=32, depth=2, heads=2, context=16)).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_equal_to_captum_and_complete_on_a_transformer(model: Transformer) -> None:
    def score(rows: Tensor) -> Tensor:
        return model(embeddings=rows)[:, -1].log_softmax(-1)[:, 7]

    assert model.embedding is not None
    with torch.no_grad():
        x, base = model.embedding(torch.arange(3, 11)), model.embedding(torch.full((8,), 1))
    found = finish(integrated_gradients(score, x, base))
    theirs = IntegratedGradients(score).attribute(x[None], base[None], n_steps=found.points, method="gausslegendre")
    torch.testing.assert_close(found.values, theirs[0].sum(-1).double(), rtol=1e-3, atol=1e-4)
    assert found.complete
    assert abs(found.gap) <= 0.01 * max(abs(found.difference), 0.1)


def test_works_where_a_server_reads_in_inference_mode(model: Transformer) -> None:
    with torch.inference_mode():
        x = model.embed(torch.arange(3, 7)[None])[0]
        found = finish(integrated_gradients(lambda rows: model(embeddings=rows)[:, -1, 5], x, torch.zeros_like(x)))
    assert found.values.shape == (4,)
    assert all(parameter.grad is None for parameter in model.parameters())
