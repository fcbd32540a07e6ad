"""Plan the work, and forecast when it is done: begin a plan, show it, say what is done, draft the week's update.

计划工作并预测完成日期：新建计划、查看计划、登记进展、起草周报。
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..contracts.errors import UserError, quoted
from ..contracts.language import say
from ._command import lodestar_command, show, venture_option
from ._table import columns

if TYPE_CHECKING:
    from ..venture.execution import Execution
    from ..venture.venture import Venture

ACTIONS = ("show", "start", "done", "open", "block", "week", "history")
FORMATS = ("github", "csv", "ics")


@lodestar_command()
@click.argument("action", type=click.Choice(ACTIONS), default="show", metavar=say("[ACTION]", "[操作]"))
@click.argument("task", required=False, metavar=say("[TASK]", "[任务]"))
@venture_option
@click.option("--because", metavar=say("WHY", "原因"), help=say("What a blocked task waits for (block).", "受阻的任务在等什么（block）。"))
@click.option(
    "--hours", type=click.FloatRange(0), help=say("What it took, where the calendar does not tell.", "实际工时，日历推算不准时填写。")
)
@click.option("--on", metavar=say("DATE", "日期"), help=say("When it was begun or done; now by default.", "开始或完成的日期，默认为现在。"))
@click.option(
    "--by",
    "who",
    metavar=say("WHO", "姓名"),
    help=say("Who changes the plan; the user of this machine by default.", "由谁修改，默认为本机用户。"),
)
@click.option(
    "--export", type=(click.Choice(FORMATS), click.Path(path_type=Path)), metavar="github|csv|ics FILE",
    help=say("Write the plan as GitHub issues (JSON), CSV or iCalendar.", "导出为 GitHub 议题（JSON）、CSV 或 iCalendar。"),
)  # fmt: skip
@click.option(
    "--import", "source", type=click.Path(path_type=Path), metavar=say("FILE", "文件"),
    help=say("Take tasks over from such a file: known ones are changed, new ones added.", "从此类文件导入：已有任务更新，新任务添加。"),
)  # fmt: skip
@click.option(
    "--owner", metavar=say("NAME", "姓名"), help=say("Who takes imported tasks that name nobody.", "导入的任务未指定负责人时归谁。")
)
@click.option("--seed", type=int, default=0, show_default=True, help=say("Equal seeds forecast equally.", "相同的种子得到相同的预测。"))
@click.option(
    "--draws", type=click.IntRange(100, 1_000_000), default=10_000, show_default=True, help=say("Simulated futures.", "模拟次数。")
)
def command(
    action: str, task: str | None, venture: Path, because: str | None, hours: float | None, on: str | None, who: str | None,
    export: tuple[str, Path] | None, source: Path | None, owner: str | None, seed: int, draws: int,
) -> None:  # fmt: skip
    from ..venture import execution
    from ..venture.venture import Venture

    _refuse_what_does_not_go_together(action, task, because, export, source)
    opened = Venture.open(venture)
    who = who or execution.who_am_i()
    with execution.plan_lock(opened):
        why = "edited"
        if not opened.plan_path.exists():
            _begin(opened)
            why = "begun"
        if task is not None:
            execution.change(opened, cast("execution.Action", action), task, who=who, on=on, hours=hours, because=because)
        if source is not None:
            _take_over(opened, source, owner, who)
        found = execution.look(opened, who=who, why=why, seed=seed, draws=draws)
        if action == "week":
            _week(found)
        elif action == "history":
            _history(found)
        elif export is not None:
            _write(found, *export)
        else:
            _show(found)


def _refuse_what_does_not_go_together(
    action: str, task: str | None, because: str | None, export: tuple[str, Path] | None, source: Path | None
) -> None:
    needs_task = action in ("start", "done", "open", "block")
    if needs_task and task is None:
        raise UserError(f"which task is it that is to be {quoted(action)}?", fix=f"name it: lodestar plan {action} TASK")
    if task is not None and not needs_task:
        raise UserError(f"the action {action} takes no task", fix=f"leave {quoted(task)} out, or say start, done, open or block before it")
    if action == "block" and not (because or "").strip():
        raise UserError("a blocked task waits for something", fix="say what for with --because")
    if because is not None and action != "block":
        raise UserError("--because belongs to the action block", fix="leave it out")
    if (export is not None or source is not None) and (action != "show" or (export is not None and source is not None)):
        raise UserError("the plan is imported, exported or changed, one at a time", fix="leave one of them out")


def _begin(venture: Venture) -> None:
    from ..contracts.clock import now
    from ..contracts.progress import note
    from ..venture.plan_begin import begin_plan
    from ..venture.plan_records import PREDICTION_EVENT
    from ._plan import finished_record, plan_if_prepared
    from ._steps import predicted_seconds

    begin_plan(venture, now().date())
    note(
        say(
            "began plan.yaml: its people's estimates are assumed, so write your own.",
            "已新建 plan.yaml：其中人的估时为假定值，请改成您自己的。",
        )
    )
    training = None if _is_measured(venture) else plan_if_prepared(venture)
    if training is not None and finished_record(training.folder) is None:
        try:
            seconds = predicted_seconds(venture, training)
        except UserError as error:  # a plan can be made of what does not fit yet
            note(str(error))
        else:
            id = training.folder.name.removeprefix("train-")
            venture.ledger.add_event(PREDICTION_EVENT, {"step": "train", "id": id, "seconds": round(seconds, 1)})


def _is_measured(venture: Venture) -> bool:
    """Whether the pilots of a decision have measured the training, so that no look at it can tell more."""
    from ..venture.decided import decided

    known = decided(venture).get("train")
    return known is not None and known.source == "measured"


def _take_over(venture: Venture, source: Path, owner: str | None, who: str) -> None:
    from ..contracts.progress import note
    from ..venture.exchange import import_tasks

    changed, added = import_tasks(venture, source, owner=owner, who=who)
    note(say(f"took over {source}: {added} tasks added, {changed} changed.", f"已导入 {source}：新增 {added} 个任务，更新 {changed} 个。"))


def _write(found: Execution, kind: str, path: Path) -> None:
    from ..store.files import write_atomic
    from ..venture.exchange import export_tasks

    write_atomic(path, export_tasks(found, kind))
    count = len(found.plan.tasks)
    show({"file": str(path), "tasks": count}, say(f"Wrote {count} tasks: {path}", f"已导出 {count} 个任务：{path}"))


def _week(found: Execution) -> None:
    from ..venture.weekly import write_week

    value, text = write_week(found)
    show(value, text)


def _history(found: Execution) -> None:
    value = [
        {"time": version.time, "who": version.who, "why": version.why, "changes": [change.words._asdict() for change in version.changes]}
        for version in found.history
    ]
    lines = []
    for version in found.history:
        lines.append(f"{version.time}  {version.who}  ({version.why})")
        lines += [f"    {change.words}" for change in version.changes]
    show(value, "\n".join(lines))


def _show(found: Execution) -> None:
    from ..store.files import write_atomic
    from ..venture.plan_page import PLAN_PAGE, plan_page

    path = found.venture.folder / PLAN_PAGE
    write_atomic(path, plan_page(found))
    show(found.to_json() | {"page": str(path)}, "\n".join([*_lines(found), say(f"Board and Gantt: {path}", f"看板与甘特图：{path}")]))


def _lines(found: Execution) -> Sequence[str]:
    """The plan for the terminal."""
    from ..venture.durations import likely_hours
    from ..venture.plan_words import chance_line, finish_lines, state_word, told_from

    plan, forecast, hours = found.plan, found.forecast, likely_hours(found.plan, found.known)
    rows = [
        [
            say("task", "任务"),
            say("owner", "负责人"),
            say("state", "状态"),
            say("hours", "工时"),
            say("from", "依据"),
            say("done by (80% sure)", "完成（80% 把握）"),
            say("decides", "决定工期"),
        ]
    ]
    for task in plan.tasks:
        told = forecast.tasks.get(task.id)
        rows.append(
            [
                task.id, task.owner, state_word(task), f"{hours[task.id]:.3g}", told_from(found.known[task.id]),
                (task.finished or "")[:10] if told is None else told.sure.date().isoformat(),
                "" if told is None else f"{told.critical:.0%}",
            ]
        )  # fmt: skip
    lines = [found.venture.file.name, *columns(rows), ""]
    lines += [f"! {task.id}: {task.blocked}" for task in plan.tasks if task.blocked and task.state != "done"]
    chain = " → ".join(task.id for task in found.chain)
    if chain:
        lines.append(say(f"Critical path: {chain}", f"关键路径：{chain}"))
    lines += [*finish_lines(found), *(chance_line(*each) for each in found.chances())]
    return lines
