"""From a venture and what its pilots measured to the problem that `compare` solves: options, and evidence on each quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from pathlib import Path

from ..contracts.clock import now
from ..contracts.errors import UserError, unknown
from ..contracts.evidence import Evidence, Source, Support, support_of
from ..contracts.language import Words
from ..contracts.option import UNTRAINED, Kind, Option
from ..contracts.score import Metric, Score, Target
from ..store.files import sha256_file
from . import assumptions
from .decision import PossiblePilot, Problem
from .pilots import Pilot, identity, read_pilots, rule_file
from .rules import RuleFile
from .strategies import THIS_MACHINE, Machine, Strategy, settings_of, strategies_of
from .venture import Venture
from .vision import VentureFile

REQUESTS, BUSY = "requests per month", "share of busy hours"
PRICE, SPEED = "price of an hour", "speed"
HOURS, EFFORT, REQUEST_HOURS, REQUEST_PRICE = "training hours", "working days", "hours of a request", "price of a request"
FIRST_SHARE = 1 / 8
"""Of the whole run, that a first pilot takes as a rule."""
LEFT_BY_FIRST_PILOT = 0.5
"""The share of an assumption's deviation that a first pilot leaves: assumed."""
API_RECORDS = 100
"""Records that a bought API is asked about."""
UNWRITTEN_WORTH = 10_000.0
"""What keeping every promise is worth where neither `decision.worth` nor a budget says: assumed."""
_HAND_UNITS = {"train_hours": "hours", "request_seconds": "s"}


def key(subject: str, what: str) -> str:
    """The name of a quantity of a strategy or of a machine."""
    return f"{subject}: {what}"


@dataclass
class _Builder:
    """Gathers the quantities while the options are made."""

    venture: Venture
    metrics: Mapping[str, Metric]
    today: Date
    currency: str
    quantities: dict[str, Evidence] = field(default_factory=dict)

    @property
    def targets(self) -> Sequence[Target]:
        return self.venture.file.targets

    @property
    def rates(self) -> Mapping[str, float]:
        """What one of another currency is in the decision's."""
        file = self.venture.file
        known = file.economics.rates if file.economics is not None and file.economics.currency == self.currency else {}
        return {**known, **file.decision.rates}

    def put(self, name: str, evidence: Evidence) -> str:
        self.quantities[name] = evidence
        return name

    def money(self, evidence: Evidence, per: str, where: str) -> Evidence:
        """A price in the decision's currency; raises `UserError` for another unit, or another currency without a rate."""
        currency, slash, rest = evidence.unit.partition("/")
        if not slash or rest != per:
            raise UserError(f"the unit is {evidence.unit!r}", where=where, fix=f"write a price as {self.currency}/{per}")
        if currency == self.currency:
            return evidence
        rate = self.rates.get(currency)
        if rate is None:
            raise UserError(
                f"the price is in {currency}, the decision in {self.currency}, and no rate says what one is in the other",
                where=where, fix=f"write decision.rates: {{{currency}: what one {currency} is in {self.currency}}}",
            )  # fmt: skip
        return evidence.scaled(rate, f"{self.currency}/{per}")


def build_problem(venture: Venture, metrics: Mapping[str, Metric], today: Date | None = None) -> Problem:
    """The problem of a venture, as far as its evidence goes; what is not known is assumed, and told so.

    Args:
        metrics: every metric that the task and the system measure, by name.

    Raises:
        UserError: fewer than two options, a unit or a currency that does not fit, or evidence that is not what was measured.
    """
    file, settings = venture.file, venture.file.decision
    _check_dates(file.targets, venture.path)
    builder = _Builder(venture, metrics, today or now().date(), _currency(file))
    builder.put(REQUESTS, settings.requests_per_month or assumptions.requests_per_month(builder.today))
    builder.put(BUSY, settings.busy or assumptions.busy_share(builder.today))
    machines = _machines(builder)
    pilots = read_pilots(venture)
    options, possible = [], []
    for strategy in strategies_of(file):
        found = pilots.get(identity(strategy, venture))
        made, pilot = _options(builder, strategy, machines, found)
        options += made
        possible += pilot if not made[0].infeasible else []
    worth = settings.worth or _budget_amount(builder) or UNWRITTEN_WORTH
    return Problem.parse(
        {
            "date": builder.today, "currency": builder.currency, "worth": worth, "day_rate": settings.day_rate, "months": settings.months,
            "per_day": worth / 365 if settings.per_day is None else settings.per_day,
            "targets": list(file.targets), "north_star": file.north_star, "requests": REQUESTS, "busy": BUSY,
            "options": options, "quantities": builder.quantities, "pilots": possible,
        },
        where=venture.path,
    )  # fmt: skip


