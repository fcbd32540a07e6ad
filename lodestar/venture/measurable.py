"""What of a vision cannot be measured as it is written: promises without a unit or a date, and big words with no promise behind them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from ..contracts.errors import UserError, quoted
from ..contracts.language import Words, say
from ..contracts.score import Metric, Target
from .vision import VENTURE_FILE, VentureFile


class _Claim(NamedTuple):
    """Words that promise something, and the metrics that would hold it."""

    what: Words
    """What is claimed."""
    english: str
    """A regular expression."""
    chinese: Sequence[str]
    metrics: Collection[str]
    """Any of these is enough."""


_OWN = "the task's own"
_CLAIMS: tuple[_Claim, ...] = (
    _Claim(
        Words("speed", "速度"),
        r"fast\w*|quick\w*|rapid\w*|instant\w*|immediate\w*|real[- ]time|at once|in no time|swift\w*",
        ("快速", "迅速", "飞快", "极速", "秒级", "即时", "实时", "立刻", "马上", "瞬间"),
        ("latency_ms_p50", "latency_ms_p95", "tokens_per_second", "real_time_factor"),
    ),
    _Claim(
        Words("size", "大小"),
        r"lightweight|compact|tiny|small enough|on (?:a|any|every|their) (?:phone|laptop)s?",
        ("轻量", "小巧", "手机上", "手机就能", "笔记本上"),
        ("memory_bytes", "model_bytes"),
    ),
    _Claim(
        Words("quality", "质量"),
        r"accura\w+|precise\w*|reliab\w+|correct\w*|flawless\w*|high[- ]quality|never wrong",
        ("准确", "精准", "可靠", "正确", "高质量", "从不出错", "零失误"),
        (_OWN,),
    ),
    _Claim(
        Words("a rank among others", "与他人相比的名次"),
        r"(?:the|world's) best|best[- ]in[- ]class|world[- ]class|state[- ]of[- ]the[- ]art|revolution\w+|amazing\w*|perfect\w*",
        ("最好的", "最佳", "最强", "一流", "领先", "完美", "革命性", "极致"),
        (),
    ),
)  # fmt: skip


def measurable(file: VentureFile, metrics: Mapping[str, Metric], *, where: str | Path = VENTURE_FILE) -> None:
    """Refuse promises that nobody could say of whether they are kept: each needs the unit that its metric has, and a day.

    That each has a threshold follows from `Target`, and that something measures it from `check`, which comes first.

    Args:
        metrics: every metric that the task and the system measure, by name.

    Raises:
        UserError: one sentence with all of them.
    """
    found = [(f"targets.{number}", what) for number, target in enumerate(file.targets) for what in _missing(target, metrics[target.metric])]
    if found:
        raise UserError(
            say("; ".join(f"{place}: {what}" for place, what in found), "；".join(f"{place}：{what}" for place, what in found)),
            where=where,
            fix=say("without it nobody can say whether the promise is kept: write it there", "否则无从判断是否兑现，请补上"),
        )


def claims(file: VentureFile, metrics: Mapping[str, Metric]) -> list[Words]:
    """Big words of the statement that no target stands behind: remarks, which stop nobody."""
    promised = {target.metric for target in file.targets}
    own = {name for name in metrics if not any(name in claim.metrics for claim in _CLAIMS)}
    found = []
    for claim in _CLAIMS:
        word = _said(claim, file.statement)
        behind = own if _OWN in claim.metrics else set(claim.metrics)
        if word is None or promised & behind:
            continue
        known = [name for name in metrics if name in behind]
        found.append(_nothing_measures(word, claim.what, known))
    return found


def _missing(target: Target, metric: Metric) -> list[Words]:
    """What a promise lacks, each with what to write."""
    found = []
    if metric.unit and not target.unit:
        what = Words(
            f"no unit, and {metric.name!r} is measured in {metric.unit} (unit: {metric.unit})",
            f"没有单位，而 {metric.name!r} 以 {metric.unit} 为单位（unit: {metric.unit}）",
        )
        found.append(what)
    if target.by is None:
        found.append(Words("no date by which it is to hold (by: YYYY-MM-DD)", "没有兑现期限（by: YYYY-MM-DD）"))
    else:
        try:
            date.fromisoformat(target.by)
        except ValueError:
            found.append(Words(f"{quoted(target.by)} is no date (by: YYYY-MM-DD)", f"{quoted(target.by)} 不是日期（by: YYYY-MM-DD）"))
    return found


def _said(claim: _Claim, statement: str) -> str | None:
    """The first word of a claim in a statement."""
    if found := re.search(rf"\b(?:{claim.english})\b", statement, re.IGNORECASE):
        return found[0]
    return next((word for word in claim.chinese if word in statement), None)


def _nothing_measures(word: str, what: Words, known: Sequence[str]) -> Words:
    if not known:
        return Words(
            f"statement: {word!r} claims {what.en}, which nothing here measures; say what will be true instead.",
            f"statement：“{word}”说的是{what.zh}，无从测量；请改写成能兑现的事实。",
        )
    return Words(
        f"statement: {word!r} claims {what.en}, and no target measures it; add one on {' or '.join(known)}, or say it otherwise.",
        f"statement：“{word}”说的是{what.zh}，却没有目标来衡量；请在 {'、'.join(known)} 上加一个目标，或换个说法。",
    )
