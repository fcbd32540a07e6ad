"""What the studio is given, as it may not import it: the interview that begins a venture, the choice of a strategy, a paired test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import UserError
from ..contracts.language import Words
from ..studio.access import Person
from ..studio.acts import Act, Field

if TYPE_CHECKING:
    from ..studio.views.product import Subject
    from ..venture.interview import Interview, Start
    from ..venture.venture import Venture


def interview(folder: Path) -> Interview:
    """A new one, for a folder."""
    from ..venture.interview import Interview

    return Interview(_starts(), _load_start, folder)


@cache
def _starts() -> Mapping[str, Words]:
    from ._starts import starts

    return starts()


@cache
def _load_start(name: str) -> Start:
    from ._starts import load_start

    return load_start(name)


def _choice_fields(venture: Venture) -> Sequence[Field] | None:
    """What is asked of who chooses; nothing before the strategies were compared."""
    from ..venture.compared import last_comparison

    compared = last_comparison(venture)
    if compared is None:
        return None
    options = [option.name for option in compared.problem.options if not option.infeasible]
    due = next((target.by for target in compared.problem.targets if target.metric == compared.problem.north_star), None)
    metrics = [target.metric for target in compared.problem.targets]
    return [
        Field("option", Words("Option", "方案"), "choice", [(name, name) for name in options], value=compared.comparison.best.name),
        Field("because", Words("Because", "理由"), "long"),
        Field(
            "forecast", Words("It will keep its promise on", "预计兑现的目标"), "choice", [(name, name) for name in metrics],
            value=compared.problem.north_star,
        ),
        Field(
            "probability", Words("With a probability of (0.8, say; as compared, where empty)", "概率（如 0.8；留空则取比较结果）"),
            required=False,
        ),
        Field("resolve_by", Words("Known by", "见分晓的日期"), "date", value=due or ""),
    ]  # fmt: skip


def _choose(venture: Venture, person: Person, form: Mapping[str, str]) -> Words:
    """As `lodestar decide --choose` does, in the name of who is logged in."""
    from .decide import compare_and_choose

    probability = form["probability"]
    forecast = f"{form['forecast']}={probability}" if probability else form["forecast"]
    record = compare_and_choose(venture, form["option"], person.name, form["because"], [forecast], form["resolve_by"])
    return Words(f"Chosen: {record.choice}, decision {record.number}.", f"已选定：{record.choice}，决策 {record.number}。")


CHOOSE = Act("choose", "decision", "founder", Words("Choose", "作出决策"), Words("Choose", "选定"), _choice_fields, _choose)


def _pair_fields(venture: Venture) -> Sequence[Field] | None:
    """Which two; nothing where there are none."""
    known = [each.name for each in _subjects(venture)]
    if len(known) < 2:
        return None
    choices = [(name, name) for name in known]
    first, other = Words("The first", "第一个"), Words("The other", "另一个")
    return [Field("a", first, "choice", choices, value=known[1]), Field("b", other, "choice", choices, value=known[0])]


def _compare(venture: Venture, _person: Person, form: Mapping[str, str]) -> Words:
    """As `lodestar compare` does; says what is told of the first metric."""
    from .compare import compare_and_note

    if form["a"] == form["b"]:
        raise UserError("the two are one", where="compare", fix="choose two")
    a, b = (next(each for each in _subjects(venture) if each.name == form[name]) for name in ("a", "b"))
    found = compare_and_note(venture, a.folder, b.folder)
    return found[0].words(a.name, b.name) if found else Words("Nothing was measured of both.", "没有两者共同的测量。")


def _subjects(venture: Venture) -> Sequence[Subject]:
    from ..studio.views.product import subjects
    from ..venture.product import releases

    return subjects(venture, releases(venture))


COMPARE = Act(
    "compare", "product", "engineer", Words("Tell a difference from chance", "区分真实差异与随机波动"), Words("Compare", "比较"),
    _pair_fields, _compare,
)  # fmt: skip
ACTS = (CHOOSE, COMPARE)
