"""The vision on one page, for the team's wall: what, for whom, by which measure, and what is not to be done."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ..contracts.clock import now
from ..contracts.language import Words, say
from ..contracts.score import Metric, Target
from ..contracts.settings import DataSettings, TrainSettings
from .page import SKY, bullets, document, facts, section, table
from .vision import VentureFile
from .words import threshold


def brief(file: VentureFile, metrics: Mapping[str, Metric], version: str = "") -> str:
    """The one-page brief as self-contained HTML, in the reader's language; the founder's texts stay as they were written.

    Args:
        metrics: those that the targets are on, as `check` takes them.
        version: of the vision, as `vision_history.standing` says it.
    """
    kind = say("Venture brief", "项目简报")
    closing = say("A release is made only when every promise above holds.", "只有上述承诺全部兑现，才会发布。")
    words, units = {name: metric.words for name, metric in metrics.items()}, {name: metric.unit for name, metric in metrics.items()}
    return document(f"{file.name} · {kind}", kind, now().date().isoformat(), brief_body(file, words, units, version), closing)


def brief_body(file: VentureFile, words: Mapping[str, Words], units: Mapping[str, str], version: str = "") -> list[str]:
    """What stands on the brief, as HTML.

    Args:
        words: a metric → what it says; of one that is not there, the target's own reason is told.
        units: a metric → its unit; of one that is not there, the target's own.
        version: as `brief` takes it.
    """
    north = next(target for target in file.targets if target.metric == file.north_star)
    head = (
        f'<h1>{escape(file.name)}</h1><p class="statement">{escape(file.statement)}</p>'
        f'<p class="audience">{say("For ", "为谁而做：")}{escape(file.audience)}</p>'
    )
    return [
        head,
        _north_star(north, words, units),
        section(say("What we promise", "我们的承诺"), _targets(file, words, units)),
        '<div class="columns">',
        section(say("What we hold to", "我们的坚持"), bullets(file.values)),
        section(say("What we will not do", "我们的红线"), bullets(file.red_lines, "lines")),
        section(say("How it is made", "如何做成"), facts(_making(file))),
        section(say("Who and with what", "谁来做，用什么做"), facts([*_means(file), (say("Vision", "愿景"), version)])),
        "</div>",
    ]


def _north_star(target: Target, words: Mapping[str, Words], units: Mapping[str, str]) -> str:
    due = say(f"by {target.by}", f"期限 {target.by}") if target.by else ""
    says = "<br>".join(escape(part) for part in (str(words.get(target.metric, target.why)), due) if part)
    promise = threshold(target, units.get(target.metric))
    return (
        f'<section class="star">{SKY}<span class="label">{say("Our north star", "我们的北极星")}</span>'
        f'<span class="value">{escape(promise)}<small><code>{escape(target.metric)}</code></small></span>'
        f'<span class="says">{says}</span></section>'
    )


def _targets(file: VentureFile, words: Mapping[str, Words], units: Mapping[str, str]) -> str:
    dated = any(target.by for target in file.targets)
    headings = [
        say("Measure", "指标"),
        say("Promise", "承诺"),
        *([say("By", "期限")] if dated else []),
        say("Why this number", "为何是这个数"),
    ]
    rows = []
    for target in file.targets:
        said = f'<div class="says">{escape(str(words[target.metric]))}</div>' if target.metric in words else ""
        measure = f"<code>{escape(target.metric)}</code>{said}"
        due = [escape(target.by or "")] if dated else []
        rows.append([measure, escape(threshold(target, units.get(target.metric))), *due, escape(target.why)])
    return table(headings, rows, ["", "figure", *(["short"] if dated else []), ""])


def _making(file: VentureFile) -> list[tuple[str, str]]:
    size = {"tiny": "微型", "small": "小型", "medium": "中型", "large": "大型"}[file.model.size]
    context = file.model.context
    model = say(f"a Transformer of our own, {file.model.size}", f"自有 Transformer，{size}")
    if context:
        model += say(f", {context} tokens of context", f"，上下文 {context} 个词元")
    return [
        (say("Task", "任务"), file.task),
        (say("Data", "数据"), _data(file.data)),
        (say("Model", "模型"), model),
        (say("Training", "训练"), _training(file.train)),
        (say("Judged on", "评判"), say(f"the {file.evaluate.split} split, unseen in training", f"训练未见过的 {file.evaluate.split} 部分")),
    ]


def _data(data: DataSettings) -> str:
    shown = [source.removeprefix("builtin:") for source in data.sources[:4]]
    rest = len(data.sources) - len(shown)
    return ", ".join(shown) + (say(f" and {rest} more", f" 等共 {len(data.sources)} 处") if rest else "")


def _training(train: TrainSettings) -> str:
    limits = []
    if train.minutes:
        limits.append(say(f"at most {train.minutes:g} minutes", f"最多 {train.minutes:g} 分钟"))
    if train.tokens:
        limits.append(say(f"{train.tokens:,} tokens", f"{train.tokens:,} 个词元"))
    return say(", ", "，").join([*limits, {"muon": "Muon", "adamw": "AdamW"}[train.optimizer]])


def _means(file: VentureFile) -> list[tuple[str, str]]:
    budget = f"{file.budget.amount:,.0f} {file.budget.currency}" if file.budget else ""
    team = say("; ", "；").join(f"{member.name} ({member.role})" if member.role else member.name for member in file.team)
    return [(say("Team", "团队"), team), (say("Budget", "预算"), budget), (say("Licence", "许可"), file.licence or "")]
