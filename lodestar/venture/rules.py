"""Rules that a team writes by itself, and what they answer: patterns → label, question → answer, word → word.

Rules are data and never a program: a venture that came from somebody else runs nothing of theirs when it is opened. Regular expressions
are RE2's (Cox 2010, https://swtch.com/~rsc/regexp/regexp3.html), which Arrow carries: the time of a match grows in a line with the text,
whatever the pattern, so that no rule can hang. decisions/0023-rules-are-data.md
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from ..contracts.config import Config
from ..contracts.errors import UserError, nearest, quoted, unknown
from ..contracts.text import UNSPACED
from .yaml_file import read_yaml

CONDITIONS, ACTIONS = ("words", "pattern", "equals"), ("answer", "find", "replace")
FIELDS = ("input", "question")
"""Of a request, the field that a rule reads where it names none: the first of these that there is."""
LONGEST_PATTERN = 2_000
"""Characters of a regular expression."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_GROUP = re.compile(r"\\\d")

Text = Annotated[str, Field(min_length=1)]


def _is_pattern(pattern: str) -> str:
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the pattern has {len(pattern):,} characters; write at most {LONGEST_PATTERN:,}, or several rules")
    _check(pattern)
    return pattern


RegularExpression = Annotated[Text, AfterValidator(_is_pattern)]


class Rule(Config):
    """When it fits, and what it answers then."""

    words: list[Text] = []
    """It fits where any of these stands in the text as a word of its own, in capitals or not; of Chinese and Japanese, anywhere."""
    pattern: RegularExpression | None = None
    """It fits where this regular expression (of RE2) is found in the text, in capitals or not."""
    equals: list[Text] = []
    """It fits where the whole text is one of these, but for capitals, spaces and punctuation."""
    reads: str = ""
    """The field of the request that it reads: `input`, or `question`, where none is named."""
    answer: str | None = None
    """The answer; `\\1` in it is what the first group of `pattern` found."""
    find: RegularExpression | None = None
    """The answer is what this regular expression finds, or its first group; where it finds nothing, the rule does not fit."""
    within: str = ""
    """The field that `find` looks in, where it is not the one that the rule reads: `context`."""
    replace: dict[str, str] = {}
    """The answer is the text with each of these words in place of the one before it, the longest first."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        conditions = [name for name in CONDITIONS if getattr(self, name)]
        actions = [name for name in ACTIONS if getattr(self, name) or (name == "answer" and self.answer is not None)]
        if len(conditions) > 1:
            raise ValueError(f"a rule has {' and '.join(conditions)}, and fits by one of them; make it two rules")
        if len(actions) != 1:
            has = " and ".join(actions) or "none of answer, find and replace"
            raise ValueError(f"a rule has {has}; give it one of answer, find and replace")
        if self.within and not self.find:
            raise ValueError("within is where find looks, and there is no find; leave it out")
        if "" in self.replace:
            raise ValueError("replace has an empty word, which stands everywhere; take it out")
        if self.answer is not None and _GROUP.search(self.answer):
            if self.pattern is None:
                raise ValueError(f"the answer {quoted(self.answer)} takes a group, and there is no pattern; give one, or write the text")
            _check(self.pattern, self.answer)
        return self

    def answers(self, request: Mapping[str, Any]) -> str | None:
        """What it answers; None where it does not fit."""
        text: str = request[self.reads or default_field(request)]
        if not self._fits(text):
            return None
        if self.find is not None:
            return _found(self.find, request[self.within] if self.within else text)
        if self.replace:
            return self._dictionary.sub(lambda match: self._translations.get(match[0].casefold(), match[0]), text)
        assert self.answer is not None
        if self.pattern is not None and _GROUP.search(self.answer):
            return _expanded(self.pattern, self.answer, text)
        return self.answer

    def _fits(self, text: str) -> bool:
        if self.words:
            return self._any_word.search(unicodedata.normalize("NFKC", text)) is not None
        if self.pattern is not None:
            return _matches(self.pattern, text)
        return not self.equals or bare(text) in self._wholes

    @cached_property
    def _any_word(self) -> re.Pattern[str]:
        return _literals([unicodedata.normalize("NFKC", word) for word in self.words])

    @cached_property
    def _wholes(self) -> set[str]:
        return {bare(text) for text in self.equals}

    @cached_property
    def _dictionary(self) -> re.Pattern[str]:
        return _literals(list(self.replace))

    @cached_property
    def _translations(self) -> dict[str, str]:
        return {word.casefold(): other for word, other in self.replace.items()}


class Rules(Config):
    """A file of rules."""

    rules: list[Rule] = Field(min_length=1)
    """In their order: the first that fits answers."""
    every: bool = False
    """Whether all that fit answer, rather than the first alone: labels of a text that may have several."""
    otherwise: str = ""
    """The answer where none fits; empty, which is no answer, where absent."""

    def answer(self, request: Mapping[str, Any]) -> str:
        """The answer to a request."""
        found = (answer for rule in self.rules if (answer := rule.answers(request)) is not None)
        if self.every:
            return ", ".join(dict.fromkeys(found)) or self.otherwise
        return next(found, self.otherwise)

    def answered(self) -> Iterator[tuple[tuple[int | str, ...], str]]:
        """Each answer that is written out, with the path of its field."""
        for number, rule in enumerate(self.rules):
            if rule.answer is not None and not _GROUP.search(rule.answer):
                yield ("rules", number, "answer"), rule.answer
        if self.otherwise:
            yield ("otherwise",), self.otherwise


class RuleFile:
    """A file of rules, read: they answer as a model would."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError`, with the line, where it cannot be read or a rule is wrong."""
        value, self._line_of = read_yaml(path)
        self.path = path
        self.rules = Rules.parse(value, where=path, line_of=self._line_of)

    def check(self, request: Mapping[str, Any], answers: Sequence[str]) -> None:
        """Refuse rules that read what no request has, or answer what is no answer.

        Args:
            request: one of the task's.
            answers: all that there are, where they are a fixed set; none where any text is one.
        """
        fields = [name for name, value in request.items() if isinstance(value, str)]
        for number, rule in enumerate(self.rules.rules):
            for name in ("reads", "within"):
                field = getattr(rule, name)
                if field and field not in fields:
                    raise unknown("field of the request", field, fields, where=self._where(("rules", number, name)))
        for path, answer in self.rules.answered():
            if answers and answer not in answers:
                guess = nearest(answer, answers)
                fix = f"did you mean {guess!r}?" if guess else f"answer one of {', '.join(answers)}"
                raise UserError(f"the answer {quoted(answer)} is no label of the data", where=self._where(path), fix=fix)

    def _where(self, path: tuple[int | str, ...]) -> str:
        return f"{self.path}:{self._line_of(path)}"


