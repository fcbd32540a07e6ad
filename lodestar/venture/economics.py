"""Unit economics: what an answer costs, from the ledger's requests and the hours that servers were up, and what is left of its price.

The machine is paid for while a server is up, whether it answers or waits; so an answer bears its share of the idle time, of requests that
failed, and of the people who keep the product running.

Intervals come from resampling blocks of time and not requests: requests of the same hour share their load, failures come in stretches and
idle time is no request's own, so that intervals over single requests would be far too narrow (Künsch 1989, "The Jackknife and the
Bootstrap for General Stationary Observations").
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from ..contracts.intervals import expanded_percentile
from ..contracts.money import EconomicsSettings, Money
from ..contracts.randomness import generator

if TYPE_CHECKING:
    import numpy as np

    from ..store.ledger import Request, ServerRow

HOURS_A_MONTH = 365.25 * 24 / 12
MICROS = 1_000_000
"""Of a unit of currency: what single requests are counted in, since most cost far less than a cent."""
FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Of today's price: those that the margin is told at."""
UTILISATIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
RESAMPLES = 2000
CONFIDENCE = 0.95
_BLOCKS = ((86_400.0, 14), (3600.0, 14), (60.0, 14))
"""Seconds of a block, and how many of them there must be: days where there are two weeks of them, else hours, else minutes. A day holds the
whole rhythm of the load, an hour only a stretch of it."""

