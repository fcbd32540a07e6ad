"""A label that n-grams voted on beside the encoder: their part in it is told, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lodestar.build.ngram_votes import NgramVotes, VotingClassifier, ngrams
from lodestar.build.reading import read_label
from lodestar.explain.explanation import explain
from lodestar.explain.steps import finish
from lodestar.explain.subject import subject_of
from lodestar.model.config import ModelConfig


@pytest.fixture(scope="module")
def voting(weather: Any) -> VotingClassifier:
    """An encoder that knows nothing, and n-grams that do."""
    torch.manual_seed(5)
    config = ModelConfig(architecture="encoder", vocabulary_size=weather.tokenizer.vocabulary_size, width=32, depth=2, heads=2, context=64)
    model = VotingClassifier(config, 2)
    rows = [weather.read(weather.text(number % 2, seed=number)).tokens for number in range(200)]
    model.votes.learn(rows, np.arange(200) % 2)
    model.mix.copy_(torch.tensor([0.5, 0.7, 0.9]))
    return model.eval()


def test_the_shares_of_tokens_add_up_to_the_votes(weather: Any, voting: VotingClassifier) -> None:
    for text in (weather.text(0), weather.text(1, seed=3), "word1 word1 word1 word2 word1", "word1", "lighthouse thunder"):
        tokens = torch.tensor(weather.tokenizer.encode(text))
        for shares, bias, whole in zip(
            voting.votes.shares(tokens), (voting.votes.ratio_bias, voting.votes.frequency_bias), voting.votes(tokens[None]), strict=True
        ):
            torch.testing.assert_close(shares.sum(0) + bias, whole[0], rtol=1e-4, atol=1e-5)


def test_shares_worked_by_hand() -> None:
    """Of "a b a", a votes 6 and a b 3: a's vote is shared by both of its places, that of a b by its two tokens."""
    votes = NgramVotes(1)
    keys = ngrams(torch.tensor([[1, 2, 1]]), torch.ones(1, 3, dtype=torch.bool))[0][0]  # a, b, a, a b, b a, a b a
    known, order = keys[[0, 3]].sort()
    votes.keys[:2] = known
    votes.ratio[:2, 0] = torch.tensor([6.0, 3.0])[order]
    shares, _ = votes.shares(torch.tensor([1, 2, 1]))
    assert shares[:, 0].tolist() == [3 + 1.5, 1.5, 3]


def test_what_is_explained_is_what_encoder_and_votes_answer_together(weather: Any, voting: VotingClassifier) -> None:
    reading = read_label(voting, weather.read(weather.text(1)).tokens, ["calm", "storm"], None, temperature=2.0)
    assert reading.answer == "storm"
    found = finish(explain(voting, weather.tokenizer, reading))
    with torch.no_grad():
        whole = voting(torch.tensor([list(reading.tokens)]))[0]
    assert found.probability == pytest.approx(float((whole / 2).softmax(-1)[1]), abs=1e-5)
    assert found.attribution.complete
    place = [word.label for word in found.words].index(weather.deciding[1])
    assert int(found.importance["gradients"].argmax()) == place
    assert found.verdicts["gradients"].wins
    # Where a word is taken away, the n-grams across the gap are formed anew, as in any text.
    subject = subject_of(voting, reading, weather.tokenizer.pad)
    left = [number for number in range(len(reading.tokens)) if number != place]
    with torch.no_grad():
        logits = voting(torch.tensor([[reading.tokens[number] for number in left]]))[0]
    assert finish(subject.log_probabilities([left]))[0] == pytest.approx(float((logits / 2).log_softmax(-1)[1]), abs=1e-5)


def test_the_beginning_of_the_way_is_an_encoder_s_average_and_no_votes(weather: Any, voting: VotingClassifier) -> None:
    reading = read_label(voting, weather.read("word1 thunder").tokens, ["calm", "storm"], "storm")
    subject = subject_of(voting, reading, weather.tokenizer.pad)
    inputs, baseline = subject.way(torch.tensor([True, True, False]))
    with torch.no_grad():
        assert voting.transformer.embedding is not None
        ends = subject.scores_on_the_way(torch.stack((inputs, baseline)))
        embedded = voting.transformer.embedding(torch.arange(voting.config.vocabulary_size)).mean(0)
        mark = voting.transformer.embedding(torch.tensor(reading.tokens[2]))
        encoder = voting.classify(voting.transformer.hidden(embeddings=torch.stack((embedded, embedded, mark))[None]))[0]
        own = voting.shares(torch.tensor([*reading.tokens]))[2]  # of the mark, which stays
        wanted = 0.5 * encoder + own + voting.vote_bias
        whole = voting(torch.tensor([list(reading.tokens)]))[0]
    assert float(ends[0]) == pytest.approx(float(whole.log_softmax(-1)[1]), abs=1e-5)
    assert float(ends[1]) == pytest.approx(float(wanted.log_softmax(-1)[1]), abs=1e-5)
