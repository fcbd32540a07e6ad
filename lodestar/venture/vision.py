"""The vision: venture.yaml says for whom, what, and with which measurable targets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from ..contracts.adapter import AdapterSettings
from ..contracts.clock import now
from ..contracts.config import Config
from ..contracts.errors import UserError, nearest
from ..contracts.language import Words, say
from ..contracts.money import EconomicsSettings, Money
from ..contracts.score import Metric, Target
from ..contracts.settings import DataSettings, EvaluateSettings, ModelSettings, PreferenceSettings, RewardSettings, TrainSettings
from ..store.database import check_server
from .strategies import DecisionSettings
from .yaml_file import read_yaml

VENTURE_FILE = "venture.yaml"
SCHEMA_FILE = "venture.schema.json"


class Member(Config):
    """One of the team."""

    name: str
    """How the team calls them."""
    role: str = ""
    """What they answer for."""


class Budget(Config):
    """What the venture may spend until it is released."""

    amount: float = Field(ge=0)
    """How much."""
    currency: str = Field(min_length=1)
    """Of what: USD, CNY, EUR, …"""
    per_hour: float | None = Field(None, ge=0)
    """What an hour of the machine costs; where given, training says what it will cost before it begins, and stops before `amount` is
    spent."""
    hours: float | None = Field(None, ge=0)
    """Hours of the machine that may be used, attempts that failed included; a step that does not fit what is left is not begun."""


class VentureFile(Config):
    """venture.yaml: the vision of a venture, and how its model is made."""

    name: str = Field(min_length=1, max_length=80)
    """The product's name."""
    statement: str = Field(min_length=1)
    """The promise in one sentence: what will be true for the audience."""
    audience: str = Field(min_length=1)
    """Whom it is for."""
    north_star: str
    """The one metric, among the targets, that the venture steers by."""
    values: list[str] = []
    """What the team holds to when a decision is close."""
    red_lines: list[str] = []
    """What the product must never do or be used for; part of its model card."""
    task: str
    """The task that the model learns; `lodestar tasks` lists them."""
    options: dict[str, Any] = {}
    """The task's own options."""
    data: DataSettings
    """Where the records come from and how they are split."""
    model: ModelSettings = ModelSettings()
    """The model's size."""
    train: TrainSettings = TrainSettings()
    """How to train."""
    adapter: AdapterSettings | None = None
    """How to fine-tune `model.base` by an adapter; all of its weights are trained where absent."""
    preference: PreferenceSettings | None = None
    """How to learn, after that, which of two replies is better; not at all where absent."""
    reward: RewardSettings | None = None
    """How to learn, last, from replies that can be checked; not at all where absent."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """How to measure."""
    targets: list[Target] = Field(min_length=1)
    """The measurable promises; a release is held to each of them."""
    ledger: str | None = None
    """The database of the team's ledger, `postgresql://USER@HOST/DATABASE`, one of this venture's own; a file of this folder where absent.
    Its password stands elsewhere: in PGPASSWORD, or in ~/.pgpass."""
    team: list[Member] = []
    """Who builds it."""
    budget: Budget | None = None
    """What it may cost."""
    economics: EconomicsSettings | None = None
    """What the running product costs and earns; the report then tells cost per request, margin and break-even."""
    decision: DecisionSettings = DecisionSettings()
    """The strategies to decide between, and what `lodestar decide` needs to know of them."""
    licence: str | None = None
    """The licence that the model is released under, as an SPDX name where there is one."""
    licences: dict[str, str] = {}
    """What the model is made of, and under which licence: a source as it stands in data.sources (or a glob of it), or model.base → its
    SPDX name, or `own` for what the team made itself."""

    @model_validator(mode="after")
    def _adapters_need_a_base(self) -> VentureFile:
        if self.adapter is not None and self.model.base is None:
            raise ValueError("adapter fine-tunes a model, and none is named; name it in model.base, or remove adapter")
        return self

    @model_validator(mode="after")
    def _an_hour_of_the_machine_can_be_counted(self) -> VentureFile:
        economics = self.economics
        if economics is None:
            return self
        hour = self.machine_hour
        if hour is None:
            raise ValueError("economics counts the machine's hours, and no price of one is given; give economics.machine_hour")
        if not economics.knows(hour.currency):
            raise ValueError(
                f"budget is in {hour.currency}, and economics counts in {economics.currency}; "
                f"say what one {hour.currency} is worth in economics.rates"
            )
        return self

    @field_validator("ledger")
    @classmethod
    def _is_an_address_without_a_password(cls, ledger: str | None) -> str | None:
        if ledger is not None:
            try:
                check_server(ledger)
            except UserError as error:
                raise ValueError(str(error).rstrip(".")) from None
        return ledger

    @property
    def machine_hour(self) -> Money | None:
        """What an hour of the serving machine costs, where it is said."""
        if self.economics is not None and self.economics.machine_hour is not None:
            return self.economics.machine_hour
        if self.budget is None or self.budget.per_hour is None:
            return None
        return Money(amount=self.budget.per_hour, currency=self.budget.currency)


def load_venture_file(path: Path) -> VentureFile:
    """Read and validate venture.yaml.

    Raises:
        UserError: it is missing, empty, not YAML, or a field is unknown, missing or of the wrong type; the sentence names the line.
    """
    if not path.exists():
        raise UserError(
            "no venture.yaml here", where=path.parent, fix="run `lodestar new NAME --template TASK`, or name the folder with --venture"
        )
    value, line_of = read_yaml(path)
    return VentureFile.parse(value, where=path, line_of=line_of)


def check(file: VentureFile, metrics: Mapping[str, Metric], *, where: str | Path = VENTURE_FILE) -> list[Words]:
    """Hold the targets against what can be measured, before anything is spent on them.

    Args:
        metrics: every metric that the task and the system measure, by name.

    Returns:
        Warnings: what is likely a slip, and stops nobody.

    Raises:
        UserError: a target that no release could ever be held to: the first one found.
    """
    warnings: list[Words] = []
    seen: set[str] = set()
    for number, target in enumerate(file.targets):
        field = f"targets.{number}"
        metric = metrics.get(target.metric)
        if metric is None:
            raise _unknown_metric(field, target.metric, file.task, metrics, where)
        if target.metric in seen:
            raise UserError(
                say(f"{field}: a second target on {target.metric!r}", f"{field}：{target.metric!r} 已有一个目标"),
                where=where, fix=say("keep one of them", "只保留一个"),
            )  # fmt: skip
        seen.add(target.metric)
        _check_target(field, target, metric, file.evaluate, where)
        warnings += _check_date(field, target)
    if file.north_star not in seen:
        guess = nearest(file.north_star, seen)
        names = ", ".join(sorted(seen))
        raise UserError(
            say(f"the north star {file.north_star!r} is not among the targets", f"北极星指标 {file.north_star!r} 不在目标之中"),
            where=where,
            fix=say(f"did you mean {guess!r}", f"是否指 {guess!r}")
            if guess
            else say(f"name one of {names}, or add a target on it", f"请从 {names} 中选一个，或为它加一个目标"),
        )
    return warnings


def schema() -> dict[str, Any]:
    """The JSON Schema of venture.yaml, with which editors complete and check it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "venture.yaml",
        **VentureFile.model_json_schema(),
    }


