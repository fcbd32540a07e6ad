"""Whether a tokenizer's ids fit a model's embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...contracts.errors import UserError
from ...store.files import read_json


def check_vocabulary(folder: Path, rows: int) -> None:
    """Refuse a folder whose tokenizer has ids that the embedding has no row for. An embedding may have more rows: many are padded.

    Args:
        rows: of the embedding; 0 where the model reads no tokens.

    Raises:
        UserError: it has; the sentence has both numbers.
    """
    file = folder / "tokenizer.json"
    if not rows or not file.is_file():
        return
    ids = _largest_id(read_json(file)) + 1
    if ids > rows:
        raise UserError(
            f"the tokenizer has {ids} ids, and the model's embedding has {rows} rows", where=file, fix="take the model's own tokenizer"
        )


def _largest_id(content: Any) -> int:
    """The largest id of a tokenizer.json; -1 where it has none."""
    model = content.get("model", {}) if isinstance(content, dict) else {}
    vocabulary = model.get("vocab", {})
    # Unigram models list their pieces in the order of their ids; the others map pieces to ids.
    largest = max(vocabulary.values(), default=-1) if isinstance(vocabulary, dict) else len(vocabulary) - 1
    return max(largest, *(token["id"] for token in content.get("added_tokens", ())), -1) if isinstance(content, dict) else -1
