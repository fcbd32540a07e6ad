"""What to do next, from what was served and said: the next data to label, the next decision to make, the next forecast to resolve."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.forecast import Forecast
from ..contracts.language import Words
from .economics import Economics
from .product import Release
from .status import Next, next_step
from .usage import Complaint, Served
from .venture import Venture


def advice(
    venture: Venture, history: list[Release], served: int, promises: Sequence[Served], economics: Economics | None,
    overdue: Sequence[Forecast], complaints: Sequence[Complaint],
) -> list[Next]:  # fmt: skip
    """The steps to take now, the most urgent first; at least one.

    Args:
        served: requests that the newest release answered.
        overdue: forecasts whose last day is over, and of which somebody has to say what came.
        complaints: the answers that were found bad.
    """
    step = next_step(venture, history, served)
    found = [*_resolve(overdue), *_keep(promises), *_earn(economics), *_label(complaints)]
    if step.command != "lodestar report":
        return [step, *found]
    # It was just made: what it tells is what there is to do.
    words = Words("once the next targets are set in venture.yaml, from what stands here", "先据此在 venture.yaml 定下新目标")
    return [*found, Next("lodestar vision", words)]


def _resolve(overdue: Sequence[Forecast]) -> list[Next]:
    if not overdue:
        return []
    first, count = overdue[0], len(overdue)
    words = Words(
        f"{count} forecasts are past their day, and the ledger cannot tell what came: say it, beginning with {first.statement!r}",
        f"{count} 项预测已到期，账本无法判定结果：请认定，先看“{first.statement}”",
    )
    return [Next(f"lodestar forecast resolve {first.id}", words)]


def _keep(promises: Sequence[Served]) -> list[Next]:
    missed = [each.target.metric for each in promises if not each.kept]
    if not missed:
        return []
    names = ", ".join(missed)
    return [Next("lodestar quantize", Words(f"{names} is not kept as served: serve it faster", f"实际服务未兑现 {names}：请加快服务"))]


def _earn(economics: Economics | None) -> list[Next]:
    """Only where the whole interval is a loss: another decision costs more than another week of counting."""
    if economics is None or economics.margin is None or not economics.margin.high < 0:
        return []
    idle = economics.shares.get("idle", 0.0)
    words = Words(
        f"each answer costs more than its price, and {idle:.0%} of the money went to waiting: decide on the price, the machine or the size",
        f"每次回答的成本高于价格，{idle:.0%} 的钱花在空闲上：请重新决定价格、机器或规模",
    )
    return [Next("lodestar decide", words)]


def _label(complaints: Sequence[Complaint]) -> list[Next]:
    if not complaints:
        return []
    count = len(complaints)
    words = Words(
        f"{count} answers were found bad, and their ids stand there under complaints: label what was asked, and add it to data.sources",
        f"{count} 个回答被评为差，其编号列在 complaints 下：请标注相应的提问，加入 data.sources",
    )
    return [Next("lodestar report --json", words)]
