"""Comparisons: how often they see a difference where there is none (A/A), and as often as they were planned to where there is one.

    python -m bench.decisions.comparisons            # 2,000 trials of each, a few minutes of one thread
    python -m bench.decisions.comparisons --trials 50

Independent examples: two models that are right equally often, and two scores that are skewed; the product's paired bootstrap
(evaluate/bootstrap.py). Clustered examples: ten questions on each text, which share its luck. Watched: the product's test for roll-outs
(venture/sequential.py), looked at after every event; users who meet several events; beside each the usual test that knows nothing of
clusters or of being watched. Shares stand with their exact 95% intervals (Clopper and Pearson).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np

from bench.rounds import machine
from lodestar.contracts.clock import seconds
from lodestar.contracts.intervals import exact_share
from lodestar.contracts.language import Words
from lodestar.contracts.progress import track
from lodestar.contracts.randomness import generator
from lodestar.contracts.score import Metric
from lodestar.evaluate.bootstrap import paired_difference
from lodestar.evaluate.planning import clustered_spread, units_needed
from lodestar.venture.sequential import alarm_counts, events_needed, power

MEAN = Metric("mean", Words("The mean.", "平均值。"), "", "higher", lambda columns: float(columns["x"].mean()))
RESAMPLES = 500
CLUSTERS, SIZE, CORRELATION = 40, 10, 0.3
EVENTS = 2000
"""Of a watched comparison where nothing differs."""
Table = dict[str, np.ndarray]


def row(name: str, figure: str, hits: int, trials: int, target: str, beside: str = "") -> None:
    low, high = exact_share(hits, trials)
    print(f"| {name} | {figure} | {hits / trials:.2%} [{low:.2%}, {high:.2%}] | {target} | {beside} |", flush=True)


# Independent and clustered: examples that both were measured on


def right_or_wrong(random: np.random.Generator, rows: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether two models are right on the same examples: each 80% of the time and `b` more often by `gain`, half of their luck shared."""
    shared, which = random.uniform(size=rows), random.uniform(size=rows) < 0.5
    own = random.uniform(size=(2, rows))
    return np.where(which, shared, own[0]) < 0.8, np.where(which, shared, own[1]) < 0.8 + gain


def skewed(random: np.random.Generator, rows: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Two scores of each example, mostly near 1 and now and then near 0."""
    a, b = random.beta(0.6, 0.2, size=(2, rows))
    return a, b + gain


def clustered(random: np.random.Generator, texts: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Differences that the examples of a text share in part."""
    shared = random.normal(0, math.sqrt(CORRELATION), (texts, 1))
    own = random.normal(0, math.sqrt(1 - CORRELATION), (texts, SIZE))
    return np.zeros(texts * SIZE), (shared + own).ravel() + gain


Draw = Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray]]


def found(draw: Draw, units: int, gain: float, trials: int, purpose: str, *, clusters: np.ndarray | None = None) -> int:
    """In how many trials the interval of the difference leaves zero out."""
    hits = 0
    for trial in track(range(trials), purpose, "trial"):
        a, b = (each.astype(float) for each in draw(generator(trial, purpose), units, gain))
        difference = paired_difference(MEAN, {"x": a}, {"x": b}, resamples=RESAMPLES, confidence=0.95, seed=trial, clusters=clusters)
        hits += difference.certain
    return hits


def spread_of(draw: Draw, gain: float) -> float:
    """The standard deviation of single differences, from a million of them."""
    a, b = draw(generator(0, "spread"), 1_000_000, gain)
    return float((b.astype(float) - a).std())


def independent(trials: int) -> None:
    for name, draw, gain, sizes in (("right or wrong", right_or_wrong, 0.1, (100, 400)), ("skewed score", skewed, 0.1, (100, 400))):
        for rows in sizes:
            hits = found(draw, rows, 0.0, trials, f"A/A {name} {rows}")
            row(f"independent, {name}", f"false alarms, {rows} examples", hits, trials, "≤ 6%")
        rows = units_needed(gain, spread_of(draw, gain))
        row(
            f"independent, {name}",
            f"power at +{gain:g}, {rows} examples as planned",
            found(draw, rows, gain, trials, f"power {name}"),
            trials,
            "80% ± 3",
        )