def _check_dates(targets: Sequence[Target], where: Path) -> None:
    """Refuse a date that cannot be counted towards: "in time" is a part of every comparison."""
    for number, target in enumerate(targets):
        try:
            Date.fromisoformat(target.by or "2000-01-01")
        except ValueError:
            raise UserError(f"targets.{number}: {target.by!r} is no date", where=where, fix="write it as YYYY-MM-DD") from None


def _currency(file: VentureFile) -> str:
    if file.decision.currency is not None:
        return file.decision.currency
    return file.economics.currency if file.economics is not None else file.budget.currency if file.budget is not None else "USD"


def _budget_amount(builder: _Builder) -> float:
    """The budget, in the decision's currency; a team that spends it on the product says that it is worth as much."""
    budget = builder.venture.file.budget
    if budget is None or not budget.amount:
        return 0.0
    spent = Evidence(
        value=budget.amount, low=budget.amount, high=budget.amount, unit=f"{budget.currency}/product", source="quoted", date=builder.today,
        reference="venture.yaml",
    )  # fmt: skip
    return builder.money(spent, "product", "budget").value


def _machines(builder: _Builder) -> list[Machine]:
    """The machines, with the prices in the decision's currency, among the quantities."""
    file = builder.venture.file
    machines = file.decision.machines
    if not machines:
        hour = file.machine_hour
        if hour is not None:
            price = Evidence(
                value=hour.amount, low=hour.amount, high=hour.amount, unit=f"{hour.currency}/hour", source="quoted", date=builder.today,
                reference="venture.yaml",
            )  # fmt: skip
        elif builder.currency == "USD" or "USD" in builder.rates:
            price = assumptions.machine_price(builder.today)
        else:
            raise UserError(
                f"nothing says what an hour of this machine costs in {builder.currency}",
                where=builder.venture.path,
                fix="write budget.per_hour",
            )
        machines = [Machine(name=THIS_MACHINE, price=price)]
    for machine in machines:
        builder.put(key(machine.name, PRICE), builder.money(machine.price, "hour", f"decision.machines: {machine.name}"))
        if machine.speed is not None:
            builder.put(key(machine.name, SPEED), machine.speed)
    return machines


def _options(
    builder: _Builder, strategy: Strategy, machines: Sequence[Machine], found: tuple[Path, Pilot] | None
) -> tuple[list[Option], list[PossiblePilot]]:  # fmt: skip
    """A strategy on each machine that it can be on, and the pilot of it that could be made next."""
    file, name, kind = builder.venture.file, strategy.name, strategy.kind
    _check_kind(strategy, builder)
    known = _checked_by_hand(strategy, builder)
    metrics = {
        target.metric: builder.put(key(name, target.metric), _metric(builder, strategy, target, known, found)) for target in file.targets
    }
    shared = {
        "kind": kind, "metrics": metrics, "settings": settings_of(strategy, file),
        "effort_days": builder.put(key(name, EFFORT), strategy.effort_days or assumptions.effort_days(kind, builder.today)),
    }  # fmt: skip
    if kind == "api":
        price = builder.put(key(name, REQUEST_PRICE), _request_price(builder, strategy, found))
        options = [Option(name=name, request_price=price, **shared)]
    else:
        shared["request_hours"] = builder.put(key(name, REQUEST_HOURS), _request_hours(builder, strategy, known, found))
        if kind not in UNTRAINED:
            shared["train_hours"] = builder.put(key(name, HOURS), _training_hours(builder, strategy, known, found))
        options = [_on(machine, name, found, alone=len(machines) == 1, shared=shared) for machine in machines]
    return options, _possible(builder, strategy, options[0], found)


