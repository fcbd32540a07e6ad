"""What the budget still allows: what every attempt of the machine took, failed ones included, held against venture.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.clock import now
from ..contracts.errors import UserError
from ..contracts.language import Words
from .plan_records import seconds_of
from .venture import Venture
from .vision import Budget

if TYPE_CHECKING:
    from ..store.ledger import Run


@dataclass(frozen=True)
class Spending:
    """What was spent of a budget."""

    budget: Budget | None
    hours: float
    """Of the machine, in all attempts."""

    @property
    def money(self) -> float | None:
        """What these hours cost; None where no price is given."""
        return None if self.budget is None or self.budget.per_hour is None else self.hours * self.budget.per_hour

    @property
    def hours_left(self) -> float | None:
        """Hours that the machine may still take, by its hours or by the money, whichever ends first; None where nothing limits it."""
        budget = self.budget
        if budget is None:
            return None
        limits = [] if budget.hours is None else [budget.hours - self.hours]
        if budget.per_hour:
            limits.append(budget.amount / budget.per_hour - self.hours)
        return min(limits, default=None)

    @property
    def limit(self) -> str:
        """The field of venture.yaml that ends first."""
        budget = self.budget
        assert budget is not None, "without a budget there is no limit"
        by_money = budget.amount / budget.per_hour if budget.per_hour else None
        return "budget.amount" if budget.hours is None or (by_money is not None and by_money < budget.hours) else "budget.hours"

    @property
    def words(self) -> Words:
        """What was spent, in a sentence."""
        budget, money = self.budget, self.money
        assert budget is not None, "without a budget there is nothing to hold it against"
        hours = f"{self.hours:.2f}" + (f" / {budget.hours:g}" if budget.hours is not None else "")
        cost = "" if money is None else f", {money:,.2f} / {budget.amount:,.2f} {budget.currency}"
        return Words(f"machine hours so far: {hours}{cost}", f"机器已用小时：{hours}{cost.replace(', ', '，', 1)}")


def spending(venture: Venture, *, leave_out: int | None = None) -> Spending:
    """What the ledger says was spent.

    Args:
        leave_out: an attempt that is under way, and whose time somebody else counts.
    """
    runs = venture.ledger.runs()
    seconds = sum(_seconds(venture, runs, number) for number, run in enumerate(runs) if run.attempt != leave_out)
    return Spending(venture.file.budget, seconds / 3600)


def check_budget(venture: Venture, step: str, seconds: float | None) -> None:
    """Refuse a step that does not fit what is left, before it begins.

    Args:
        seconds: what it will take, where that is known; else it is refused where nothing is left.

    Raises:
        UserError: it does not fit.
    """
    spent = spending(venture)
    left = spent.hours_left
    if left is None:
        return
    field, fix = spent.limit, "raise it, or ask for less"
    if left <= 0:
        raise UserError(f"{field} is used up ({spent.words.en})", where=venture.path, fix=f"raise it to go on with the step {step}")
    if seconds is not None and seconds / 3600 > left:
        needed, leaves = hours_in_words(seconds / 3600), hours_in_words(left)
        what = f"the step {step} will take about {needed}, and {field} leaves {leaves} ({spent.words.en})"
        raise UserError(what, where=venture.path, fix=fix)


def hours_in_words(hours: float) -> str:
    """`3.2 hours`, `12 minutes`."""
    return f"{hours:.1f} hours" if hours >= 2 else f"{max(hours, 0) * 60:.3g} minutes"


def _seconds(venture: Venture, runs: Sequence[Run], number: int) -> float:
    """What an attempt took; one that was killed, until the last sign of life in its folder."""
    run = runs[number]
    if run.finished is not None:
        return seconds_of(run)
    began = datetime.fromisoformat(run.started)
    later = (datetime.fromisoformat(other.started) for other in runs[number + 1 :] if (other.step, other.id) == (run.step, run.id))
    end = min(_last_sign(venture.run_folder(run.step, run.id), began), next(later, now()))
    return max(0.0, (end - began).total_seconds())


def _last_sign(folder: Path, began: datetime) -> datetime:
    """When a file of a run was last written; its beginning where none was."""
    times = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file()]
    return datetime.fromtimestamp(max(times), began.tzinfo) if times else began
