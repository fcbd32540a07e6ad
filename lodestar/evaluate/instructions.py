"""Instructions whose keeping can be checked by a rule, without a judge: so many words, such a language, valid JSON.

A rule is a record such as `{"rule": "words", "at_most": 50}`. Those of IFEval (Zhou et al. 2023, https://arxiv.org/abs/2311.07911: records
of `prompt`, `instruction_id_list` and `kwargs`) are read as these. In a text without spaces, each Han character or kana counts as a word.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..contracts.errors import UserError, nearest, unknown
from ..contracts.language import Words
from ..contracts.score import Metric
from .metrics import asked_mean

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*(?:\s+|$)|(?<=[。！？])")
_BULLET = re.compile(r"^\s*(?:[*\-•·]|\d+[.)、])\s+\S", re.MULTILINE)
SCRIPTS = {
    "latin": "A-Za-z\u00c0-\u024f", "han": "\u3400-\u9fff\uf900-\ufaff", "kana": "\u3040-\u30ff", "hangul": "\uac00-\ud7af\u1100-\u11ff",
    "cyrillic": "\u0400-\u04ff", "arabic": "\u0600-\u06ff", "hebrew": "\u0590-\u05ff", "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f", "greek": "\u0370-\u03ff", "bengali": "\u0980-\u09ff", "gurmukhi": "\u0a00-\u0a7f",
    "gujarati": "\u0a80-\u0aff", "tamil": "\u0b80-\u0bff", "telugu": "\u0c00-\u0c7f", "kannada": "\u0c80-\u0cff",
    "malayalam": "\u0d00-\u0d7f",
}  # fmt: skip
LANGUAGES = {
    "zh": ("han",), "ja": ("kana", "han"), "ko": ("hangul",), "th": ("thai",), "el": ("greek",), "he": ("hebrew",),
    "bn": ("bengali",), "pa": ("gurmukhi",), "gu": ("gujarati",), "ta": ("tamil",), "te": ("telugu",), "kn": ("kannada",),
    "ml": ("malayalam",),
    **dict.fromkeys(("ru", "uk", "bg"), ("cyrillic",)), **dict.fromkeys(("ar", "fa", "ur"), ("arabic",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("devanagari",)),
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "fi", "sv", "vi", "pl", "cs", "tr", "sw"), ("latin",)),
}  # fmt: skip
"""The scripts of a language. Languages of one script are not told apart: that takes a judge."""


def _within(count: float, at_least: float | None, at_most: float | None) -> bool:
    return (at_least is None or count >= at_least) and (at_most is None or count <= at_most)


def count_words(text: str) -> int:
    """Words of a text; each Han character or kana is one."""
    return len(_WORD.findall(text))


def count_sentences(text: str) -> int:
    """Sentences, by their ends in English and Chinese; what stands after the last end counts as one."""
    return sum(bool(_WORD.search(part)) for part in _SENTENCE_END.split(text))


def _paragraphs(text: str, mark: str) -> list[str]:
    return [part for part in re.split(re.escape(mark) if mark else r"\n\s*\n", text) if part.strip()]


def _contains(text: str, texts: Sequence[str], any: bool = False) -> bool:
    found = [wanted.lower() in text.lower() for wanted in texts]
    return bool(found) and (max(found) if any else min(found))


def _count(text: str, of: str, at_least: float | None = None, at_most: float | None = None) -> bool:
    whole = rf"(?<!\w){re.escape(of)}(?!\w)" if re.fullmatch(r"[ -~\w]+", of) and len(of) > 1 and of.isascii() else re.escape(of)
    return _within(len(re.findall(whole, text, re.IGNORECASE)), at_least, at_most)


def _language(text: str, language: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    own = "".join(SCRIPTS[name] for name in LANGUAGES[language])
    inside = sum(bool(re.match(f"[{own}]", letter)) for letter in letters)
    needs_kana = language == "ja" and not re.search(f"[{SCRIPTS['kana']}]", text)
    return bool(letters) and inside >= 0.8 * len(letters) and not needs_kana


def _json(text: str, keys: Sequence[str] = ()) -> bool:
    try:
        value = json.loads(re.sub(r"\A\s*```(?:json)?\s*\n|\n?```\s*\Z", "", text, flags=re.IGNORECASE))
    except (ValueError, RecursionError):
        return False
    return not keys or (isinstance(value, dict) and set(keys) <= value.keys())


def _sections(text: str, of: str, at_least: int) -> bool:
    return len(re.findall(rf"^\s*(?:#+\s*)?{re.escape(of)}\s*[\dA-Z一二三四五六七八九十]+", text, re.MULTILINE)) >= at_least


def _paragraph_begins(text: str, number: int, word: str, paragraphs: int | None = None) -> bool:
    parts = _paragraphs(text, "\n\n")
    if (paragraphs is not None and len(parts) != paragraphs) or not 1 <= number <= len(parts):
        return False
    return parts[number - 1].strip().lstrip("\"'“‘*_").lower().startswith(word.lower())


def _two_answers(text: str, mark: str = "******") -> bool:
    first, found, second = text.partition(mark)
    return bool(found) and mark not in second and bool(first.strip()) and bool(second.strip()) and first.strip() != second.strip()


RULES: Mapping[str, Callable[..., bool]] = {
    "contains": _contains,
    "lacks": lambda text, texts: not any(found.lower() in text.lower() for found in texts),
    "count": _count,
    "words": lambda text, at_least=None, at_most=None: _within(count_words(text), at_least, at_most),
    "characters": lambda text, at_least=None, at_most=None: _within(len(text.strip()), at_least, at_most),
    "sentences": lambda text, at_least=None, at_most=None: _within(count_sentences(text), at_least, at_most),
    "paragraphs": lambda text, at_least=None, at_most=None, mark="": _within(len(_paragraphs(text, mark)), at_least, at_most),
    "bullets": lambda text, at_least=None, at_most=None: _within(len(_BULLET.findall(text)), at_least, at_most),
    "highlights": lambda text, at_least: len(re.findall(r"\*\*[^\n*]+\*\*|(?<!\*)\*[^\n*]+\*(?!\*)", text)) >= at_least,
    "placeholders": lambda text, at_least: len(re.findall(r"\[[^\[\]\n]+\]", text)) >= at_least,
    "capitals": lambda text, at_least=None, at_most=None: _within(len(re.findall(r"\b[A-Z]{2,}\b", text)), at_least, at_most),
    "sections": _sections,
    "paragraph_begins": _paragraph_begins,
    "begins": lambda text, with_: text.strip().lower().startswith(with_.lower()),
    "ends": lambda text, with_: text.strip().rstrip("\"'”’").lower().endswith(with_.lower()),
    "postscript": lambda text, mark="P.S.": bool(re.search(rf"^\s*{re.escape(mark)}", text, re.MULTILINE | re.IGNORECASE)),
    "title": lambda text: bool(re.search(r"<<[^\n<>]+>>|《[^\n《》]+》", text)),
    "language": _language,
    "upper": lambda text: any(map(str.isalpha, text)) and text == text.upper(),
    "lower": lambda text: any(map(str.isalpha, text)) and text == text.lower(),
    "json": _json,
    "quoted": lambda text: len(text.strip()) > 1 and (text.strip()[0], text.strip()[-1]) in (('"', '"'), ("“", "”"), ("「", "」")),
    "one_of": lambda text, texts: any(found.lower() in text.lower() for found in texts),
    "two_answers": _two_answers,
    "repeats": lambda text, of: text.strip().lower().startswith(of.strip().lower()),
}
"""Each a function of the answer and of the rule's own fields."""
_COUNT = (lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0, "a whole number, 0 or more")
_TEXT = (lambda value: isinstance(value, str) and bool(value), "a text that is not empty")
_TEXTS = (lambda value: isinstance(value, list) and all(map(_TEXT[0], value)) and bool(value), "a list of texts")
FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("at_least", "at_most", "number", "paragraphs"), _COUNT),
    **dict.fromkeys(("of", "with", "word", "mark", "language"), _TEXT),
    **dict.fromkeys(("texts", "keys"), _TEXTS),
    "any": (lambda value: isinstance(value, bool), "true or false"),
}
"""What each field of a rule holds: a test of it, and the same in words."""


