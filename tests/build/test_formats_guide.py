"""The guide to open models runs as it is written, and its table names what is read."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from lodestar import ModelConfig, Transformer, load_model, save_model
from lodestar.build.formats.family import families
from lodestar.prepare.tokenizer import train_tokenizer

DOCS = Path(__file__).parents[2] / "docs"


def code(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_code_runs_in_both_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code("open-models.md") == code("open-models.zh.md")
    save_model(Transformer(ModelConfig(300, 24, 1, 4, 64)), tmp_path / "my-model", tokenizer=train_tokenizer(["a text"], 258))
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for block in code("open-models.md"):
            exec(block, {})
    assert printed.getvalue()
    assert isinstance(load_model(tmp_path / "my-model-again"), Transformer)


@pytest.mark.parametrize("page", ["open-models.md", "open-models.zh.md"])
def test_the_table_names_every_architecture_that_is_read(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    known = {name for family in families() for name in family.architectures}
    named = set(re.findall(r"`(\w+(?:For\w+|Model|WithLMHead\w*))`", text))
    # XLM-R's stand in the table as "the same".
    assert named == {name for name in known if not name.startswith("XLMRoberta")}
