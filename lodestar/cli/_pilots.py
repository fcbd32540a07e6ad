"""Pilots: short trainings of each strategy by the same steps as `lodestar run`, within a budget that is never exceeded.

The budget is split by successive halving (Karnin et al. 2013; Jamieson and Talwalkar 2016): every strategy is tried briefly, the more
promising half for longer, and again. It asks for no guess of what a pilot will show, as a split by the value of information does, whose
inputs before the first pilot are assumptions alone; that value decides, once there are measurements, whether a further pilot pays.
All strategies are given the same share of their own whole run, so that each forecast has as far to go.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.clock import now, seconds
from ..contracts.errors import UserError
from ..contracts.language import say
from ..contracts.meter import forget_peak, peak_since_forgotten
from ..contracts.option import UNTRAINED
from ..contracts.progress import note
from ..contracts.settings import EvaluateSettings
from ..venture.pilots import Pilot, PilotRun, identity, read_pilots, rule_file, save_pilot
from ..venture.problem import API_RECORDS
from ..venture.strategies import BoughtApi, Strategy, settings_of, strategies_of, with_settings
from ..venture.venture import Venture
from . import _steps
from ._plan import TrainingPlan, load_task, plan_training, prepare_folder

if TYPE_CHECKING:
    from ..build.bundle import Bundle
    from ..contracts.score import Metric, Score
    from ..contracts.task import Task

ROUNDS = 3
RECORDS = 500
"""Records that a pilot is measured on, at most."""
RESAMPLES = 500
LEAST_STEPS = 4
"""Optimiser steps of the shortest pilot."""
WARM_UP, PARTS = 3, 5
"""The first steps, or answers, which do more than later ones, and the parts of the other steps whose times are held against each other."""
RESERVE = 0.9
"""The share of the budget that is planned with: machines are not as fast at each moment."""
MEASURING_GUESS = 3.0
"""Seconds that the first measuring is taken to need."""
DRAWS = 4_000
"""Simulated worlds behind the choice of who is tried for longer."""


class Trial(Venture):
    """A venture as a strategy makes it: its data is the venture's own, its runs and its ledger are kept apart."""

    @property
    def state(self) -> Path:
        return self.folder / ".lodestar" / "pilots"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    def run_folder(self, step: str, id: str) -> Path:
        return self.folder / "runs" / f"{step}-{id}" if step == "prepare" else super().run_folder(step, id)


@dataclass(frozen=True)
class Budget:
    """What pilots may take."""

    seconds: float
    share: float | None
    """Of what running every strategy to its end would take."""


@dataclass
class Candidate:
    """A strategy that trains a model, on its way through the rounds."""

    strategy: Strategy
    trial: Trial
    plan: TrainingPlan
    pilot: Pilot
    full_tokens: int
    measuring: float
    """Seconds that measuring takes."""

    @property
    def full_seconds(self) -> float:
        """Of training to the end."""
        return max(self.pilot.whole_seconds or 0.0, 1e-3)

    @property
    def least_share(self) -> float:
        assert self.plan.settings.batch_tokens is not None
        return min(1.0, LEAST_STEPS * self.plan.settings.batch_tokens / self.full_tokens)

    @property
    def reached(self) -> float:
        """The largest share that was run."""
        return max((run.share for run in self.pilot.runs), default=0.0)

    def takes(self, share: float) -> float:
        """Seconds of a run, and of measuring it."""
        return share * self.full_seconds + self.measuring


class _BudgetSpent(BaseException):
    """The last second of the budget is over."""


