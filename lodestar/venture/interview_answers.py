"""What the answers of an interview say: amounts with their currency, thresholds with their unit, people, lists, choices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..contracts.errors import UserError, nearest, quoted
from ..contracts.language import Words, say
from ..contracts.score import Metric, Target

_LIST = re.compile(r"[;；\n]")
_AMOUNT = r"(\d[\d,_]*(?:\.\d+)?|\.\d+)"
_THRESHOLD = re.compile(rf"(>=|<=|≥|≤)?\s*([-+]?{_AMOUNT}(?:[eE][-+]?\d+)?)\s*(\D.*)?")
_MONEY = re.compile(rf"{_AMOUNT}\s*([A-Za-z]{{3}})|([A-Za-z]{{3}})\s*{_AMOUNT}")
_PRICE = re.compile(rf"{_AMOUNT}\s*([A-Za-z]{{3}})?")
_MEMBER = re.compile(r"(?P<name>[^:：(（]+?)\s*(?:[:：]\s*(?P<role>.*)|[(（](?P<inner>[^)）]*)[)）])?")
_SCALES: Mapping[tuple[str, str], float] = {
    ("s", "ms"): 1e3, ("kb", "bytes"): 1e3, ("mb", "bytes"): 1e6, ("gb", "bytes"): 1e9, ("tb", "bytes"): 1e12,
}  # fmt: skip
"""A unit that people say → by what it is more than the metric's own."""


def refused(english: str, chinese: str) -> UserError:
    """The error for an answer that says nothing that could be read, in the founder's language."""
    return UserError(say(english, chinese))


def read_threshold(text: str, metric: Metric) -> dict[str, Any]:
    """`≥ 0.9`, `300`, `0.3 s`, `2 GB` → a target's fields; raises `UserError` where it is no number."""
    found = _THRESHOLD.fullmatch(text)
    if found is None:
        example = f"0.9 {metric.unit}".strip() if metric.unit else "0.9"
        raise refused(f"{quoted(text)} is no number; write one, as {example}", f"{quoted(text)} 不是数字，请写成 {example} 这样")
    sign, digits, _, unit = found.groups()
    value = _number(digits)
    unit = (unit or metric.unit).strip()
    if (scale := _SCALES.get((unit.lower(), metric.unit))) is not None:
        value, unit = value * scale, metric.unit
    higher = metric.better == "higher" if sign is None else sign in (">=", "≥")
    return {"at_least" if higher else "at_most": value, **({"unit": unit} if unit else {})}


def read_parts(text: str) -> list[str]:
    """What stands between semicolons or line ends."""
    return [part for part in (part.strip() for part in _LIST.split(text)) if part]


def read_choice(text: str, choices: Mapping[str, Words]) -> str:
    """The one that is meant by its name, or by its number from 1; raises `UserError` for another."""
    names = list(choices)
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    if text not in choices:
        guess = nearest(text, names)
        raise refused(
            f"{quoted(text)} is no choice here; " + (f"did you mean {guess!r}" if guess else "give a name or a number of the list"),
            f"没有 {quoted(text)} 这一项；" + (f"是否指 {guess!r}" if guess else "请写列表中的名称或序号"),
        )
    return text


def _number(digits: str) -> float:
    return float(digits.replace(",", "").replace("_", ""))


def read_money(text: str) -> dict[str, Any]:
    """`5,000 USD`, `cny 200` → amount and currency; raises `UserError` where either is missing."""
    found = _MONEY.fullmatch(text)
    if found is None:
        raise refused(
            f"{quoted(text)} is no amount of money; write it with its currency, as 5000 USD",
            f"{quoted(text)} 不是金额，请连货币一起写，例如 5000 CNY",
        )
    amount, currency = (found[1], found[2]) if found[1] else (found[4], found[3])
    return {"amount": _number(amount), "currency": currency.upper()}


def read_price(text: str, currency: str) -> float:
    """`2`, `2 USD` → the amount; raises `UserError` where it is none, or in another currency than this one."""
    found = _PRICE.fullmatch(text)
    if found is None or (found[2] or currency).upper() != currency:
        raise refused(
            f"{quoted(text)} is no amount in {currency}; write it as 2 {currency}",
            f"{quoted(text)} 不是 {currency} 金额，请写成 2 {currency} 这样",
        )
    return _number(found[1])


def read_member(text: str) -> dict[str, str]:
    """`Ada: model`, `小林（数据）`, `Kim` → name and role; raises `UserError` where it is neither."""
    found = _MEMBER.fullmatch(text)
    if found is None:
        raise refused(f"{quoted(text)} is no name with a role; write it as Ada: model", f"{quoted(text)} 请写成“姓名：职责”")
    role = found["role"] or found["inner"] or ""
    return {"name": found["name"], **({"role": role} if role else {})}


def threshold_text(usual: Target | None, metric: Metric) -> str:
    """A start's own threshold, as one would type it."""
    if usual is None:
        return ""
    value = usual.at_least if usual.at_least is not None else usual.at_most
    assert value is not None
    if metric.unit == "bytes" and value >= 1e9:
        return f"{value / 1e9:.15g} GB"
    return f"{value:.15g} {metric.unit}".strip()


def price_text(budget: Mapping[str, Any], currency: str) -> str:
    """A start's own price of an hour, where the founder pays in the same currency."""
    per_hour = budget.get("per_hour")
    return f"{per_hour:.15g} {currency}" if per_hour is not None and budget["currency"] == currency else ""
