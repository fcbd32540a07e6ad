"""The forecast: working hours, the critical path, what is learnt of a team, the simulation: each beside what was worked out otherwise."""

from __future__ import annotations

import itertools
import json
import math
from datetime import date, datetime, timedelta
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lodestar.contracts.randomness import generator
from lodestar.venture.critical_path import critical_path, longest_chain
from lodestar.venture.durations import Diary, Duration, Measured, durations
from lodestar.venture.overruns import (
    FOUND,
    FOUND_TASKS,
    PEOPLE_SD,
    TEAM,
    TEAM_SD,
    WEEKS_SD,
    Finished,
    Spread,
    found_tasks,
    found_work,
    learn,
)
from lodestar.venture.plan import Plan, check
from lodestar.venture.schedule import criticality, forecast, simulate
from lodestar.venture.throughput import throughput
from lodestar.venture.working_time import working_time

MONDAY = datetime(2026, 12, 7, 9)


def make_plan(tasks: list[dict[str, Any]], **changes: Any) -> Plan:
    """Tasks may leave their title and owner out."""
    whole = [{"title": task["id"], **({} if task.get("kind") else {"owner": "Ada"}), **task} for task in tasks]
    plan = Plan.parse({"begin": "2026-12-07", "people": [{"name": "Ada"}, {"name": "Bo"}], "tasks": whole, **changes}, where="plan.yaml")
    check(plan, where="plan.yaml")
    return plan


# Working time


def test_working_hours_are_those_that_the_minutes_of_a_month_add_up_to():
    """Counted minute by minute, with a public holiday, a week off and half a person."""
    plan = make_plan([{"id": "a"}], working={"days": ["mon", "tue", "thu"], "start": "08:30", "hours": 6, "off": ["2026-12-24"]},
                     people=[{"name": "Ada", "share": 0.5, "off": ["2026-12-14..2026-12-17"]}])  # fmt: skip
    origin = date(2026, 12, 1)
    time = working_time(plan, ["machine", "Ada"], origin, 31)
    works = [day for day in (origin + timedelta(days=number) for number in range(31)) if day.weekday() in (0, 1, 3)]
    works = [day for day in works if day.isoformat() not in ("2026-12-24", "2026-12-14", "2026-12-15", "2026-12-17")]
    minutes = np.zeros(31 * 24 * 60)
    for day in works:
        begin = (day - origin).days * 1440 + 510
        minutes[begin : begin + 360] = 0.5 / 60
    until = np.array([0, 700, 1439, 9000, 20_001, 31_680, 44_639])
    assert time.worked(1, until / 60) == pytest.approx([minutes[:minute].sum() for minute in until])
    assert time.worked(0, until / 60) == pytest.approx(until / 60)
    for minute in until[:-1]:
        next_one = minute + int(np.argmax(minutes[minute:] > 0))
        assert time.next_moment(1, minute / 60) * 60 == pytest.approx(next_one)
    work = np.array([0.25, 3.0, 3.01, 10.0])
    ends = [np.argmax(np.cumsum(minutes) >= each - 1e-9) + 1 for each in work]
    assert time.done(1, work) * 60 == pytest.approx(ends, abs=1)


def test_a_time_of_day_and_hours_are_each_others_inverse():
    time = working_time(make_plan([{"id": "a"}]), ["Ada"], date(2026, 12, 7), 9)
    moment = datetime(2026, 12, 9, 14, 35)
    assert time.moment(time.hours(moment)) == moment
    assert time.hours(moment) == pytest.approx(2 * 24 + 14 + 35 / 60)


# The critical path


@st.composite
def networks(draw: Any) -> tuple[dict[str, float], dict[str, list[str]]]:
    count = draw(st.integers(1, 9))
    names = [f"t{number}" for number in range(count)]
    durations = {name: draw(st.floats(0.1, 50)) for name in names}
    depends = {
        name: draw(st.lists(st.sampled_from(names[:number]), max_size=3, unique=True)) if number else []
        for number, name in enumerate(names)
    }
    return durations, depends