def run_pilots(venture: Venture, metrics: Mapping[str, Metric], budget: Budget) -> list[Path]:
    """Try the strategies of a venture; returns the evidence files that were written.

    Preparing the data is not a part of the budget: the run itself needs it, and finds it done. What the budget's end cuts off is
    dropped; what was measured before stands.

    Raises:
        UserError: the data cannot be read, or a strategy's settings do not fit together.
    """
    from ..venture.problem import build_problem

    build_problem(venture, metrics)  # what is wrong with the question is said before anything is spent on it
    strategies = strategies_of(venture.file)
    known = {key: pilot for key, (_, pilot) in read_pilots(venture).items()}
    written: list[Path] = []
    candidates = [made for strategy in strategies if (made := make_ready(venture, strategy, known, written)) is not None]
    limit = budget.seconds
    if budget.share is not None:
        limit = min(limit, budget.share * sum(each.full_seconds + each.measuring for each in candidates))
    end = seconds() + limit
    note(say(f"pilots: at most {limit / 60:.1f} minutes", f"试跑：至多 {limit / 60:.1f} 分钟"))
    try:
        with deadline(limit):
            written += _measure_untrained(venture, strategies, known)
            _halve(venture, metrics, candidates, end, written)
    except _BudgetSpent:
        note(say("the pilots' budget is spent; what was under way is dropped.", "试跑预算已用完；进行中的一次作废。"))
    return written


@contextmanager
def deadline(limit: float) -> Iterator[None]:
    """Raise `_BudgetSpent` inside when so many seconds are over; on a thread of a program, which cannot be woken so, nothing is raised."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def spent(_signal: int, _frame: object) -> None:
        raise _BudgetSpent

    before = signal.signal(signal.SIGALRM, spent)
    signal.setitimer(signal.ITIMER_REAL, max(limit, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Before the first pilot


def _trial(venture: Venture, strategy: Strategy) -> Trial:
    """The venture as the strategy makes it, less what comes after the first stage of training."""
    changed = with_settings(venture.file, settings_of(strategy, venture.file))
    return Trial(venture.folder, changed.model_copy(update={"preference": None, "reward": None}))


def make_ready(venture: Venture, strategy: Strategy, known: Mapping[str, Pilot], written: list[Path]) -> Candidate | None:
    """A strategy made ready: its data prepared, its needs looked at; None where it trains nothing or does not fit, which is then noted."""
    if strategy.kind in UNTRAINED:
        return None
    note(say(f"strategy {strategy.name}:", f"策略 {strategy.name}："))
    trial = _trial(venture, strategy)
    name = identity(strategy, venture)
    pilot = known.get(name) or _new_pilot(strategy.name, name)
    _steps.prepare(Venture(venture.folder, trial.file))
    plan = plan_training(trial)
    try:
        needs = _steps.preflight(trial, plan)
    except UserError as error:
        written.append(save_pilot(venture, pilot.model_copy(update={"refused": error.what})))
        return None
    from ._preflight import run_seconds

    settings = plan.settings
    assert settings.batch_tokens is not None
    expected = run_seconds(settings, needs)
    in_time = round(expected / needs.step_seconds) * settings.batch_tokens
    tokens = min(limit for limit in (settings.tokens, in_time if settings.minutes else None) if limit is not None)
    if pilot.full_seconds is None:
        pilot = pilot.model_copy(update={"full_seconds": expected, "memory_bytes": needs.memory_bytes, "refused": ""})
        written.append(save_pilot(venture, pilot))
    measuring = pilot.runs[-1].measuring_seconds if pilot.runs else MEASURING_GUESS
    return Candidate(strategy, trial, plan, pilot, max(1, tokens), measuring)


def _new_pilot(strategy: str, name: str) -> Pilot:
    import platform

    return Pilot(strategy=strategy, identity=name, date=now().date(), machine=platform.platform(), split="validation")


# What trains nothing


def _measure_untrained(venture: Venture, strategies: Sequence[Strategy], known: Mapping[str, Pilot]) -> list[Path]:
    """Measure the strategies without a model of one's own, where that was not done."""
    written = []
    for strategy in strategies:
        if strategy.kind not in UNTRAINED:
            continue
        name = identity(strategy, venture)
        if name in known or (strategy.api is not None and strategy.api.url is None):
            continue
        pilot = _new_pilot(strategy.name, name)
        if strategy.api is not None:
            made = _pilot_api(venture, pilot, strategy.api)
        else:
            made = _pilot_baseline(venture, pilot) if strategy.rules is None else _pilot_rules(venture, pilot, rule_file(strategy, venture))
        if made is not None:
            written.append(save_pilot(venture, made))
    return written


