"""Whether the plan's bands hold: simulated teams work to the end, and the forecast made on the way is held against it.

    python -m bench.decisions.schedules [--teams 2000] [--draws 1000] [--first-seed 0] [--kinds assumed other padded]

Three kinds of teams. `assumed` runs over as lodestar/venture/overruns.py believes, with its own spreads. `other` does nothing as it
believes: the team's factor is a mixture of ordinary and troubled teams, one task in seven is a surprise with a Pareto tail, weeks are slow
and fast together (an autoregression), people fall ill on days that no calendar has, work is taken up in any order, and new tasks come by
the calendar, to anybody. `padded`, which nothing was tuned on: tasks fill the time that they were given (Parkinson), a third of them takes
far longer, people lose a fixed share of their days to something else, and new tasks come all at once, when the vision changes. All are
worked by a plain event simulation here, which shares no code with the forecast.

Each team is looked at once, at a random time between its first day and seven tenths of its way. Beside the forecast stands what most tools
do: the same simulation with tasks drawn apart, without a shared overrun and without growth; and the pace of the past weeks alone.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
from scipy.stats import beta

from lodestar.contracts.clock import seconds
from lodestar.contracts.progress import track
from lodestar.contracts.randomness import generator
from lodestar.venture.critical_path import critical_path, days_left
from lodestar.venture.durations import Diary, durations, first_day, likely_hours
from lodestar.venture.overruns import FOUND, FOUND_TASKS, SPREAD, SPREAD_SD, TEAM, TEAM_SD, WEEKS, WEEKS_SD, Spread
from lodestar.venture.plan import Plan, PlanTask
from lodestar.venture.schedule import BANDS, ScheduleForecast, forecast, simulate
from lodestar.venture.throughput import throughput
from lodestar.venture.working_time import working_time

BEGIN = date(2026, 1, 5)  # a Monday
LEVELS = (*BANDS,)
KINDS = ("assumed", "other", "padded")


@dataclass
class Work:
    """A task as it really is."""

    id: str
    owner: str
    depends: list[str]
    estimate: tuple[float, float, float]
    hours: float
    """What it takes, of working hours or of the machine's."""
    appeared: float = 0.0
    """Hours since the first midnight at which it came into the plan."""
    begun: float | None = None
    ended: float | None = None


