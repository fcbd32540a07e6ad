"""The Transformer that leads noise to pictures: what it is told decides, its company does not, and guidance is the formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lodestar.build.augment import scaled
from lodestar.build.denoiser import Asked, Denoiser
from lodestar.build.flow import between, fixed_looks, scales
from lodestar.build.generating import as_bytes, flow_loss, guided, sample
from lodestar.build.sampling import Sampling
from lodestar.build.stems import PatchShape
from lodestar.model.config import ModelConfig

SHAPE = PatchShape(8, 12, 4, 2, prefix=0)
LABELS = 3
CPU = torch.device("cpu")


def model_of(labels: int = LABELS, *, random: bool = True) -> Denoiser:
    fields: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "context": SHAPE.tokens, "conditioning": "adaptive", "position": "none"}
    if not labels:
        fields |= {"architecture": "encoder-decoder", "decoder_causal": False, "source_context": 6, "position": "learned"}
    torch.manual_seed(0)
    model = Denoiser(ModelConfig(20 if not labels else 0, **{"architecture": "encoder", **fields}), SHAPE, labels)
    if random:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def batch_of(count: int = 4, *, texts: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, 8, 12), dtype=torch.uint8, generator=generator)
    if not texts:
        return {"pixels": pixels, "label": torch.arange(count) % LABELS}
    tokens = torch.randint(2, 20, (count, 6), generator=generator)
    return {"pixels": pixels, "tokens": tokens, "attention_mask": torch.arange(6) < torch.tensor([3, 6, 1, 4])[:count, None]}


def test_a_new_model_gives_the_best_linear_guess_whatever_is_asked() -> None:
    model = model_of(random=False)
    x, time = torch.randn(3, 3, 8, 12), torch.tensor([0.1, 0.5, 0.9])
    velocity = model(x, time, model.asked_labels(torch.tensor([0, 1, LABELS])))
    torch.testing.assert_close(velocity, scales(time).skip * x)


def test_patches_are_put_back_where_they_were_cut_from() -> None:
    """An output layer that inverts the stem gives the picture back."""
    model = model_of()
    picture = torch.arange(3 * 8 * 12.0).reshape(1, 3, 8, 12)
    patches = F.unfold(picture, (4, 2), stride=(4, 2)).mT  # (1, T, C·p·q), row by row
    torch.testing.assert_close(model._pixels(patches), picture)


@pytest.mark.parametrize("texts", [False, True])
def test_the_time_and_what_is_asked_for_matter_and_company_does_not(texts: bool) -> None:
    model, batch = model_of(0 if texts else LABELS), batch_of(texts=texts)
    x, time = torch.randn(4, 3, 8, 12), torch.tensor([0.2, 0.4, 0.6, 0.8])

    def asked(chosen: slice = slice(None), *, others: bool = False) -> Asked:
        if texts:
            return model.asked_texts(batch["tokens"].roll(int(others), 0)[chosen], batch["attention_mask"][chosen])
        return model.asked_labels(((batch["label"] + int(others)) % LABELS)[chosen])

    together = model(x, time, asked())
    torch.testing.assert_close(model(x[1:2], time[1:2], asked(slice(1, 2))), together[1:2], rtol=1e-4, atol=1e-5)
    assert (model(x, time, asked(others=True)) - together).abs().amax((1, 2, 3)).min() > 1e-3
    assert (model(x, time.flip(0), asked()) - together).abs().amax((1, 2, 3)).min() > 1e-3


def test_padding_of_a_text_changes_nothing_and_every_patch_sees_every_other() -> None:
    model, batch = model_of(0), batch_of(texts=True)
    x, time = torch.randn(4, 3, 8, 12, requires_grad=True), torch.full((4,), 0.5)
    ours = model(x, time, model.asked_texts(batch["tokens"], batch["attention_mask"]))
    padding = batch["tokens"].masked_fill(~batch["attention_mask"], 19)
    torch.testing.assert_close(model(x, time, model.asked_texts(padding, batch["attention_mask"])), ours)
    (gradient,) = torch.autograd.grad(ours[0, :, 0, 0].sum(), x)
    assert bool((gradient[0] != 0).all())
    assert bool((gradient[1:] == 0).all())


@pytest.mark.parametrize("texts", [False, True])
def test_validation_is_the_squared_error_at_the_fixed_times(texts: bool) -> None:
    model, batch = model_of(0 if texts else LABELS), batch_of(texts=texts)
    pixels = scaled(batch["pixels"])
    expected = 0.0
    for row in range(len(pixels)):
        one: Mapping[str, Tensor] = {name: values[row : row + 1] for name, values in batch.items()}
        asked = model.asked_texts(one["tokens"], one["attention_mask"]) if texts else model.asked_labels(one["label"])
        for time, drawn in fixed_looks(pixels.shape[1:], CPU):
            at = torch.tensor([time])
            velocity = model(between(pixels[row : row + 1], drawn[None], at), at, asked)
            spread = (1 - time) ** 2 + time**2  # 1 / out²
            expected += float((velocity.detach() - (drawn[None] - pixels[row : row + 1])).square().mean() * spread) / 4
    assert float(flow_loss(model, batch, unconditional=0.5, flip=True).detach()) == pytest.approx(expected, rel=1e-4)


def test_training_draws_anew_and_learns_with_nothing_asked_for_in_its_share() -> None:
    model, batch = model_of().train(), batch_of()
    assert len({float(flow_loss(model, batch, unconditional=0.1, flip=False).detach()) for _ in range(3)}) == 3
    assert model.labels is not None
    for share, silent in ((0.0, False), (0.999999, True)):
        model.zero_grad()
        flow_loss(model, batch, unconditional=share, flip=False).backward()
        gradient = model.labels.weight.grad
        assert gradient is not None
        assert bool(gradient[LABELS].any()) is silent
        assert bool(gradient[:LABELS].any()) is not silent


def test_a_silent_text_is_its_mark_alone() -> None:
    model, batch = model_of(0).train(), batch_of(texts=True)
    torch.manual_seed(3)
    silent = flow_loss(model, batch, unconditional=0.999999, flip=False)
    torch.manual_seed(3)
    alone = flow_loss(model, batch | {"attention_mask": torch.arange(6).expand(4, -1) < 1}, unconditional=0.0, flip=False)
    torch.testing.assert_close(silent, alone)


def test_guidance_leads_on_from_nothing_in_its_interval_alone() -> None:
    model, x = model_of(), torch.randn(2, 3, 8, 12)
    asked, nothing = model.asked_labels(torch.tensor([0, 1])), model.asked_labels(torch.tensor([LABELS, LABELS]))
    time = torch.full((2,), 0.5)
    towards, plain = model(x, time, asked), model(x, time, nothing)
    ours = guided(model, asked, nothing, x, 0.5, Sampling(guidance=3))
    torch.testing.assert_close(ours, plain + 3 * (towards - plain), rtol=1e-4, atol=1e-5)
    outside = Sampling(guidance=3, guidance_interval=(0.6, 1.0))
    torch.testing.assert_close(guided(model, asked, nothing, x, 0.5, outside), towards)
    torch.testing.assert_close(guided(model, asked, nothing, x, 0.5, Sampling(guidance=1)), towards)


@pytest.mark.parametrize("texts", [False, True])
def test_a_picture_is_the_same_alone_and_among_others_and_nothing_random_moves(texts: bool) -> None:
    model, batch, noise = model_of(0 if texts else LABELS), batch_of(texts=texts), torch.randn(4, 3, 8, 12)
    asked = batch["tokens"] if texts else batch["label"]
    mask = batch["attention_mask"] if texts else None
    before = torch.random.get_rng_state()
    model.train()
    *_, together = sample(model, asked, mask, noise, Sampling(steps=3))
    assert model.training
    *_, alone = sample(model, asked[2:3], None if mask is None else mask[2:3], noise[2:3], Sampling(steps=3))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.testing.assert_close(alone.x, together.x[2:3], rtol=1e-4, atol=1e-4)
    assert not together.x.requires_grad


def test_a_model_learns_what_each_label_looks_like() -> None:
    """Grey pictures, dark for one label and bright for the other: asked for, they are made so."""
    model = model_of(2, random=False)
    pixels = torch.full((16, 3, 8, 12), 60, dtype=torch.uint8)
    pixels[8:] = 200
    batch = {"pixels": pixels, "label": torch.arange(16) // 8}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(0)
    model.train()
    for _ in range(120):
        optimizer.zero_grad()
        (flow_loss(model, batch, unconditional=0.1, flip=True) / 16).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    *_, made = sample(model, torch.tensor([0, 0, 1, 1]), None, torch.randn(4, 3, 8, 12), Sampling(steps=12, guidance=1.5))
    levels = as_bytes(made.x).float().mean((1, 2, 3))
    assert levels[:2].max() < 100
    assert levels[2:].min() > 160


def test_bytes_are_the_inverse_of_scaling_and_stay_in_range() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_bytes(scaled(every)), every)
    assert as_bytes(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_a_context_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="context is 9, and a picture has 12 patches; set it to that"):
        Denoiser(ModelConfig(0, width=16, depth=1, heads=2, context=9, architecture="encoder", position="none"), SHAPE, 2)