def _records(venture: Venture) -> tuple[Path, Task, str]:
    """The venture's prepared data, its task, and the split to measure pilots on."""
    from ..store.files import read_json

    _steps.prepare(venture)
    prepared = prepare_folder(venture)
    return prepared, load_task(read_json(prepared / "task.json")), measured_split(prepared)


def measured_split(prepared: Path) -> str:
    """The validation records, so that those of the release's test stay unseen; the test where none validate."""
    return "validation" if (prepared / "validation").exists() else "test"


def _pilot_baseline(venture: Venture, pilot: Pilot) -> Pilot:
    from ..prepare.shards import open_split

    prepared, task, split = _records(venture)
    examples = chosen(prepared, task, split)
    begin = seconds()
    _, columns = task.baseline(open_split(prepared, "train").examples(task), examples)
    run = PilotRun(share=1.0, tokens=0, seconds=0, measuring_seconds=seconds() - begin, scores=scored(task, columns))
    return pilot.model_copy(update={"runs": [run], "split": split})


def _pilot_rules(venture: Venture, pilot: Pilot, path: Path) -> Pilot:
    """What the team's rules answer, and how long each answer takes.

    Raises:
        UserError: the task's answers are none in words, or a rule reads or answers what there is not.
    """
    import numpy as np

    from ..evaluate.bootstrap import scores
    from ..evaluate.system import SYSTEM_METRICS
    from ..venture.rules import RuleFile

    file = RuleFile(path)
    prepared, task, split = _records(venture)
    examples = chosen(prepared, task, split)
    task.instruction(examples[0])
    begin = seconds()
    requests = [task.request(example) for example in examples]
    file.check(requests[0], task.possible_answers())
    texts, times = [], []
    for request in requests[:WARM_UP]:
        file.rules.answer(request)
    for request in requests:
        asked = seconds()
        texts.append(file.rules.answer(request))
        times.append(1000 * (seconds() - asked))
    run = PilotRun(share=1.0, tokens=0, seconds=0, measuring_seconds=seconds() - begin, scores=scored(task, task.answered(texts, examples)))
    timed = [metric for metric in SYSTEM_METRICS if metric.name.startswith("latency_ms")]
    system = scores(timed, {"latency_ms": np.array(times)}, resamples=RESAMPLES, confidence=0.95, seed=0)
    return pilot.model_copy(update={"runs": [run], "split": split, "system": system})


def _pilot_api(venture: Venture, pilot: Pilot, api: BoughtApi) -> Pilot | None:
    """What a bought API answers; None, and said why, where it cannot be asked: what is quoted of it stands then."""
    from ._api import ask_api

    prepared, task, split = _records(venture)
    examples = chosen(prepared, task, split)[:API_RECORDS]
    begin = seconds()
    try:
        answered = ask_api(api, task, examples)
    except UserError as error:
        note(say(f"{pilot.strategy} is not measured: {error}", f"{pilot.strategy} 未能测量：{error}"))
        return None
    scores = scored(task, task.answered(answered.texts, examples))
    run = PilotRun(share=1.0, tokens=0, seconds=0, measuring_seconds=seconds() - begin, scores=scores)
    return pilot.model_copy(update={"runs": [run], "split": split, "system": answered.system, "usage": answered.usage})


def chosen(prepared: Path, task: Task, split: str) -> Sequence[Any]:
    """The records that pilots are measured on, the same for all."""
    from ..evaluate.scorecard import choose
    from ..prepare.shards import open_split

    return choose(open_split(prepared, split).examples(task), EvaluateSettings(examples=RECORDS))


