"""The report for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..contracts.language import say
from .card import override_words
from .economics_words import economics_text
from .forecast_words import score_lines
from .usage_words import heard_text, retention_text
from .words import figure, interval, threshold

if TYPE_CHECKING:
    from .success import Facts


def report_text(facts: Facts) -> str:
    """The report as lines of text."""
    file = facts.venture.file
    lines = [f"{file.name} · {facts.subject}", file.statement, ""]
    if facts.release and facts.release.override:
        lines += [override_words(facts.release), ""]
    for gate in facts.held:
        lines.append(f"  {'✓' if gate.kept else '✗'} {gate.reason()}")
        other = facts.baseline.get(gate.target.metric)
        if other:
            against = f"{figure(other.value, other.unit)} {interval(other)}"
            lines.append(say(f"      {facts.scorecard.baseline_name}: {against}", f"      {facts.scorecard.baseline_name}：{against}"))
    lines.append("")
    usage = facts.usage
    if usage:
        lines.append(
            say(
                f"Served: {usage.requests:,} requests ({usage.failed:,} failed), {usage.tokens_in + usage.tokens_out:,} tokens, "
                f"latency {figure(usage.latency_ms_p50, 'ms')} (p50), {figure(usage.latency_ms_p95, 'ms')} (p95)",
                f"已服务：{usage.requests:,} 次请求（失败 {usage.failed:,} 次），{usage.tokens_in + usage.tokens_out:,} 个词元，"
                f"延迟 {figure(usage.latency_ms_p50, 'ms')}（p50）、{figure(usage.latency_ms_p95, 'ms')}（p95）",
            )
        )
    else:
        lines.append(say("Served: nothing yet", "服务：尚无请求"))
    lines += [*_as_served(facts), *heard_text(facts.heard)]
    lines += economics_text(facts.economics) if facts.economics else []
    lines += retention_text(facts.retention) if facts.retention else []
    lines += [say(f"Roll-out: {facts.rollout.words()}", f"灰度发布：{facts.rollout.words()}")] if facts.rollout else []
    if facts.forecasts:
        lines += [say("Forecasts:", "预测："), *(f"  {line}" for line in score_lines(facts.forecasts))]
    lines += [say(f"Picture: {path}", f"图：{path}") for path in facts.pictures]
    lines += [say(f"Next: {each.command} ({each.why})", f"下一步：{each.command}（{each.why}）") for each in facts.next]
    return "\n".join(lines)


def _as_served(facts: Facts) -> list[str]:
    """Each promise that holds of what was served, beside what was served."""
    lines = []
    for each in facts.as_served:
        mark, name, value = "✓" if each.kept else "✗", each.target.metric, figure(each.value, each.unit)
        promised = threshold(each.target, each.unit)
        lines.append(
            say(f"  {mark} {name} as served: {value}, promised {promised}", f"  {mark} 实际服务的 {name}：{value}，承诺 {promised}")
        )
    return lines
