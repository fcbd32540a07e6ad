"""The budget's guard over the steps: what cannot fit is refused before it begins, and what begins is told when it must stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.allowance import Allowance

if TYPE_CHECKING:
    from ..venture.venture import Venture


def allow(venture: Venture, step: str, folder: Path, predicted: float | None = None) -> Allowance | None:
    """How long a step may take; None where no budget limits it.

    Args:
        folder: the run's; what attempts at it have taken before is taken off from what it will take.
        predicted: seconds of the whole step, as a look at it told; as its earlier runs where absent.

    Raises:
        UserError: it does not fit what is left of the budget.
    """
    from ..venture.budget import check_budget, spending
    from ..venture.plan_records import PREDICTION_EVENT, attempted, measured

    id = folder.name.removeprefix(f"{step}-")
    if predicted is not None:
        venture.ledger.add_event(PREDICTION_EVENT, {"step": step, "id": id, "seconds": round(predicted, 1)})
    if venture.file.budget is None:
        return None
    expected = predicted if predicted is not None else measured(venture.ledger)[step].usual
    check_budget(venture, step, None if expected is None else max(0.0, expected - attempted(venture.ledger, id)))
    spent = spending(venture)
    left = spent.hours_left
    return None if left is None else Allowance(3600 * left, f"{venture.path}: {spent.limit}")
