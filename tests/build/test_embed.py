"""Vectors of texts: alone as in a row of several, and the loss as it is written down in the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lodestar.build.embed import COLDEST, TextEncoder, contrastive_losses, embed, embed_tokens, fingerprints, positions_within
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer

WIDTH = 32


def encoder(position: str = "rotary", **options: object) -> TextEncoder:
    torch.manual_seed(0)
    config = ModelConfig(300, WIDTH, 2, 2, 64, architecture="encoder", position=position)  # type: ignore[arg-type]
    model = TextEncoder(config, **options)  # type: ignore[arg-type]
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)  # far from the small weights of the start, where much is alike
    return model.eval()


def rows(*texts: list[list[int]]) -> dict[str, torch.Tensor]:
    """Rows of parts as the loader pads them."""
    longest = max(sum(map(len, parts)) for parts in texts)
    tokens, part = torch.zeros(len(texts), longest, dtype=torch.long), torch.zeros(len(texts), longest, dtype=torch.long)
    for row, parts in enumerate(texts):
        flat = [token for one in parts for token in one]
        tokens[row, : len(flat)] = torch.tensor(flat)
        part[row, : len(flat)] = torch.tensor([number for number, one in enumerate(parts, 1) for _ in one])
    return {"tokens": tokens, "part": part, "attention_mask": part > 0}


@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "relative"])
def test_a_part_is_encoded_as_it_is_alone(position: str) -> None:
    model = encoder(position)
    texts = [[[5, 6, 7], [8, 9], [10]], [[11], [12, 13, 14, 15]]]
    batch = rows(*texts)
    with torch.inference_mode():
        vectors, there = model.parts(batch["tokens"], batch["part"])
        assert there.tolist() == [[True, True, True], [True, True, False]]
        for row, parts in enumerate(texts):
            for place, tokens in enumerate(parts):
                alone = model(torch.tensor([tokens]), torch.ones(1, len(tokens), dtype=torch.bool))[0]
                assert torch.allclose(vectors[row, place], alone, atol=1e-5)
                assert alone.norm().item() == pytest.approx(1, abs=1e-5)


def test_positions_begin_anew_in_each_part() -> None:
    assert positions_within(torch.tensor([[1, 1, 1, 2, 2, 3, 0, 0]])).tolist() == [[0, 1, 2, 0, 1, 0, 0, 1]]


def test_the_loss_is_info_nce_over_the_batch_and_its_wrong_passages() -> None:
    model = encoder(temperature=0.1)
    texts = [[[5, 6], [7, 8, 9], [20, 21]], [[10], [11, 12]], [[13, 14], [15], [16], [17, 18]]]
    with torch.inference_mode():
        questions, right = [[model(torch.tensor([parts[place]]), torch.ones(1, len(parts[place]))) for parts in texts] for place in (0, 1)]
        wrong = [model(torch.tensor([part]), torch.ones(1, len(part))) for parts in texts for part in parts[2:]]
        scores = torch.cat(questions) @ torch.cat([*right, *wrong]).T / 0.1
        forward = -scores.log_softmax(1).diagonal()
        backward = -scores[:, :3].log_softmax(0).diagonal()
        assert torch.allclose(contrastive_losses(model, rows(*texts), both=False), forward, atol=1e-4)
        assert torch.allclose(contrastive_losses(model, rows(*texts), both=True), (forward + backward) / 2, atol=1e-4)


def test_the_same_passage_or_question_again_is_not_counted_as_wrong() -> None:
    model = encoder()
    with torch.inference_mode():
        one = contrastive_losses(model, rows([[5, 6], [7, 8]], [[9], [10, 11]]), both=False)
        # Once more with another question; as the wrong passage of another row; and the same question with another passage.
        twice = contrastive_losses(model, rows([[5, 6], [7, 8]], [[9], [10, 11]], [[12], [7, 8]]), both=False)
        assert twice[0] == pytest.approx(one[0].item(), abs=1e-4)
        alone = contrastive_losses(model, rows([[5, 6], [7, 8]], [[12], [7, 8]]), both=True)
        assert alone.tolist() == [0, 0]
        as_wrong = contrastive_losses(model, rows([[5, 6], [7, 8], [7, 8]]), both=False)
        assert as_wrong.tolist() == [0]
        same_question = contrastive_losses(model, rows([[5, 6], [7, 8]], [[5, 6], [10, 11]]), both=True)
        assert same_question.tolist() == [0, 0]


def test_a_row_whose_passage_was_cut_away_teaches_nothing() -> None:
    model = encoder()
    losses = contrastive_losses(model, rows([[5, 6, 7]], [[8], [9]], [[10], [11]]), both=True)
    assert len(losses) == 2
    assert len(contrastive_losses(model, rows([[5, 6, 7]]), both=True)) == 0


def test_equal_texts_have_equal_fingerprints_wherever_they_stand_and_others_do_not() -> None:
    batch = rows([[5, 6], [7, 8, 9], [5, 6]], [[6, 5], [7, 8, 9]])
    names = fingerprints(batch["tokens"], batch["part"])
    assert names[0, 0] == names[0, 2]
    assert names[0, 1] == names[1, 1]
    assert len(set(names[:, :2].flatten().tolist())) == 3


def test_a_learnt_temperature_is_a_parameter_and_has_a_floor() -> None:
    model = encoder(temperature=0.05, learnt=True)
    assert isinstance(model.scale, torch.Tensor)
    assert model.scale.item() == pytest.approx(20)
    contrastive_losses(model, rows([[5], [6]], [[7], [8]]), both=True).sum().backward()
    assert model.log_scale is not None
    assert model.log_scale.grad is not None
    with torch.no_grad():
        model.log_scale.fill_(99.0)
    assert model.scale.item() == pytest.approx(1 / COLDEST)
    assert encoder(temperature=0.05).scale == 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a few words", "几个字"], 280)


def test_a_text_longer_than_the_context_is_read_in_windows(tokenizer: Tokenizer) -> None:
    model = encoder()
    row = torch.randint(0, 280, (150,)).tolist()
    with torch.inference_mode():
        windows = [model(torch.tensor([row[at : at + 64]]), torch.ones(1, len(row[at : at + 64])))[0] for at in (0, 64, 128)]
    mean = sum(len(row[at : at + 64]) * window for at, window in zip((0, 64, 128), windows, strict=True))
    assert isinstance(mean, torch.Tensor)
    np.testing.assert_allclose(embed_tokens(model, 1, [row])[0], F.normalize(mean, dim=0).numpy(), atol=1e-5)


def test_vectors_come_in_the_order_of_the_texts_and_an_empty_text_has_one(tokenizer: Tokenizer) -> None:
    model = encoder()
    texts = ["", "x" * 1000, "几个字", "a", "😀 \u200b", "\u0627\u0644\u0633"]
    together = embed(model, tokenizer, texts)
    assert together.dtype == np.float32
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(embed(model, tokenizer, [text])[0], vector, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
