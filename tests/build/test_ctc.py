"""CTC against the enumeration of every path, which is its definition."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from lodestar.build.ctc import (
    Fusion,
    PrefixBeam,
    Span,
    Word,
    align,
    collapse,
    ctc_loss,
    frames_needed,
    greedy,
    settled,
    words,
)

BLANK = 0


def sharp(frames, symbols, seed, scale=2.0):
    """(T, V) log-probabilities."""
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (frames, symbols))).log_softmax(-1).numpy()


def every_text(log_TV):
    """Text → log-probability, and the log-probability and path of its likeliest path."""
    total: dict[tuple[int, ...], float] = defaultdict(lambda: -math.inf)
    best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
    for path in itertools.product(range(log_TV.shape[1]), repeat=len(log_TV)):
        log = float(sum(row[symbol] for row, symbol in zip(log_TV, path, strict=True)))
        text = tuple(collapse(path, BLANK))
        total[text] = np.logaddexp(total[text], log)
        if text not in best or log > best[text][0]:
            best[text] = (log, path)
    return dict(total), best


def test_a_path_loses_its_repetitions_and_then_its_blanks():
    assert collapse([0, 1, 1, 0, 1, 2, 2, 0, 0, 2], BLANK) == [1, 1, 2, 2]
    assert collapse([0, 0], BLANK) == []
    assert frames_needed([1, 1, 2, 2, 2]) == 8
    assert frames_needed([]) == 0


def test_the_loss_is_minus_the_log_of_the_sum_over_paths():
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (4, 5, 4))).float().requires_grad_()
    frames, texts = [5, 4, 5, 2], [[1, 2], [3], [2, 2], [1, 1]]
    targets = torch.tensor([[1, 2], [3, 9], [2, 2], [1, 1]]) % 4  # what stands behind a text is not read
    loss, tokens = ctc_loss(logits, torch.tensor(frames), targets, torch.tensor([2, 1, 2, 2]), BLANK)
    expected = 0.0
    for row in range(3):
        log_TV = logits[row, : frames[row]].log_softmax(-1).detach().numpy()
        expected -= every_text(log_TV)[0][tuple(texts[row])]
    # The last text needs three frames and has two: it counts nothing.
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-4)
    assert int(tokens) == 7
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[3] == 0).all()
    assert (logits.grad[1, 4:] == 0).all()  # nor does the padding


@pytest.mark.parametrize("seed", range(5))
def test_prefix_beam_gives_the_exact_sums(seed):
    log_TV = sharp(5, 3, seed)
    total, _ = every_text(log_TV)
    beam = PrefixBeam(BLANK, beams=10_000, tokens=None, least=0.0)
    beam.push(log_TV[:2])
    beam.push(log_TV[2:])
    found = {tuple(hypothesis.tokens): hypothesis.log_probability for hypothesis in beam.results()}
    assert set(found) == set(total)
    for text, log in total.items():
        assert found[text] == pytest.approx(log, abs=1e-9)
    assert tuple(beam.results()[0].tokens) == max(total, key=total.__getitem__)
    assert sum(math.exp(log) for log in found.values()) == pytest.approx(1.0)


def test_a_few_beams_find_what_greedy_decoding_misses():
    # The likeliest path is two blanks, the likeliest text is a: Graves et al. 2006, section 3.2.
    log_TV = np.log(np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]]))
    assert greedy(log_TV, BLANK) == []
    beam = PrefixBeam(BLANK, beams=3)
    beam.push(log_TV)
    assert beam.results()[0].tokens == [1]
    assert beam.results()[0].log_probability == pytest.approx(math.log(0.4 * 0.5 + 0.5 * 0.4 + 0.4 * 0.4))


@pytest.mark.parametrize("seed", range(3))
def test_narrow_beams_lose_little(seed):
    log_TV = sharp(6, 4, seed)
    total, _ = every_text(log_TV)
    beam = PrefixBeam(BLANK, beams=6)
    beam.push(log_TV)
    best = beam.results()[0]
    assert total[tuple(best.tokens)] >= max(total.values()) - 0.2
    assert best.log_probability <= total[tuple(best.tokens)] + 1e-9  # some of its paths may have been lost, none was made up


class Bigrams:
    """Words by how often they follow each other, made up; a text ends with probability 0.3 after each word."""

    def __init__(self):
        self.asked = 0

    def log_probabilities(self, texts, *, whole):
        self.asked += len(texts)
        return [
            sum(self._word(before, word) for before, word in itertools.pairwise(["", *text.split()])) + whole * math.log(0.3)
            for text in texts
        ]

    @staticmethod
    def _word(before, word):
        return -0.7 * len(word) - (2.0 if word == before else 0.1) - 0.3 * word.count("bb")


def spell(tokens):
    """Token 3 is the space between words."""
    return "".join("_ab "[token] for token in tokens)


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
def test_fusion_finds_the_best_of_all_texts(seed):
    log_TV = sharp(6, 4, seed, scale=1.0)
    total, _ = every_text(log_TV)
    scorer = Bigrams()

    def fused(text):
        return total[text] + 2.0 * scorer.log_probabilities([spell(text)], whole=True)[0] + 0.6 * len(spell(text).split())

    beam = PrefixBeam(BLANK, beams=10_000, tokens=None, least=0.0, fusion=Fusion(scorer, spell, 2.0, 0.6))
    beam.push(log_TV)
    best = beam.results()[0]
    expected = max(total, key=fused)
    assert fused(tuple(best.tokens)) == pytest.approx(fused(expected))
    assert best.score == pytest.approx(fused(expected))
    plain = max(total, key=total.__getitem__)
    assert expected != plain  # the language model decides something
    narrow = PrefixBeam(BLANK, beams=12, fusion=Fusion(scorer, spell, 2.0, 0.6))
    narrow.push(log_TV)
    assert fused(tuple(narrow.results()[0].tokens)) >= fused(expected) - 0.3


def test_a_word_is_scored_once_it_is_complete():
    assert settled("the cat") == "the"
    assert settled("the cat ") == "the cat"
    assert settled("the") == ""
    assert settled("今天天气") == "今天天气"
    assert settled("今天 the") == "今天"
    scorer = Bigrams()
    beam = PrefixBeam(BLANK, beams=4, fusion=Fusion(scorer, spell))
    beam.push(sharp(50, 4, 0))
    beam.results()
    assert scorer.asked < 200  # each text once


@pytest.mark.parametrize("seed", range(4))
def test_alignment_is_the_likeliest_path_of_the_text(seed):
    log_TV = sharp(6, 3, seed)
    _, best = every_text(log_TV)
    for text in [(), (1,), (1, 1), (2, 1, 2), (2, 2, 2), (1, 2, 1, 2)]:
        if text not in best:
            continue
        spans = align(log_TV, text, BLANK)
        path = best[text][1]
        starts = [place for place, symbol in enumerate(path) if symbol != BLANK and (place == 0 or path[place - 1] != symbol)]
        assert [span.start for span in spans] == starts
        for span, token in zip(spans, text, strict=True):
            assert all(path[place] == token for place in range(span.start, span.end))
            assert span.end == len(path) or path[span.end] != token
            assert span.log_probability == pytest.approx(log_TV[span.start : span.end, token].mean())


def test_a_text_too_long_for_its_frames_is_refused():
    with pytest.raises(ValueError, match="2 frames are too few for a text that takes 3"):
        align(sharp(2, 3, 0), [1, 1], BLANK)


def test_words_take_the_frames_of_their_tokens():
    pieces = ["the", " c", "at", ",", " sat"]
    spans = [Span(2 * place, 2 * place + 2, -0.1) for place in range(5)]
    made = words("the cat, sat", range(5), spans, lambda tokens: "".join(pieces[token] for token in tokens))
    assert made == [Word("the", 0, 2), Word("cat,", 2, 6), Word("sat", 8, 10)]
    # Two tokens of a byte or two make one character, as in a tokenizer of bytes.
    data = ["今".encode()[:1], "今".encode()[1:], "天".encode(), "。".encode()]
    made = words("今天。", range(4), spans, lambda tokens: b"".join(data[token] for token in tokens).decode(errors="replace"))
    assert made == [Word("今", 0, 4), Word("天。", 4, 6)]