def _on(machine: Machine, name: str, found: tuple[Path, Pilot] | None, *, alone: bool, shared: Mapping[str, object]) -> Option:
    """A strategy on one machine."""
    pilot = found[1] if found else None
    infeasible = pilot.refused if pilot and machine.name == THIS_MACHINE else ""
    if pilot and pilot.peak_range and machine.memory_bytes and pilot.peak_range[1] > machine.memory_bytes:
        needed, there = (f"{count / 1e9:.1f} GB" for count in (pilot.peak_range[1], machine.memory_bytes))
        infeasible = str(
            Words(
                f"training needs up to {needed} of memory, and {machine.name} has {there}",
                f"训练最多需要 {needed} 内存，而 {machine.name} 只有 {there}",
            )
        )
    return Option.model_validate(
        {
            **shared, "name": name if alone else f"{name} on {machine.name}", "machine": machine.name, "infeasible": infeasible,
            "hour_price": key(machine.name, PRICE), "speed": key(machine.name, SPEED) if machine.speed else None,
        }
    )  # fmt: skip


def _check_kind(strategy: Strategy, builder: _Builder) -> None:
    """Refuse a strategy that begins from an open model and names none, and the other way round; and rules that are none."""
    model = strategy.model or builder.venture.file.model
    where = f"decision.strategies: {strategy.name}"
    if strategy.kind in ("fine-tune", "adapter") and model.base is None:
        raise UserError(f"it is of kind {strategy.kind}, and no model to begin from is named", where=where, fix="name it in its model.base")
    if strategy.rules is not None:
        RuleFile(rule_file(strategy, builder.venture))
    if strategy.kind == "scratch" and model.base is not None:
        raise UserError(
            f"it is of kind scratch, and would begin from {model.base!r}", where=where, fix="give it a model of its own, without base"
        )


def _checked_by_hand(strategy: Strategy, builder: _Builder) -> Mapping[str, Evidence]:
    """The evidence that venture.yaml gives on a strategy, each with the unit that it must have, and the file that it names as it was."""
    units = {target.metric: builder.metrics[target.metric].unit for target in builder.targets} | _HAND_UNITS
    for name, evidence in strategy.evidence.items():
        where = f"decision.strategies: {strategy.name}: evidence.{name}"
        if name not in units:
            raise unknown("quantity", name, units, where=where)
        if evidence.unit != units[name]:
            raise UserError(
                f"the unit is {evidence.unit!r}, and {name!r} is measured in {units[name]!r}",
                where=where,
                fix="convert it, and write that unit",
            )
        check_reference(evidence, builder.venture, where)
    return strategy.evidence


def check_reference(evidence: Evidence, venture: Venture, where: str) -> None:
    """Refuse evidence whose file is gone, or is not the one that it was read from."""
    if evidence.hash is None:
        return
    path = venture.folder / evidence.reference
    if not path.is_file() or sha256_file(path) != evidence.hash:
        what = "does not match its hash" if path.is_file() else "is missing"
        raise UserError(f"the evidence's file {path} {what}", where=where, fix="restore the file, or measure again")


# Each quantity: as given by hand, else as measured, else as assumed


def _of_file(builder: _Builder, found: tuple[Path, Pilot], value: float, low: float, high: float, unit: str, support: Support) -> Evidence:
    path, pilot = found
    source: Source = "measured"
    return Evidence(
        value=value, low=low, high=high, unit=unit, source=source, date=pilot.date,
        reference=path.relative_to(builder.venture.folder).as_posix(), hash=sha256_file(path), support=support,
    )  # fmt: skip


def _metric(
    builder: _Builder, strategy: Strategy, target: Target, known: Mapping[str, Evidence], found: tuple[Path, Pilot] | None
) -> Evidence:  # fmt: skip
    if target.metric in known:
        return known[target.metric]
    measured = builder.metrics[target.metric]
    if found is not None:
        system = next((score for score in found[1].system if score.metric == target.metric), None)
        if system is not None:
            support = support_of(system.low, system.high, system.unit, system.better)
            return _of_file(builder, found, system.value, system.low, system.high, system.unit, support)
        runs = [(run.share, score) for run in found[1].runs for score in run.scores if score.metric == target.metric]
        if runs:
            return _extrapolated(builder, found, runs, measured)
    return assumptions.metric(target, measured, strategy.kind, builder.today)


