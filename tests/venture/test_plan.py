"""plan.yaml: each mistake is one sentence with its line; the first plan of a venture; small edits leave the rest as it was written."""

from __future__ import annotations

import itertools
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.venture.plan import days_of, find_circle, in_order, load_plan
from lodestar.venture.plan_begin import begin_plan
from lodestar.venture.yaml_edit import edit_items
from lodestar.venture.yaml_file import parse

TEXT = """\
begin: 2026-12-01
people:
  - name: Ada
  - name: 小云
    share: 0.5
tasks:
  - id: collect
    title: Collect the data
    owner: Ada
    estimate: [8, 16, 40]
  - id: label
    title: Label the data
    owner: 小云
    depends: [collect]
  - id: train
    title: Train
    kind: machine
    step: train
    depends: [label]
    estimate: measured
"""


def mistake(folder: Path, text: str) -> str:
    path = folder / "plan.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_plan(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence.replace(str(folder), "HERE")


def test_a_plan_is_read_as_it_was_written(tmp_path):
    (tmp_path / "plan.yaml").write_text(TEXT)
    plan = load_plan(tmp_path / "plan.yaml")
    assert [task.owner for task in plan.tasks] == ["Ada", "小云", "machine"]
    assert [task.estimate for task in plan.tasks] == [(8, 16, 40), None, "measured"]
    assert plan.people[1].share == 0.5


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "owner: Ada\n    estimate", "owner: Adda\n    estimate",
            "plan.yaml:9: the task 'collect' has an unknown owner 'Adda'; did you mean 'Ada'?",
        ),
        (
            "depends: [collect]", "depends: [colect]",
            "plan.yaml:14: the task 'label' depends on 'colect', which is no task; did you mean 'collect'?",
        ),
        (
            "    estimate: [8, 16, 40]", "    depends: [train]",
            "plan.yaml:10: the tasks wait for each other in a circle: collect → train → label → collect",
        ),
        ("depends: [collect]", "depends: [label]", "in a circle: label → label"),
        ("id: label", "id: collect", "plan.yaml:11: two tasks have the id 'collect'"),
        ("[8, 16, 40]", "[8, -16, 40]", "plan.yaml:10: in 'tasks.0.estimate': [8, -16, 40] are not hours above 0"),
        ("[8, 16, 40]", "[0, 16, 40]", "[0, 16, 40] are not hours above 0"),
        ("[8, 16, 40]", "[40, 16, 8]", "[40, 16, 8] is upside down"),
        ("[8, 16, 40]", "[8, .inf, 40]", "are not hours above 0"),
        ("[8, 16, 40]", "[8, 16]", "[8, 16] is not three numbers of hours"),
        ("[8, 16, 40]", "two days", "'two days' is not three numbers of hours"),
        ("[8, 16, 40]", "[8, 16, 20000]", "is longer than 10,000 hours"),
        ("[8, 16, 40]", "measured", "nothing measures the task 'collect'"),
        ("begin: 2026-12-01", "begin: 2026-02-30", "plan.yaml:1: in 'begin': '2026-02-30' is no date"),
        ("begin: 2026-12-01", "begin: 20261201", "in 'begin': 20261201 is no date"),
        ("    estimate: [8", "    state: started\n    started: soon\n    estimate: [8", "in 'tasks.0.started': 'soon' is no date"),
        ("    estimate: [8", "    state: started\n    started: 2026-12-01T09:00+08:00\n    estimate: [8", "names a time zone of its own"),
        ("    estimate: [8", "    state: started\n    estimate: [8", "the task 'collect' is started; give the date"),
        ("    estimate: [8", "    started: 2026-12-01\n    estimate: [8", "has a date and its state is open"),
        (
            "    estimate: [8", "    state: done\n    started: 2026-12-03\n    finished: 2026-12-01\n    estimate: [8",
            "was finished on 2026-12-01, before it was started on 2026-12-03",
        ),
        ("    owner: Ada\n", "", "the task 'collect' has no owner"),
        ("name: Ada", "name: machine", "plan.yaml:3: the name 'machine' is the machine's"),
        ("name: 小云", "name: Ada", "plan.yaml:4: the name 'Ada' stands there twice"),
        ("share: 0.5", "share: 1.5", "people.1.share"),
        ("share: 0.5", "shares: 1", "did you mean 'share'"),
        ("share: 0.5", "off: [2026-12-24..2026-12-20]", "'2026-12-24..2026-12-20' ends before it begins"),
        ("begin:", "timezone: Mars/Olympus\nbegin:", "'Mars/Olympus' is no time zone"),
        ("begin:", "working: {start: '18:00', hours: 8}\nbegin:", "8 hours from 18:00 on end after midnight"),
        ("begin:", "working: {start: 9am}\nbegin:", "'9am' is no time of day"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(tmp_path, old, new, sentence):
    assert old in TEXT
    assert sentence in mistake(tmp_path, TEXT.replace(old, new, 1))


def test_a_missing_plan_says_what_begins_one(tmp_path):
    with pytest.raises(UserError, match=r"no plan\.yaml here; run `lodestar plan`"):
        load_plan(tmp_path / "plan.yaml")


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3, unique=True), min_size=6))
def test_a_circle_is_found_where_there_is_one_and_is_one(depends):
    found = find_circle(depends)
    reachable = {task: set(needed) for task, needed in depends.items()}
    for _ in depends:
        reachable = {task: needed.union(*(reachable[each] for each in needed)) for task, needed in reachable.items()}
    assert (found is not None) == any(task in needed for task, needed in reachable.items())
    if found is not None:
        assert found[0] == found[-1]
        assert all(after in depends[task] for task, after in itertools.pairwise(found))