Sums = Mapping[str, "np.ndarray"]
"""Totals over time: each a number, or an array over resamples."""
Measure = Callable[[Sums], "np.ndarray"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; NaN where time was too short to tell one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Economics:
    """What was paid, for what, and what is left of the price."""

    currency: str
    machine_hours: float
    machine_hour: float
    """The price of one."""
    machine_cents: int
    """machine_hours × machine_hour."""
    people_hours: float
    people_cents: int
    requests: int
    answered: int
    failed: int
    retries: int
    """Requests that repeated an earlier one, as their clients say; a part of `requests`."""
    tokens: int
    """Read and written, of answered requests."""
    block_seconds: float | None
    blocks: int
    """What the intervals rest on; none where time was too short."""
    utilisation: Estimate
    """The share of the paid hours in which a request was in work."""
    per_request: Estimate
    """The cost of an answered request."""
    per_million_tokens: Estimate
    capacity: Estimate
    """Answered requests in an hour without idle time, at the load that there was; a fuller batch may answer more."""
    shares: Mapping[str, float]
    """Where the money went: answers, failed, idle, people; they add up to 1."""
    price: Estimate | None
    """What an answered request brought in; None where no price is set."""
    margin: Estimate | None
    """The share of the price that is left."""
    break_even: Estimate | None
    """Answered requests a month that pay for the hours as they were."""
    can_break_even: bool | None
    """Whether the machine could answer so many."""
    margins: Mapping[float, Estimate] = field(default_factory=dict)
    """A factor on today's price → the margin at it."""
    at_utilisation: Mapping[float, Estimate] = field(default_factory=dict)
    """A utilisation → the cost of an answered request at it."""
    by_release: Mapping[str, int] = field(default_factory=dict)
    """A release → the micro-units that its requests cost; they add up to machine_cents."""
    by_route: Mapping[str, int] = field(default_factory=dict)


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Share a whole number out by weight, so that the shares are whole and add up to it exactly (largest remainders, Hamilton's method).

    Equal remainders go to whoever comes first; where all weights are 0, all count alike.
    """
    if not weights:
        return []
    sum_of_weights = sum(weights)
    if not sum_of_weights:
        weights, sum_of_weights = [1] * len(weights), len(weights)
    shares = [total * weight // sum_of_weights for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -(total * weights[index] % sum_of_weights))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares


def request_micros(requests: Sequence[Request], machine_cents: int) -> list[int]:
    """What each request cost of the machine's hours, in millionths, by the time that it was in work; they add up to `machine_cents`."""
    return allocate(machine_cents * (MICROS // 100), [round(1000 * request.latency_ms) for request in requests])


def unit_economics(
    requests: Sequence[Request], servers: Sequence[ServerRow], settings: EconomicsSettings, machine_hour: Money, *, seed: int = 0
) -> Economics | None:
    """What an answer costs; None where no server was up.

    Args:
        machine_hour: what an hour of a server's machine costs.

    Raises:
        UserError: an amount is in a currency without a rate.
    """
    import numpy as np

    hour = settings.convert(machine_hour, "machine_hour")
    people_hour = sum(person.hours_per_week * settings.convert(person.hour, f"people: {person.role}") for person in settings.people) / 168
    up = np.array([[_moment(server.started), _moment(server.seen)] for server in servers]).reshape(-1, 2)
    if not up.size or not (up[:, 1] - up[:, 0]).sum():
        return None
    table, block_seconds = _by_blocks(requests, up)
    table["cost"] = table["machine_hours"] * hour + table["hours"] * people_hour
    price = _price_of(settings)
    sums = {name: np.asarray(column.sum()) for name, column in table.items()}
    blocks = len(table["hours"]) if block_seconds else 0
    drawn = _resampled(table, blocks, seed)

    def estimate(measure: Measure) -> Estimate:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(measure(sums))
            low, high = expanded_percentile(_finite(measure(drawn)), blocks, CONFIDENCE) if blocks >= 2 else (math.nan, math.nan)
        return Estimate(value if math.isfinite(value) else math.nan, low, high)

    machine_hours, people_hours = float(sums["machine_hours"]), float(sums["hours"]) / 168 * sum(p.hours_per_week for p in settings.people)
    machine_cents = _cents(machine_hours, hour)
    micros = request_micros(requests, machine_cents)
    capacity = estimate(_capacity)
    most_a_month = HOURS_A_MONTH * float(_machines(sums)) * capacity.value
    break_even = price and estimate(lambda s: _month(s) / price(s))
    return Economics(
        currency=settings.currency, machine_hours=machine_hours, machine_hour=hour, machine_cents=machine_cents, people_hours=people_hours,
        people_cents=_cents(float(sums["hours"]), people_hour), requests=len(requests), answered=int(sums["answered"]),
        failed=len(requests) - int(sums["answered"]), retries=sum(request.retries > 0 for request in requests), tokens=int(sums["tokens"]),
        block_seconds=block_seconds, blocks=blocks, utilisation=estimate(lambda s: s["busy"] / s["machine_hours"]),
        per_request=estimate(lambda s: s["cost"] / s["answered"]), per_million_tokens=estimate(lambda s: 1e6 * s["cost"] / s["tokens"]),
        capacity=capacity, shares=_shares(sums, hour, people_hour),
        price=price and estimate(price), margin=price and estimate(_margin(price, 1.0)),
        break_even=break_even, can_break_even=None if break_even is None else break_even.value <= most_a_month,
        margins={factor: estimate(_margin(price, factor)) for factor in FACTORS} if price else {},
        at_utilisation={share: estimate(_cost_at(share)) for share in UTILISATIONS},
        by_release=_sum_by(micros, [request.release for request in requests]),
        by_route=_sum_by(micros, [request.route for request in requests]),
    )  # fmt: skip


def _by_blocks(requests: Sequence[Request], up: np.ndarray) -> tuple[dict[str, np.ndarray], float | None]:
    """What happened in each block of time, and how many seconds a block has; one block, and None, where time was too short for several."""
    import numpy as np

    starts = np.array([_moment(request.time) for request in requests])
    answered = np.array([request.status < 400 for request in requests], dtype=float)
    seconds = np.array([request.latency_ms / 1000 for request in requests])
    tokens = np.array([request.tokens_in + request.tokens_out for request in requests], dtype=float)
    first, last = float(up[:, 0].min()), float(up[:, 1].max())
    block_seconds = next((size for size, enough in _BLOCKS if (last - first) >= enough * size), None)
    edges = np.append(np.arange(first, last, block_seconds or last - first), last)
    # What arrived a moment before a server was first noted, or after it was last seen, belongs to the nearest block.
    block_of = np.clip(np.searchsorted(edges, starts, side="right") - 1, 0, len(edges) - 2).astype(int)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(block_of, weights=values, minlength=len(edges) - 1)

    overlap = np.clip(np.minimum(up[:, 1:], edges[1:]) - np.maximum(up[:, :1], edges[:-1]), 0, None).sum(0)
    table = {
        "hours": np.diff(edges) / 3600, "machine_hours": overlap / 3600, "busy": total(_busy(starts, seconds)) / 3600,
        "answered": total(answered), "tokens": total(tokens * answered), "work": total(seconds),
        "failed_work": total(seconds * (1 - answered)),
    }  # fmt: skip
    return table, block_seconds


def _busy(starts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """For each request the seconds that it was in work while no earlier one was: they add up to the time in which any was."""
    import numpy as np

    if not len(starts):
        return starts
    order = np.argsort(starts, kind="stable")
    begun, ended = starts[order], starts[order] + seconds[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(ended)[:-1]])
    found = np.empty_like(seconds)
    found[order] = np.clip(ended - np.maximum(begun, before), 0, None)
    return found


def _resampled(table: Mapping[str, np.ndarray], blocks: int, seed: int) -> dict[str, np.ndarray]:
    """The sums over blocks drawn with replacement: (resamples,) each."""
    if blocks < 2:
        return {}
    counts = generator(seed, "economics", blocks).multinomial(blocks, [1 / blocks] * blocks, RESAMPLES)
    return {name: counts @ column for name, column in table.items()}


def _price_of(settings: EconomicsSettings) -> Measure | None:
    """What an answered request brings in."""
    if settings.price is None:
        return None
    amount = settings.convert(settings.price.money, "price")
    if settings.price.per_request is not None:
        return lambda sums: amount + 0 * sums["answered"]
    return lambda sums: amount * sums["tokens"] / sums["answered"] / 1e6


def _margin(price: Measure, factor: float) -> Measure:
    """The margin at so many times the price."""
    return lambda sums: 1 - sums["cost"] / sums["answered"] / (factor * price(sums))


def _cost_at(utilisation: float) -> Measure:
    """The cost of an answered request, were the machine in use for this share of its time."""
    return lambda sums: sums["cost"] / sums["machine_hours"] / (utilisation * _capacity(sums))


def _capacity(sums: Sums) -> np.ndarray:
    return sums["answered"] / sums["busy"]


def _machines(sums: Sums) -> np.ndarray:
    """How many were up on average, from the first server's start to the last one's end."""
    return sums["machine_hours"] / sums["hours"]


def _month(sums: Sums) -> np.ndarray:
    """What a month costs as it went."""
    return sums["cost"] / sums["hours"] * HOURS_A_MONTH


def _shares(sums: Sums, hour: float, people_hour: float) -> dict[str, float]:
    machine, people = float(sums["machine_hours"]) * hour, float(sums["hours"]) * people_hour
    whole = machine + people
    if not whole:
        return {}
    in_work = min(1.0, float(sums["busy"] / sums["machine_hours"])) * machine / whole
    failed = in_work * float(sums["failed_work"] / sums["work"]) if sums["work"] else 0.0
    return {"answers": in_work - failed, "failed": failed, "idle": machine / whole - in_work, "people": people / whole}


def _sum_by(micros: Sequence[int], keys: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for cost, key in zip(micros, keys, strict=True):
        found[key] += cost
    return dict(found)


def _cents(hours: float, hour: float) -> int:
    """hours × price in whole cents, rounded half to even."""
    return int((Decimal(repr(hours)) * Decimal(repr(hour)) * 100).quantize(Decimal(1), ROUND_HALF_EVEN))


def _finite(values: np.ndarray) -> np.ndarray:
    """Resamples without an answer have no cost of one."""
    import numpy as np

    return np.where(np.isfinite(values), values, np.nan)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