@given(networks())
def test_the_critical_path_is_the_longest_path_of_the_graph(network):
    took, depends = network
    graph = networkx.DiGraph()
    for task, hours in took.items():
        graph.add_edge((task, "begin"), (task, "end"), weight=hours)
        graph.add_edges_from([((needed, "end"), (task, "begin"), {"weight": 0}) for needed in depends[task]])
    longest = networkx.dag_longest_path_length(graph)
    times = critical_path(took, depends)
    assert max(each.earliest_finish for each in times.values()) == pytest.approx(longest)
    chain = longest_chain(took, depends)
    assert sum(took[task] for task in chain) == pytest.approx(longest)
    assert all(times[task].critical for task in chain)
    for task, each in times.items():  # later by its slack, and no more, it delays nothing
        slower = {**took, task: took[task] + each.slack}
        assert max(t.earliest_finish for t in critical_path(slower, depends).values()) == pytest.approx(longest)
        slower[task] += 1
        assert max(t.earliest_finish for t in critical_path(slower, depends).values()) == pytest.approx(longest + 1)


def test_the_textbook_network_worked_by_hand():
    """A(3); B(4) after A; C(2) after A; D(5) after B; E(1) after C; F(2) after D and E: 14, and C and E have 6 of slack."""
    took = {"A": 3.0, "B": 4.0, "C": 2.0, "D": 5.0, "E": 1.0, "F": 2.0}
    depends = {"A": [], "B": ["A"], "C": ["A"], "D": ["B"], "E": ["C"], "F": ["D", "E"]}
    times = critical_path(took, depends)
    assert longest_chain(took, depends) == ["A", "B", "D", "F"]
    assert (times["E"].earliest_start, times["E"].latest_start, times["E"].slack) == (5, 11, 6)
    assert (times["F"].earliest_start, times["F"].latest_finish) == (12, 14)


# What is learnt


def test_an_estimate_is_a_log_normal_with_its_low_and_high_as_the_outer_tenths():
    spread = Spread.of((2, 4, 8))
    assert math.exp(spread.mean) == pytest.approx(4)
    assert stats.lognorm(spread.sd, scale=math.exp(spread.mean)).ppf([0.1, 0.9]) == pytest.approx([2, 8])


def test_a_team_nobody_knows_is_drawn_from_the_prior():
    drawn = learn([], ["Ada"], 100_000, generator(0, "test"))
    assert drawn.team.mean() == pytest.approx(math.log(TEAM), abs=0.01)
    assert drawn.team.std() == pytest.approx(math.hypot(TEAM_SD, WEEKS_SD), rel=0.02)
    assert drawn.people["Ada"].std() == pytest.approx(math.sqrt(np.mean(np.square(PEOPLE_SD))), rel=0.02)


def test_the_posterior_is_what_weighing_draws_of_the_prior_gives():
    """The same model by brute force: importance weights of a million draws of the prior, instead of the closed form."""
    done = [
        Finished(Spread.of((2, 4, 8)), 9.0, "Ada", 0),
        Finished(Spread.of((1, 2, 3)), 3.5, "Ada", 1),
        Finished(Spread.of((4, 8, 20)), 9.0, "Bo", 1),
    ]
    exact = learn(done, ["Ada", "Bo"], 200_000, generator(1, "test"))
    random, count = np.random.default_rng(2), 1_000_000
    from lodestar.venture.overruns import SPREAD, SPREAD_GRID, SPREAD_SD

    deviates = np.linspace(-2.5, 2.5, SPREAD_GRID)
    chosen = random.choice(deviates, count, p=np.exp(-(deviates**2) / 2) / np.exp(-(deviates**2) / 2).sum())
    spread = SPREAD * np.exp(SPREAD_SD * chosen)
    people_sd = random.choice(PEOPLE_SD, count)
    team = random.normal(math.log(TEAM), TEAM_SD, count)
    people = {name: random.normal(0, people_sd) for name in ("Ada", "Bo")}
    weeks = [random.normal(0, WEEKS_SD, count) for _ in range(3)]
    log_weight = np.zeros(count)
    for each in done:
        noise = np.hypot(each.estimate.sd, spread)
        log_weight += stats.norm.logpdf(math.log(each.hours) - each.estimate.mean, team + people[each.person] + weeks[each.period], noise)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    for ours, theirs in (
        (exact.team, team + weeks[2]),
        (exact.people["Ada"], people["Ada"]),
        (exact.people["Bo"], people["Bo"]),
        (exact.spread, spread),
    ):
        mean = float(weight @ theirs)
        assert ours.mean() == pytest.approx(mean, abs=0.01)
        assert ours.std() == pytest.approx(math.sqrt(weight @ (theirs - mean) ** 2), rel=0.03)


