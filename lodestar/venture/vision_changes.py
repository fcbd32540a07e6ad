"""What happened to a vision between two versions, field by field, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..contracts.language import Words

_LINES: Mapping[str, Words] = {
    "name": Words("name", "名称"),
    "statement": Words("statement", "承诺"),
    "audience": Words("audience", "为谁"),
    "north_star": Words("north star", "北极星"),
}
_LISTS: Mapping[str, Words] = {"values": Words("value", "坚持"), "red_lines": Words("red line", "红线")}
_TARGET_PARTS: Mapping[str, Words] = {"by": Words("by", "期限"), "data": Words("split", "数据部分"), "why": Words("why", "理由")}
_BUDGET_PARTS: Mapping[str, Words] = {"per_hour": Words("an hour", "每小时"), "hours": Words("hours", "机时")}


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Words]:
    """One line a change; nothing where both are the same.

    Args:
        before, after: visions as JSON, as they were kept: one that is old may lack a field that is newer than it.
    """
    found = [
        _changed(called, _quoted(before.get(field)), _quoted(after.get(field)))
        for field, called in _LINES.items()
        if before.get(field) != after.get(field)
    ]
    found += _targets(_by(before.get("targets"), "metric"), _by(after.get("targets"), "metric"))
    for field, called in _LISTS.items():
        found += _items(called, before.get(field) or [], after.get(field) or [])
    found += _budget(before.get("budget"), after.get("budget"))
    return found + _team(_by(before.get("team"), "name"), _by(after.get("team"), "name"))


def _targets(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[Words]:
    found = [_gone(Words("target", "目标"), f"{name} {_threshold(target)}") for name, target in before.items() if name not in after]
    for name, target in after.items():
        if name not in before:
            due = f", {target['by']}" if target.get("by") else ""
            found.append(_new(Words("target", "目标"), f"{name} {_threshold(target)}{due}"))
            continue
        old = before[name]
        if _threshold(old) != _threshold(target):
            found.append(_changed(Words(f"target {name}", f"目标 {name}"), _threshold(old), _threshold(target)))
        for part, called in _TARGET_PARTS.items():
            if (old.get(part) or "") != (target.get(part) or ""):
                what = Words(f"target {name}, {called.en}", f"目标 {name} 的{called.zh}")
                shown = _quoted if part == "why" else _or_dash
                found.append(_changed(what, shown(old.get(part)), shown(target.get(part))))
    return found


def _items(called: Words, before: Sequence[str], after: Sequence[str]) -> list[Words]:
    gone = [_gone(called, _quoted(item)) for item in before if item not in after]
    new = [_new(called, _quoted(item)) for item in after if item not in before]
    if not gone and not new and list(before) != list(after):
        return [Words(f"{called.en}s: in another order", f"{called.zh}：顺序有变")]
    return gone + new


def _budget(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Words]:
    called = Words("budget", "预算")
    if before is None or after is None:
        return [] if before == after else [_changed(called, _amount(before), _amount(after))]
    found = [_changed(called, _amount(before), _amount(after))] if _amount(before) != _amount(after) else []
    for part, name in _BUDGET_PARTS.items():
        if before.get(part) != after.get(part):
            what = Words(f"budget, {name.en}", f"预算，{name.zh}")
            found.append(_changed(what, _or_dash(before.get(part)), _or_dash(after.get(part))))
    return found


def _team(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[Words]:
    called = Words("team", "团队")
    found = [_gone(called, name) for name in before if name not in after]
    for name, member in after.items():
        if name not in before:
            found.append(_new(called, f"{name} ({member['role']})" if member.get("role") else name))
        elif before[name].get("role") != member.get("role"):
            found.append(
                _changed(Words(f"team, {name}", f"团队，{name}"), _or_dash(before[name].get("role")), _or_dash(member.get("role")))
            )
    return found


def _by(items: Sequence[Mapping[str, Any]] | None, field: str) -> dict[str, Mapping[str, Any]]:
    return {str(item[field]): item for item in items or []}


def _threshold(target: Mapping[str, Any]) -> str:
    sign, value = ("≥", target.get("at_least")) if target.get("at_least") is not None else ("≤", target.get("at_most"))
    return f"{sign} {float(value or 0.0):,.15g} {target.get('unit') or ''}".rstrip()  # to the last digit: a small change is one, too


def _amount(budget: Mapping[str, Any] | None) -> str:
    return "–" if budget is None else f"{budget['amount']:,.15g} {budget['currency']}"


def _quoted(text: Any) -> str:
    return f"“{text}”" if text else "–"


def _or_dash(value: Any) -> str:
    return "–" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)


def _changed(what: Words, before: str, after: str) -> Words:
    return Words(f"{what.en}: {before} → {after}", f"{what.zh}：{before} → {after}")


def _new(what: Words, item: str) -> Words:
    return Words(f"{what.en} added: {item}", f"新增{what.zh}：{item}")


def _gone(what: Words, item: str) -> Words:
    return Words(f"{what.en} removed: {item}", f"移除{what.zh}：{item}")
