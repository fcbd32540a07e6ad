"""The model card: what a release is, what it is for and not for, what it was judged on, and how to run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contracts.language import Words, say
from ..contracts.record import RunRecord, Scorecard
from .vision import VentureFile
from .words import figure, interval, threshold

if TYPE_CHECKING:
    from .licences import Reading
    from .product import Gate, Release

_MARKS: Mapping[str, str] = {"fine": "✓", "look": "?", "conflict": "✗"}


def model_card(
    file: VentureFile, release: Release, records: Mapping[str, RunRecord], licences: Sequence[Reading], changes: Sequence[Words] | None
) -> str:
    """The card as Markdown, in the reader's language.

    Args:
        records: those of prepare, train and evaluate.
        licences: what was read of the licences of what it is made of.
        changes: against the release before; None for the first.
    """
    parts = [
        _head(file, release),
        _section(say("Intended use", "用途"), _use(file)),
        _section(say("Gates", "门槛"), _gates(release)),
        _section(say("Scores", "得分"), _scores(release.scorecard)),
        _section(say("Data", "数据"), _data(records["prepare"])),
        _section(say("Licences", "许可"), _licences(licences)),
        *([] if changes is None else [_section(say("Changes", "变更"), _changes(changes))]),
        _section(say("Model and training", "模型与训练"), _training(file, records["train"])),
        _section(say("Cost", "开销"), _cost(records)),
        _section(say("Limits", "局限"), _limits(file, release)),
        _section(say("How to run it", "如何运行"), _running(release)),
        _section(say("Where it came from", "来历"), _origin(release)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(file: VentureFile, release: Release) -> str:
    lines = [f"# {file.name} {release.name}", f"> {file.statement}"]
    lines.append(
        say(
            f"A model for {release.task}, trained from scratch with Lodestar, released {release.created}.",
            f"面向 {release.task} 的模型，用北极星 Lodestar 从零训练，发布于 {release.created}。",
        )
    )
    if file.licence:
        lines.append(say(f"Licence: {file.licence}.", f"许可：{file.licence}。"))
    if release.override:
        lines.append(f"**{override_words(release)}**")
    return "\n\n".join(lines)


def override_words(release: Release) -> str:
    """That a release was let out in spite of its gates: by whom, and why."""
    assert release.override is not None
    failed = ", ".join(gate.target.metric for gate in release.gates if not gate.kept) or say("licences", "许可")
    who, why = release.override.who, release.override.why
    return say(
        f"{release.name} was released in spite of failing gates ({failed}), by decision of {who}: {why}",
        f"{release.name} 未达门槛（{failed}）仍予发布，由 {who} 决定：{why}",
    )


def _use(file: VentureFile) -> Iterable[str]:
    yield say(f"For {file.audience}.", f"服务对象：{file.audience}。")
    if file.red_lines:
        yield ""
        yield say("It must not be used against these red lines:", "不得越过以下红线：")
        yield ""
        yield from (f"- {line}" for line in file.red_lines)


def _gates(release: Release) -> Iterable[str]:
    yield say(
        "Each target is held at the worse end of the score's interval.",
        "每个目标都以得分区间中较差的一端来衡量。",
    )
    yield ""
    yield from _table(
        [
            say("target", "目标"),
            say("promise", "承诺"),
            say("measured", "测得"),
            say("kept", "兑现"),
            say("why this number", "为何是这个数"),
        ],
        (_gate_row(gate) for gate in release.gates),
    )


def _gate_row(gate: Gate) -> list[str]:
    score, target = gate.score, gate.target
    measured = f"{figure(score.value, score.unit)} {interval(score)}" if score else say("not measured", "未测量")
    return [
        f"`{target.metric}`",
        threshold(target, score.unit if score else None),
        measured,
        say("yes", "是") if gate.kept else say("**no**", "**否**"),
        target.why,
    ]


def _scores(card: Scorecard) -> Iterable[str]:
    counts = sorted({score.count for score in card.scores})
    confidence = card.scores[0].confidence if card.scores else 0.95
    most = f"{counts[-1]:,}" if counts else "0"
    yield say(
        f"On at most {most} examples of the {card.split} split, which training never saw; intervals are bootstrap intervals at "
        f"{confidence:.0%}. Beside the model stands the simplest method worth beating: {card.baseline_name}.",
        f"在训练未见过的 {card.split} 部分上评测，最多 {most} 个样本；区间为 {confidence:.0%} 自助法区间。"
        f"对照的是值得超越的最简单方法：{card.baseline_name}。",
    )
    yield ""
    baseline = {score.metric: score for score in card.baseline}
    yield from _table(
        [say("metric", "指标"), say("better", "更优"), say("model", "模型"), say("baseline", "基线"), say("examples", "样本数")],
        (
            [
                f"`{score.metric}`",
                say("higher", "越高") if score.better == "higher" else say("lower", "越低"),
                f"{figure(score.value, score.unit)} {interval(score)}",
                f"{figure(other.value, other.unit)} {interval(other)}" if (other := baseline.get(score.metric)) else "",
                f"{score.count:,}",
            ]
            for score in card.scores
        ),
    )


def _data(record: RunRecord) -> Iterable[str]:
    yield from _table(
        [say("split", "部分"), say("records", "记录数"), say("tokens", "词元数")],
        ([name, f"{split['records']:,}", f"{split['tokens']:,}"] for name, split in record.facts["splits"].items()),
    )
    yield ""
    yield say("Sources, licences and what was left out: data-card.md.", "来源、许可与剔除情况见 data-card.md。")


def _licences(licences: Sequence[Reading]) -> Iterable[str]:
    yield say("A first reading, and no legal advice.", "仅为初步核对，不构成法律意见。")
    yield ""
    yield from _table(
        [say("of what", "对象"), say("licence", "许可"), say("reading", "判读")],
        ([f"`{each.subject}`", each.licence or say("not stated", "未说明"), f"{_MARKS[each.verdict]} {each.words}"] for each in licences),
    )


def _changes(changes: Sequence[Words]) -> Iterable[str]:
    yield from (f"- {words}" for words in changes or [Words("nothing that is measured or set", "测量与设置均无变化")])


def _training(file: VentureFile, record: RunRecord) -> Iterable[str]:
    facts: Mapping[str, Any] = record.facts
    pairs = [
        (say("size", "规模"), f"{file.model.size}, " + say(f"{facts['parameters']:,} parameters", f"{facts['parameters']:,} 个参数")),
        (
            say("trained on", "训练量"),
            say(f"{facts['tokens']:,} tokens in {facts['steps']:,} steps", f"{facts['tokens']:,} 个词元，{facts['steps']:,} 步"),
        ),
        (say("optimiser", "优化器"), file.train.optimizer),
        (say("seed", "种子"), str(record.seed)),
        (say("configuration", "配置"), "config.json, task.json, release.json"),
    ]
    yield from (f"- {name}: {value}" for name, value in pairs)


def _cost(records: Mapping[str, RunRecord]) -> Iterable[str]:
    yield from _table(
        [say("step", "步骤"), say("time", "用时"), say("processor time", "处理器时间"), say("peak memory", "内存峰值")],
        (
            [
                step,
                f"{record.cost.seconds:,.0f} s",
                f"{record.cost.cpu_seconds:,.0f} s",
                figure(record.cost.peak_memory_bytes, "bytes"),
            ]
            for step, record in records.items()
        ),
    )


def _limits(file: VentureFile, release: Release) -> Iterable[str]:
    yield say(
        f"- What it knows comes from the data above; outside of it, its answers are guesses. "
        f"The scores hold for records like those of the {release.scorecard.split} split.",
        f"- 模型所知仅来自上述数据，超出范围的回答只是猜测；得分只对与 {release.scorecard.split} 部分相似的记录成立。",
    )
    context = file.model.context
    if context:
        yield say(f"- It sees at most {context} tokens at once.", f"- 一次最多看到 {context} 个词元。")
    yield say(
        "- It was not audited for bias, for what it memorised, or for attacks, beyond what stands in the scores.",
        "- 除上述得分外，未对偏见、记忆训练数据或攻击做过审计。",
    )
    yield from (f"- {gate.reason()}{say('.', '。')}" for gate in release.gates if not gate.kept)


def _running(release: Release) -> Iterable[str]:
    yield "```sh"
    yield f"lodestar serve {release.name}"
    yield "```"


def _origin(release: Release) -> Iterable[str]:
    yield from (f"- {step}: `{id}`" for step, id in release.runs.items())
    yield f"- {say('content', '内容')}: `{release.artefact}`"
    yield from (f"- {name}: {version}" for name, version in release.versions.items())


def _section(heading: str, lines: Iterable[str]) -> str:
    return f"## {heading}\n\n" + "\n".join(lines)


def _table(headings: list[str], rows: Iterable[list[str]]) -> Iterable[str]:
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