def check_rules(rules: Any, where: str) -> list[dict[str, Any]]:
    """Rules as their user wrote them.

    Raises:
        UserError: one has an unknown name or field, with the nearest that is known, or lacks one, or holds in it what it cannot.
    """
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise UserError("'rules' is no list of records", where=where, fix='write [{"rule": "words", "at_most": 50}, …]')
    for rule in rules:
        name = str(rule.get("rule"))
        if name not in RULES:
            raise unknown("rule", name, RULES, where=where)
        parameters = list(inspect.signature(RULES[name]).parameters.values())[1:]
        known = [parameter.name.rstrip("_") for parameter in parameters]
        for field in rule.keys() - {"rule"} - set(known):
            guess = nearest(str(field), known)
            fix = f"did you mean {guess!r}" if guess else f"its fields are {', '.join(known) or 'none'}"
            raise UserError(f"the rule {name!r} has no field {field!r}", where=where, fix=fix)
        missing = [parameter.name.rstrip("_") for parameter in parameters if parameter.default is parameter.empty]
        for field in missing:
            if field not in rule:
                raise UserError(f"the rule {name!r} lacks its field {field!r}", where=where, fix="add it")
        for field in rule.keys() & set(known):
            holds, words = FIELDS[field]
            if not holds(rule[field]):
                raise UserError(f"{field!r} of the rule {name!r} is {rule[field]!r}", where=where, fix=f"write {words}")
        if name == "language" and rule["language"] not in LANGUAGES:
            raise unknown("language", str(rule["language"]), LANGUAGES, where=where)
    return [dict(rule) for rule in rules]