def _extrapolated(
    builder: _Builder, found: tuple[Path, Pilot], runs: Sequence[tuple[float, Score]], metric: Metric
) -> Evidence:  # fmt: skip
    """What the whole run will score, told from the short ones."""
    from .curve import Point, extrapolate

    runs = [(share, open_end(score)) for share, score in runs]
    lows, highs = [score.low for _, score in runs], [score.high for _, score in runs]
    support = support_of(min(lows), max(highs), metric.unit, metric.better)
    share, last = runs[-1]
    if share == 1:  # run to its end
        return _of_file(builder, found, last.value, last.low, last.high, metric.unit, support)
    points = [Point(share, score.value, deviation(score)) for share, score in runs]
    told = extrapolate(points, 1.0, metric.better, share=support == "share")
    low = min(max(told.low, 0.0), told.value) if support != "real" else told.low
    high = min(told.high, 1.0) if support == "share" else told.high
    if support == "positive" and low <= 0:
        support = "real"
    return _of_file(builder, found, told.value, low, high, metric.unit, support)


def open_end(score: Score) -> Score:
    """A share of equal records, all right or all wrong, with the end of its interval that so many leave open (Clopper and Pearson 1934):
    resampling them gives the same again, as if it were certain.
    """
    if score.unit or score.low != score.high or score.value not in (0.0, 1.0):
        return score
    end = ((1 - score.confidence) / 2) ** (1 / score.count)
    return score.model_copy(update={"low": end} if score.value else {"high": 1 - end})


def deviation(score: Score) -> float:
    """The standard deviation of a score's measurement, from its interval."""
    from scipy.special import ndtri

    return float((score.high - score.low) / 2 / ndtri(0.5 + score.confidence / 2))


def _training_hours(builder: _Builder, strategy: Strategy, known: Mapping[str, Evidence], found: tuple[Path, Pilot] | None) -> Evidence:
    if "train_hours" in known:
        return known["train_hours"]
    if found is not None and found[1].whole_seconds:
        hours, factor = found[1].whole_seconds / 3600, found[1].time_factor
        return _of_file(builder, found, hours, hours / factor, hours * factor, "hours", "positive")
    train = strategy.train or builder.venture.file.train
    if train.minutes is not None:
        why = Words("its limit, train.minutes", "其上限 train.minutes")
        return assumptions.assumed(train.minutes / 60 * 0.5, train.minutes / 60, train.minutes / 60, "hours", why, builder.today)
    return assumptions.training_hours(builder.today)


def _request_hours(builder: _Builder, strategy: Strategy, known: Mapping[str, Evidence], found: tuple[Path, Pilot] | None) -> Evidence:
    if "request_seconds" in known:
        return known["request_seconds"].scaled(1 / 3600, "hours")
    score = next((score for score in found[1].system if score.metric == "latency_ms_p50"), None) if found else None
    if found is not None and score is not None:
        return _of_file(builder, found, score.value / 3.6e6, score.low / 3.6e6, score.high / 3.6e6, "hours", "positive")
    milliseconds = (0.1, 2, 40) if strategy.kind in UNTRAINED else (5, 100, 2000)
    why = Words("nothing was tried yet", "尚未试跑")
    low, value, high = (each / 3.6e6 for each in milliseconds)
    return assumptions.assumed(low, value, high, "hours", why, builder.today)


def _request_price(builder: _Builder, strategy: Strategy, found: tuple[Path, Pilot] | None) -> Evidence:
    """Of a bought API: tokens times prices; its interval is as wide, relative to it, as the tokens' and the prices' together."""
    api = strategy.api
    assert api is not None
    total, variance, sources, dates = 0.0, 0.0, set[Source](), set[Date]()
    for written, price, given in ((False, api.price_in, api.tokens_in), (True, api.price_out, api.tokens_out)):
        where = f"decision.strategies: {strategy.name}: api.price_{'out' if written else 'in'}"
        cost = builder.money(price, "1M tokens", where)
        tokens = given or _measured_tokens(builder, found, written) or assumptions.tokens_of_a_request(written, builder.today)
        part = cost.value * tokens.value / 1e6
        total += part
        variance += (part * math.hypot(_relative(cost), _relative(tokens))) ** 2
        sources |= {cost.source, tokens.source}
        dates |= {cost.date, tokens.date}
    factor = math.exp(1.96 * math.sqrt(variance) / total) if total else 1.0
    # As good as the weakest of what it is made of.
    source: Source = "assumed" if "assumed" in sources else "quoted" if "quoted" in sources else "measured"
    return Evidence(
        value=total, low=total / factor, high=total * factor, unit=f"{builder.currency}/request", source=source, date=min(dates),
        reference=api.price_in.reference, support="positive" if total > 0 else "real",
    )  # fmt: skip


