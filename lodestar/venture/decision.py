"""The decision: the options held against the same simulated worlds.

What an option is worth in a world is a sum in money:

    worth · [every target is met in time] + worth · surplus - cost - per_day · days

`surplus` is how far the north star passes its target, as a share of it, within ±1: a promise kept counts for more than any surplus under
double the promise, and where all options keep it, or none, the better one is ahead. Nothing in it depends on which other options there are,
so one that is added or taken away moves none of the others past each other; the best option has the highest expected utility, and so the
least expected regret (von Neumann and Morgenstern 1947; Savage 1951 for regret).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from ..contracts.config import Config
from ..contracts.evidence import Evidence
from ..contracts.option import Option
from ..contracts.score import Target
from .simulate import draw

if TYPE_CHECKING:
    import numpy as np

    from .information import Utility

DRAWS = 50_000
FASTER: Mapping[str, int] = {"latency_ms_p50": -1, "latency_ms_p95": -1, "tokens_per_second": 1}
"""Metrics that a faster machine changes → the power of its speed that they grow by."""
HOURS_IN_DAY = 24.0
KEPT_APART = 1e-9
"""Utilities nearer to each other than this share of the worth are a tie."""


class PossiblePilot(Config):
    """A measurement that could be made before choosing."""

    option: str
    """The option that is tried."""
    cost: float = Field(ge=0)
    """What it takes, in money."""
    hours: float = Field(ge=0)
    """Of the machine."""
    quantities: list[str] = Field(min_length=1)
    """What it tells of."""
    left: float = Field(ge=0, lt=1)
    """The deviation that it leaves of each, as a share of what it is now."""


class Problem(Config):
    """What is to be decided, as data: everything that `compare` needs, and all that the record keeps."""

    date: Date
    """The day of the decision."""
    currency: str
    worth: float = Field(gt=0)
    """What keeping every promise is worth."""
    per_day: float = Field(ge=0)
    """What each day costs until then."""
    day_rate: float = Field(ge=0)
    """What a person's working day costs."""
    months: float = Field(ge=0)
    """How long it is served, for the cost of serving."""
    targets: list[Target] = Field(min_length=1)
    north_star: str
    requests: str
    """The quantity: requests in a month."""
    busy: str
    """The quantity: the share of the rented hours in which a machine answers."""
    options: list[Option]
    quantities: dict[str, Evidence]
    pilots: list[PossiblePilot] = []

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [option.name for option in self.options]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two options are called {twice!r}; give them different names")
        if len(self.feasible) < 2:
            only = f"only {self.feasible[0].name!r}" if self.feasible else "none"
            raise ValueError(f"a decision is between two options or more, and {only} can be done; add one to decision.strategies")
        for option in self.options:
            missing = [key for key in option.quantities if key not in self.quantities]
            unmeasured = [target.metric for target in self.targets if target.metric not in option.metrics]
            if missing or unmeasured:
                what = ", ".join(missing or unmeasured)
                raise ValueError(f"the option {option.name!r} has no evidence on {what}; add it, even as an assumption")
        return self

    @property
    def feasible(self) -> list[Option]:
        """The options that can be done."""
        return [option for option in self.options if not option.infeasible]

    @property
    def north_target(self) -> Target:
        return next(target for target in self.targets if target.metric == self.north_star)


@dataclass(frozen=True)
class Outcome:
    """What becomes of an option, in each world."""

    metrics: Mapping[str, np.ndarray]
    days: np.ndarray
    """Until it serves."""
    making: np.ndarray
    """What it costs until then."""
    serving: np.ndarray
    """What serving it costs."""
    kept: Mapping[str, np.ndarray]
    """Each target's metric → whether it is met in time."""
    utility: np.ndarray

    @property
    def cost(self) -> np.ndarray:
        return self.making + self.serving

    @property
    def met(self) -> np.ndarray:
        """Whether all targets are."""
        import numpy as np

        return np.logical_and.reduce(np.broadcast_arrays(*self.kept.values()))


