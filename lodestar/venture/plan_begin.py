"""The first plan of a venture: the steps of the lifecycle, and what people do before, between and after them, to be made one's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ..contracts.errors import UserError
from ..contracts.language import Words, say
from ..store.files import write_atomic
from .plan import Estimate, Plan, check
from .venture import STEPS, Venture
from .yaml_edit import flow
from .yaml_file import parse

_LOCAL_ZONE = Path("/etc/localtime")


@dataclass(frozen=True)
class _Draft:
    """A task that every venture has."""

    id: str
    title: Words
    depends: Sequence[str] = ()
    hours: Estimate | None = None
    """None for a step of the machine."""
    roles: Sequence[str] = ()
    """Words in the role of whom it suits."""


_DRAFTS = (
    _Draft(
        "collect", Words("Collect the data, and settle the rights to it", "收集数据，落实使用权"), (), (8, 24, 80),
        ("data", "domain", "product", "数据", "领域", "产品"),
    ),
    _Draft(
        "label", Words("Label the data, or check its labels", "标注数据，或核对标注"), ("collect",), (8, 24, 80),
        ("label", "data", "domain", "标注", "数据", "领域"),
    ),
    _Draft("prepare", Words("Prepare the data", "准备数据"), ("label",)),
    _Draft(
        "review-data", Words("Read the data card: what is missing, doubled, private", "阅读数据卡：缺失、重复与隐私"), ("prepare",),
        (1, 3, 8), ("data", "domain", "数据", "领域"),
    ),
    _Draft("train", Words("Train the model", "训练模型"), ("review-data",)),
    _Draft("evaluate", Words("Evaluate the model against the targets", "对照目标评测模型"), ("train",)),
    _Draft(
        "review-model", Words("Read the scorecard and the worst mistakes against the red lines", "对照红线审阅得分卡与最严重的错误"),
        ("evaluate",), (2, 6, 16), ("product", "domain", "model", "产品", "领域", "模型"),
    ),
    _Draft(
        "hosting", Words("Arrange where it runs: machine, address, log-in, backup", "落实运行环境：机器、地址、登录与备份"), ("collect",),
        (4, 16, 40), ("engineer", "ops", "model", "工程", "运维", "模型"),
    ),
    _Draft(
        "release", Words("Release: hold every gate, sign the model card", "发布：逐项过门槛，签署模型卡"), ("review-model",), (1, 2, 6),
        ("founder", "product", "ceo", "创始", "产品"),
    ),
    _Draft(
        "launch", Words("Serve the first users, and listen to them", "服务首批用户并听取反馈"), ("release", "hosting"), (4, 16, 40),
        ("product", "founder", "产品", "创始"),
    ),
)  # fmt: skip
ESTIMATES = {draft.id: draft.hours for draft in _DRAFTS if draft.hours}
"""Hours to begin with. assumed: nobody's, until the team writes its own"""


def begin_plan(venture: Venture, today: date) -> Plan:
    """Write the first plan.yaml of a venture, in the reader's language; what its runs have already done is done.

    Raises:
        UserError: there is one already.
    """
    path = venture.plan_path
    if path.exists():
        raise UserError("the venture has a plan already", where=path, fix="edit it, or remove it to begin anew")
    text = first_plan(venture, today)
    plan = Plan.parse(parse(text), where=path)
    check(plan, where=path)
    write_atomic(path, text)
    return plan


def first_plan(venture: Venture, today: date) -> str:
    """The text of it."""
    team = venture.file.team
    people = [member.name for member in team] or [say("founder", "创始人")]
    done = _done_before(venture)
    lines = [
        say("# The plan: who does what, after what, and how long that takes. Edit it; `lodestar plan` checks it and forecasts the end.",
            "# 计划：谁在何时之后做什么，需要多久。可随意修改；`lodestar plan` 会检查它并预测完成日期。"),
        *_decided(venture),
        f"begin: {today.isoformat()}",
        f"timezone: {flow(local_zone())}",
        say("# When people work; `off` takes days and ranges of days: 2026-12-24..2026-12-31.",
            "# 工作时间；`off` 写休息日或区间，如 2026-12-24..2026-12-31。"),
        "working: {days: [mon, tue, wed, thu, fri], start: '09:00', hours: 8, off: []}",
        say("# share: the part of their working hours that this plan gets. github: their log-in there.",
            "# share：可用于本计划的工时比例。github：其 GitHub 账号。"),
        "people:",
        *(f"  - {{name: {flow(name)}, share: 1}}" for name in people),
        say("# estimate: [low, likely, high] in hours; one task in ten is done in less than low, one in ten takes more than high.",
            "# estimate：[低, 可能, 高]，单位小时；十次有一次不到“低”，十次有一次超过“高”。"),
        say("# These are assumed: write your own. What the machine does is measured.",
            "# 以下为假定值，请改成您自己的；机器步骤以实测为准。"),
        "tasks:",
    ]  # fmt: skip
    for draft in _DRAFTS:
        lines += [f"  - id: {draft.id}", f"    title: {flow(str(draft.title))}"]
        if draft.hours is None:
            lines += ["    kind: machine", f"    step: {draft.id}", "    estimate: measured"]
        else:
            lines += [f"    owner: {flow(_suited(draft, venture) or people[0])}", f"    estimate: {flow(list(draft.hours))}"]
        if draft.depends:
            lines.append(f"    depends: {flow(list(draft.depends))}")
        if draft.id in done:
            lines.append("    state: done")
    return "\n".join(lines) + "\n"


def _decided(venture: Venture) -> list[str]:
    """A line that names the decision which the plan carries out: the newest record, where there is one."""
    records = sorted(path.name for path in (venture.folder / "decisions").glob("[0-9]*.md"))
    if not records:
        return []
    return [say(f"# It carries out decisions/{records[-1]}, which the times of training and evaluation are told from.",
                f"# 本计划落实 decisions/{records[-1]}，训练与评测的用时亦由此推算。")]  # fmt: skip


def _done_before(venture: Venture) -> set[str]:
    """The people's tasks that a step which has run must have had behind it."""
    ran = [step for step in STEPS if venture.latest(step)]
    waiting, done = [draft for draft in _DRAFTS if draft.id in ran], set[str]()
    while waiting:
        needed = [draft for draft in _DRAFTS if draft.id in waiting[0].depends and draft.id not in done]
        done.update(draft.id for draft in needed if draft.hours)
        waiting = [*waiting[1:], *needed]
    return done


def _suited(draft: _Draft, venture: Venture) -> str | None:
    """The first of the team whose role names what the task is about."""
    for word in draft.roles:
        for member in venture.file.team:
            if word in member.role.lower():
                return member.name
    return None


def local_zone() -> str:
    """The name of this machine's time zone, where its system tells; else UTC."""
    found = re.search(r"zoneinfo/(?:Etc/)?(.+)$", str(_LOCAL_ZONE.resolve())) if _LOCAL_ZONE.is_symlink() else None
    return found[1] if found else "UTC"
