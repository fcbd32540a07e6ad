"""The five stages at a glance, and what to do next. Imports nothing that takes long, so that it answers at once.

What a venture has none of yet, decisions or a plan, is not imported either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..contracts.clock import now
from ..contracts.language import Words, say
from ..store.lock import holder
from .product import Release, gates, read_scorecard, releases
from .venture import STEPS, Venture
from .vision_history import standing
from .words import threshold

if TYPE_CHECKING:
    from .record import DecisionRecord

State = Literal["done", "under way", "open"]
BRIEF_FILE = "brief.html"

_MARKS: dict[State, str] = {"done": "★", "under way": "◐", "open": "☆"}
STAGE_TITLES = {
    "vision": Words("vision", "愿景"),
    "decision": Words("decision", "决策"),
    "execution": Words("execution", "执行"),
    "product": Words("product", "产品"),
    "success": Words("success", "成效"),
}


@dataclass(frozen=True)
class Stage:
    """One of the five: where it stands, in one line."""

    name: str
    state: State
    words: Words


@dataclass(frozen=True)
class Next:
    """The one thing to do now."""

    command: str
    why: Words


@dataclass(frozen=True)
class Status:
    """Where a venture stands."""

    name: str
    stages: list[Stage]
    running: str | None
    """Who works on it at this moment."""
    overdue: list[str]
    """The forecasts whose day is over and of which nobody has said yet what came."""
    next: Next

    def to_json(self) -> dict[str, Any]:
        return {
            "venture": self.name,
            "stages": [{"name": stage.name, "state": stage.state, "words": stage.words._asdict()} for stage in self.stages],
            "running": self.running,
            "overdue": self.overdue,
            "next": {"command": self.next.command, "why": self.next.why._asdict()},
        }

    def text(self) -> str:
        """For the terminal."""
        lines = [self.name, ""]
        for stage in self.stages:
            title = str(STAGE_TITLES[stage.name])
            width = 11 - sum(character > "\u2e80" for character in title)  # a Chinese character takes two columns
            lines.append(f"  {_MARKS[stage.state]} {title:<{width}}{stage.words}")
        lines.append("")
        if self.running:
            lines.append(say(f"At work: {self.running}", f"正在运行：{self.running}"))
        if self.overdue:
            due = f"{', '.join(self.overdue)} (lodestar forecast resolve)"
            lines.append(say(f"Forecasts that are due: {due}", f"到期的预测：{due}"))
        lines.append(say(f"Next: {self.next.command} ({self.next.why})", f"下一步：{self.next.command}（{self.next.why}）"))
        return "\n".join(lines)


def status(venture: Venture) -> Status:
    """Where `venture` stands, and what to do next."""
    made = releases(venture)
    served = venture.ledger.requests_served() if venture.has_ledger else 0
    stages = [_vision(venture), _decision(venture), _execution(venture), _product(made), _success(served)]
    running = holder(venture.state)
    at_work = running.words if running else None
    return Status(venture.file.name, stages, at_work, _overdue(venture), next_step(venture, made, served))


def next_step(venture: Venture, made: list[Release], served: int) -> Next:
    """The one thing to do now."""
    evaluated = venture.evaluation()
    if evaluated is None:
        if not (venture.folder / BRIEF_FILE).exists() and not venture.finished("prepare"):
            return Next("lodestar vision", Words("check venture.yaml and write the brief", "检查 venture.yaml，写出简报"))
        decided = _decided(venture)
        if decided is None and not venture.finished("train"):
            return Next("lodestar decide", Words("compare the strategies before one is paid for", "花钱之前，先比较各种策略"))
        if decided is not None and not decided.trains:
            words = Words(
                f"{decided.choice} trains no model; decide again when the evidence changes",
                f"{decided.choice} 不训练模型；证据有变时再作决策",
            )
            return Next("lodestar decide", words)
        return Next("lodestar run", Words("prepare, train and evaluate", "准备、训练、评测"))
    if venture.settings_changed():
        return Next(
            "lodestar run",
            Words("the settings in venture.yaml have changed since the last evaluation", "上次评测后 venture.yaml 的设置有改动"),
        )
    if made and made[-1].runs["evaluate"] == evaluated.record.id:
        if served:
            return Next("lodestar report", Words("hold what was served against the vision", "用实际服务情况对照愿景"))
        return Next("lodestar serve", Words(f"{made[-1].name} is ready and serves nobody yet", f"{made[-1].name} 已就绪，尚未对外服务"))
    failed = [gate for gate in gates(venture.file.targets, read_scorecard(evaluated.folder)) if not gate.kept]
    if not failed:
        return Next("lodestar release", Words("every target is kept", "所有目标均已达到"))
    names = ", ".join(gate.target.metric for gate in failed)
    return Next(
        "lodestar run",
        Words(
            f"first {failed[0].fix().en}: {names} short of target",
            f"先{failed[0].fix().zh}：{names} 未达目标",
        ),
    )


def _vision(venture: Venture) -> Stage:
    file = venture.file
    north = next((target for target in file.targets if target.metric == file.north_star), None)
    if north is None:
        return Stage("vision", "open", Words("the north star is not among the targets", "北极星指标不在目标之中"))
    star = f"{file.north_star} {threshold(north)}"
    count = len(file.targets)
    written = (venture.folder / BRIEF_FILE).exists()
    words = Words(f"{count} targets; north star {star}", f"{count} 个目标；北极星：{star}")
    kept = standing(venture)
    if kept.version is not None:
        number = kept.version.number
        told = Words(f"version {number}", f"第 {number} 版")
        if kept.changes:
            told = Words(f"changed since version {number}", f"第 {number} 版之后有改动")
        words = Words(f"{words.en}; {told.en}", f"{words.zh}；{told.zh}")
    return Stage("vision", "done" if written and not kept.changes else "under way", words)


def _decided(venture: Venture) -> DecisionRecord | None:
    """The newest decision; None where nothing is decided."""
    if not venture.decisions.exists():
        return None
    from .record import latest_record

    return latest_record(venture)


def _overdue(venture: Venture) -> list[str]:
    if not venture.has_ledger:
        return []
    forecasts = venture.ledger.forecasts()
    if not forecasts:
        return []
    from .forecasts import overdue

    return [forecast.id for forecast in overdue(forecasts, now().date())]


def _tried(venture: Venture) -> int:
    """How many strategies were tried by pilots."""
    if not venture.decisions.exists():
        return 0
    from .pilots import read_pilots

    return sum(bool(pilot.runs) for _, pilot in read_pilots(venture).values())


def _decision(venture: Venture) -> Stage:
    made = _decided(venture)
    if made is None:
        tried, words = _tried(venture), Words("nothing decided yet", "尚未决策")
        if tried:
            words = Words(f"{words.en}; {tried} strategies tried", f"{words.zh}；已试 {tried} 种策略")
        return Stage("decision", "under way" if tried else "open", words)
    from .record import is_followed

    words = Words(f"{made.choice}, chosen by {made.by} on {made.date}", f"{made.choice}，由 {made.by} 于 {made.date} 选定")
    if not is_followed(made, venture):
        return Stage("decision", "under way", Words(f"{words.en}; venture.yaml says otherwise", f"{words.zh}；但 venture.yaml 与之不符"))
    return Stage("decision", "done", words)


def _execution(venture: Venture) -> Stage:
    done = [step for step in STEPS if venture.latest(step)]
    english, chinese = ("prepare", "train", "evaluate"), ("准备", "训练", "评测")
    state: State = "done" if len(done) == len(STEPS) else "under way" if done or any(venture.runs.glob("*-*")) else "open"
    marks = ["✓" if step in done else "–" for step in STEPS]
    words = Words(
        "  ".join(f"{name} {mark}" for name, mark in zip(english, marks, strict=True)),
        "  ".join(f"{name} {mark}" for name, mark in zip(chinese, marks, strict=True)),
    )
    planned = _planned(venture)
    if planned is None:
        return Stage("execution", state, words)
    finished, plan = planned
    return Stage("execution", "done" if finished else "under way", Words(f"{words.en}  ·  {plan.en}", f"{words.zh}  ·  {plan.zh}"))


def _planned(venture: Venture) -> tuple[bool, Words] | None:
    """Whether the whole plan is done, and how far it is, with the last forecast of its end; None where there is no plan."""
    if not venture.plan_path.exists():
        return None
    from .execution import last_forecast
    from .plan import load_plan
    from .plan_records import with_records

    file = load_plan(venture.plan_path)
    plan = with_records(file, venture)
    done, count = sum(task.state == "done" for task in plan.tasks), len(plan.tasks)
    blocked = sum(task.blocked is not None for task in plan.tasks if task.state != "done")
    english, chinese = [f"{done} of {count} tasks done"], [f"任务完成 {done}/{count}"]
    if blocked:
        english.append(f"{blocked} blocked")
        chinese.append(f"受阻 {blocked}")
    told = last_forecast(venture, file)
    if told is not None and done < count:
        english.append(f"80% sure by {told['by']['80%'][:10]}")
        chinese.append(f"80% 把握在 {told['by']['80%'][:10]} 前完成")
    return done == count, Words(", ".join(english), "，".join(chinese))


def _product(made: list[Release]) -> Stage:
    if not made:
        return Stage("product", "open", Words("nothing released yet", "尚未发布"))
    last = made[-1]
    kept, count = sum(gate.kept for gate in last.gates), len(last.gates)
    words = Words(f"{last.name}: {kept} of {count} gates kept", f"{last.name}：{count} 道门槛通过 {kept} 道")
    if last.override:
        words = Words(f"{words.en}, released by decision of {last.override.who}", f"{words.zh}，由 {last.override.who} 决定发布")
    return Stage("product", "done", words)


def _success(served: int) -> Stage:
    if not served:
        return Stage("success", "open", Words("nothing served yet", "尚无请求"))
    return Stage("success", "done", Words(f"{served:,} requests served", f"已服务 {served:,} 次请求"))