def _measured_tokens(builder: _Builder, found: tuple[Path, Pilot] | None, written: bool) -> Evidence | None:
    mean = found[1].usage.get("tokens_out" if written else "tokens_in") if found else None
    return None if mean is None or found is None else _of_file(builder, found, mean, mean * 0.9, mean * 1.1, "tokens", "real")


def _relative(evidence: Evidence) -> float:
    """Its standard deviation, as a share of its value, where it is lognormal."""
    from scipy.special import ndtri

    if evidence.certain or evidence.low <= 0:
        return 0.0
    return math.log(evidence.high / evidence.low) / (2 * float(ndtri(0.5 + evidence.confidence / 2)))


# The next pilots


def _possible(builder: _Builder, strategy: Strategy, option: Option, found: tuple[Path, Pilot] | None) -> list[PossiblePilot]:
    """The pilot of a strategy that could be made next; none where it was run to its end, or cannot be tried."""
    by_hand = set(strategy.evidence)
    told = [name for metric, name in option.metrics.items() if metric not in by_hand and not builder.quantities[name].certain]
    if not told or (strategy.kind == "api" and (strategy.api is None or strategy.api.url is None)):
        return []
    pilot = found[1] if found else None
    if strategy.kind in UNTRAINED:
        return [] if pilot else [_first_pilot(builder, strategy.kind, option, told)]
    hours = builder.quantities[key(strategy.name, HOURS)].value
    price = builder.quantities[option.hour_price].value if option.hour_price else 0.0
    if pilot is None or not pilot.runs:
        return [
            PossiblePilot(
                option=option.name, cost=hours * FIRST_SHARE * price, hours=hours * FIRST_SHARE, quantities=told, left=LEFT_BY_FIRST_PILOT
            )
        ]
    share = pilot.runs[-1].share
    if share >= 1:
        return []
    scored = {score.metric for score in pilot.runs[-1].scores}
    told = [name for metric, name in option.metrics.items() if metric in scored and name in told]
    following = min(1.0, 4 * share)
    left = _left(builder, pilot, option, told, math.log(following) / math.log(share))
    return (
        [PossiblePilot(option=option.name, cost=hours * following * price, hours=hours * following, quantities=told, left=left)]
        if told
        else []
    )


def _first_pilot(builder: _Builder, kind: Kind, option: Option, told: list[str]) -> PossiblePilot:
    """Of what trains nothing: asking it about some records."""
    if kind == "api":
        assert option.request_price is not None
        cost = API_RECORDS * builder.quantities[option.request_price].value
        return PossiblePilot(option=option.name, cost=cost, hours=API_RECORDS * 2 / 3600, quantities=told, left=LEFT_BY_FIRST_PILOT)
    return PossiblePilot(option=option.name, cost=0.0, hours=0.02, quantities=told, left=LEFT_BY_FIRST_PILOT)


def _left(builder: _Builder, pilot: Pilot, option: Option, told: Sequence[str], distance: float) -> float:
    """The deviation that a longer run leaves, as a share: it shrinks as the logarithm of what is left to run, down to the measurement's.

    Args:
        distance: that logarithm, as a share of what it is after the longest run so far.
    """
    floors = []
    for metric, name in option.metrics.items():
        if name in told:
            evidence = builder.quantities[name]
            now_known = (evidence.high - evidence.low) / (2 * 1.96)
            score = next(score for score in pilot.runs[-1].scores if score.metric == metric)
            floors.append(min(1.0, deviation(score) / now_known) if now_known else 1.0)
    return min(0.98, max(0.02, distance, min(floors, default=0.0)))