def test_who_is_little_known_is_drawn_to_the_team():
    slow = [Finished(Spread.of((2, 4, 8)), 12.0, "Ada") for _ in range(12)]
    one = [Finished(Spread.of((2, 4, 8)), 4.0, "Bo")]
    drawn = learn([*slow, *one], ["Ada", "Bo", "New"], 20_000, generator(0, "test"))
    factor = {name: float(np.exp(drawn.team + effect).mean()) for name, effect in drawn.people.items()}
    assert factor["Bo"] < factor["New"] < factor["Ada"]
    assert factor["New"] > 1.5, "a new one is thought to be like the team"
    assert factor["Bo"] > 1.3, "one task on time does not undo that"


def test_what_is_found_on_the_way_follows_the_counts_and_adds_up_with_what_that_finds():
    rate = found_tasks(6, 20, 200_000, generator(0, "test"))
    assert rate.mean() == pytest.approx((FOUND * FOUND_TASKS + 6) / (FOUND_TASKS + 20), rel=0.01)
    work = found_work(np.full(400_000, 0.4), (5.0, 3.0), generator(0, "test"))
    assert work.mean() == pytest.approx(5 * 0.4 / (1 - 0.4), rel=0.02), "the mean of a branching process"
    assert (work > 0).mean() == pytest.approx(1 - math.exp(-0.4), abs=0.005)


def test_a_step_is_predicted_else_measured_else_assumed():
    assert Measured(predicted=7200).duration("train") == Duration(Spread(math.log(2), 0.2), "predicted")
    several = Measured(seconds=[3600, 3600, 3600]).duration("train")
    assert several.source == "measured"
    assert math.exp(several.hours.mean) == pytest.approx(1)
    assert (
        several.hours.sd < Measured(seconds=[3600]).duration("train").hours.sd < Measured(seconds=[900, 14_400]).duration("train").hours.sd
    )
    assert Measured().duration("train").source == "assumed"


def test_a_task_without_an_estimate_is_taken_to_be_like_the_others():
    known = durations(make_plan([{"id": "a", "estimate": [2, 4, 8]}, {"id": "b", "estimate": [8, 16, 32]}, {"id": "c"}]), {})
    assert known["c"].source == "like the others"
    assert math.exp(known["c"].hours.mean) == pytest.approx(8)
    assert known["c"].hours.sd > known["a"].hours.sd
    assert durations(make_plan([{"id": "c"}]), {})["c"].source == "assumed"


def test_hours_taken_are_working_hours_unless_somebody_noted_them():
    plan = make_plan(
        [
            {"id": "days", "state": "done", "started": "2026-12-07", "finished": "2026-12-08"},
            {"id": "times", "state": "done", "started": "2026-12-04T16:00", "finished": "2026-12-07T10:30"},
            {"id": "noted", "state": "done", "hours": 5, "started": "2026-12-07", "finished": "2026-12-08"},
            {"id": "running", "state": "started", "started": "2026-12-09T09:00"},
            {"id": "unknown", "state": "done", "finished": "2026-12-08"},
        ]
    )
    diary = Diary(plan, date(2026, 12, 4), datetime(2026, 12, 9, 12))
    assert [diary.hours_taken(task) for task in plan.tasks] == [16, 2.5, 5, 3, None]


# The simulation


def test_a_schedule_worked_by_hand():
    """Ada: a (6 h, on Monday), then c, which waits for b; Bo: b (10 h, to Tuesday 11:00); the machine: d (20 h); Ada again: e."""
    plan = make_plan(
        [
            {"id": "a"}, {"id": "b", "owner": "Bo"}, {"id": "c", "depends": ["b"]}, {"id": "d", "kind": "machine", "depends": ["a"]},
            {"id": "e", "depends": ["c", "d"]},
        ]
    )  # fmt: skip
    workers = ["machine", "Ada", "Bo"]
    time = working_time(plan, workers, date(2026, 12, 7), 60)
    starts, ends, before = simulate(np.array([[6.0, 10, 3, 20, 7]]), plan.tasks, time, workers, 9.0)
    told = {
        task.id: (time.moment(starts[0, n]).strftime("%a %H:%M"), time.moment(ends[0, n]).strftime("%a %H:%M"))
        for n, task in enumerate(plan.tasks)
    }
    assert told == {
        "a": ("Mon 09:00", "Mon 15:00"),
        "b": ("Mon 09:00", "Tue 11:00"),
        "c": ("Tue 11:00", "Tue 14:00"),
        "d": ("Mon 15:00", "Tue 11:00"),
        "e": ("Tue 14:00", "Wed 13:00"),
    }
    names = [task.id for task in plan.tasks]
    assert {names[n] for n in np.flatnonzero(criticality(ends, before)[0])} == {"b", "c", "e"}


