"""Roll-out against values worked by hand."""

from __future__ import annotations

import torch

from lodestar.explain.rollout import rollout, rollout_across

EIGHTHS = 1 / 8


def test_two_layers_worked_by_hand() -> None:
    # Layer 1, two heads: mean [[1, 0], [½, ½]]; layer 2, one head: [[1, 0], [1, 0]].
    first = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    second = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    # ½A + ½I: [[1, 0], [¼, ¾]], then [[1, 0], [½, ½]]; their product: [[1, 0], [½·1 + ½·¼, ½·¾]].
    wanted = torch.tensor([[1.0, 0.0], [5 * EIGHTHS, 3 * EIGHTHS]], dtype=torch.float64)
    torch.testing.assert_close(rollout([first, second]), wanted, rtol=0, atol=0)


def test_one_layer_of_cross_attention_worked_by_hand() -> None:
    encoder = [torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])]  # flows as [[¾, ¼], [0, 1]]
    decoder = [torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])]  # flows as [[1, 0], [½, ½]]
    cross = [torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])]
    source, own = rollout_across(encoder, decoder, cross)
    torch.testing.assert_close(own, torch.tensor([[4, 0], [2, 2]], dtype=torch.float64) * EIGHTHS, rtol=0, atol=0)
    torch.testing.assert_close(source, torch.tensor([[3, 1], [0, 4]], dtype=torch.float64) * EIGHTHS, rtol=0, atol=0)


def test_rows_sum_to_one_however_deep() -> None:
    torch.manual_seed(0)
    encoder = [torch.randn(3, 5, 5).softmax(-1) for _ in range(4)]
    decoder = [torch.randn(2, 6, 6).softmax(-1) for _ in range(3)]
    cross = [torch.randn(2, 6, 5).softmax(-1) for _ in range(3)]
    torch.testing.assert_close(rollout(encoder).sum(-1), torch.ones(5, dtype=torch.float64))
    source, own = rollout_across(encoder, decoder, cross)
    torch.testing.assert_close(source.sum(-1) + own.sum(-1), torch.ones(6, dtype=torch.float64))
