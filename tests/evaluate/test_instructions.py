"""Rules for answers: each with an answer that keeps it and one that all but does."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from lodestar.contracts.errors import UserError
from lodestar.evaluate.instructions import FIELDS, RULES, RULES_KEPT, check_rules, count_sentences, count_words, from_ifeval, kept

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"rule": "contains", "texts": ["star", "灯"]}, "A Star and a 灯.", "A star."),
    ({"rule": "contains", "texts": ["star", "灯"], "any": True}, "A star.", "A sun."),
    ({"rule": "lacks", "texts": ["sun"]}, "A star.", "The Sun."),
    ({"rule": "count", "of": "star", "at_least": 2}, "Star, star.", "Star, starfish."),
    ({"rule": "count", "of": "q", "at_most": 1}, "Quiet.", "Quite quiet."),
    ({"rule": "words", "at_least": 3, "at_most": 4}, "It's a well-made boat", "Two words"),
    ({"rule": "words", "at_most": 4}, "港口有灯", "港口有灯光"),
    ({"rule": "characters", "at_most": 3}, " abc ", "abcd"),
    ({"rule": "sentences", "at_least": 2, "at_most": 2}, "It cost 3.5 euros. Cheap!", "It cost 3.5 euros"),
    ({"rule": "sentences", "at_least": 2}, "天黑了。灯亮了！", "天黑了，灯亮了。"),
    ({"rule": "paragraphs", "at_least": 2, "at_most": 2}, "One\n\nTwo", "One\nTwo"),
    ({"rule": "paragraphs", "at_least": 2, "mark": "***"}, "One *** Two", "One\n\nTwo"),
    ({"rule": "bullets", "at_least": 2, "at_most": 2}, "- a\n* b", "- a\n-b"),
    ({"rule": "highlights", "at_least": 2}, "*a* and **b c**", "*a* and * b"),
    ({"rule": "placeholders", "at_least": 2}, "[name], [place]", "[name], (place)"),
    ({"rule": "capitals", "at_least": 2, "at_most": 2}, "SHIP AHOY, I say", "SHIP ahoy"),
    ({"rule": "sections", "of": "Section", "at_least": 2}, "Section 1\na\nSection 2\nb", "Section 1\na\nSection b"),
    ({"rule": "paragraph_begins", "number": 2, "word": "then", "paragraphs": 2}, "First.\n\nThen more.", "Then.\n\nFirst."),
    ({"rule": "begins", "with": "dear"}, "Dear crew,", "My dear crew,"),
    ({"rule": "ends", "with": "Over and out."}, 'It is done. over and out."', "Over and out. Bye."),
    ({"rule": "postscript"}, "Text\nP.S. more", "Text P.S. more"),
    ({"rule": "title"}, "<<The Lamp>>\ntext", "<The Lamp>"),
    ({"rule": "language", "language": "zh"}, "灯塔不问船。", "The lamp 灯"),
    ({"rule": "language", "language": "ja"}, "船が来た。", "船来了。"),
    ({"rule": "language", "language": "en"}, "A lamp.", "Лампа."),
    ({"rule": "upper"}, "AHOY 3!", "AHOy"),
    ({"rule": "lower"}, "ahoy 3!", "ahoY"),
    ({"rule": "json"}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ({"rule": "json", "keys": ["a"]}, '{"a": 1, "b": 2}', '{"b": 2}'),
    ({"rule": "quoted"}, '"Ahoy."', '"Ahoy.'),
    ({"rule": "one_of", "texts": ["yes", "no"]}, "Yes.", "Perhaps."),
    ({"rule": "two_answers"}, "one ****** two", "one ****** one"),
    ({"rule": "repeats", "of": "Which way?"}, "Which way? North.", "North."),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "good", "bad"), CASES, ids=[f"{case[0]['rule']}-{number}" for number, case in enumerate(CASES)])
def test_a_rule_tells_an_answer_that_keeps_it(rule: dict[str, Any], good: str, bad: str) -> None:
    check_rules([rule], "record 1")
    assert kept(rule, good)
    assert not kept(rule, bad)
    assert not kept(rule, " \n")


def test_every_rule_has_a_case() -> None:
    assert {case[0]["rule"] for case in CASES} == set(RULES)


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [("", 0, 0), ("Dr. No isn't here. 他在 Lee 港。", 8, 3), ("Wait… what?! \"Yes.\" No", 4, 4), ("v1.2.3 is out", 5, 1)],
)  # fmt: skip
def test_counts_worked_by_hand(text: str, words: int, sentences: int) -> None:
    """`Dr.` ends a sentence here, as in any count without a dictionary of abbreviations."""
    assert (count_words(text), count_sentences(text)) == (words, sentences)


def test_ifeval_s_records_are_read_as_rules() -> None:
    names = ["length_constraints:number_words", "keywords:letter_frequency", "startend:end_checker", "punctuation:no_comma"]
    fields: list[dict[str, Any]] = [
        {"relation": "less than", "num_words": 300}, {"letter": "z", "let_relation": "at least", "let_frequency": 3},
        {"end_phrase": "Is there anything else I can help with?"}, {},
    ]  # fmt: skip
    rules = from_ifeval(names, fields)
    assert check_rules(rules, "record 1") == rules == [
        {"rule": "words", "at_most": 299}, {"rule": "count", "of": "z", "at_least": 3},
        {"rule": "ends", "with": "Is there anything else I can help with?"}, {"rule": "lacks", "texts": [",", "，"]},
    ]  # fmt: skip
    with pytest.raises(UserError, match="unknown instruction 'punctuation:no_coma'; did you mean 'punctuation:no_comma'"):
        from_ifeval(["punctuation:no_coma"], [{}])
    with pytest.raises(UserError, match="lack 'end_phrase'"):
        from_ifeval(["startend:end_checker"], [{}])
    with pytest.raises(UserError, match="hold no number"):
        from_ifeval(["length_constraints:number_paragraphs"], [{"num_paragraphs": None}])


IFEVAL: dict[str, dict[str, Any]] = {
    "keywords:existence": {"keywords": ["a"]}, "keywords:frequency": {"keyword": "a", "frequency": 2, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["a"]},
    "keywords:letter_frequency": {"letter": "a", "let_frequency": 2, "let_relation": "less than"},
    "language:response_language": {"language": "kn"},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_words": {"num_words": 2, "relation": "less than"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "a"},
    "detectable_content:number_placeholders": {"num_placeholders": 2}, "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 2}, "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "detectable_format:multiple_sections": {"section_spliter": "Section", "num_sections": 2}, "detectable_format:json_format": {},
    "detectable_format:title": {}, "combination:two_responses": {}, "combination:repeat_prompt": {"prompt_to_repeat": "a"},
    "startend:end_checker": {"end_phrase": "a"}, "startend:quotation": {},
    "change_case:capital_word_frequency": {"capital_frequency": 2, "capital_relation": "at least"}, "change_case:english_capital": {},
    "change_case:english_lowercase": {}, "punctuation:no_comma": {},
}  # fmt: skip
"""Each of the paper's 25 instructions with its own fields (Zhou et al. 2023, table 1, and the names of its data)."""


