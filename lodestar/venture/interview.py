"""The guided interview: the questions that a founder can answer without an engineer, one after another, until there is a venture.yaml.

It knows no terminal and no page; both show the same questions:

    interview = Interview(starts, load, folder)
    while (question := interview.question) is not None:
        interview = interview.answer(…)            # or a UserError, one sentence; the interview is as it was
    create(folder, interview.name, interview.venture(), interview.files())

Nothing is held but the answers, in their order. An answer is checked at once by the rules that venture.yaml itself is held to.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..contracts.errors import UserError, quoted
from ..contracts.language import Words, say
from ..contracts.score import Metric, Target
from . import interview_words as words
from .interview_answers import (
    price_text,
    read_choice,
    read_member,
    read_money,
    read_parts,
    read_price,
    read_threshold,
    refused,
    threshold_text,
)
from .interview_words import NONE, Question
from .measurable import claims, measurable
from .scaffold import filled, plain
from .vision import VentureFile, check
from .words import threshold

_WHOLE_FIELDS = ("statement", "audience", "values", "red_lines")
"""Fields that an answer fills as it is."""
_OF_THE_SAMPLE = ("sources", "splits", "columns", "constants", "exclude")
"""What of `data` belongs to the files that a template names, and goes where they do."""


@dataclass(frozen=True)
class Start:
    """What a venture can begin from."""

    words: Words
    """In one line."""
    venture: Mapping[str, Any]
    """venture.yaml less the name, its words in both languages."""
    metrics: Mapping[str, Metric]
    """All that its targets can be on."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What else it puts into the folder: name → content."""