@settings(max_examples=60)
@given(networks(), st.data())
def test_no_schedule_breaks_a_dependency_or_lets_anybody_do_two_things_at_once(network, data):
    took, depends = network
    owners = {task: data.draw(st.sampled_from(["Ada", "Bo", "machine"])) for task in took}
    plan = make_plan(
        [
            {"id": task, "depends": depends[task], **({"kind": "machine"} if owners[task] == "machine" else {"owner": owners[task]})}
            for task in took
        ]
    )
    workers = ["machine", "Ada", "Bo"]
    time = working_time(plan, workers, date(2026, 12, 7), 400)
    hours = np.array([list(took.values()), [2 * each for each in took.values()]])
    starts, ends, before = simulate(hours, plan.tasks, time, workers, 9.0)
    place = {task: number for number, task in enumerate(took)}
    for row in range(2):
        for task, number in place.items():
            assert all(ends[row, place[needed]] <= starts[row, number] + 1e-9 for needed in depends[task])
            worker = workers.index(owners[task])
            done = time.worked(worker, ends[row, number]) - time.worked(worker, starts[row, number])
            assert done == pytest.approx(hours[row, number])
        for name in workers:
            mine = sorted((starts[row, n], ends[row, n]) for task, n in place.items() if owners[task] == name)
            assert all(end <= begin + 1e-9 for (_, end), (begin, _) in itertools.pairwise(mine))
        decides = criticality(ends, before)[row]
        assert decides[ends[row].argmax()]
    lone = longest_chain(took, depends)
    if set(owners.values()) == {"machine"} and len(took) == len(lone):
        assert ends[0].max() - 9 == pytest.approx(sum(took.values()))


def lone_task(**changes: Any) -> Plan:
    task = {"id": "a", "kind": "machine", "estimate": [2, 4, 8], **changes}
    return make_plan([task])


def test_a_lone_task_of_the_machine_ends_as_its_distribution_says():
    found = forecast(lone_task(), durations(lone_task(), {}), at=MONDAY, draws=40_000)
    expected = stats.lognorm(Spread.of((2, 4, 8)).sd, scale=4).ppf([0.1, 0.5, 0.9])
    assert [(found.by(share) - MONDAY) / timedelta(hours=1) for share in (0.1, 0.5, 0.9)] == pytest.approx(expected, rel=0.03)
    assert found.tasks["a"].critical == 1


def test_a_task_that_has_run_longer_than_it_should_is_forecast_from_there_on():
    plan = lone_task(state="started", started="2026-12-07T01:00")
    found = forecast(plan, durations(plan, {}), at=MONDAY, draws=40_000)
    law = stats.lognorm(Spread.of((2, 4, 8)).sd, scale=4)
    survival = law.sf(8)
    expected = [law.isf(survival * (1 - share)) - 8 for share in (0.1, 0.5, 0.9)]
    assert [(found.by(share) - MONDAY) / timedelta(hours=1) for share in (0.1, 0.5, 0.9)] == pytest.approx(expected, rel=0.05)


def test_what_runs_on_tells_of_the_team_before_it_is_done():
    """Three tasks of four hours that have taken forty each say as much as finished ones would."""
    running = [{"id": name, "estimate": [2, 4, 8], "state": "started", "started": "2026-12-01", "hours": 40} for name in "abc"]
    fresh = [{"id": name, "estimate": [2, 4, 8]} for name in "abc"]
    slow, unknown = (forecast(make_plan(tasks), durations(make_plan(tasks), {}), at=MONDAY, draws=4000) for tasks in (running, fresh))
    assert slow.overrun[1] > 1.5 * unknown.overrun[1]


