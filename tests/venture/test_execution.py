"""Execution: what changed is a fact, the week is drafted from the ledger, the budget counts every attempt, the page says what is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
import yaml

from lodestar.contracts import clock
from lodestar.contracts.errors import UserError
from lodestar.contracts.record import RunRecord
from lodestar.contracts.score import Cost
from lodestar.venture.budget import check_budget, spending
from lodestar.venture.execution import change, look, not_done_before, overdue
from lodestar.venture.plan import load_plan
from lodestar.venture.plan_history import growth, versions
from lodestar.venture.plan_page import plan_page
from lodestar.venture.plan_records import PREDICTION_EVENT, measured
from lodestar.venture.status import status
from lodestar.venture.weekly import write_week

PLAN = {
    "begin": "2026-12-07",
    "people": [{"name": "Ada"}, {"name": "小云"}],
    "tasks": [
        {"id": "collect", "title": "Collect <b>data</b>", "owner": "Ada", "estimate": [4, 8, 16]},
        {"id": "train", "title": "Train", "kind": "machine", "step": "train", "estimate": "measured", "depends": ["collect"]},
        {"id": "sign", "title": "Sign the contract", "owner": "小云", "estimate": [1, 2, 4]},
    ],
}


@pytest.fixture
def today(monkeypatch):
    """The clock, held still; `today(moment)` sets it."""

    def set_to(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)
        for module in ("plan", "budget"):
            monkeypatch.setattr(f"lodestar.venture.{module}.now", lambda: moment)

    set_to(datetime(2026, 12, 7, 12, tzinfo=UTC))
    return set_to


@pytest.fixture
def planned(make_venture, today):
    venture = make_venture(targets=[{"metric": "accuracy", "at_least": 0.8, "by": "2026-12-31"}])
    (venture.folder / "plan.yaml").write_text(yaml.safe_dump(PLAN, allow_unicode=True, sort_keys=False))
    return venture


def record(step: str, id: str, seconds: float) -> RunRecord:
    return RunRecord(
        step=step, id=id, started="2026-12-07T00:00:00Z", finished="2026-12-07T01:00:00Z", config={}, inputs={}, outputs={},
        cost=Cost(seconds=seconds, cpu_seconds=1, peak_memory_bytes=1), versions={}, seed=0,
    )  # fmt: skip


# History


def test_every_change_is_noted_once_with_who_and_what(planned):
    look(planned, who="Ada", draws=100)
    assert look(planned, who="Ada", draws=100).changes == []
    change(planned, "start", "collect", who="小云", on="2026-12-07T09:00")
    path = planned.folder / "plan.yaml"
    path.write_text(path.read_text().replace("- 16", "- 20") + "- {id: more, title: More, owner: Ada}\n")
    found = look(planned, who="Bo", draws=100)
    assert [str(each.words.en) for each in found.changes] == ["collect: estimate 4–8–16 h → 4–8–20 h", "added more: More"]
    assert [(version.who, version.why) for version in versions(planned.ledger)] == [
        ("Ada", "edited"),
        ("小云", "plan start collect"),
        ("Bo", "edited"),
    ]
    assert versions(planned.ledger)[1].changes[0].words.zh == "collect：状态 未开始 → 进行中；开始 – → 2026-12-07T09:00"


def test_only_what_comes_after_the_work_has_begun_is_growth(planned):
    path = planned.folder / "plan.yaml"
    look(planned, who="Ada", draws=100)
    path.write_text(path.read_text() + "- {id: planned, title: P, owner: Ada}\n")
    look(planned, who="Ada", draws=100)
    change(planned, "done", "sign", who="Ada")
    found = look(planned, who="Ada", draws=100)
    assert growth(found.history, found.plan) == (0, 0), "the first finished task is where the work begins"
    path.write_text(path.read_text() + "- {id: grown, title: G, owner: Ada}\n- {id: job, title: J, kind: machine}\n")
    change(planned, "done", "planned", who="Ada")
    assert look(planned, who="Ada", draws=100).growth == (1, 1)


def test_a_change_keeps_the_file_as_people_wrote_it(planned):
    path = planned.folder / "plan.yaml"
    path.write_text("# ours\n" + path.read_text())
    before = path.read_text()
    assert change(planned, "block", "sign", who="Ada", because="the lawyer: away").blocked == "the lawyer: away"
    change(planned, "start", "collect", who="Ada")
    change(planned, "done", "collect", who="Ada", hours=6)
    task = load_plan(path).task("collect")
    assert (task.state, task.started, task.finished, task.hours) == ("done", "2026-12-07T12:00", "2026-12-07T12:00", 6)
    change(planned, "open", "collect", who="Ada")
    change(planned, "block", "sign", who="Ada", because="")
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("action", "id", "on", "sentence"),
    [
        ("done", "colect", None, "the plan has no task 'colect'; did you mean 'collect'?"),
        ("done", "collect", "2026-12-09", "has the date 2026-12-09, which is still to come"),
        ("start", "collect", "tomorrow", "'tomorrow' is no date"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(planned, action, id, on, sentence):
    before = (planned.folder / "plan.yaml").read_bytes()
    with pytest.raises(UserError) as caught:
        change(planned, action, id, who="Ada", on=on)
    assert sentence in str(caught.value)
    assert (planned.folder / "plan.yaml").read_bytes() == before
    assert not planned.ledger.events()


def test_a_targets_date_that_is_none_is_refused(make_venture, today):
    venture = make_venture(targets=[{"metric": "accuracy", "at_least": 0.8, "by": "soon"}])
    (venture.folder / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    with pytest.raises(UserError, match=re.escape("targets.0.by: 'soon' is no date")):
        look(venture, who="Ada", draws=100)


# What the machine does


def test_a_step_that_ran_is_done_and_its_time_is_known(planned, write_runs):
    write_runs(planned)
    assert look(planned, who="Ada", draws=100).plan.task("train").state == "done"


def test_a_step_is_known_by_its_runs_with_the_attempts_that_failed(planned, today):
    ledger = planned.ledger
    ledger.add_event(PREDICTION_EVENT, {"step": "train", "id": "a", "seconds": 5400})
    assert look(planned, who="Ada", draws=100).known["train"].source == "predicted"
    for end in ("failed", "finished"):
        attempt = ledger.start_run("train", "a")
        ledger.fail_run(attempt, "no disk") if end == "failed" else ledger.finish_run(attempt, record("train", "a", 1))
    assert measured(ledger)["train"].seconds == [0.0]
    assert measured(ledger)["train"].predicted is None, "what has run is not predicted"
    assert look(planned, who="Ada", draws=100).known["train"].source == "measured"


# The budget


def spend(venture, today, *attempts: tuple[str, str, float, str]) -> None:
    """(step, id, hours, end) one after another, from midnight on."""
    at = datetime(2026, 12, 7, tzinfo=UTC)
    for step, id, hours, end in attempts:
        today(at)
        attempt = venture.ledger.start_run(step, id)
        at += timedelta(hours=hours)
        today(at)
        if end == "finished":
            venture.ledger.finish_run(attempt, record(step, id, 3600 * hours))
        elif end == "failed":
            venture.ledger.fail_run(attempt, "no disk")
        else:
            file = venture.run_folder(step, id) / "metrics.jsonl"
            file.parent.mkdir(parents=True)
            file.write_text("{}")
            os.utime(file, (at.timestamp(), at.timestamp()))


def test_every_attempt_is_spent_failed_and_killed_ones_included(make_venture, today):
    venture = make_venture(budget={"amount": 30, "currency": "CNY", "per_hour": 2, "hours": 12})
    spend(
        venture,
        today,
        ("prepare", "p", 0.5, "finished"),
        ("train", "a", 2, "failed"),
        ("train", "a", 1.5, "killed"),
        ("train", "b", 3, "finished"),
    )
    spent = spending(venture)
    assert spent.hours == pytest.approx(7)
    assert spent.money == pytest.approx(14)
    assert spent.hours_left == pytest.approx(5)
    assert spent.limit == "budget.hours"
    assert spent.words.en == "machine hours so far: 7.00 / 12, 14.00 / 30.00 CNY"


def test_the_tighter_of_money_and_hours_decides(make_venture, today):
    venture = make_venture(budget={"amount": 10, "currency": "USD", "per_hour": 2, "hours": 100})
    assert (spending(venture).hours_left, spending(venture).limit) == (5, "budget.amount")
    assert spending(make_venture(budget={"amount": 10, "currency": "USD"})).hours_left is None
    assert spending(make_venture()).hours_left is None


def test_what_does_not_fit_is_refused_in_one_sentence(make_venture, today):
    venture = make_venture(budget={"amount": 0, "currency": "USD", "hours": 10})
    spend(venture, today, ("train", "a", 7, "failed"))
    check_budget(venture, "train", 2.9 * 3600)
    with pytest.raises(UserError) as caught:
        check_budget(venture, "train", 3.2 * 3600)
    assert "the step train will take about 3.2 hours, and budget.hours leaves 3.0 hours (machine hours so far: 7.00 / 10)" in str(
        caught.value
    )
    spend(venture, today, ("train", "b", 3, "finished"))
    with pytest.raises(UserError, match=r"budget\.hours is used up"):
        check_budget(venture, "evaluate", None)


# The week


def test_the_week_says_what_was_promised_and_what_came_of_it(planned, today, monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    first, _ = write_week(look(planned, who="Ada", draws=400))
    assert (first["week"], first["promised"], first["changed"]) == ("2026-W50", [], [])
    assert set(first["next"]) == {"collect", "sign", "train"}

    today(datetime(2026, 12, 15, 18, tzinfo=UTC))
    change(planned, "start", "collect", who="Ada", on="2026-12-07")
    change(planned, "done", "collect", who="Ada", on="2026-12-08")
    change(planned, "block", "sign", who="小云", because="the lawyer is away")
    path = planned.folder / "plan.yaml"
    path.write_text(path.read_text() + "- {id: extra, title: Extra work, owner: Ada}\n")
    planned.ledger.fail_run(planned.ledger.start_run("train", "a"), "no disk")
    value, text = write_week(look(planned, who="Bo", draws=400))
    assert value["week"] == "2026-W51"
    assert value["promised"] == [
        {"task": "collect", "title": "Collect <b>data</b>", "became": "done"},
        {"task": "train", "title": "Train", "became": "to do"},
        {"task": "sign", "title": "Sign the contract", "became": "blocked"},
    ]
    assert "done: Collect <b>data</b> (Ada)" in value["happened"]
    assert "the machine finished: –; attempts that failed: 1" in value["happened"]
    assert value["changed"][0] == "added extra: Extra work (Bo)"
    assert value["changed"][1].startswith("the finish moved: 80% sure by 2026-12-")
    assert value["blocked"] == ["Sign the contract (小云) waits for: the lawyer is away", "the step train failed: no disk"]
    assert "sign" not in value["next"]
    assert "- Sign the contract: blocked" in text
    assert (planned.folder / "updates" / "2026-W51.md").read_text() in text

    again, _ = write_week(look(planned, who="Bo", draws=400))
    assert again["promised"] == value["promised"], "a second draft in a week promises nothing to itself"


def test_what_takes_longer_than_thought_possible_is_said(planned):
    change(planned, "start", "sign", who="Ada", on="2026-12-07T09:00", hours=5)
    change(planned, "start", "collect", who="Ada", on="2026-12-07T09:00", hours=5)
    found = look(planned, who="Ada", draws=100)
    assert [task.id for task in overdue(found.plan, found.known)] == ["sign"]


def test_what_people_have_to_do_before_a_step_is_known(planned):
    assert [(step.id, task.id) for step, task in not_done_before(planned)] == [("train", "collect")]
    change(planned, "done", "collect", who="Ada")
    assert not_done_before(planned) == []


# The page


class Page(HTMLParser):
    """The visible text; fails on tags that are not closed in order, on scripts and on anything loaded from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text: list[str] = []
        self.html = html
        self.feed(html)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "iframe", "img"}
        assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in attrs)
        if tag not in {"meta", "path", "circle", "br"}:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"path", "circle"}:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack and data.strip():
            self.text.append(data.strip())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_and_its_bars_lie_within_it(planned, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    change(planned, "start", "collect", who="Ada", on="2026-12-07T09:00")
    change(planned, "block", "sign", who="Ada", because="</div>")
    found = look(planned, who="Ada", draws=400)
    page = Page(plan_page(found))
    shown = " ".join(page.text)
    assert "Collect <b>data</b>" in shown
    assert "</div>" in shown
    assert found.forecast.by(0.8).date().isoformat() in shown
    assert ("看板" in shown) == (language == "zh")
    placed = [(float(left), float(width)) for left, width in re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%"', page.html)]
    assert len(placed) > 5
    assert all(0 <= left <= 100 and left + width <= 100.02 for left, width in placed)
    assert found.chain
    assert all(f"◆ {task.title[:10]}" in shown for task in found.chain)
    assert write_week(found)[1].startswith("# Listener · 2026-W50")
    Page((planned.folder / "updates" / "2026-W50.html").read_text())


def test_a_plan_that_is_done_has_a_page_too(planned):
    for task in ("collect", "train", "sign"):
        change(planned, "done", task, who="Ada")
    found = look(planned, who="Ada", draws=100)
    assert found.forecast.tasks == {}
    Page(plan_page(found))
    json.dumps(found.to_json(), allow_nan=False)


# At a glance


def test_the_status_of_a_planned_venture_imports_nothing_heavy(planned):
    look(planned, who="Ada", draws=100)
    code = (
        "import sys; from pathlib import Path; from lodestar.venture.venture import Venture; from lodestar.venture.status import status;"
        f"assert '3 tasks done' in status(Venture.open(Path({str(planned.folder)!r}))).text();"
        "print(sorted({'torch', 'scipy', 'psycopg', 'numpy', 'icalendar'} & set(sys.modules)))"
    )
    environment = {**os.environ, "LODESTAR_LANGUAGE": "en"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_the_status_tells_of_the_plan_without_simulating_it(planned, monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")

    def execution() -> str:
        return next(stage.words.en for stage in status(planned).stages if stage.name == "execution")

    assert execution().endswith("·  0 of 3 tasks done")
    change(planned, "done", "collect", who="Ada")
    change(planned, "block", "sign", who="Ada", because="the lawyer")
    found = look(planned, who="Ada", draws=100)
    assert execution().endswith(f"1 of 3 tasks done, 1 blocked, 80% sure by {found.forecast.by(0.8):%Y-%m-%d}")
    change(planned, "block", "sign", who="Ada", because="")
    assert execution().endswith("·  1 of 3 tasks done"), "a forecast of another plan is none of this one"