@dataclass(frozen=True)
class Interview:
    """An interview up to some question. Immutable: each answer gives the next one."""

    starts: Mapping[str, Words]
    """What a venture can begin from: name → in one line."""
    load: Callable[[str], Start]
    """A start by its name."""
    folder: Path
    """Where the venture will stand: the data's place is told from there."""
    here: Path = Path()
    """Where somebody is who writes the place of the data."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What was known before, by the questions' keys; it is not asked."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The answers, as they were read, by the questions' keys and in their order."""

    # The door

    @cached_property
    def question(self) -> Question | None:
        """What is to be asked now; None where all is answered."""
        known = self._known
        return next((question for question in self._questions() if question.key not in known), None)

    def asked(self) -> list[Question]:
        """The questions that were answered, in their order."""
        return [question for question in self._questions() if question.key in self.values]

    def answer(self, text: str) -> Interview:
        """The interview after an answer to its question; an empty one takes the default.

        Raises:
            UserError: the answer cannot stand in venture.yaml.
        """
        question = self.question
        assert question is not None, "all is answered"
        answered = replace(self, values={**self.values, question.key: self.read(question, text)})
        answered.check(question.key)
        return answered

    def know(self, text: str) -> Interview:
        """The interview with its question answered beforehand: it is not asked, and `back` does not lead to it.

        Raises:
            UserError: the answer cannot stand in venture.yaml.
        """
        return replace(self, given=self.answer(text)._known, values={})

    def answer_all(self, texts: Sequence[str]) -> Interview:
        """The interview after several answers; a page that keeps nothing between two requests sends all that were given so far."""
        interview = self
        for text in texts:
            if interview.question is None:
                raise refused(f"{quoted(text)} answers no question", f"{quoted(text)} 没有对应的问题")
            interview = interview.answer(text)
        return interview

    def back(self) -> Interview:
        """The interview before its last answer; itself where there is none."""
        return replace(self, values=dict(list(self.values.items())[:-1]))

    @property
    def name(self) -> str:
        """The product's."""
        return str(self._known["name"])

    @property
    def begun_from(self) -> str:
        """The name of the start."""
        return str(self._known["start"])

    def venture(self) -> dict[str, Any]:
        """What was answered, as `scaffold.create` takes it: venture.yaml less the name."""
        known, start = self._known, self._loaded
        made = {**filled(start.venture), **{name: known[name] for name in _WHOLE_FIELDS if name in known}}
        if targets := self._targets():
            made |= {"north_star": known["north_star"], "targets": targets}
        if "budget" in known:
            made["budget"] = self._budget()
        if "team" in known:
            made["team"] = known["team"] or None
        if self._own_data:
            data = made["data"]
            # Shares of a sample that has splits of its own say nothing of other data.
            gone = (*_OF_THE_SAMPLE, *(("validation", "test") if "splits" in data else ()))
            made["data"] = {"sources": known["data.sources"], **{name: value for name, value in data.items() if name not in gone}}
            made.pop("licences", None)
        return {name: value for name, value in made.items() if value is not None}

    def files(self) -> Mapping[str, str]:
        """What else is put into the folder: the sample, where no other data was named."""
        return {} if self._own_data else self._loaded.files

    def summary(self) -> list[tuple[Words, str]]:
        """All of it, to be looked at before it is written."""
        file = self._file()
        targets = [f"{target.metric} {threshold(target)}" + say(f" by {target.by}", f"，期限 {target.by}") for target in file.targets]
        budget = file.budget
        rate = say(f", {budget.per_hour:g} an hour", f"，每小时 {budget.per_hour:g}") if budget and budget.per_hour is not None else ""
        team = [f"{member.name} ({member.role})" if member.role else member.name for member in file.team]
        return [
            (Words("Product", "产品"), file.name),
            (Words("Learns", "学会"), f"{file.task}: {self._loaded.words}"),
            (Words("Promise", "承诺"), file.statement),
            (Words("For", "为谁"), file.audience),
            (Words("North star", "北极星"), file.north_star),
            (Words("Targets", "目标"), "\n".join(targets)),
            (Words("Holds to", "坚持"), "\n".join(file.values)),
            (Words("Never", "红线"), "\n".join(file.red_lines)),
            (Words("Budget", "预算"), f"{budget.amount:,g} {budget.currency}{rate}" if budget else ""),
            (Words("Team", "团队"), say("; ", "；").join(team)),
            (Words("Data", "数据"), say("; ", "；").join(file.data.sources)),
        ]

    def remarks(self) -> list[Words]:
        """What is likely to be regretted later, and stops nobody."""
        return claims(self._file(), self._loaded.metrics)

    # The questions

    @property
    def _known(self) -> dict[str, Any]:
        return {**self.given, **self.values}

    @cached_property
    def _start(self) -> Start | None:
        name = self._known.get("start")
        return None if name is None else self.load(name)

    def _questions(self) -> Iterator[Question]:
        """In their order, as far as the answers lead: what comes after one that is open may depend on it."""
        known = self._known
        yield words.NAME
        yield replace(words.START, choices=self.starts)
        start = self._start
        if start is None:
            return
        template = filled(start.venture)
        yield words.STATEMENT.with_default(template["statement"])
        yield words.AUDIENCE.with_default(template["audience"])
        choices = {metric.name: metric.words for metric in start.metrics.values()}
        yield replace(words.NORTH_STAR, choices=choices, default=template["north_star"])
        if "north_star" not in known:
            return
        yield from self._target_questions(template["targets"], start.metrics)
        yield words.VALUES.with_default("; ".join(template["values"]))
        yield words.RED_LINES.with_default("; ".join(template["red_lines"]))
        budget = template.get("budget") or {}
        yield words.BUDGET.with_default(f"{budget['amount']:.15g} {budget['currency']}" if budget else "")
        if known.get("budget") is not None:
            yield words.PER_HOUR.with_default(price_text(budget, known["budget"]["currency"]))
        yield words.TEAM
        yield words.SOURCES.with_default("; ".join(template["data"]["sources"]))

    def _target_questions(self, targets: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric]) -> Iterator[Question]:
        """Those on the north star, then on one metric after another, until there is none."""
        known, due = self._known, min(target["by"] for target in targets)
        named = {target["metric"]: Target.model_validate(target) for target in targets}
        name, taken = known["north_star"], [known["north_star"]]
        while name is not None:
            number, metric, usual = len(taken) - 1, metrics[name], named.get(name)
            yield words.threshold_question(number, metric).with_default(threshold_text(usual, metric))
            yield words.date_question(number, metric).with_default(due)
            yield words.why_question(number, metric).with_default(usual.why if usual else "")
            due = known.get(f"targets.{number}.by", due)
            left = {metric.name: metric.words for metric in metrics.values() if metric.name not in taken}
            if not left:
                return
            question = words.metric_question(len(taken), left)
            yield question.with_default(next((metric for metric in named if metric in left), ""))
            name = known.get(question.key)
            taken.append(name or "")

    # The answers

    def read(self, question: Question, text: str) -> Any:
        """What an answer says; None where it says that there is none."""
        text = text.strip() or question.default
        if question.optional and text in ("", NONE):
            return [] if question.kind in ("list", "team") else None
        if not text:
            raise refused("an answer is needed here", "这里需要回答")
        # Full-width digits, signs and letters, as a Chinese keyboard writes them; a sentence stays as it is.
        narrow = unicodedata.normalize("NFKC", text)
        match question.kind:
            case "line":
                return text
            case "list":
                return read_parts(text)
            case "choice":
                return read_choice(narrow, question.choices)
            case "threshold":
                return self._threshold(question.key, narrow)
            case "date":
                return narrow
            case "money":
                return read_money(narrow)
            case "price":
                return read_price(narrow, self._known["budget"]["currency"])
            case "team":
                return [read_member(part) for part in read_parts(text)]
            case "sources":
                return [self._source(part) for part in read_parts(text)]

    def check(self, key: str) -> None:
        """Hold what is known so far to the rules of venture.yaml, after the answer to `key`.

        Raises:
            UserError: the answer breaks one.
        """
        if self._start is None:
            _rule_of_the_name(self._known)
            return
        file = self._file()
        if not key.startswith("targets."):
            return
        where = say("your answer", "您的回答")
        if warnings := check(file, self._start.metrics, where=where):
            raise UserError(str(warnings[0]).rstrip(".。"))
        measurable(file, self._start.metrics, where=where)

    def _file(self) -> VentureFile:
        return VentureFile.parse(plain({"name": "-", **self.venture(), **self._named}), where=say("your answer", "您的回答"))

    @property
    def _named(self) -> dict[str, Any]:
        return {"name": self._known["name"]} if "name" in self._known else {}

    def _targets(self) -> list[dict[str, Any]]:
        """Those that have a threshold and, from then on, whatever else is known of them."""
        known, found = self._known, []
        for number in range(1 + sum(key.endswith(".metric") for key in known)):
            limit = known.get(f"targets.{number}.threshold")
            if limit is None:
                break
            name = known["north_star"] if number == 0 else known[f"targets.{number}.metric"]
            due = known.get(f"targets.{number}.by", filled(self._loaded.venture)["targets"][0]["by"])
            why = known.get(f"targets.{number}.why")
            found.append({"metric": name, **limit, "by": due, **({"why": why} if why else {})})
        return found

    @property
    def _loaded(self) -> Start:
        assert self._start is not None, "the start is the first answer"
        return self._start

    def _budget(self) -> dict[str, Any] | None:
        budget, per_hour = self._known["budget"], self._known.get("budget.per_hour")
        return budget if budget is None or per_hour is None else {**budget, "per_hour": per_hour}

    @property
    def _own_data(self) -> bool:
        """Whether other data was named than what the start brings."""
        sources = self._known.get("data.sources")
        return sources is not None and sources != list(filled(self._loaded.venture)["data"]["sources"])

    def _threshold(self, key: str, text: str) -> dict[str, Any]:
        """`≥ 0.9`, `300`, `0.3 s`, `2 GB` → a target's fields."""
        number = key.split(".")[1]
        metric = self._loaded.metrics[self._known["north_star" if number == "0" else f"targets.{number}.metric"]]
        return read_threshold(text, metric)

    def _source(self, text: str) -> str:
        """A source as venture.yaml names it: what stands where the founder is, is told from the new folder."""
        files = self._loaded.files
        if text.startswith("builtin:") or text in files or any(name.startswith(f"{text.rstrip('/')}/") for name in files):
            return text
        path = Path(text).expanduser()
        if any(character in text for character in "*?[{") or (self.folder / path).exists():
            return str(path)
        if (self.here / path).exists():
            return os.path.relpath(self.here / path, self.folder)
        raise refused(
            f"nothing is at {quoted(str(path))}; give the path of a folder or a file, or take the sample first",
            f"{quoted(str(path))} 处没有任何文件；请给出目录或文件的路径，或先用样例",
        )


def _rule_of_the_name(known: Mapping[str, Any]) -> None:
    """Before there is a start, the name is all there is to check; the rest stands in for what is to come."""
    rest: dict[str, Any] = {"statement": "-", "audience": "-", "north_star": "-", "task": "-", "data": {"sources": ["-"]}}
    rest["targets"] = [{"metric": "-", "at_least": 0}]
    VentureFile.parse({**rest, "name": known["name"]}, where=say("your answer", "您的回答"))
