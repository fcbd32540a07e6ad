"""How far this team's work runs over its estimates, and how much work turns up on the way: learnt from what is done, by Bayes.

With y = log(hours taken) - log(hours estimated) of a finished task of person p, whose estimate's own spread is s:

    y = b + w + u_p + e    b ~ N(log TEAM, TEAM_SD²)   the team's overrun, in all that it does
                           w ~ N(0, WEEKS_SD²)         that of four weeks, good or bad, which the next four need not be like
                           u_p ~ N(0, t²)              a person's own, drawn to the team's where little is known of them (partial pooling)
                           e ~ N(0, s² + k²)           k: how much tasks spread beyond what their estimates say

What is still to come has the b that was learnt and a new w. Given t and k this is a linear model with normal noise, whose posterior has a
closed form (Gelman et al., Bayesian Data Analysis, 3rd edition, chapters 5 and 14); t and k are summed over a grid. No sampler has to
converge, and equal histories give equal numbers.

That what comes has one shared factor is the point: overruns of tasks that are drawn apart average out, which makes bands far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .plan import Estimate

if TYPE_CHECKING:
    import numpy as np

Z80 = 1.2815515655446004
"""The normal deviate that 80% lie within."""
TEAM, TEAM_SD = 1.25, 0.35
"""The overrun of a team nobody knows yet, and its spread in logs: from 0.8 to 2.0 times for 80% of teams.
assumed, after the reviews of Moløkken and Jørgensen 2003 (software takes 30 to 40% more effort than estimated)."""
WEEKS, WEEKS_SD = 4, 0.2
"""How long good and bad times last, and how far apart they are in logs. Without them ten tasks of one good month would say that the team
is a good one, nearly for sure: the bands of teams with such times then hold too seldom (decisions/0015-finish-dates.md). assumed"""
PEOPLE_SD = (0.05, 0.15, 0.3, 0.5)
"""The grid of t, each as likely as another. assumed"""
SPREAD, SPREAD_SD = 0.35, 0.5
"""k, and its spread in logs: intervals that people call 90% sure hold far less often (Jørgensen, Teigen and Moløkken 2004). assumed"""
SPREAD_GRID = 13
FOUND, FOUND_TASKS = 0.2, 5.0
"""Tasks found on the way for each task that is done, and how many done tasks that is worth: requirements grow 1 to 3% a month (Jones
1996), a fifth in a year. assumed"""
MOST_FOUND = 0.8
"""More than that for each, and the end recedes faster than one comes near it: no forecast can say when."""


@dataclass(frozen=True)
class Spread:
    """What an estimate says: hours whose logarithm is normal."""

    mean: float
    """Of the logarithm of the hours."""
    sd: float

    @classmethod
    def of(cls, estimate: Estimate) -> Spread:
        """Low and high as the 10th and 90th percentile; the mean of three values by Swanson's rule (30, 40 and 30%), in logs."""
        low, likely, high = (math.log(each) for each in estimate)
        return cls(0.3 * low + 0.4 * likely + 0.3 * high, (high - low) / (2 * Z80))


@dataclass(frozen=True)
class Finished:
    """A task that is done: what was thought, what it took, and by whom."""

    estimate: Spread
    hours: float
    person: str
    period: int = 0
    """Which four weeks of the plan it was finished in."""


@dataclass(frozen=True)
class Overruns:
    """Draws of what is not known of a team."""

    team: np.ndarray
    """b + w in the weeks to come, (draws,)."""
    people: Mapping[str, np.ndarray]
    """u of each person, (draws,)."""
    spread: np.ndarray
    """k, (draws,)."""

    def take(self, rows: np.ndarray) -> Overruns:
        """Some of the draws."""
        return Overruns(self.team[rows], {name: values[rows] for name, values in self.people.items()}, self.spread[rows])