def test_each_of_ifeval_s_instructions_is_a_rule_that_can_be_checked() -> None:
    assert len(IFEVAL) == 25
    every = dict.fromkeys(name for fields in IFEVAL.values() for name in fields)
    for name, fields in IFEVAL.items():
        # As the data is published, every record has all fields, and those of other instructions are null.
        (rule,) = from_ifeval([name], [{**every, **fields}])
        assert check_rules([rule], "record 1") == [rule]
        assert kept(rule, "A text.") in (True, False)


def test_every_field_of_a_rule_has_a_check() -> None:
    fields = {name.rstrip("_") for rule in RULES.values() for name in list(inspect.signature(rule).parameters)[1:]}
    assert fields == set(FIELDS)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"rule": "json"}, "no list of records"),
        ([{"rule": "jason"}], "unknown rule 'jason'; did you mean 'json'"),
        ([{"rule": "words", "at_mots": 3}], "has no field 'at_mots'; did you mean 'at_most'"),
        ([{"rule": "ends"}], "lacks its field 'with'"),
        ([{"rule": "language", "language": "xx"}], "unknown language 'xx'"),
        ([{"rule": "words", "at_most": "50"}], "'at_most' of the rule 'words' is '50'; write a whole number"),
        ([{"rule": "lacks", "texts": "sun"}], "'texts' of the rule 'lacks' is 'sun'; write a list of texts"),
        ([{"rule": "lacks", "texts": []}], "write a list of texts"),
        ([{"rule": "ends", "with": ""}], "write a text that is not empty"),
        ([{"rule": "contains", "texts": ["a"], "any": "yes"}], "write true or false"),
    ],
)
def test_a_rule_that_cannot_be_checked_is_refused(rules: Any, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        check_rules(rules, "record 1")
    assert sentence in str(refused.value)


def test_records_without_rules_count_for_nothing() -> None:
    assert RULES_KEPT.compute({"rules_kept": np.array([-1, 1, 0, 1, -1])}) == pytest.approx(2 / 3)
    assert np.isnan(RULES_KEPT.compute({"rules_kept": np.array([-1])}))