def kept(rule: Mapping[str, Any], answer: str) -> bool:
    """Whether an answer keeps a rule; an empty one keeps none."""
    fields = {name + "_" if name == "with" else name: value for name, value in rule.items() if name != "rule"}
    return bool(answer.strip()) and RULES[rule["rule"]](answer, **fields)


RULES_KEPT = Metric(
    "rules_kept",
    Words("The share of instructions with rules whose answer keeps all of them.", "带规则的指令中，回答遵守了全部规则的比例。"),
    "",
    "higher",
    lambda columns: asked_mean(columns["rules_kept"]),
)


# IFEval's names.

_RELATIONS = {"at least": "at_least", "less than": "at_most"}


def _ifeval_bounds(fields: Mapping[str, Any], relation: str, count: str) -> dict[str, Any]:
    """Its bounds: `at least n`, or `less than n`, which is at most n - 1."""
    side = _RELATIONS[str(fields.get(relation) or "at least")]
    return {side: int(fields[count]) - (side == "at_most")}


_IFEVAL: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "keywords:existence": lambda f: {"rule": "contains", "texts": f["keywords"]},
    "keywords:frequency": lambda f: {"rule": "count", "of": f["keyword"], **_ifeval_bounds(f, "relation", "frequency")},
    "keywords:forbidden_words": lambda f: {"rule": "lacks", "texts": f["forbidden_words"]},
    "keywords:letter_frequency": lambda f: {"rule": "count", "of": f["letter"], **_ifeval_bounds(f, "let_relation", "let_frequency")},
    "language:response_language": lambda f: {"rule": "language", "language": f["language"]},
    "length_constraints:number_sentences": lambda f: {"rule": "sentences", **_ifeval_bounds(f, "relation", "num_sentences")},
    "length_constraints:number_words": lambda f: {"rule": "words", **_ifeval_bounds(f, "relation", "num_words")},
    "length_constraints:number_paragraphs": lambda f: {
        "rule": "paragraphs", "at_least": int(f["num_paragraphs"]), "at_most": int(f["num_paragraphs"]), "mark": "***",
    },
    "length_constraints:nth_paragraph_first_word": lambda f: {
        "rule": "paragraph_begins", "number": int(f["nth_paragraph"]), "word": f["first_word"], "paragraphs": int(f["num_paragraphs"]),
    },
    "detectable_content:number_placeholders": lambda f: {"rule": "placeholders", "at_least": int(f["num_placeholders"])},
    "detectable_content:postscript": lambda f: {"rule": "postscript", "mark": f["postscript_marker"]},
    "detectable_format:number_bullet_lists": lambda f: {
        "rule": "bullets", "at_least": int(f["num_bullets"]), "at_most": int(f["num_bullets"]),
    },
    "detectable_format:constrained_response": lambda f: {
        "rule": "one_of", "texts": ["My answer is yes.", "My answer is no.", "My answer is maybe."],
    },
    "detectable_format:number_highlighted_sections": lambda f: {"rule": "highlights", "at_least": int(f["num_highlights"])},
    "detectable_format:multiple_sections": lambda f: {"rule": "sections", "of": f["section_spliter"], "at_least": int(f["num_sections"])},
    "detectable_format:json_format": lambda f: {"rule": "json"},
    "detectable_format:title": lambda f: {"rule": "title"},
    "combination:two_responses": lambda f: {"rule": "two_answers"},
    "combination:repeat_prompt": lambda f: {"rule": "repeats", "of": f["prompt_to_repeat"]},
    "startend:end_checker": lambda f: {"rule": "ends", "with": f["end_phrase"]},
    "startend:quotation": lambda f: {"rule": "quoted"},
    "change_case:capital_word_frequency": lambda f: {"rule": "capitals", **_ifeval_bounds(f, "capital_relation", "capital_frequency")},
    "change_case:english_capital": lambda f: {"rule": "upper"},
    "change_case:english_lowercase": lambda f: {"rule": "lower"},
    "punctuation:no_comma": lambda f: {"rule": "lacks", "texts": [",", "，"]},
}  # fmt: skip


def from_ifeval(names: Sequence[str], fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rules of a record of IFEval.

    Args:
        names: its `instruction_id_list`.
        fields: its `kwargs`, one record a name.

    Raises:
        UserError: a name that IFEval does not have, or a record that lacks what its name needs.
    """
    rules = []
    for name, given in zip(names, fields, strict=True):
        if name not in _IFEVAL:
            raise unknown("instruction", name, _IFEVAL, where="instruction_id_list")
        try:
            rules.append(_IFEVAL[name](given))
        except KeyError as error:
            raise UserError(f"the kwargs of {name!r} lack {error.args[0]!r}", where="kwargs", fix="add it") from None
        except (TypeError, ValueError) as error:
            raise UserError(f"the kwargs of {name!r} hold no number ({error})", where="kwargs", fix="correct them") from None
    return rules
