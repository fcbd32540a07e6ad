"""The model over items: its loss against torch's, its estimate by sampled items against the sum that it estimates, its vectors by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from lodestar.build.item_terms import item_terms
from lodestar.build.next_item import FIRST_ITEM, NextItem, last_states, next_item_loss, sampled_softmax_loss
from lodestar.contracts.task import IGNORE
from lodestar.model.config import ModelConfig

ITEMS, COLD, TERMS, WIDTH = 12, 3, 7, 32
TERMS_OF_ITEMS = [[item % TERMS, (item * 3 + 1) % TERMS] if item % 5 else [] for item in range(ITEMS)] + [[0, 2], [5], [1, 3, 6]]


def make(*, text: bool = True, sampled: int = 0, without_own: float = 0.0, context: int = 16) -> NextItem:
    torch.manual_seed(0)
    config = ModelConfig(vocabulary_size=FIRST_ITEM + ITEMS, width=WIDTH, depth=2, heads=2, context=context, initial_std=0.2)
    counts = list(range(1, ITEMS + 1))
    if not text:
        return NextItem(config, counts, sampled=sampled)
    return NextItem(config, counts, terms_of_items=TERMS_OF_ITEMS, terms=TERMS, sampled=sampled, without_own=without_own)


def batch_of(rows: int = 3, length: int = 10) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    tokens = torch.randint(FIRST_ITEM, FIRST_ITEM + ITEMS, (rows, length + 1))
    targets = tokens[:, 1:].clone()
    targets[:, :3] = IGNORE
    return {"tokens": tokens[:, :-1], "targets": targets}


@pytest.mark.parametrize("text", [False, True])
def test_the_loss_and_its_gradients_are_torchs(text: bool) -> None:
    model, batch = make(text=text), batch_of()
    loss, terms = next_item_loss(model, batch)
    loss.backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    logits = model(batch["tokens"])[..., :ITEMS]
    expected = F.cross_entropy(
        logits.flatten(0, 1), (batch["targets"] - FIRST_ITEM).flatten(), ignore_index=IGNORE - FIRST_ITEM, reduction="sum"
    )
    expected.backward()
    assert int(terms) == 3 * 7
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_a_vector_is_its_own_row_plus_the_mean_of_its_terms_and_for_new_items_the_mean_alone() -> None:
    model = make()
    assert model.terms is not None
    assert model.transformer.embedding is not None
    vectors = model.vectors(all_items=True)
    assert vectors.shape == (ITEMS + COLD, WIDTH)
    for item, terms in enumerate(TERMS_OF_ITEMS):
        own = model.transformer.embedding.weight[FIRST_ITEM + item] if item < ITEMS else torch.zeros(WIDTH)
        text = model.terms.weight[terms].mean(0) if terms else torch.zeros(WIDTH)
        torch.testing.assert_close(vectors[item], own + text)
    torch.testing.assert_close(model.vectors(), vectors[:ITEMS])


def test_some_items_do_without_their_own_row_in_training_and_none_in_use() -> None:
    model = make(without_own=0.5)
    assert model.terms is not None
    text = model.eval().vectors() - model.transformer.embedding.weight[FIRST_ITEM:]  # type: ignore[union-attr]
    alone = [(model.train().vectors() - text).abs().amax(1) < 1e-6 for _ in range(200)]
    assert torch.stack(alone).float().mean() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(model.eval().vectors(), model.vectors())


def test_states_see_no_later_item_and_no_neighbour_in_the_row() -> None:
    model = make().eval()
    histories = [[3, 1, 4, 1, 5], [9, 2, 6]]
    alone = [model(torch.tensor([[FIRST_ITEM + item for item in history]]))[0] for history in histories]
    later = model(torch.tensor([[FIRST_ITEM + item for item in [3, 1, 4, 8, 8]]]))[0]
    torch.testing.assert_close(later[:3], alone[0][:3])
    packed = torch.tensor([[FIRST_ITEM + item for history in histories for item in history]])
    positions, documents = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]]), torch.tensor([[0] * 5 + [1] * 3])
    vectors = model.vectors(all_items=True)
    together = model.hidden(packed, vectors, positions, documents) @ vectors.mT
    torch.testing.assert_close(together[0], torch.cat(alone))


def test_last_states_read_the_end_of_each_history_in_the_order_given() -> None:
    model = make(context=8).eval()
    histories = [[3], [item % ITEMS for item in range(30)], [ITEMS + COLD - 1, 4, 4, 2], [1, 2]]
    states = last_states(model, histories)
    for state, history in zip(states, histories, strict=True):
        logits = model(torch.tensor([[FIRST_ITEM + item for item in history[-8:]]]))[0, -1]
        torch.testing.assert_close(model.catalogue.scores(state), logits, rtol=1e-4, atol=1e-5)


def test_the_catalogue_follows_the_weights() -> None:
    model = make().eval()
    before = model.catalogue.vectors_IW.clone()
    model.train()
    with torch.no_grad():
        model.transformer.embedding.weight.mul_(2)  # type: ignore[union-attr]
    assert not torch.equal(model.eval().catalogue.vectors_IW, before)


def test_the_sampled_sum_is_right_in_the_mean() -> None:
    """All that can be drawn, weighed by its chance: what is estimated is Σ exp(logit), exactly, whatever the chances are."""
    torch.manual_seed(0)
    vectors, hidden, targets = torch.randn(5, 4), torch.randn(3, 4), torch.tensor([0, 2, 4])
    chances = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    mean = torch.zeros(3)
    uncorrected = torch.zeros(3)
    for drawn in itertools.product(range(5), repeat=2):
        chance = math.prod(float(chances[item]) for item in drawn)
        for row in range(3):
            one = hidden[row : row + 1]
            own = one[0] @ vectors[targets[row]]
            loss = sampled_softmax_loss(one, vectors, targets[row : row + 1], torch.tensor(drawn), chances.log())
            mean[row] += chance * (loss + own).exp()
            plain = sampled_softmax_loss(one, vectors, targets[row : row + 1], torch.tensor(drawn), torch.zeros(5))
            uncorrected[row] += chance * (plain + own).exp()
    torch.testing.assert_close(mean, (hidden @ vectors.mT).exp().sum(1))
    assert not torch.allclose(uncorrected, mean, rtol=0.05)


def test_many_samples_come_near_the_whole_loss_and_its_gradients() -> None:
    batch, found = batch_of(), []
    for sampled in (0, 50_000):
        model = make(text=False, sampled=sampled)
        loss, _ = next_item_loss(model, batch)
        loss.backward()
        found.append((loss.item(), torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])))
    (whole, exact), (estimate, estimated) = found
    assert estimate == pytest.approx(whole, rel=0.01)
    assert F.cosine_similarity(exact, estimated, dim=0) > 0.995


def test_samples_are_for_training_alone() -> None:
    batch = batch_of()
    losses = [next_item_loss(make(text=False, sampled=sampled).eval(), batch)[0].item() for sampled in (0, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_an_item_that_is_drawn_as_its_own_rival_is_left_out() -> None:
    vectors, hidden = torch.randn(4, 3), torch.randn(2, 3)
    log_chances = torch.full((4,), 0.25).log()
    alone = sampled_softmax_loss(hidden, vectors, torch.tensor([1, 1]), torch.tensor([1, 1, 1]), log_chances)
    assert alone.item() == pytest.approx(0.0, abs=1e-6)


def test_terms_that_items_share() -> None:
    found = item_terms(["Salt Roads, drama", "The Salt Ship", "盐路 剧情", "剧情片", ""], shared_by=2)
    assert found.terms == ["salt", "剧情"]
    assert found.of_items == [[0], [0], [1], [1], []]
    assert item_terms(["a b", "a b", "a c"], shared_by=1, at_most=2).terms == ["a", "b"]
