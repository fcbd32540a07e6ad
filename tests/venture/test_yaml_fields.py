"""Changing a field of venture.yaml leaves all else as its reader wrote it."""

from __future__ import annotations

import pytest
import yaml

from lodestar import tasks
from lodestar.venture.scaffold import create
from lodestar.venture.vision import load_venture_file
from lodestar.venture.yaml_edit import edit_fields

TEXT = """\
# The venture.
name: x  # a name

# How it is made.
model:
  size: tiny
  overrides:
    depth: 2  # few

# How it is trained.
train: {tokens: 10, dropout: 0.2}
values:
  - one
  - two
# The end.
"""


def test_a_block_an_inline_field_and_a_new_one_are_written_and_comments_stay():
    found = edit_fields(TEXT, {"model": {"size": "small"}, "train": {"minutes": 5}, "adapter": {"rank": 8}}, where="venture.yaml")
    assert (
        found
        == TEXT.replace("  size: tiny\n  overrides:\n    depth: 2  # few\n", "  size: small\n").replace(
            "train: {tokens: 10, dropout: 0.2}", "train:\n  minutes: 5"
        )
        + "\nadapter:\n  rank: 8\n"
    )


def test_a_field_is_taken_out_and_one_that_is_not_there_stays_so():
    assert edit_fields(TEXT, {"values": None, "adapter": None}, where="venture.yaml") == TEXT.replace("values:\n  - one\n  - two\n", "")


def test_blocks_of_text_end_where_they_end():
    text = "statement: |\n  Two\n  lines.\nmodel:\n  size: tiny\nlast: >-\n  folded\n  text\n"
    found = edit_fields(text, {"statement": "One.", "last": None}, where="venture.yaml")
    assert found == "statement: One.\nmodel:\n  size: tiny\n"


@pytest.mark.parametrize("name", tasks.names())
def test_of_every_template_another_model_can_be_chosen(tmp_path, name):
    path = create(tmp_path / "new", "New", tasks.find(name).template)
    before = path.read_text("utf-8")
    path.write_text(edit_fields(before, {"model": {"size": "small"}, "adapter": None}, where="venture.yaml"), "utf-8")
    assert load_venture_file(path).model.size == "small"
    kept, now = (yaml.safe_load(text) for text in (before, path.read_text("utf-8")))
    assert {key: value for key, value in now.items() if key != "model"} == {key: value for key, value in kept.items() if key != "model"}
    lost = set(before.splitlines()) - set(path.read_text("utf-8").splitlines())
    assert not [line for line in lost if line.startswith("#")]
