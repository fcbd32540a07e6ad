"""Rules of a team's own: what fits, what is answered, that no pattern hangs, and how a mistake is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.contracts.errors import UserError
from lodestar.venture.rules import RuleFile, Rules, bare


def rules(*given: dict[str, Any], **fields: Any) -> Rules:
    return Rules.model_validate({"rules": given, **fields})


def test_the_first_rule_that_fits_answers():
    two = rules({"words": ["refund", "退款"], "answer": "billing"}, {"pattern": r"error \d+", "answer": "bug"}, otherwise="other")
    said = {
        "I want a REFUND, please": "billing",
        "我要求退款。": "billing",
        "refunds and refunded are other words": "other",
        "Error 45 and a refund": "billing",
        "ERROR 45": "bug",
        "error": "other",
    }
    assert {text: two.answer({"input": text}) for text in said} == said


def test_words_beyond_ascii_and_of_full_width_are_words_too():
    accents = rules({"words": ["été", "ＡＢＣ"], "answer": "yes"}, otherwise="no")
    said = {"L'été, enfin": "yes", "répétée": "no", "cet été2": "no", "abc": "yes", "款abc款": "yes", "abcd": "no"}
    assert {text: accents.answer({"input": text}) for text in said} == said


def test_all_rules_that_fit_answer_where_a_text_may_have_several_labels():
    tags = rules(
        {"words": ["battery"], "answer": "battery"}, {"words": ["screen"], "answer": "screen"}, {"words": ["charge"], "answer": "battery"},
        every=True, otherwise="none",
    )  # fmt: skip
    assert tags.answer({"input": "the screen and the battery, which does not charge"}) == "battery, screen"
    assert tags.answer({"input": "the box"}) == "none"


def test_a_list_of_questions_a_span_of_the_context_and_a_group_of_the_pattern():
    answers = rules(
        {"equals": ["When do you open?", "营业时间"], "answer": "At nine."},
        {"words": ["when"], "find": r"\b\d{4}\b", "within": "context"},
        {"words": ["who"], "find": r"by ([A-Z]\w+)", "within": "context"},
        {"pattern": r"capital of (\w+)", "answer": r"the capital of \1"},
    )
    context = "Built in 1890 by Ada, mended in 1950."
    asked = {
        "when do  you OPEN": "At nine.",
        "营业时间？": "At nine.",
        "When was it built?": "1890",
        "Who built it?": "Ada",
        "Tell me the capital of France!": "the capital of France",
        "Why?": "",
    }
    assert {text: answers.answer({"question": text, "context": context}) for text in asked} == asked
    assert answers.answer({"question": "When was it built?", "context": "Nobody knows."}) == "", "what finds nothing does not fit"


def test_a_dictionary_replaces_words_the_longest_first():
    words = rules({"replace": {"ship": "船", "space ship": "飞船", "the ": "", "harbour": "港口"}})
    assert words.answer({"input": "The space ship, the ship; shipping"}) == "飞船, 船; shipping"


def test_a_pattern_that_goes_back_exponentially_elsewhere_is_done_at_once():
    hard = rules({"pattern": r"(a+)+$", "answer": "yes"}, otherwise="no")
    begun = time.perf_counter()
    assert hard.answer({"input": "a" * 50_000 + "!"}) == "no"
    assert time.perf_counter() - begun < 20, "Python's own engine takes longer than the universe is old"


def test_what_equal_texts_may_differ_in():
    assert bare("  Wie  geht's, Straße?") == bare("WIE GEHT S STRASSE") == "wie geht s strasse"


WRONG = {
    "rules: [{words: [a], answer: x}]\nrulez: 1": "unknown field 'rulez'; did you mean 'rules'.",
    "rules:\n  - {words: [a], answer: x}\n  - {word: [b], answer: y}": ":3: unknown field 'rules.1.word'; did you mean 'words'.",
    "rules:\n  - {pattern: '(a', answer: x}": ":2: in 'rules.0.pattern': the pattern '(a' cannot be used: missing ): (a",
    "rules:\n  - {pattern: '(a)\\1', answer: x}": "cannot be used: invalid escape sequence: \\1",
    "rules:\n  - {pattern: 'a{1000}{1000}', answer: x}": "cannot be used: bad repetition operator",
    "rules:\n  - {pattern: '(a)', answer: '\\2'}": ":2: in 'rules.0': the pattern '(a)' cannot be used: Rewrite schema requests 2 matches",
    "rules:\n  - {words: [a], answer: '\\1'}": "takes a group, and there is no pattern",
    "rules:\n  - {words: [a], pattern: b, answer: x}": "a rule has words and pattern, and fits by one of them; make it two rules.",
    "rules:\n  - {words: [a]}": "a rule has none of answer, find and replace; give it one of answer, find and replace.",
    "rules:\n  - {replace: {'': x}}": "replace has an empty word",
    "rules:\n  - {answer: x, within: context}": "there is no find; leave it out.",
    "rules: []": "the field 'rules' is []",
    "otherwise: x": "the field 'rules' is missing",
    "": "the file is empty",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_told_in_one_sentence_with_its_line(tmp_path, text):
    path = tmp_path / "rules.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError) as raised:
        RuleFile(path)
    assert WRONG[text] in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_an_answer_that_is_no_label_and_a_field_that_no_request_has_are_told_with_their_lines(tmp_path):
    def file(*given: dict[str, Any], **fields: Any) -> RuleFile:
        path = Path(tmp_path / "rules.yaml")
        path.write_text(yaml.safe_dump({"rules": list(given), **fields}, sort_keys=False), "utf-8")
        return RuleFile(path)

    request, labels = {"input": "a text", "k": 3}, ["negative", "positive"]
    file({"words": ["a"], "answer": "positive"}, otherwise="negative").check(request, labels)
    file({"words": ["a"], "answer": "anything"}).check(request, [])
    with pytest.raises(UserError, match=r"rules.yaml:4: the answer 'positiv' is no label of the data; did you mean 'positive'\?"):
        file({"words": ["a"], "answer": "positiv"}).check(request, labels)
    with pytest.raises(UserError, match=r"rules.yaml:5: the answer 'neither' is no label"):
        file({"words": ["a"], "answer": "positive"}, otherwise="neither").check(request, labels)
    with pytest.raises(UserError, match=r"rules.yaml:5: unknown field of the request 'inputs'; did you mean 'input'\?"):
        file({"words": ["a"], "answer": "positive", "reads": "inputs"}).check(request, labels)
    with pytest.raises(UserError, match=r"unknown field of the request 'k'"):
        file({"answer": "positive", "reads": "k"}).check(request, labels)
