"""An explanation for a terminal."""

from __future__ import annotations

from ..contracts.language import Language, Words
from .explanation import METHODS, Explanation, Method
from .sentences import NAMES, completeness_words, summary_words, verdict_words
from .words import width_of

BAR = 24
"""Columns of the longest bar."""
FOR, AGAINST = "█", "░"


def plain(explanation: Explanation, method: Method, language: Language) -> str:
    """The answer, each word with a bar (a light one where it speaks against the answer), and what the tests of all three methods say."""

    def say(en: str, zh: str) -> str:
        return Words(en, zh).in_language(language)

    values = explanation.importance[method]
    labels = [explanation.words[number].label for number in explanation.tried]
    width = max(map(width_of, labels), default=0)
    largest = max((abs(float(values[number])) for number in explanation.tried), default=0.0) or 1.0
    lines = [f"{say('Answer: ', '答案：')}{explanation.answer}  ({explanation.probability:.1%})", "", NAMES[method].in_language(language)]
    for number, label in zip(explanation.tried, labels, strict=True):
        value = float(values[number])
        bar = (FOR if value >= 0 else AGAINST) * round(BAR * abs(value) / largest)
        lines.append(f"  {label}{' ' * (width - width_of(label))}  {value:+.3f}  {bar}".rstrip())
    if method == "gradients":
        lines.append(f"  {completeness_words(explanation).in_language(language)}")
    lines += ["", say("How far each may be believed", "各自可信到什么程度")]
    lines += [
        f"  {NAMES[one].in_language(language)}{say(': ', '：')}{verdict_words(explanation.verdicts[one]).in_language(language)}"
        for one in METHODS
    ]
    return "\n".join([*lines, "", summary_words(explanation).in_language(language)])