def _unknown_metric(field: str, name: str, task: str, metrics: Mapping[str, Metric], where: str | Path) -> UserError:
    guess, known = nearest(name, metrics), ", ".join(metrics)
    return UserError(
        say(
            f"{field}: the task {task!r} has no metric {name!r}; it has {known}",
            f"{field}：任务 {task!r} 没有 {name!r} 这一指标，现有 {known} 可用",
        ),
        where=where,
        fix=say(f"did you mean {guess!r}", f"是否指 {guess!r}") if guess else say("name one of them", "请选其中之一"),
    )


def _check_target(field: str, target: Target, metric: Metric, evaluate: EvaluateSettings, where: str | Path) -> None:
    given, meant = ("at_least", "at_most") if metric.better == "lower" else ("at_most", "at_least")
    if getattr(target, given) is not None:
        better = Words(f"{metric.better} is better", "越低越好" if metric.better == "lower" else "越高越好")
        raise UserError(
            say(
                f"{field}: {given} on {metric.name!r}, for which {better.en}",
                f"{field}：{metric.name!r} {better.zh}，不能用 {given} 限制",
            ),
            where=where, fix=say(f"write {meant} instead", f"请改用 {meant}"),
        )  # fmt: skip
    if target.unit and target.unit != metric.unit:
        measured = Words(f"in {metric.unit}", f"以 {metric.unit} 为单位") if metric.unit else Words("without a unit", "没有单位")
        unit = metric.unit or '""'
        raise UserError(
            say(
                f"{field}: the unit is {target.unit!r}, and {metric.name!r} is measured {measured}",
                f"{field}：单位写的是 {target.unit!r}，而 {metric.name!r} 的测量值{measured}",
            ),
            where=where, fix=say(f"convert the threshold, and write unit: {unit}", f"请换算数值，并写 unit: {unit}"),
        )  # fmt: skip
    if target.data != evaluate.split:
        raise UserError(
            say(
                f"{field}: it is to hold on the {target.data!r} split, and evaluate.split is {evaluate.split!r}",
                f"{field}：目标针对 {target.data!r} 部分，而 evaluate.split 为 {evaluate.split!r}，两者不一",
            ),
            where=where, fix=say("make them the same", "请改为一致"),
        )  # fmt: skip


def _check_date(field: str, target: Target) -> list[Words]:
    if target.by is None:
        return []
    try:
        due = date.fromisoformat(target.by)
    except ValueError:
        return [
            Words(
                f"{field}: {target.by!r} is no date; write it as YYYY-MM-DD.",
                f"{field}：{target.by!r} 不是日期，请按 YYYY-MM-DD 的形式写。",
            )
        ]
    if due >= now().date():
        return []
    return [Words(f"{field}: its date, {target.by}, has passed.", f"{field}：期限 {target.by} 已过。")]