def outcome(problem: Problem, option: Option, worlds: Mapping[str, np.ndarray]) -> Outcome:
    """What becomes of an option in the worlds, whose draws may have any shapes that broadcast."""
    import numpy as np

    def drawn(key: str | None, absent: float = 0.0) -> np.ndarray:
        return np.asarray(absent) if key is None else worlds[key]

    speed = drawn(option.speed, 1.0)
    metrics = {metric: worlds[key] * speed ** FASTER.get(metric, 0) for metric, key in option.metrics.items()}
    hours, effort, price = drawn(option.train_hours) / speed, drawn(option.effort_days), drawn(option.hour_price)
    days = effort + hours / HOURS_IN_DAY
    making = hours * price + effort * problem.day_rate
    each = drawn(option.request_price) + drawn(option.request_hours) / speed * price / worlds[problem.busy]
    serving = each * worlds[problem.requests] * problem.months
    kept = {target.metric: _meets(target, metrics[target.metric], days, problem.date) for target in problem.targets}
    met = np.logical_and.reduce(np.broadcast_arrays(*kept.values()))
    gain = surplus(problem.north_target, metrics[problem.north_star])
    utility = problem.worth * (met + gain) - making - serving - problem.per_day * days
    return Outcome(metrics, days, making, serving, kept, utility)


def _meets(target: Target, values: np.ndarray, days: np.ndarray, today: Date) -> np.ndarray:
    good = values >= target.at_least if target.at_least is not None else values <= (target.at_most or 0.0)
    if target.by is None:
        return good
    return good & (days <= (Date.fromisoformat(target.by) - today).days)


def surplus(target: Target, values: np.ndarray) -> np.ndarray:
    """How far a metric passes its target, as a share of it, within ±1. Against a threshold of 0 in the metric's own unit."""
    import numpy as np

    threshold = target.at_least if target.at_least is not None else target.at_most
    assert threshold is not None
    sign = 1 if target.at_least is not None else -1
    return np.clip(sign * (values - threshold) / (abs(threshold) or 1.0), -1.0, 1.0)


# What comes of comparing them


class Spread(Config):
    """A distribution, by its mean and five of its quantiles."""

    mean: float
    p05: float
    p25: float
    p50: float
    p75: float
    p95: float


class Outlook(Config):
    """What is to be expected of an option."""

    name: str
    expected_utility: float
    expected_regret: float
    """Of choosing it, against whichever turns out best."""
    probability_all: float
    """That every target is met in time."""
    probability_each: dict[str, float]
    """Of each target."""
    probability_best: float
    """That no other turns out better."""
    cost: Spread
    making: Spread
    serving: Spread
    days: Spread
    metrics: dict[str, Spread]


class Uncertainty(Config):
    """What one quantity means for the choice."""

    quantity: str
    worth_knowing: float
    """The value of perfect information on it."""
    advantage_low: float
    """The best option's expected utility, less that of the best other one, where the quantity is at its 5% quantile."""
    advantage_high: float
    """The same at its 95% quantile."""
    flips_at: float | None = None
    """The value nearest to the median beyond which another option is better; None where none is within 98% of what is likely."""
    flips_to: str = ""
    """Which one."""
    flips_below: bool = False
    """Whether it is better below that value, rather than above."""


class PilotValue(Config):
    """What a measurement would be worth."""

    pilot: PossiblePilot
    worth: float
    """The expected gain of choosing after it, its cost not taken off."""

    @property
    def net(self) -> float:
        return self.worth - self.pilot.cost


class Comparison(Config):
    """The options, the best first."""

    options: list[Outlook]
    worth_knowing_all: float
    """The value of perfect information on everything."""
    uncertainties: list[Uncertainty]
    """The one that matters most first."""
    pilots: list[PilotValue]
    """The cheapest first."""
    draws: int
    seed: int

    @property
    def best(self) -> Outlook:
        return self.options[0]

    @property
    def next_pilot(self) -> PilotValue | None:
        """The cheapest measurement that is worth more than it costs; None where it is time to choose."""
        return next((value for value in self.pilots if value.net > 0), None)


def compare(problem: Problem, *, draws: int = DRAWS, seed: int = 0, detail: bool = True) -> Comparison:
    """Simulate every option that can be done in the same worlds, and say which is best, how surely, and what would change that.

    The same problem and seed give the same comparison, to the last bit; it does not depend on the order of the options.

    Args:
        detail: whether to say, too, what each uncertainty and each possible pilot means for the choice.
    """
    import numpy as np

    from .information import perfect_information

    options = sorted(problem.feasible, key=lambda option: option.name)
    worlds = draw(problem.quantities, draws, seed)
    found = {option.name: outcome(problem, option, worlds) for option in options}
    utilities = np.stack([np.broadcast_to(found[option.name].utility, (draws,)) for option in options], axis=1)
    best = utilities.max(axis=1)
    outlooks = [
        _outlook(option.name, found[option.name], utilities[:, number], best, problem.worth, draws) for number, option in enumerate(options)
    ]  # fmt: skip
    outlooks.sort(key=lambda each: (-each.expected_utility, each.name))
    return Comparison(
        options=outlooks,
        worth_knowing_all=max(0.0, perfect_information(utilities)),
        uncertainties=_uncertainties(problem, options, outlooks[0].name, seed) if detail else [],
        pilots=_pilot_values(problem, options, seed) if detail else [],
        draws=draws,
        seed=seed,
    )


