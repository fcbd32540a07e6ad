"""Pairs: their loss against torch's own cross-entropy, and decoding many at once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lodestar.build.seq2seq import ToWrite, encode_pair, pair_loss, write_texts
from lodestar.contracts.task import IGNORE
from lodestar.model.beam import BeamSettings
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer


def small(**fields):
    torch.manual_seed(0)
    shape = {"vocabulary_size": 37, "width": 16, "depth": 2, "heads": 2, "context": 24, "initial_std": 0.3} | fields
    return Transformer(ModelConfig(architecture="encoder-decoder", **shape))


def a_batch():
    torch.manual_seed(1)
    lengths, writes = torch.tensor([[7], [3], [5]]), torch.tensor([[4], [6], [1]])
    source_mask, mask = torch.arange(7) < lengths, torch.arange(6) < writes
    targets = torch.randint(2, 37, (3, 6)).masked_fill(~mask, IGNORE)
    return {
        "source_tokens": torch.randint(2, 37, (3, 7)).masked_fill(~source_mask, 1), "source_mask": source_mask,
        "tokens": torch.randint(2, 37, (3, 6)).masked_fill(~mask, 1), "attention_mask": mask, "targets": targets,
    }  # fmt: skip


def test_a_pair_is_read_with_its_marks_and_only_what_is_written_is_learnt():
    assert encode_pair([5, 6, 2], [7, 8], start=[0], end=2) == {"source": [5, 6, 2], "tokens": [0, 7, 8], "targets": [7, 8, 2]}
    assert encode_pair([5], [7], start=[2, 9], end=2) == {"source": [5], "tokens": [2, 9, 7], "targets": [IGNORE, 7, 2]}


@pytest.mark.parametrize("fields", [{}, {"tied_embeddings": False}, {"output_bias": True}, {"output_scale": 0.5}])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_and_its_gradients_are_those_of_torch(fields, smoothing):
    model, batch = small(**fields).train(), a_batch()
    loss, terms = pair_loss(model, batch, smoothing)
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    logits = model(batch["tokens"], source_tokens=batch["source_tokens"], source_mask=batch["source_mask"])
    expected = F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="sum", label_smoothing=smoothing)
    expected.backward()
    assert int(terms) == 11
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_two_equal_readings_are_drawn_nowhere_and_others_together():
    model, batch = small(dropout=0.0).train(), a_batch()
    torch.testing.assert_close(pair_loss(model, batch, consistency=5.0)[0], pair_loss(model, batch)[0])
    unlike = small(dropout=0.4).train()
    torch.manual_seed(5)
    readings = [unlike(batch["tokens"], source_tokens=batch["source_tokens"], source_mask=batch["source_mask"]) for _ in range(2)]
    told = batch["targets"] != IGNORE
    p, q = (logits[told].log_softmax(-1) for logits in readings)
    losses = [F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="sum") for logits in readings]
    # R-Drop, equations 2 and 3: halved, so that a reading counts as one.
    divergence = F.kl_div(q, p, log_target=True, reduction="sum") + F.kl_div(p, q, log_target=True, reduction="sum")
    expected = (losses[0] + losses[1] + 5.0 / 2 * divergence) / 2
    torch.manual_seed(5)
    found = pair_loss(unlike, batch, consistency=5.0)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_hidden_words_are_predicted_all_the_same():
    model, batch = small().train(), a_batch()
    torch.manual_seed(2)
    loss, terms = pair_loss(model, batch, word_dropout=0.5)
    assert int(terms) == 11
    assert loss != pair_loss(model, batch)[0]
    everything = {**batch, "tokens": torch.ones_like(batch["tokens"]), "source_tokens": torch.ones_like(batch["source_tokens"])}
    torch.testing.assert_close(pair_loss(model, batch, word_dropout=0.999999)[0], pair_loss(model, everything)[0])


def test_evaluation_is_without_regularization():
    model, batch = small().eval(), a_batch()
    with torch.inference_mode():
        assert torch.equal(pair_loss(model, batch, 0.1, word_dropout=0.5, consistency=5.0)[0], pair_loss(model, batch)[0])


@pytest.mark.parametrize("beams", [1, 4])
def test_texts_are_written_alike_alone_and_together_and_in_their_order(beams):
    model = small().eval()
    wanted = [ToWrite([5, 6, 7, 2], [0], 9), ToWrite([8, 2], [0], 4), ToWrite([9, 3, 2], [0], 9), ToWrite([4] * 11, [0], 7)]
    together = write_texts(model, wanted, BeamSettings(beams), ends=[2], pad=1, banned=[1])
    for text, (one, *_) in zip(wanted, together, strict=True):
        alone = write_texts(model, [text], BeamSettings(beams), ends=[2], pad=1, banned=[1])[0][0]
        assert alone.tokens == one.tokens
        assert alone.score == pytest.approx(one.score, abs=1e-4)
        assert len(one.tokens) <= text.limit
        assert 1 not in one.tokens
    assert write_texts(model, [], BeamSettings(beams), ends=[2], pad=1) == []


def test_a_decoder_s_texts_that_fill_the_context_are_written_alike_alone_and_together():
    """A short prompt with much to write and a long one with little: each fits alone, and beside each other they would not."""
    torch.manual_seed(0)
    model = Transformer(ModelConfig(vocabulary_size=37, width=16, depth=2, heads=2, context=24, initial_std=0.3)).eval()
    wanted = [ToWrite((), [0, *range(3, 3 + length)], limit) for length, limit in ((2, 21), (9, 14), (20, 3), (5, 4), (19, 4))]
    together = write_texts(model, wanted, BeamSettings(2), ends=[2], pad=1)
    for text, (best, *_) in zip(wanted, together, strict=True):
        alone = write_texts(model, [text], BeamSettings(2), ends=[2], pad=1)[0][0]
        assert best.tokens == alone.tokens
        assert best.score == pytest.approx(alone.score, abs=1e-5)
