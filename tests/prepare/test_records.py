"""What a raw record becomes, what it is refused for, and when two records are the same."""

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.task import Example
from lodestar.prepare.readers import Raw
from lodestar.prepare.records import Validator, canonical_json, digest


class Review(Example):
    text: str
    label: str
    stars: int | None = None

    def model_post_init(self, _context: object) -> None:
        if self.stars is not None and not 1 <= self.stars <= 5:
            raise ValueError(f"stars is {self.stars}; give 1 to 5")


class Page(Example):
    source: str
    path: str | None = None


def raw(**fields):
    return Raw(fields, "a.jsonl:7")


def test_fields_are_found_by_name_or_by_the_column_given_for_them():
    assert Validator(Review, {}).example(raw(text="a", label="1")) == Review(text="a", label="1")
    assert Validator(Review, {"text": "body"}).example(raw(body="a", text="other", label="1")) == Review(text="a", label="1")
    assert Validator(Review, {}).example(raw(text="a", label="1", stars="4")).stars == 4, "CSV has no numbers, only their text"


def test_columns_that_no_field_asks_for_are_counted():
    validator = Validator(Review, {})
    for title in ("x", "y"):
        validator.example(raw(text="a", label="1", title=title))
    validator.example(raw(text="a", label="1", author="z"))
    assert validator.ignored == {"title": 2, "author": 1}


def test_a_list_of_strings_is_joined_in_a_text_field():
    assert Validator(Review, {"text": "paragraphs"}).example(raw(paragraphs=["床前明月光，", "疑是地上霜。"], label="诗")).text == (
        "床前明月光，\n疑是地上霜。"
    )


def test_a_plain_file_fills_the_only_text_field():
    assert Validator(Page, {}).example(Raw({"text": "x = 1"}, "a.py:1", "a.py")) == Page(source="x = 1", path="a.py")
    with pytest.raises(UserError, match=r"a\.txt:1: a plain file has no field 'label'; give JSON lines, CSV or Parquet with 'text'"):
        Validator(Review, {}).example(Raw({"text": "x"}, "a.txt:1", "a.txt"))


@pytest.mark.parametrize(
    ("columns", "fields", "sentence"),
    [
        ({}, {"text": "a", "lable": "1"},
         "a.jsonl:7: no column 'label'; the columns found are text, lable; set data.columns: {label: lable}."),
        ({"label": "y"}, {"text": "a", "x": "1"},
         "a.jsonl:7: no column 'y' for the field 'label'; the columns found are text, x; set data.columns: {label: COLUMN}."),
        ({}, {}, "a.jsonl:7: no column 'text'; the columns found are none; set data.columns: {text: COLUMN}."),
        ({}, {"text": 5, "label": "1"},
         "a.jsonl:7: the field 'text' is 5: input should be a valid string; correct the record, or map another column."),
        ({}, {"text": "a", "label": "1", "stars": "x" * 99},
         f"a.jsonl:7: the field 'stars' is '{'x' * 56}...: input should be a valid integer, unable to parse string as an integer; "
         "correct the record, or map another column."),
        ({}, {"text": "a", "label": "1", "stars": 9}, "a.jsonl:7: stars is 9; give 1 to 5."),
    ],
)  # fmt: skip
def test_a_bad_record_is_refused_in_one_sentence(columns, fields, sentence):
    with pytest.raises(UserError) as caught:
        Validator(Review, columns).example(Raw(fields, "a.jsonl:7"))
    assert str(caught.value) == sentence


def test_a_column_for_an_unknown_field_is_refused():
    with pytest.raises(UserError, match=r"data\.columns: unknown field 'txt'; did you mean 'text'\?"):
        Validator(Review, {"txt": "body"})


def test_records_are_the_same_whatever_their_writing():
    one = Review(text="caf\u00e9\nau lait", label="1")
    assert canonical_json(one) == '{"label":"1","text":"café\\nau lait"}'.encode()
    assert canonical_json(Review(label="1", text=" cafe\u0301\r\nau lait\n")) == canonical_json(one)
    assert canonical_json(Review(text="Café\nau lait", label="1")) != canonical_json(one)
    assert canonical_json(Page(source="a", path="x.py")) == canonical_json(Page(source="a", path="y.py")) == b'{"source":"a"}'
    assert digest(canonical_json(one)).hex() == "fd1294a3feaa1277ba9a7d2f12574d87", "the split of every record hangs on this"