def clusters(trials: int) -> None:
    labels = np.repeat(np.arange(CLUSTERS), SIZE)
    hits = found(clustered, CLUSTERS, 0.0, trials, "A/A clustered", clusters=labels)
    naive = found(clustered, CLUSTERS, 0.0, trials, "A/A clustered")
    row("clustered", f"false alarms, {CLUSTERS} × {SIZE}", hits, trials, "≤ 6%", f"as if independent: {naive / trials:.1%}")
    gain = 0.25
    texts = units_needed(gain, clustered_spread(1.0, SIZE, CORRELATION))
    hits = found(clustered, texts, gain, trials, "power clustered", clusters=np.repeat(np.arange(texts), SIZE))
    row("clustered", f"power at +{gain:g}, {texts} clusters as planned", hits, trials, "80% ± 3")


# Watched: labels of events


def alarms(labels: np.ndarray, share: float, *, two_sided: bool) -> int:
    """In how many rows of labels (trials, events) the product's test alarms at some time."""
    bounds = np.array(alarm_counts(share, labels.shape[1], 0.05, two_sided))[1:]
    new = labels.cumsum(1)
    return int(((new <= bounds[:, 0]) | (new >= bounds[:, 1])).any(1).sum())


def naive_alarms(labels: np.ndarray, share: float, first: int = 20) -> int:
    """As `alarms`, of a one-sided normal test at 5% that is made for one look and looked at after each event from the 20th on."""
    count = np.arange(1, labels.shape[1] + 1)
    z = (labels.cumsum(1) - share * count) / np.sqrt(share * (1 - share) * count)
    return int((z[:, first - 1 :] > 1.6449).any(1).sum())


def watched(trials: int) -> None:
    for share, two_sided in ((0.1, False), (0.5, False), (0.5, True)):
        side = "two-sided" if two_sided else "one-sided"
        labels = generator(0, "A/A watched", str(share), side).uniform(size=(trials, EVENTS)) < share
        beside = "" if two_sided else f"a single-look test: {naive_alarms(labels, share) / trials:.1%}"
        exact = power(share, 1.0, EVENTS, two_sided=two_sided)
        name, figure = f"watched after each event, share {share:g}, {side}", f"false alarms in {EVENTS:,} events (exactly: {exact:.2%})"
        row(name, figure, alarms(labels, share, two_sided=two_sided), trials, "≤ 6%", beside)
    for share, ratio in ((0.1, 3.0), (0.5, 2.0)):
        events = events_needed(share, ratio)
        assert events is not None
        label = share * ratio / (share * ratio + 1 - share)
        labels = generator(0, "power watched", str(share)).uniform(size=(trials, events)) < label
        row(f"watched after each event, share {share:g}", f"power at {ratio:g} times as many, {events} events as planned",
            alarms(labels, share, two_sided=False), trials, "80% ± 3")  # fmt: skip


def watched_users(trials: int, users: int = 400, share: float = 0.2) -> None:
    """Users who meet one event, or many: the first of each counts."""
    random = generator(0, "A/A users")
    hits = naive = 0
    for _ in track(range(trials), "A/A watched users", "trial"):
        of_new = random.uniform(size=users) < share
        events = 1 + random.negative_binomial(0.3, 0.04, users)
        order = random.permutation(np.repeat(np.arange(users), events))
        first = order[np.sort(np.unique(order, return_index=True)[1])]
        hits += alarms(of_new[first][None], share, two_sided=False)
        naive += alarms(of_new[order][:EVENTS][None], share, two_sided=False)
    row(f"watched, {users} users of 1 to hundreds of events, share {share:g}", "false alarms", hits, trials, "≤ 6%",
        f"each event by itself: {naive / trials:.1%}")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args(arguments).trials
    begun = seconds()
    print(
        f"{machine({'numpy': np.__version__}, seed=0)}\n\n| data | figure | of {trials:,} trials | target | beside |\n|---|---|---|---|---|"
    )
    for part in (watched, watched_users, clusters, independent):
        part(trials)
    print(f"\n{seconds() - begun:.0f} s")


if __name__ == "__main__":
    main()