def scored(task: Task, columns: Mapping[str, Any]) -> list[Score]:
    from ..evaluate.bootstrap import scores

    return scores(task.metrics, columns, resamples=RESAMPLES, confidence=0.95, seed=0)


# The rounds


def _halve(venture: Venture, metrics: Mapping[str, Metric], candidates: Sequence[Candidate], end: float, written: list[Path]) -> None:
    """Try all, then the better half for longer, and so on."""
    alive = [each for each in candidates if each.reached < 1]
    if not alive:
        return
    unit = first_share(alive, (end - seconds()) * RESERVE)
    for number in range(ROUNDS):
        for one in alive:
            for share in _shares(one, unit, number):
                if one.takes(share) > end - seconds():
                    break
                try_share(venture, one, share)
                written.append(save_pilot(venture, one.pilot))
        if number + 1 < ROUNDS:
            alive = _better_half(venture, metrics, [each for each in alive if each.reached < 1])


def first_share(candidates: Sequence[Candidate], budget: float) -> float:
    """The share that the first runs get, so that all rounds together take the budget; 1 where everything can be run to its end."""
    if sum(each.takes(1.0) for each in candidates) <= budget:
        return 1.0
    count = len(candidates)
    full = sum(each.full_seconds for each in candidates) / count
    measuring = sum(each.measuring for each in candidates) / count
    shares = measurings = 0.0
    for number in range(ROUNDS):
        alive = -(-count // 2**number)
        shares += alive * (3 if number == 0 else 2 ** (number + 1))
        measurings += alive * (2 if number == 0 else 1)
    return max(1e-6, (budget - measurings * measuring) / (shares * full))


def _shares(candidate: Candidate, unit: float, number: int) -> list[float]:
    """What a strategy is tried with in a round: two runs in the first, for a curve needs two points, and twice the longest one after."""
    wanted = [unit, 2 * unit] if number == 0 else [2 ** (number + 1) * unit]
    shares = sorted({min(1.0, max(share, candidate.least_share)) for share in wanted})
    if unit >= 1:
        shares = [1.0] if number == 0 else []
    # A run to three quarters of the end costs nearly as much as the end, which needs no forecast.
    shares = [1.0 if share > 0.75 else share for share in shares]
    return [share for share in dict.fromkeys(shares) if share > candidate.reached * 1.25]


def _better_half(venture: Venture, metrics: Mapping[str, Metric], alive: Sequence[Candidate]) -> list[Candidate]:
    """Those that are the likeliest to turn out best, as far as is known now."""
    from ..venture.decision import compare
    from ..venture.problem import build_problem

    if len(alive) < 2:
        return list(alive)
    problem = build_problem(venture, metrics)
    outlooks = compare(problem.model_copy(update={"pilots": []}), draws=DRAWS, detail=False).options
    likely = {outlook.name: (outlook.probability_best, outlook.expected_utility) for outlook in outlooks}

    def rank(candidate: Candidate) -> tuple[float, float]:
        name = candidate.strategy.name
        return max((value for option, value in likely.items() if option == name or option.startswith(f"{name} on ")), default=(0.0, 0.0))

    return sorted(alive, key=rank, reverse=True)[: -(-len(alive) // 2)]


def try_share(venture: Venture, candidate: Candidate, share: float) -> None:
    """Train for a share of the whole run's tokens, measure, and note both; the trained model is not kept."""
    note(say(f"pilot {candidate.strategy.name}: {share:.1%} of the whole run", f"试跑 {candidate.strategy.name}：完整训练的 {share:.1%}"))
    from ..build.device import best_device

    forget_peak()
    begin = seconds()
    step = _train_share(venture, candidate, share)
    trained = seconds() - begin
    # On a GPU the look tells what it takes there; what the process holds is not what runs out, nor its processor what it waits for.
    peak, waited = None, 0.0
    if best_device().type == "cpu":
        cost = step.record.cost
        peak, waited = peak_since_forgotten(), min(1.0, max(0.0, 1 - cost.cpu_seconds / cost.seconds))
    begin = seconds()
    bundle = _steps.load_model(step.folder / "model")
    task, prepared = load_task(bundle.task), candidate.plan.prepared
    split = measured_split(prepared)
    examples = chosen(prepared, task, split)
    found = scored(task, task.measure(bundle.model, bundle.tokenizer, examples))
    measured = candidate.measuring = seconds() - begin
    system = candidate.pilot.system or _system(task, bundle, examples, venture)
    run = PilotRun(
        share=share, tokens=step.record.facts["tokens"], seconds=trained, measuring_seconds=measured, records=len(examples), scores=found,
        validation_loss=step.record.facts["validation_loss"], waited=waited, peak_bytes=peak, **pace(step.folder),
    )  # fmt: skip
    shutil.rmtree(step.folder)
    runs = sorted([*candidate.pilot.runs, run], key=lambda each: each.share)
    candidate.pilot = candidate.pilot.model_copy(update={"runs": runs, "system": system, "split": split, "date": now().date()})


def pace(folder: Path) -> dict[str, Any]:
    """The steps of a run, the seconds of one and how far these scatter, from its journal."""
    import numpy as np

    from ..train.journal import Journal
    from ..train.loop import METRICS

    rows = [row for row in Journal(folder / METRICS).rows() if row.get("tokens_per_second")]
    tokens = np.diff([0, *(row["tokens"] for row in rows)])
    times = tokens / np.array([row["tokens_per_second"] for row in rows])
    settled = times[min(WARM_UP, len(times) // 2) :]
    parts = [float(part.mean()) for part in np.array_split(settled, PARTS) if len(part)]
    scatter = float(np.log(parts).std(ddof=1)) if len(parts) > 1 and min(parts) > 0 else 0.0
    return {"steps": len(rows), "step_seconds": float(settled.mean()), "step_scatter": scatter}


def _train_share(venture: Venture, candidate: Candidate, share: float) -> _steps.Step:
    """Train by the steps of `lodestar run`; the venture's ledger counts it as spent."""
    file = candidate.trial.file
    tokens = max(1, round(share * candidate.full_tokens))
    short = file.train.model_copy(update={"tokens": tokens, "minutes": None, "keep": 1, "evaluate_every": None, "checkpoint_every": None})
    attempt = venture.ledger.start_run("pilot", candidate.strategy.name)
    try:
        step = _steps.train(Trial(venture.folder, file.model_copy(update={"train": short})), looked=True)
    except BaseException as error:
        venture.ledger.fail_run(attempt, str(error) or type(error).__name__)
        raise
    venture.ledger.finish_run(attempt, step.record)
    return step


def _system(task: Task, bundle: Bundle, examples: Sequence[Any], venture: Venture) -> list[Score]:
    """Latency, speed and size. Memory needs a process of its own, which takes longer to start than a small model to train: it gets one
    where a target is on it.
    """
    import numpy as np

    from ..evaluate.bootstrap import scores
    from ..evaluate.system import REQUESTS_AT_LEAST, SYSTEM_METRICS, WARM_UP, answer_all, measure_system

    if any(target.metric == "memory_bytes" for target in venture.file.targets):
        columns = measure_system(task, bundle.model, bundle.tokenizer, examples)
    else:
        rows = answer_all(task, bundle.model.eval(), bundle.tokenizer, examples[: REQUESTS_AT_LEAST + WARM_UP])
        columns = {name: np.array(values) for name, values in rows.items() if name != "memory_bytes"}
    metrics = [metric for metric in SYSTEM_METRICS if metric.name != "memory_bytes" or "memory_bytes" in columns]
    return scores(metrics, columns, resamples=RESAMPLES, confidence=0.95, seed=0)
