"""The plan in other tools' forms: what goes out comes in as it was, what was changed there comes in changed, and nothing else gets in."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.venture.exchange import export_tasks, from_csv, from_github, from_ics, import_tasks, read_tasks, to_csv, to_github, to_ics
from lodestar.venture.execution import look
from lodestar.venture.plan import Plan, PlanTask, load_plan
from lodestar.venture.plan_begin import begin_plan

WHERE = Path("file")
PEOPLE = [{"name": "Ada", "github": "ada-l"}, {"name": "小云"}]


def plan_of(tasks: list[dict[str, Any]]) -> Plan:
    return Plan.parse({"begin": "2026-12-01", "timezone": "Asia/Shanghai", "people": PEOPLE, "tasks": tasks}, where="plan.yaml")


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(str.strip).filter(bool)
HOURS = st.integers(1, 400).map(lambda quarter: quarter / 4)


@st.composite
def tasks(draw: Any) -> dict[str, Any]:
    task = {"title": draw(TEXTS), "owner": draw(st.sampled_from(["Ada", "小云"]))}
    if draw(st.booleans()):
        task["estimate"] = sorted(draw(st.tuples(HOURS, HOURS, HOURS)))
    state = draw(st.sampled_from(["open", "started", "done"]))
    if state != "open":
        task |= {"state": state, "started": "2026-12-01T09:30"}
    if state == "done":
        task["finished"] = draw(st.sampled_from(["2026-12-02", "2026-12-03T10:15"]))
        task |= draw(st.sampled_from([{}, {"hours": 2.5}]))
    elif draw(st.booleans()):
        task["blocked"] = draw(TEXTS)
    return task


@st.composite
def plans(draw: Any) -> Plan:
    made = draw(st.lists(tasks(), min_size=1, max_size=5))
    for number, task in enumerate(made):
        task["id"] = f"t{number}"
        task["depends"] = draw(st.lists(st.sampled_from([f"t{n}" for n in range(number)]), unique=True, max_size=2)) if number else []
    return plan_of([*made, {"id": "train", "title": "Train", "kind": "machine", "step": "train", "estimate": "measured"}])


@settings(max_examples=60)
@given(plans())
def test_each_form_comes_in_as_it_went_out(plan):
    assert from_github(json.dumps(to_github(plan)), plan, None, WHERE) == plan.tasks
    assert from_csv(to_csv(plan), plan, None, WHERE) == plan.tasks
    assert from_ics(to_ics(plan, {}, "x"), plan, None, WHERE) == plan.tasks


LISTED = [
    {
        "number": 12, "title": "Write the guide", "body": "Please.", "state": "OPEN", "labels": [{"name": "blocked", "color": "f00"}],
        "assignees": [{"login": "Ada-L", "name": ""}], "closedAt": None, "createdAt": "2026-11-01T00:00:00Z",
    },
    {"number": 13, "title": "Old", "body": "", "state": "CLOSED", "labels": [], "assignees": [], "closedAt": "2026-11-30T20:00:00Z"},
    {"number": 14, "title": "A pull request", "state": "open", "pull_request": {"url": "…"}},
]  # fmt: skip


def test_issues_that_others_wrote_come_in_as_far_as_they_say_anything():
    found = from_github(json.dumps(LISTED), plan_of([{"id": "a", "title": "A", "owner": "Ada"}]), "小云", WHERE)
    assert [(task.id, task.title, task.owner, task.state, task.finished) for task in found] == [
        ("gh-12", "Write the guide", "Ada", "open", None),
        ("gh-13", "Old", "小云", "done", "2026-12-01T04:00"),
    ]
    assert found[0].blocked == "issue 12 has the label blocked"


def test_what_is_closed_retitled_or_assigned_anew_there_comes_in_so():
    plan = plan_of(
        [
            {"id": "a", "title": "A", "owner": "小云", "estimate": [1, 2, 3]},
            {"id": "b", "title": "B", "owner": "Ada", "state": "done", "finished": "2026-12-01"},
        ]
    )
    issues = to_github(plan)
    issues[0] |= {"title": "A, anew", "state": "CLOSED", "closedAt": "2026-12-02T01:00:00Z", "assignees": [{"login": "ada-l"}]}
    issues[1]["state"] = "OPEN"
    first, second = from_github(json.dumps(issues), plan, None, WHERE)
    assert (first.title, first.owner, first.state, first.finished, first.estimate) == (
        "A, anew",
        "Ada",
        "done",
        "2026-12-02T09:00",
        (1, 2, 3),
    )
    assert (second.state, second.finished) == ("open", None)
    todo = to_ics(plan, {}, "x").replace("STATUS:NEEDS-ACTION", "STATUS:COMPLETED\r\nCOMPLETED:20261202T010000Z")
    assert from_ics(todo, plan, None, WHERE)[0].finished == "2026-12-02T09:00"


def test_an_issue_is_what_the_interface_takes_for_a_new_one():
    plan = plan_of(
        [
            {"id": "a", "title": "A --> B", "owner": "Ada"},
            {"id": "b", "title": "B", "owner": "小云", "depends": ["a"], "estimate": [1, 2, 3]},
        ]
    )
    issues = to_github(plan)
    assert [set(issue) for issue in issues] == [{"title", "body", "labels", "assignees", "state"}] * 2
    assert issues[0]["assignees"] == ["ada-l"]
    assert issues[1]["assignees"] == []
    assert "Depends on: a\nEstimate: 1 to 3 hours, likely 2" in issues[1]["body"]
    assert issues[0]["body"].count("-->") == 1, "no text ends the hidden comment"


def test_a_spreadsheet_shows_a_title_that_looks_like_a_formula():
    plan = plan_of([{"id": "a", "title": "=HYPERLINK(1)", "owner": "Ada"}, {"id": "b", "title": "'=1", "owner": "Ada"}])
    rows = list(csv.DictReader(io.StringIO(to_csv(plan))))
    assert [row["title"] for row in rows] == ["'=HYPERLINK(1)", "''=1"]
    assert from_csv(to_csv(plan), plan, None, WHERE) == plan.tasks


def test_a_calendar_has_a_bar_and_a_due_date_for_what_is_left(venture):
    begin_plan(venture, date(2026, 12, 1))
    found = look(venture, who="Ada", draws=200)
    calendar = icalendar.Calendar.from_ical(export_tasks(found, "ics"))
    todos = {str(todo["uid"]).partition("@")[0]: todo for todo in calendar.walk("VTODO")}
    assert set(todos) == {task.id for task in found.plan.tasks}
    assert str(todos["label"]["related-to"]) == "collect@lodestar"
    assert todos["label"]["related-to"].params["RELTYPE"] == "DEPENDS-ON"
    bars = calendar.walk("VEVENT")
    assert len(bars) == len(todos)
    for bar in bars:
        due = todos[str(bar["uid"]).partition("-bar")[0]].decoded("due")
        assert bar.decoded("dtstart") <= bar.decoded("dtend") <= due


# Into plan.yaml


def test_an_import_changes_what_it_knows_adds_what_it_does_not_and_removes_nothing(venture, tmp_path):
    before = begin_plan(venture, date(2026, 12, 1))
    path = venture.folder / "plan.yaml"
    path.write_text(path.read_text() + "# the end\n")
    table = tmp_path / "plan.csv"
    table.write_text("id,title,owner,low,likely,high\ncollect,Collect it,founder,1,2,3\nnew,Something new,founder,,,\n")
    assert import_tasks(venture, table, owner=None, who="Ada") == (1, 1)
    after = load_plan(path)
    assert [task.id for task in after.tasks] == [*(task.id for task in before.tasks), "new"]
    assert after.task("collect").estimate == (1, 2, 3)
    assert after.task("label") == before.task("label")
    assert path.read_text().endswith("owner: founder\n# the end\n") or "# the end" in path.read_text()
    assert import_tasks(venture, table, owner=None, who="Ada") == (0, 0)


@pytest.mark.parametrize("kind", ["github", "csv", "ics"])
def test_a_plan_that_comes_back_unchanged_changes_nothing(venture, tmp_path, write_runs, kind):
    write_runs(venture)
    begin_plan(venture, date(2026, 12, 1))
    path = tmp_path / {"github": "x.json", "csv": "x.csv", "ics": "x.ics"}[kind]
    path.write_text(export_tasks(look(venture, who="Ada", draws=200), kind), newline="")
    before = (venture.folder / "plan.yaml").read_bytes()
    assert import_tasks(venture, path, owner=None, who="Ada") == (0, 0)
    assert (venture.folder / "plan.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.csv", "id,title,owner\na,A,Nobody\n", "unknown owner 'Nobody'"),
        ("x.csv", "id,title,owner\na,A,\n", "x.csv:2: it names nobody who does it; assign it, or say with --owner"),
        ("x.csv", "id,title,owner,low,likely,high\na,A,founder,3,2,1\n", "[3, 2, 1] is upside down"),
        ("x.csv", "id,title,owner,low,likely,high\na,A,founder,3,much,9\n", "x.csv:2: likely is 'much', which is no number of hours"),
        ("x.csv", "id,title,owner,state,started\na,A,founder,started,soon\n", "'soon' is no date"),
        ("x.csv", "id,titel\na,A\n", "unknown column 'titel'; did you mean 'title'?"),
        ("x.csv", "id\na\n", "no column 'title'"),
        ("x.csv", "id,title,owner,depends\na,A,founder,b\nb,B,founder,a\n", "in a circle: a → b → a"),
        ("x.csv", "id,title,owner\na,A,founder\na,B,founder\n", "two tasks have the id 'a'"),
        ("x.csv", "id,title,owner\na,A,founder,more\n", "more cells than the header"),
        ("x.json", "[{", "this is not JSON"),
        ("x.json", '{"title": "A"}', "no list of issues"),
        ("x.json", '[{"title": "A", "number": 3, "assignees": [{"login": "zoe"}]}]', "assigned to 'zoe', whom the plan does not know"),
        ("x.json", '[{"title": "A", "body": "<!-- lodestar {\\"id\\": } -->"}]', "is damaged"),
        ("x.ics", "BEGIN:NOTHING", "this is not iCalendar"),
        ("x.txt", "", "its ending tells none of the forms"),
        ("gone.csv", None, "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_the_plan_is_as_it_was(venture, tmp_path, name, content, sentence):
    begin_plan(venture, date(2026, 12, 1))
    before = (venture.folder / "plan.yaml").read_bytes()
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        import_tasks(venture, path, owner=None, who="Ada")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (venture.folder / "plan.yaml").read_bytes() == before


def test_an_owner_that_the_plan_does_not_know_is_refused(venture, tmp_path):
    plan = begin_plan(venture, date(2026, 12, 1))
    (tmp_path / "x.csv").write_text("id,title\na,A\n")
    with pytest.raises(UserError, match="nobody of the plan is called 'founde'; did you mean 'founder'"):
        read_tasks(tmp_path / "x.csv", plan, "founde")
    assert read_tasks(tmp_path / "x.csv", plan, "founder") == [PlanTask(id="a", title="A", owner="founder")]
