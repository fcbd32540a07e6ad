"""Weights on huge pages: what they are, and where, does not change."""

import torch
from torch import nn

from lodestar.model.native.pages import HUGE_PAGE, settle


def test_numbers_and_addresses_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1500, 1500), nn.Linear(1500, 1501), nn.Linear(7, 3))
    before = [(x.clone(), x.data_ptr()) for x in model.parameters()]
    settle(model)
    for x, (numbers, address) in zip(model.parameters(), before, strict=True):
        assert x.data_ptr() == address
        assert torch.equal(x, numbers)


def test_a_model_on_no_cpu_is_left_alone():
    settle(nn.Linear(HUGE_PAGE // 512, 2048, device="meta"))
