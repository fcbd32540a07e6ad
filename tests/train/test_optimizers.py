"""The optimisers against plain float64 references, and the sorting of parameters."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from lodestar.contracts.settings import TrainSettings
from lodestar.train.optimizers import Muon, Optimizers, clip_and_normalize, group_parameters, orthogonalize


def settings(**fields: object) -> TrainSettings:
    return TrainSettings.model_validate({"learning_rate": 0.01, "batch_tokens": 1, "tokens": 1, **fields})


@pytest.mark.parametrize("shape", [(128, 128), (64, 256), (32, 48)])
def test_orthogonalized_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(3, *shape, dtype=torch.float64)))
    # The quintic does not converge to 1: it stays in a band around it (Jordan et al. 2024). The smallest singular value of a square
    # Gaussian matrix can be too small for five steps.
    assert values.max() < 1.25
    assert (values > 0.65).double().mean() > 0.97


def test_orthogonalized_keeps_the_singular_vectors() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(24, 40, dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.T @ orthogonalize(matrix[None].clone())[0] @ v.T
    assert (rotated - rotated.diagonal().diag()).abs().max() < 1e-10


def reference_muon(weights: list[Tensor], gradients: list[list[Tensor]], lr: float, decay: float, momentum: float = 0.95) -> list[Tensor]:
    """One matrix at a time, as the papers write it."""
    buffers = [torch.zeros_like(weight) for weight in weights]
    weights = [weight.clone() for weight in weights]
    for step in gradients:
        for number, gradient in enumerate(step):
            buffers[number] = momentum * buffers[number] + (1 - momentum) * gradient
            x = momentum * buffers[number] + (1 - momentum) * gradient
            x = x / x.norm()
            for _ in range(5):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            rows, columns = x.shape
            weights[number] = weights[number] * (1 - lr * decay) - lr * 0.2 * math.sqrt(max(rows, columns)) * x
    return weights


def test_muon_equals_a_plain_reference() -> None:
    torch.manual_seed(1)
    shapes = [(16, 16), (24, 8), (8, 24), (16, 16), (5, 7)]
    start = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    gradients = [[torch.randn(shape, dtype=torch.float64) for shape in shapes] for _ in range(4)]
    parameters = [nn.Parameter(weight.float()) for weight in start]
    muon = Muon(parameters, learning_rate=0.02, weight_decay=0.1)
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.float()
        muon.step()
    expected = reference_muon(start, gradients, 0.02, 0.1)
    for parameter, reference in zip(parameters, expected, strict=True):
        # Five quintic steps in float32 amplify its rounding by about 3.4⁵ ≈ 500.
        torch.testing.assert_close(parameter.detach().double(), reference, atol=2e-4, rtol=0)


def test_adamw_equals_a_plain_reference() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5))
    weights = {name: parameter.detach().double() for name, parameter in model.named_parameters()}
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    optimizers = Optimizers(model, settings(optimizer="adamw", betas=(0.9, 0.98), weight_decay=0.1))
    for step in range(1, 6):
        factor = step / 5
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            gradient = parameter.grad.double()
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.98 * second[name] + 0.02 * gradient**2
            update = (first[name] / (1 - 0.9**step)) / ((second[name] / (1 - 0.98**step)).sqrt() + 1e-8)
            decay = 0.1 if weights[name].ndim == 2 else 0.0
            weights[name] = weights[name] * (1 - 0.01 * factor * decay) - 0.01 * factor * update
        optimizers.step(factor)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), weights[name], atol=1e-6, rtol=0)  # float32 rounding


def test_parameters_are_sorted_by_axes_and_place(toy: ModuleType) -> None:
    model = toy.make_model(tied_embeddings=False, position="learned", bias=True)
    groups = group_parameters(model)
    names = [*groups.hidden, *groups.decayed, *groups.plain]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert set(groups.decayed) == {"embedding.weight", "output.weight", "decoder.learned.weight"}
    assert len(groups.hidden) == 2 * (4 + 3)
    assert all(".blocks." in name and name.endswith(".weight") for name in groups.hidden)
    assert all(dict(model.named_parameters())[name].ndim == 1 for name in groups.plain)


def test_frozen_parameters_are_left_alone(toy: ModuleType) -> None:
    model = toy.make_model()
    model.embedding.weight.requires_grad_(False)
    groups = group_parameters(model)
    assert "embedding.weight" not in [*groups.hidden, *groups.decayed, *groups.plain]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_state_goes_on_where_it_was(toy: ModuleType, optimizer: str) -> None:
    def steps(model: nn.Module, optimizers: Optimizers, first: int) -> None:
        for number in range(first, first + 3):
            torch.manual_seed(number)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizers.step(1.0)

    chosen = settings(optimizer=optimizer)
    straight, other = toy.make_model(), toy.make_model(seed=5)
    optimizers = Optimizers(straight, chosen)
    steps(straight, optimizers, 0)
    other.load_state_dict(straight.state_dict())
    resumed = Optimizers(other, chosen)
    resumed.load_state_tensors(optimizers.state_tensors())
    steps(straight, optimizers, 3)
    steps(other, resumed, 3)
    for a, b in zip(straight.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_clipping_and_normalizing_by_hand() -> None:
    gradients = [torch.tensor([6.0, 0.0]), torch.tensor([[8.0]])]
    norm = clip_and_normalize(gradients, torch.tensor(2), limit=1.0)
    assert norm.item() == pytest.approx(5.0)  # √(36 + 64) over two terms
    assert gradients[0].tolist() == pytest.approx([0.6, 0.0], abs=1e-6)  # (6 / 2) / 5
    assert gradients[1].tolist() == [pytest.approx([0.8], abs=1e-6)]
    gradients = [torch.tensor([6.0, 8.0])]
    clip_and_normalize(gradients, torch.tensor(2), limit=0)
    assert gradients[0].tolist() == [3.0, 4.0]