TEAM_OF_TASKS = [
    {"id": "a", "estimate": [2, 4, 8], "state": "done", "started": "2026-12-01", "finished": "2026-12-02"},
    {"id": "b", "estimate": [4, 8, 20], "depends": ["a"]}, {"id": "c", "estimate": [4, 8, 20], "owner": "Bo"},
    {"id": "d", "kind": "machine", "estimate": [1, 2, 9], "depends": ["b", "c"]}, {"id": "e", "estimate": [1, 2, 3], "depends": ["d"]},
]  # fmt: skip


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    plan = make_plan(TEAM_OF_TASKS)
    known = durations(plan, {})
    first, again, other = (forecast(plan, known, at=MONDAY, seed=seed, draws=2000) for seed in (0, 0, 1))
    assert json.dumps(first.to_json()) == json.dumps(again.to_json())
    assert first.finish.tobytes() == again.finish.tobytes() != other.finish.tobytes()


def test_another_estimate_moves_no_other_task():
    """Common random numbers: each task has a stream of its own."""
    before = make_plan(TEAM_OF_TASKS)
    after = make_plan([{**task, "estimate": [40, 80, 99]} if task["id"] == "d" else task for task in TEAM_OF_TASKS])
    first, second = (forecast(plan, durations(plan, {}), at=MONDAY, draws=500) for plan in (before, after))
    assert first.tasks["b"].finish == second.tasks["b"].finish
    assert first.tasks["b"].sure == second.tasks["b"].sure
    assert first.tasks["d"].finish < second.tasks["d"].finish


def test_bands_lie_in_each_other_and_a_chance_counts_the_draws():
    plan = make_plan(TEAM_OF_TASKS)
    found = forecast(plan, durations(plan, {}), at=MONDAY, draws=4000)
    bands = found.bands()
    for inner, outer in itertools.pairwise(bands):
        assert outer.low <= inner.low <= inner.high <= outer.high
    inside = [
        ((found.finish >= found.calendar.hours(band.low)) & (found.finish <= found.calendar.hours(band.high))).mean() for band in bands
    ]
    assert inside == pytest.approx([0.5, 0.8, 0.95], abs=0.03)
    assert found.chance(found.by(0.8).date()) >= 0.8 > found.chance(found.by(0.8).date() - timedelta(days=1)) - 1e-9
    assert found.chance(date(2026, 12, 6)) == 0


def test_nothing_begins_before_the_plan_does_and_a_finished_plan_is_finished():
    plan = make_plan(TEAM_OF_TASKS, begin="2027-02-01")
    assert forecast(plan, durations(plan, {}), at=MONDAY, draws=200).tasks["b"].start >= datetime(2027, 2, 1, 9)
    over = make_plan([{"id": "a", "state": "done", "finished": "2026-12-04"}])
    found = forecast(over, durations(over, {}), at=MONDAY, draws=200)
    assert found.tasks == {}
    assert found.by(0.5).date() == date(2026, 12, 4)


def test_overruns_that_are_shared_make_bands_wider_than_ones_drawn_apart():
    """The reason for the team's factor: thirty tasks' own spreads average out, and what they share does not."""
    tasks = [{"id": f"t{number}", "estimate": [3, 4, 5.3]} for number in range(30)]
    plan = make_plan(tasks)
    found = forecast(plan, durations(plan, {}), at=MONDAY, draws=4000)
    hours = found.calendar.worked(1, found.finish)
    apart = math.sqrt(30 * 4**2 * (math.exp(0.22**2 + 0.35**2) - 1))
    assert hours.std() > 3 * apart


# The second opinion


def test_throughput_needs_weeks_and_follows_their_pace():
    done = [
        {"id": f"d{week}-{n}", "state": "done", "finished": (MONDAY - timedelta(days=3 + 7 * week)).date().isoformat()}
        for week in range(8)
        for n in range(2)
    ]
    plan = make_plan([*done, *({"id": f"o{n}"} for n in range(10))])
    found = throughput(plan, MONDAY, added=0, done=1000, seed=0, draws=4000)
    assert found is not None
    assert set(found.weeks) == {2}
    assert (found.by(0.5) - found.at) / timedelta(weeks=1) == pytest.approx(5, abs=0.6), "ten tasks at two a week"
    assert throughput(make_plan([*done[:4], {"id": "o"}]), MONDAY, added=0, done=1, seed=0, draws=100) is None
    assert throughput(make_plan(done), MONDAY, added=0, done=1, seed=0, draws=100) is None