def learn(done: Sequence[Finished], people: Sequence[str], draws: int, generator: np.random.Generator) -> Overruns:
    """Draws from the posterior of a team's overruns, given what it has done; from the prior where that is nothing.

    Args:
        people: whose overruns are wanted; who has finished tasks and is not among them still tells of the team.
    """
    import numpy as np

    names = list(dict.fromkeys([*people, *(each.person for each in done)]))
    periods = sorted({each.period for each in done})
    shape = np.zeros((len(done), 1 + len(names) + len(periods)))  # y = shape @ (b, u_1, u_2, …, w_1, w_2, …) + e
    shape[:, 0] = 1.0
    for row, each in enumerate(done):
        shape[row, 1 + names.index(each.person)] = shape[row, 1 + len(names) + periods.index(each.period)] = 1.0
    observed = np.array([math.log(max(each.hours, 1e-3)) - each.estimate.mean for each in done])
    scale = np.array([each.estimate.sd for each in done])
    deviates = np.linspace(-2.5, 2.5, SPREAD_GRID)
    log_weights, posteriors = [], []
    for deviate in deviates:
        spread = SPREAD * math.exp(SPREAD_SD * deviate)
        for people_sd in PEOPLE_SD:
            prior_sd = np.array([TEAM_SD] + [people_sd] * len(names) + [WEEKS_SD] * len(periods))
            evidence, mean, root = _conjugate(shape, observed, np.hypot(scale, spread), prior_sd)
            log_weights.append(evidence - deviate**2 / 2)
            posteriors.append((spread, mean, root))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    uniform, normal = generator.random(draws), generator.standard_normal((draws, shape.shape[1]))
    coming = WEEKS_SD * generator.standard_normal(draws)
    chosen = np.searchsorted(np.cumsum(weights) / weights.sum(), uniform).clip(max=len(weights) - 1)
    effects = np.empty_like(normal)
    for number in np.unique(chosen):
        rows = chosen == number
        _, mean, root = posteriors[number]
        effects[rows] = mean + normal[rows] @ root.T
    spreads = np.array([spread for spread, _, _ in posteriors])[chosen]
    return Overruns(effects[:, 0] + coming, {name: effects[:, 1 + number] for number, name in enumerate(names)}, spreads)


def _conjugate(shape: np.ndarray, observed: np.ndarray, noise: np.ndarray, prior_sd: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The log evidence of the observations, and the posterior mean of the effects with a root of their covariance.

    Args:
        noise: the standard deviation of each observation, (done,).
        prior_sd: of each effect.
    """
    import numpy as np

    prior_mean = np.zeros(shape.shape[1])
    prior_mean[0] = math.log(TEAM)
    precision = np.diag(1 / prior_sd**2) + shape.T @ (shape / noise[:, None] ** 2)
    residual = observed - shape @ prior_mean
    covariance = np.linalg.inv(precision)
    pull = shape.T @ (residual / noise**2)
    shift = covariance @ pull
    _, log_determinant = np.linalg.slogdet(precision)
    quadratic = float(((residual / noise) ** 2).sum() - pull @ shift)
    evidence = -0.5 * (quadratic + float(log_determinant) + 2 * float(np.log(prior_sd).sum()) + 2 * float(np.log(noise).sum()))
    return evidence, prior_mean + shift, np.linalg.cholesky(covariance)


def found_tasks(added: int, done: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draws of how many tasks are found for each one that is done: a gamma prior, and a Poisson number of tasks that were.

    Args:
        added: tasks that came into the plan after its work had begun.
        done: the people's tasks that were finished since.
    """
    import numpy as np

    rate: np.ndarray = generator.gamma(FOUND * FOUND_TASKS + added, 1 / (FOUND_TASKS + done), draws)
    return np.minimum(rate, MOST_FOUND)


def found_work(rate: np.ndarray, size: tuple[float, float], generator: np.random.Generator) -> np.ndarray:
    """Draws of the hours of work that turn up with one task, with what turns up with that in turn.

    Args:
        rate: tasks found for each one done, (draws,).
        size: mean and standard deviation of the hours of one found task, which are gamma-distributed: so is then the sum of several.
    """
    import numpy as np

    newest = generator.poisson(rate)
    count = newest.copy()
    while newest.any():  # each finds less than one more, so that this ends
        newest = generator.poisson(rate * newest)
        count += newest
    mean, sd = size
    shape = (mean / sd) ** 2
    return np.where(count > 0, generator.gamma(np.maximum(count, 1) * shape, mean / shape), 0.0)
