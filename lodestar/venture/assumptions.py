"""What is assumed where nobody measured or said anything: wide, and told as assumed wherever it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date

from ..contracts.evidence import Evidence, Support
from ..contracts.language import Words
from ..contracts.machine import cores
from ..contracts.option import Kind
from ..contracts.score import Metric, Target

CORE_PRICE = (0.02, 0.05, 0.10)
"""USD for an hour of a processor core at the large clouds, low to high."""
_EFFORT_DAYS: Mapping[Kind, tuple[float, float, float]] = {
    "scratch": (2, 5, 20),
    "fine-tune": (2, 5, 20),
    "adapter": (2, 5, 20),
    "api": (1, 3, 10),
    "rules": (1, 3, 15),
    "baseline": (0.5, 1, 4),
}
_SMALL_SYSTEM: Mapping[str, tuple[float, float, float]] = {
    "latency_ms_p50": (0.05, 1, 20),
    "latency_ms_p95": (0.1, 2, 40),
    "memory_bytes": (5e7, 3e8, 1e9),
    "model_bytes": (1e5, 1e7, 2e8),
}
"""Of what answers without a model of its own: tables and linear models; of an API, the program that calls it."""
_API_LATENCY: Mapping[str, tuple[float, float, float]] = {"latency_ms_p50": (300, 1000, 5000), "latency_ms_p95": (600, 3000, 20_000)}


def assumed(low: float, value: float, high: float, unit: str, why: Words, today: Date, support: Support = "positive") -> Evidence:
    """An assumption and its grounds."""
    return Evidence(
        value=value, low=low, high=high, confidence=0.9, unit=unit, source="assumed", date=today, reference=str(why), support=support
    )  # fmt: skip


def requests_per_month(today: Date) -> Evidence:
    why = Words("a small product's; write decision.requests_per_month", "小型产品的用量；可写 decision.requests_per_month")
    return assumed(1_000, 10_000, 100_000, "requests/month", why, today)


def busy_share(today: Date) -> Evidence:
    why = Words("machines mostly wait; write decision.busy", "机器多在等待；可写 decision.busy")
    return assumed(0.05, 0.25, 0.7, "", why, today, "share")


def machine_price(today: Date) -> Evidence:
    """Of this machine, in USD."""
    why = Words(
        f"0.05 USD an hour for each of its {cores()} cores, as clouds ask; write budget.per_hour",
        f"参照云厂商，{cores()} 个核心每核每小时 0.05 USD；可写 budget.per_hour",
    )
    low, value, high = (cores() * each for each in CORE_PRICE)
    return assumed(low, value, high, "USD/hour", why, today)


def effort_days(kind: Kind, today: Date) -> Evidence:
    why = Words("a small team's first time; write the strategy's effort_days", "小团队首次实践；可写该策略的 effort_days")
    return assumed(*_EFFORT_DAYS[kind], "days", why, today)


def training_hours(today: Date) -> Evidence:
    why = Words("nothing was tried yet; `lodestar decide --pilot` measures it", "尚未试跑；`lodestar decide --pilot` 会测出")
    return assumed(0.02, 1, 24, "hours", why, today)


def tokens_of_a_request(written: bool, today: Date) -> Evidence:
    """Of a bought API."""
    why = Words("a paragraph; write api.tokens_in and api.tokens_out", "一段文字；可写 api.tokens_in 与 api.tokens_out")
    return assumed(*((10, 100, 600) if written else (80, 300, 1500)), "tokens", why, today)


def metric(target: Target, measured: Metric, kind: Kind, today: Date) -> Evidence:
    """What an option that nobody tried will score: where nothing else is known, as likely as not what was promised."""
    small = {"baseline": _SMALL_SYSTEM, "rules": _SMALL_SYSTEM, "api": {**_SMALL_SYSTEM, **_API_LATENCY}}.get(kind, {})
    if target.metric in small:
        why = Words("of what answers without a model of its own", "不含自有模型时的常见值")
        if kind == "api":
            why = Words("as such services answer; the memory is that of the program that asks", "此类服务的常见值；内存为调用方程序所占")
        return assumed(*small[target.metric], measured.unit, why, today)
    threshold = target.at_least if target.at_least is not None else target.at_most
    assert threshold is not None
    why = Words("nothing was tried yet: as likely as not to keep the promise", "尚未试跑：兑现与否各占一半")
    if not measured.unit and measured.better == "higher" and 0 < threshold < 1:
        return assumed(threshold / 2, threshold, (1 + threshold) / 2, "", why, today, "share")
    if threshold > 0:
        return assumed(threshold / 2, threshold, threshold * 2, measured.unit, why, today)
    return assumed(threshold - 1, threshold, threshold + 1, measured.unit, why, today, "real")
