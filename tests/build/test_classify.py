"""The second lesson of a classifier: naming the tokens that were hidden from it."""

from __future__ import annotations

import math

import pytest
import torch

from lodestar.build.classify import HIDDEN, class_logits, label_loss, masked_reading, packed_labels
from lodestar.build.heads import SequenceClassifier
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import PAD
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer
from lodestar.tasks.classification import Classification

CONFIG = ModelConfig(50, 32, 2, 2, 16, architecture="encoder", initial_std=0.2)


@pytest.fixture
def model() -> SequenceClassifier:
    torch.manual_seed(0)
    return SequenceClassifier(CONFIG, 3)


def batch(tokens: torch.Tensor, lengths: list[int]) -> dict[str, torch.Tensor]:
    mask = torch.arange(tokens.shape[1]) < torch.tensor(lengths)[:, None]
    return {"tokens": tokens.masked_fill(~mask, HIDDEN), "attention_mask": mask, "label": torch.tensor([0, 2, 1])}


def test_what_is_hidden_is_not_seen_and_padding_is_never_hidden(model: SequenceClassifier) -> None:
    tokens, lengths = torch.randint(2, 50, (3, 12)), [12, 7, 3]
    torch.manual_seed(1)
    hidden = (torch.rand(3, 12) < 0.5) & batch(tokens, lengths)["attention_mask"]
    assert 0 < hidden.sum() < sum(lengths)

    def losses(changed: torch.Tensor) -> tuple[float, float]:
        torch.manual_seed(1)
        given = batch(changed, lengths)
        logits, token = masked_reading(model, given, 0.5)
        return label_loss(logits, given).item() / 3, token.item()

    label, token = losses(tokens)
    other_label, other_token = losses(torch.where(hidden, (tokens - 1) % 48 + 2, tokens))
    assert other_label == label
    assert other_token != token
    assert losses(torch.where(hidden, tokens, (tokens - 1) % 48 + 2))[0] != label
    # Whatever stands in the padding, the losses are the same.
    padding = ~batch(tokens, lengths)["attention_mask"]
    assert losses(torch.where(padding, 7, tokens)) == (label, token)


def test_a_model_that_knows_nothing_has_the_entropy_of_the_vocabulary(model: SequenceClassifier) -> None:
    assert model.transformer.embedding is not None
    torch.nn.init.zeros_(model.transformer.embedding.weight)
    torch.nn.init.zeros_(model.output.weight)
    given = batch(torch.randint(2, 50, (3, 12)), [12, 7, 3])
    logits, token = masked_reading(model, given, 0.3)
    assert token.item() == pytest.approx(math.log(50))
    assert label_loss(logits, given).item() == pytest.approx(3 * math.log(3))


def test_a_batch_so_short_that_nothing_was_drawn_still_has_a_loss(model: SequenceClassifier) -> None:
    _, token = masked_reading(model, batch(torch.randint(2, 50, (3, 1)), [1, 1, 1]), 1e-9)
    assert math.isfinite(token.item())


def test_hidden_tokens_read_as_padding_in_every_tokenizer() -> None:
    assert train_tokenizer(["text"], 300).special(PAD) == HIDDEN


def test_evaluation_hides_nothing(model: SequenceClassifier) -> None:
    task = Classification(state={"labels": ["a", "b", "c"]})
    given = batch(torch.randint(2, 50, (3, 12)), [12, 7, 3])
    with torch.inference_mode():
        loss, terms = task.loss(model.eval(), given)
    rows = [row[:length].tolist() for row, length in zip(given["tokens"], [12, 7, 3], strict=True)]
    found = torch.tensor(class_logits(model, rows, HIDDEN)).log_softmax(-1)
    assert int(terms) == 3
    assert float(loss) == pytest.approx(-sum(found[row, label].item() for row, label in enumerate([0, 2, 1])), rel=1e-5)


@pytest.mark.parametrize(("options", "message"), [({"masking": 1.5}, "'masking' is 1.5"), ({"maskng": 0.1}, "did you mean 'masking'")])
def test_wrong_options_are_refused_when_the_task_is_made(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Classification(options)


@pytest.mark.parametrize("labels", [1, 3, 62, 63, 130])
def test_sets_of_labels_come_out_of_their_numbers_as_they_went_in(labels: int) -> None:
    torch.manual_seed(0)
    truth, logits = torch.rand(5, labels) < 0.4, torch.randn(5, labels, requires_grad=True)
    rows = [packed_labels(row.nonzero().flatten().tolist(), labels) for row in truth]
    given = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
    label_loss(logits, given).backward()
    expected = torch.sigmoid(logits.detach()) - truth.float()
    torch.testing.assert_close(logits.grad, expected)