@dataclass
class Team:
    """Who they are, and the truth that no plan knows."""

    people: list[str]
    works: list[Work]
    factor: float
    own: dict[str, float]
    random: np.random.Generator
    found: float
    """Tasks found for each one done (assumed), for each week (other), or at once for each one planned (padded)."""
    spread: float = 0.0
    weeks: list[float] = field(default_factory=list)
    """How slow each week is."""
    away: dict[str, set[int]] = field(default_factory=dict)
    """The days that each is ill on, or taken away (other, padded)."""

    def is_free_to_work(self, owner: str, day: int) -> bool:
        return owner == "machine" or (day % 7 < 5 and day not in self.away.get(owner, ()))

    def pace(self, owner: str, day: int) -> float:
        return 1.0 if owner == "machine" or not self.weeks else self.weeks[min(day // 7, len(self.weeks) - 1)]

    def end_of(self, owner: str, begin: float, hours: float) -> float:
        """When work that begins at a time ends, day by day."""
        opens, length = (0.0, 24.0) if owner == "machine" else (9.0, 8.0)
        at, left = begin, hours
        while True:
            day = int(at // 24)
            start, stop = max(at, 24 * day + opens), 24 * day + opens + length
            if self.is_free_to_work(owner, day) and start < stop:
                pace = self.pace(owner, day)
                if left <= (stop - start) / pace:
                    return start + left * pace
                left -= (stop - start) / pace
            at = 24.0 * (day + 1)


def make_team(kind: str, seed: int) -> Team:
    random = generator(seed, "bench", "schedules", kind)
    people = ["Ada", "Bo", "Cem", "Dai", "Eva"][: int(random.integers(2, 6))]
    own_sd = float(random.choice([0.05, 0.15, 0.3, 0.5])) if kind == "assumed" else 0.2
    if kind == "assumed":
        factor, found = math.exp(random.normal(math.log(TEAM), TEAM_SD)), min(0.8, random.gamma(FOUND * FOUND_TASKS, 1 / FOUND_TASKS))
    elif kind == "padded":
        factor, found = float(random.uniform(0.9, 1.3)), float(random.uniform(0.0, 0.35))
    else:
        troubled = random.random() < 0.25
        factor, found = float(random.uniform(1.5, 2.3) if troubled else random.gamma(16, 1.15 / 16)), float(random.gamma(2.0, 0.2))
    team = Team(people, [], factor, {name: math.exp(random.normal(0, own_sd)) for name in people}, random, found)
    if kind == "assumed":
        team.spread = SPREAD * math.exp(SPREAD_SD * random.normal())
        team.weeks = [math.exp(effect) for effect in random.normal(0, WEEKS_SD, 100) for _ in range(WEEKS)]
    elif kind == "other":
        level = 0.0
        for _ in range(400):
            level = 0.6 * level + random.normal(0, 0.16)
            team.weeks.append(math.exp(level))
        for name in people:
            ill = np.flatnonzero(random.random(2800) < 0.012)
            team.away[name] = {int(day) + n for day in ill for n in range(int(random.integers(1, 5)))}
    else:
        lost = float(random.uniform(0.0, 0.25))
        team.away = {name: {int(day) for day in np.flatnonzero(random.random(2800) < lost)} for name in people}
    count = int(random.integers(10, 31))
    for number in range(count):
        owner = "machine" if number and random.random() < 0.12 else str(random.choice(people))
        earlier = [work.id for work in team.works[-6:]]
        needed = [str(id) for id in random.choice(earlier, min(len(earlier), int(random.integers(0, 3))), replace=False)] if earlier else []
        team.works.append(new_work(team, kind, f"t{number}", owner, needed))
    team.works.append(new_work(team, kind, "release", people[0], [work.id for work in team.works]))
    return team


def new_work(team: Team, kind: str, id: str, owner: str, depends: list[str]) -> Work:
    """A task with what people say of it, and what it will take."""
    random = team.random
    machine = owner == "machine"
    likely = float(np.clip(math.exp(random.normal(math.log(6 if machine else 9), 0.7)), 0.5, 80))
    width = float(random.uniform(0.1, 0.3) if machine else random.uniform(0.2, 0.55))
    estimate = (likely * math.exp(-1.28 * width), likely, likely * math.exp(1.28 * width * random.uniform(1.0, 1.4)))
    spread = Spread.of(estimate)
    if machine:
        hours = math.exp(random.normal(spread.mean, spread.sd))
    elif kind == "assumed":
        hours = math.exp(random.normal(spread.mean, math.hypot(spread.sd, team.spread))) * team.factor * team.own[owner]
    elif kind == "padded":
        stretched = random.uniform(1.2, 3.0) if random.random() < 1 / 3 else random.uniform(0.9, 1.15)
        hours = likely * stretched * team.factor * team.own[owner]
    else:
        surprise = 1.5 * (1 + random.pareto(2.5)) if random.random() < 1 / 7 else 1.0
        hours = likely * random.gamma(9, 1 / 9) * min(surprise, 8.0) * team.factor * team.own[owner]
    rounded = [max(0.25, round(4 * each) / 4) for each in estimate]
    return Work(id, owner, depends, (rounded[0], rounded[1], rounded[2]), max(0.1, hours))


def work_to_the_end(team: Team, kind: str) -> float:
    """Let the team work; returns when all is done, in hours since the first midnight."""
    events: list[tuple[float, int, str, Work | None]] = []
    order = 0
    busy: set[str] = set()
    free = ["machine", *team.people]

    def take_up(at: float) -> None:
        nonlocal order
        for name in free:
            if name in busy:
                continue
            done = {work.id for work in team.works if work.ended is not None and work.ended <= at}
            ready = [work for work in team.works if work.owner == name and work.begun is None and set(work.depends) <= done]
            if ready:
                work = ready[0] if kind == "assumed" else ready[int(team.random.integers(len(ready)))]
                work.begun = at
                work.ended = team.end_of(name, at, work.hours)
                busy.add(name)
                order += 1
                heapq.heappush(events, (work.ended, order, "done", work))

    at = 9.0
    if kind == "other" and team.found:
        heapq.heappush(events, (team.random.exponential(168 / team.found), 0, "new", None))
    if kind == "padded":  # at any time in about the length of such a plan
        heapq.heappush(events, (team.random.uniform(24, 24 * 30), 0, "new", None))
    take_up(at)
    while events:
        at, _, what, work = heapq.heappop(events)
        if all(each.ended is not None and each.ended <= at for each in team.works):
            return at
        if what == "done":
            assert work is not None
            busy.discard(work.owner)
            if kind == "assumed" and work.owner != "machine" and work.id != "release":
                grow(team, kind, at, int(team.random.poisson(team.found)), work)
        elif kind == "padded":
            grow(team, kind, at, int(team.random.poisson(team.found * len(team.works))), None)
        else:
            grow(team, kind, at, 1, None)
            order += 1
            heapq.heappush(events, (at + team.random.exponential(168 / team.found), order, "new", None))
        take_up(at)
    raise AssertionError("a team always finishes")


def grow(team: Team, kind: str, at: float, count: int, parent: Work | None) -> None:
    """Tasks that nobody had thought of; the release waits for them, and of the assumed ones whatever waited for their parent."""
    release = next(work for work in team.works if work.id == "release")
    if release.begun is not None:
        return
    for _ in range(count):
        id = f"n{len(team.works)}"
        owner = parent.owner if parent else str(team.random.choice(team.people))
        new = new_work(team, kind, id, owner, [])
        new.appeared = at
        for work in team.works:
            if work.begun is None and (work is release or (parent is not None and parent.id in work.depends)):
                work.depends.append(id)
        team.works.append(new)


def plan_at(team: Team, at: float) -> tuple[Plan, int, int]:
    """The plan as it stood then, and how many tasks had come in and been finished since the work began."""
    known = {work.id for work in team.works if work.appeared <= at}
    tasks = []
    for work in team.works:
        if work.id not in known:
            continue
        task: dict[str, Any] = {
            "id": work.id,
            "title": work.id,
            "estimate": list(work.estimate),
            "depends": [id for id in work.depends if id in known],
        }
        task |= {"kind": "machine"} if work.owner == "machine" else {"owner": work.owner}
        if work.begun is not None and work.begun <= at:
            task |= {"state": "started", "started": stamp(work.begun)}
            if work.ended is not None and work.ended <= at:
                task |= {"state": "done", "finished": stamp(work.ended)}
        tasks.append(task)
    plan = Plan.parse({"begin": BEGIN.isoformat(), "people": [{"name": name} for name in team.people], "tasks": tasks}, where="bench")
    added = sum(work.appeared > 0 and work.id in known for work in team.works)
    done = sum(work.owner != "machine" and work.ended is not None and work.ended <= at for work in team.works)
    return plan, added, done


def stamp(hours: float) -> str:
    return moment(hours).isoformat(timespec="minutes")


def moment(hours: float) -> datetime:
    return datetime.combine(BEGIN, time()) + timedelta(minutes=math.ceil(60 * hours))


def drawn_apart(plan: Plan, at: datetime, seed: int, draws: int) -> Callable[[float], datetime]:
    """What most tools do: every task by itself as it was estimated, nothing learnt, nothing found; returns the quantiles of the finish."""
    known = durations(plan, {})
    diary = Diary(plan, first_day(plan), at)
    times = critical_path(*days_left(plan, likely_hours(plan, known)))
    left: Sequence[PlanTask] = sorted((plan.task(id) for id in times), key=lambda task: times[task.id].latest_start)
    hours = np.empty((draws, len(left)))
    for number, task in enumerate(left):
        spread, elapsed = known[task.id].hours, (diary.hours_taken(task) or 0.0) if task.state == "started" else 0.0
        whole = np.exp(spread.mean + spread.sd * generator(seed, "bench", "apart", task.id).standard_normal(draws))
        hours[:, number] = np.maximum(whole - elapsed, 0.1)
    calendar = working_time(plan, diary.workers, diary.calendar.origin, (at.date() - BEGIN).days + int(hours.sum(axis=1).max() / 5) + 60)
    _, ends, _ = simulate(hours, left, calendar, diary.workers, calendar.hours(at))
    finish = np.sort(ends.max(axis=1))
    return lambda share: calendar.moment(float(finish[min(draws - 1, int(share * draws))]))


@dataclass
class Tally:
    """How often each band held."""

    held: dict[float, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    late: int = 0
    """Finishes after the 80% band."""
    count: int = 0
    widths: list[float] = field(default_factory=list)
    """Of the 80% band, over the time that was really left."""

    def add(self, by: Callable[[float], datetime], finish: datetime, at: datetime) -> None:
        self.count += 1
        for level in LEVELS:
            low, high = by((1 - level) / 2), by((1 + level) / 2)
            self.held[level] += low <= finish <= high
            if level == 0.8:
                self.late += finish > high
                self.widths.append((high - low) / max(finish - at, timedelta(hours=1)))

    def line(self, name: str) -> str:
        shares = [f"{self.held[level] / self.count:.1%} {interval(self.held[level], self.count)}" for level in LEVELS]
        return f"| {name} | {self.count:,} | {' | '.join(shares)} | {self.late / self.count:.1%} | {np.median(self.widths):.2f} |"


def interval(hits: int, count: int) -> str:
    """Clopper and Pearson's exact 95% interval of a share."""
    low = beta.ppf(0.025, hits, count - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, count - hits) if hits < count else 1.0
    return f"[{low:.1%}, {high:.1%}]"


def measure(kind: str, first_seed: int, teams: int, draws: int) -> dict[str, Tally]:
    tallies = {
        name: Tally()
        for name in ("forecast", "forecast, first fifth", "forecast, later", "drawn apart", "pace of weeks", "forecast, same teams")
    }
    for seed in track(range(first_seed, first_seed + teams), kind, "team"):
        team = make_team(kind, seed)
        end = work_to_the_end(team, kind)
        share = float(generator(seed, "bench", "look").uniform(0.0, 0.7))
        at = 9.0 + share * (end - 9.0)
        plan, added, done = plan_at(team, at)
        now, finish = moment(at), moment(end)
        found: ScheduleForecast = forecast(plan, durations(plan, {}), at=now, added=added, done=done, seed=seed, draws=draws)
        tallies["forecast"].add(found.by, finish, now)
        tallies["forecast, first fifth" if share < 0.2 else "forecast, later"].add(found.by, finish, now)
        tallies["drawn apart"].add(drawn_apart(plan, now, seed, draws), finish, now)
        pace = throughput(plan, now, added=added, done=done, seed=seed, draws=draws)
        if pace is not None:
            tallies["pace of weeks"].add(pace.by, finish, now)
            tallies["forecast, same teams"].add(found.by, finish, now)
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teams", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    for kind in given.kinds:
        begun = seconds()
        tallies = measure(kind, given.first_seed, given.teams, given.draws)
        print(f"\nTeams: {kind}, seeds from {given.first_seed} on, {given.draws:,} draws, {seconds() - begun:.0f} s\n")
        print("| | teams | 50% band held | 80% | 95% | after the 80% band | width of the 80% band / time left |")
        print("|---|---|---|---|---|---|---|")
        for name, tally in tallies.items():
            if tally.count:
                print(tally.line(name))


if __name__ == "__main__":
    main()
