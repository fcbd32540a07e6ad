"""An open model's tokenizer, and whether its ids fit the model's embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...contracts.errors import UserError
from ...contracts.tokenizer import TOKENIZER, Tokenizer
from ...store.files import read_json
from . import hub

_OTHERS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "source.spm")
"""Files of tokenizers that are not in the one format that is read."""


def load_tokenizer(source: str | Path, *, revision: str | None = None) -> Tokenizer:
    """Read the tokenizer of an open model, or of one of Lodestar's.

    The ids that end, begin and fill texts are those that tokenizer_config.json, special_tokens_map.json, generation_config.json or
    config.json name.

    Args:
        source: the folder, or the id on the hub.
        revision: the branch, tag or commit on the hub; the newest where None.

    Raises:
        UserError: there is no such tokenizer, or it is damaged.
    """
    folder, _ = hub.resolve(source, revision, weights=False)
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, fix="name the folder that holds tokenizer.json")
    if not (folder / TOKENIZER).is_file():
        other = next((name for name in _OTHERS if (folder / name).is_file()), None)
        if other is None:
            raise UserError(f"the folder has no {TOKENIZER}", where=folder, fix="name the folder of a model that reads and writes text")
        convert = f"from transformers import AutoTokenizer as T; T.from_pretrained('{folder}').save_pretrained('{folder}')"
        raise UserError(f"the tokenizer is {other}, not {TOKENIZER}", where=folder, fix=f'convert it once: python -c "{convert}"')
    return Tokenizer.load(folder, fix="download or save the tokenizer again")


def check_vocabulary(file: Path, rows: int) -> None:
    """Refuse a tokenizer with ids that the embedding has no row for. An embedding may have more rows: many are padded.

    Args:
        file: tokenizer.json, which may be absent.
        rows: of the embedding; 0 where the model reads no tokens.

    Raises:
        UserError: it has; the sentence has both numbers.
    """
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