def _outlook(name: str, of: Outcome, utility: np.ndarray, best: np.ndarray, worth: float, draws: int) -> Outlook:
    import numpy as np

    def spread(values: np.ndarray) -> Spread:
        ends = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        return Spread(mean=float(np.mean(values)), **dict(zip(("p05", "p25", "p50", "p75", "p95"), map(float, ends), strict=True)))

    return Outlook(
        name=name,
        expected_utility=float(utility.mean()),
        expected_regret=float((best - utility).mean()),
        probability_all=float(np.broadcast_to(of.met, (draws,)).mean()),
        probability_each={metric: float(np.broadcast_to(kept, (draws,)).mean()) for metric, kept in of.kept.items()},
        probability_best=float((utility >= best - KEPT_APART * worth).mean()),
        cost=spread(of.cost), making=spread(of.making), serving=spread(of.serving), days=spread(of.days),
        metrics={metric: spread(values) for metric, values in of.metrics.items()},
    )  # fmt: skip


def _utilities(problem: Problem, options: Sequence[Option]) -> list[Utility]:
    def utility(option: Option, worlds: Mapping[str, np.ndarray]) -> np.ndarray:
        return outcome(problem, option, worlds).utility

    return [partial(utility, option) for option in options]


def _pilot_values(problem: Problem, options: Sequence[Option], seed: int) -> list[PilotValue]:
    """What each possible pilot is worth, the cheapest first."""
    from .information import conditional_means, outcomes, partial_information

    def value(pilot: PossiblePilot) -> PilotValue:
        learnt = outcomes(pilot.quantities, pilot.left, seed)
        means = conditional_means(_utilities(problem, options), problem.quantities, learnt, pilot.left, seed)
        return PilotValue(pilot=pilot, worth=partial_information(means))

    return sorted(map(value, problem.pilots), key=lambda each: (each.pilot.cost, each.pilot.option))


def _uncertainties(problem: Problem, options: Sequence[Option], best: str, seed: int) -> list[Uncertainty]:
    used = {key for option in options for key in option.quantities} | {problem.requests, problem.busy}
    names = sorted(name for name in used if not problem.quantities[name].certain)
    found = [_uncertainty(problem, options, best, name, seed) for name in names]
    return sorted(found, key=lambda each: (-each.worth_knowing, each.quantity))


def _uncertainty(problem: Problem, options: Sequence[Option], best: str, name: str, seed: int) -> Uncertainty:
    import numpy as np
    from scipy.special import ndtr

    from .information import conditional_means, outcomes, partial_information
    from .simulate import quantiles

    scores = np.sort(outcomes([name], 0.0, seed)[name])
    means = conditional_means(_utilities(problem, options), problem.quantities, {name: scores}, 0.0, seed)
    ours = next(number for number, option in enumerate(options) if option.name == best)
    others = np.delete(means, ours, axis=1)
    advantage = means[:, ours] - others.max(axis=1)
    low, high = np.interp([-1.645, 1.645], scores, advantage)
    found = Uncertainty(quantity=name, worth_knowing=partial_information(means), advantage_low=float(low), advantage_high=float(high))
    crossing = _crossing(scores, advantage)
    if crossing is None:
        return found
    below = bool(advantage[crossing] < 0)
    beyond = crossing if below else crossing + 1
    rival = int(np.argmax(np.where(np.arange(means.shape[1]) == ours, -math.inf, means[beyond])))
    at = float(quantiles(problem.quantities[name], ndtr(scores[crossing : crossing + 2].mean(keepdims=True)))[0])
    return found.model_copy(update={"flips_at": at, "flips_to": options[rival].name, "flips_below": below})


def _crossing(scores: np.ndarray, advantage: np.ndarray) -> int | None:
    """The place nearest to the median, within 98% of what is likely, after which the choice is another one; None where there is none."""
    import numpy as np

    crosses = ((advantage[:-1] < 0) != (advantage[1:] < 0)) & (np.abs(scores[:-1]) < 2.33)
    return int(np.argmin(np.where(crosses, np.abs(scores[:-1]), math.inf))) if crosses.any() else None
