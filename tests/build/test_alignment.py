"""Alignments against all of them, counted out; the prior against SciPy's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import betabinom

from lodestar.build.alignment import BLANK_LOGIT, Aligner, beta_binomial, durations_of, forward_sum


def all_durations(symbols: int, frames: int) -> Iterator[tuple[int, ...]]:
    """Every way to share frames among symbols, at least one each."""
    for cuts in itertools.combinations(range(1, frames), symbols - 1):
        edges = (0, *cuts, frames)
        yield tuple(after - before for before, after in itertools.pairwise(edges))


@pytest.mark.parametrize(("symbols", "frames"), [(1, 4), (3, 6), (4, 4), (4, 8)])
def test_the_search_finds_the_best_of_all_alignments(symbols: int, frames: int) -> None:
    log = torch.randn(2, frames + 2, symbols + 1, generator=torch.Generator().manual_seed(symbols))
    found = durations_of(log, torch.tensor([symbols, symbols + 1]), torch.tensor([frames, frames + 2]))
    for row, (wide, long) in enumerate(((symbols, frames), (symbols + 1, frames + 2))):
        scores = {
            lengths: sum(float(log[row, frame, symbol]) for frame, symbol in enumerate(np.repeat(np.arange(wide), lengths)))
            for lengths in all_durations(wide, long)
        }
        assert tuple(found[row, :wide].tolist()) == max(scores, key=scores.__getitem__)
        assert int(found[row].sum()) == long


def test_the_sum_is_over_all_paths_of_symbols_and_blanks() -> None:
    """Each frame says a symbol or the blank; a path counts where its symbols, without repeats and blanks, are the text."""
    log = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    with_blank = torch.cat((torch.full((1, 5, 1), BLANK_LOGIT), log), -1).log_softmax(-1)[0]
    total = 0.0
    for path in itertools.product(range(3), repeat=5):
        said = [symbol for symbol, _ in itertools.groupby(path) if symbol]
        if said == [1, 2]:
            total += math.exp(sum(float(with_blank[frame, symbol]) for frame, symbol in enumerate(path)))
    found = forward_sum(log, torch.tensor([2]), torch.tensor([5]))
    assert float(found[0]) == pytest.approx(-math.log(total), rel=1e-4)


def test_the_prior_is_scipys_beta_binomial() -> None:
    prior = beta_binomial(torch.tensor([5, 3]), torch.tensor([9, 7]), 9, 5)
    for row, (symbols, frames) in enumerate(((5, 9), (3, 7))):
        for frame in range(frames):
            expected = betabinom.logpmf(np.arange(symbols), symbols - 1, frame + 1, frames - frame)
            np.testing.assert_allclose(prior[row, frame, :symbols], expected, rtol=1e-4, atol=1e-5)
    assert (prior[1, :7, 3:] < -1e8).all()


def test_padding_changes_no_alignment() -> None:
    torch.manual_seed(0)
    aligner = Aligner(16, 10)
    embedded, mel = torch.randn(1, 4, 16), torch.randn(1, 10, 9)
    alone = aligner(embedded, torch.ones(1, 4, dtype=torch.bool), mel, torch.ones(1, 9, dtype=torch.bool))
    padded = aligner(
        torch.nn.functional.pad(embedded, (0, 0, 0, 3), value=5.0), torch.arange(7)[None] < 4,
        torch.nn.functional.pad(mel, (0, 4), value=7.0), torch.arange(13)[None] < 9,
    )  # fmt: skip
    torch.testing.assert_close(padded[:, :9, :4], alone, rtol=1e-4, atol=1e-4)


def test_symbols_that_sound_apart_are_found_without_being_told_where() -> None:
    """Three sounds in random orders and lengths: after some steps of the sum over alignments the search finds the true lengths."""
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    sounds = torch.randn(3, 8) * 2
    aligner, table = Aligner(16, 8, compared=16), torch.nn.Embedding(3, 16)
    optimizer = torch.optim.Adam([*aligner.parameters(), *table.parameters()], lr=0.01)

    def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        texts = torch.tensor(np.array([draw.permutation(3) for _ in range(8)]))
        lengths = torch.tensor(np.array([[*draw.integers(1, 6, 2), 0] for _ in range(8)]))
        lengths[:, 2] = 12 - lengths.sum(1)
        mel = torch.stack([sounds[text].repeat_interleave(length, 0).T for text, length in zip(texts, lengths, strict=True)])
        return texts, lengths, mel + 0.1 * torch.randn_like(mel)

    full = torch.full((8,), 3), torch.full((8,), 12)
    masks = torch.ones(8, 3, dtype=torch.bool), torch.ones(8, 12, dtype=torch.bool)
    for _ in range(60):
        texts, lengths, mel = batch()
        loss = forward_sum(aligner(table(texts), masks[0], mel, masks[1]), *full).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    texts, lengths, mel = batch()
    found = durations_of(aligner(table(texts), masks[0], mel, masks[1]), *full)
    assert int((found - lengths).abs().max()) <= 1  # a frame at a border is heard with its neighbours
    assert int((lengths - 4).abs().max()) > 2
