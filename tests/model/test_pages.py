"""Weights on huge pages are the weights that they were."""

import copy

import torch
from torch import nn

from lodestar.build.quantize import quantize
from lodestar.model.config import ModelConfig
from lodestar.model.native.pages import settle
from lodestar.model.transformer import Transformer


def test_a_model_answers_as_before_and_is_changed_as_before():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(3001, width=512, depth=3, heads=8, context=16, bias=True)).eval()  # tied, 16 MiB and more
    for code in (None, "int8"):
        if code is not None:
            quantize(model, code=code, head=True)
        before, tokens = copy.deepcopy(model), torch.randint(0, 3001, (2, 7))
        settle(model)
        names = [name for name, _ in model.named_parameters()]
        assert names == [name for name, _ in before.named_parameters()]
        with torch.inference_mode():
            assert torch.equal(model(tokens), before(tokens))
        assert all(x.requires_grad == y.requires_grad for x, y in zip(model.parameters(), before.parameters(), strict=True))
        with torch.no_grad():
            assert model.embedding is not None
            model.embedding.weight.zero_()
        assert not model.embedding.weight.any()
        model.load_state_dict(before.state_dict())


def test_a_small_model_and_one_on_no_cpu_are_left_alone():
    small = nn.Linear(3, 3)
    address = small.weight.data_ptr()
    settle(small)
    assert small.weight.data_ptr() == address
    settle(nn.Linear(4096, 4096, device="meta"))