def default_field(request: Mapping[str, Any]) -> str:
    """The field that a rule reads where it names none."""
    texts = [name for name, value in request.items() if isinstance(value, str)]
    return next((name for name in FIELDS if name in texts), texts[0])


def bare(text: str) -> str:
    """A text without capitals, punctuation and the number of its spaces."""
    kept = "".join(each if each.isalnum() else " " for each in unicodedata.normalize("NFKC", text).casefold())
    return " ".join(kept.split())


def _literals(words: Sequence[str]) -> re.Pattern[str]:
    """Any of these as words of their own: a pattern of literals alone, which never goes back."""
    return re.compile("|".join(_as_word(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)


def _as_word(word: str) -> str:
    """A word with its ends held against its neighbours, but for those of Chinese and Japanese, which put nothing between words."""
    before, after = (
        limit if edge.isalnum() and not _UNSPACED.match(edge) else ""
        for edge, limit in ((word[0], rf"(?<![^\W_{UNSPACED}])"), (word[-1], rf"(?![^\W_{UNSPACED}])"))
    )
    return before + re.escape(word) + after


# RE2, as Arrow has it. A text that is matched from end to end is replaced by what is wanted of it.


def _check(pattern: str, answer: str = r"\0") -> None:
    """Raise `ValueError` where a pattern is none, or has fewer groups than an answer takes."""
    import pyarrow as pa

    try:
        _matches(pattern, "")
        _expanded(pattern, answer, "")
    except pa.ArrowInvalid as error:
        why = str(error).rpartition("regular expression: ")[2].rpartition("replacement string: ")[2]
        raise ValueError(f"the pattern {quoted(pattern)} cannot be used: {why}; see https://github.com/google/re2/wiki/Syntax") from None


def _matches(pattern: str, text: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.scalar(text), pattern=pattern, ignore_case=True).as_py())


def _expanded(pattern: str, answer: str, text: str) -> str:
    """The answer with what the groups found in the first match."""
    return _replaced(_within(f"(?:{pattern})"), answer, text)


def _found(pattern: str, text: str) -> str | None:
    """What a pattern finds first, or its first group; None where it finds nothing."""
    import pyarrow as pa

    if not _matches(pattern, text):
        return None
    whole = _within(f"({pattern})")
    try:
        return _replaced(whole, r"\2", text)
    except pa.ArrowInvalid:  # it has no group of its own
        return _replaced(whole, r"\1", text)


def _within(pattern: str) -> str:
    return f"^(?s:.*?)(?i:{pattern})(?s:.*)$"


def _replaced(pattern: str, answer: str, text: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    return str(pc.replace_substring_regex(pa.scalar(text), pattern=pattern, replacement=answer, max_replacements=1).as_py())