def test_tasks_in_order_come_after_what_they_need(tmp_path):
    (tmp_path / "plan.yaml").write_text(TEXT)
    tasks = load_plan(tmp_path / "plan.yaml").tasks
    assert [task.id for task in in_order(reversed(tasks))] == ["collect", "label", "train"]


def test_days_and_ranges_of_days():
    assert days_of(["2026-12-31..2027-01-02", "2027-05-01"]) == {
        date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2), date(2027, 5, 1),
    }  # fmt: skip


# The first plan


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_first_plan_gives_each_task_to_whom_it_suits(make_venture, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    venture = make_venture(team=[{"name": "Ada", "role": "model engineer"}, {"name": "小云", "role": "数据与标注"}])
    plan = begin_plan(venture, date(2026, 12, 1))
    assert load_plan(venture.folder / "plan.yaml") == plan
    owners = {task.id: task.owner for task in plan.tasks}
    assert owners["collect"] == owners["label"] == "小云"
    assert owners["review-model"] == owners["hosting"] == "Ada"
    assert {task.id for task in plan.tasks if task.kind == "machine"} == {"prepare", "train", "evaluate"}
    assert all(task.state == "open" for task in plan.tasks)
    assert ("收集数据" in plan.tasks[0].title) == (language == "zh")
    with pytest.raises(UserError, match="has a plan already"):
        begin_plan(venture, date(2026, 12, 1))


def test_the_first_plan_of_a_venture_that_has_run_begins_behind_it(venture, write_runs):
    write_runs(venture)
    states = {task.id: task.state for task in begin_plan(venture, date(2026, 12, 1)).tasks}
    assert {id for id, state in states.items() if state == "done"} == {"collect", "label", "review-data"}


def test_the_first_plan_names_the_decision_that_it_carries_out(venture):
    for name in ("0001-small.md", "0002-large.md"):
        (venture.folder / "decisions").mkdir(exist_ok=True)
        (venture.folder / "decisions" / name).touch()
    begin_plan(venture, date(2026, 12, 1))
    assert "decisions/0002-large.md" in (venture.folder / "plan.yaml").read_text()


# Edits in place

WRITTEN = """\
# the plan
begin: 2026-12-01   # a Tuesday
tasks:
  # first
  - id: a   # short
    title: |
      A title
      of two lines
    depends:
      - b   # before it
      - c

  - {id: b, title: "B: b", estimate: [1, 2, 3]}   # inline
  - id: c
    title: C
    state:
other: [1, 2]   # last
"""


def test_an_edit_moves_nothing_else():
    changes: list[tuple[int | None, dict[str, Any]]] = [
        (0, {"state": "started", "started": "2026-12-07T14:05"}), (0, {"depends": ["c"], "title": "x: y"}),
        (1, {"state": "done", "estimate": None}), (2, {"state": "done", "hours": 3.0}),
        (None, {"id": "d", "title": "no", "estimate": (1, 2.5, 3)}),
    ]  # fmt: skip
    assert (
        edit_items(WRITTEN, "tasks", changes, where="plan.yaml")
        == """\
# the plan
begin: 2026-12-01   # a Tuesday
tasks:
  # first
  - id: a   # short
    title: 'x: y'
    depends:
      [c]
    state: started
    started: 2026-12-07T14:05

  - {id: b, title: "B: b", state: done}   # inline
  - id: c
    title: C
    state: done
    hours: 3
  - id: d
    title: 'no'
    estimate: [1, 2.5, 3]
other: [1, 2]   # last
"""
    )


VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12), st.integers(-9, 9),
    st.lists(st.sampled_from(["a", "b: c", "#", "是"]), max_size=3), st.none(),
)  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, None]),
            st.dictionaries(st.sampled_from(["title", "state", "new", "more"]), VALUES, min_size=1, max_size=3),
        ),
        max_size=4,
    )
)
def test_whatever_is_edited_means_what_was_asked(changes):
    changes = [(number, fields if number is not None else {"id": "z", **fields}) for number, fields in changes]
    expected = parse(WRITTEN)
    for number, fields in changes:
        if number is None:
            expected["tasks"].append({name: value for name, value in fields.items() if value is not None})
        else:
            expected["tasks"][number].update(fields)
            for name, value in fields.items():
                if value is None:
                    del expected["tasks"][number][name]
    edited = edit_items(WRITTEN, "tasks", changes, where="plan.yaml")
    assert parse(edited) == expected
    assert edited.startswith("# the plan\nbegin: 2026-12-01   # a Tuesday\n")
    assert edited.endswith("other: [1, 2]   # last\n")
    yaml.safe_load(edited)  # other programs read it, too


def test_what_cannot_be_edited_in_place_is_refused():
    text = "tasks: [{id: a, title: A}]\n"
    with pytest.raises(UserError, match="stands in brackets, where nothing can be added"):
        edit_items(text, "tasks", [(None, {"id": "b"})], where="plan.yaml")
    shared = "tasks:\n- &one {id: a, title: A}\n- *one\n"
    with pytest.raises(UserError, match="cannot be changed in place; change it by hand"):
        edit_items(shared, "tasks", [(1, {"title": "B"})], where="plan.yaml")
