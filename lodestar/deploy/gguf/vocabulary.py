"""A tokenizer in llama.cpp's words: byte-level BPE, or BPE over characters with bytes for those it lacks (Llama 2, Gemma).

https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...contracts.tokenizer import END_OF_TEXT, PAD, Tokenizer
from .container import Value

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_SIGNS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_PRE = {
    (_GPT2, False): "gpt-2",
    (_LETTERS + r"\p{N}" + _SIGNS, False): "qwen2",
    (_LETTERS + r"\p{N}{1,3}" + _SIGNS, True): "llama-bpe",
    (_LETTERS + r"\p{N}{1,3}" + _SIGNS, False): "dbrx",
}
"""Where merges may not cross, and whether a word that is a token stays whole → llama.cpp's name of it."""
_NEVER = -1e6
"""The score of a piece that no merge gives."""


def describe_vocabulary(tokenizer: Tokenizer | None, rows: int, chat_template: str | None = None) -> dict[str, Value]:
    """The fields of a tokenizer; of None, those of a file whose readers give ids.

    Args:
        rows: of the embedding; those past the tokenizer's ids are told to be unused.

    Raises:
        ValueError: llama.cpp has no tokenizer like it, or it has more ids than the embedding has rows.
    """
    if tokenizer is None:
        return {"tokenizer.ggml.model": "none"}
    content = json.loads(tokenizer.to_json())
    model = content["model"]
    if model.get("type") != "BPE":
        raise ValueError(f"llama.cpp has no tokenizer of the kind {model.get('type')}")
    tokens, types = _tokens(content, rows)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    fields: dict[str, Value] = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    if any(part.get("type") == "ByteLevel" for part in _parts(content.get("pre_tokenizer"))):
        fields |= {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": _pre(content), "tokenizer.ggml.merges": merges}
    elif model.get("byte_fallback"):
        fields |= {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.scores": _scores(tokens, merges)}
        fields["tokenizer.ggml.add_space_prefix"] = _prepends(content)
    else:
        raise ValueError("llama.cpp has no BPE whose pieces are neither bytes nor fall back on them")
    return fields | _special_ids(tokenizer, model) | ({} if chat_template is None else {"tokenizer.chat_template": chat_template})


def _tokens(content: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """The text and the type of each id."""
    model = content["model"]
    texts, types = [f"[PAD{number}]" for number in range(rows)], [_UNUSED] * rows
    ids = {identity: text for text, identity in model["vocab"].items()}
    added = {token["id"]: token for token in content.get("added_tokens", ())}
    largest = max([*ids, *added], default=-1)
    if largest >= rows:
        raise ValueError(f"the tokenizer has {largest + 1} ids, and the model's embedding has {rows} rows")
    for identity, text in ids.items():
        texts[identity], types[identity] = text, _NORMAL
        if model.get("byte_fallback") and len(text) == 6 and text.startswith("<0x"):
            types[identity] = _BYTE
    for identity, token in added.items():
        texts[identity], types[identity] = token["content"], _CONTROL if token["special"] else _USER_DEFINED
        if model.get("byte_fallback") and token["content"] == model.get("unk_token"):
            types[identity] = _UNKNOWN
    return texts, types


def _pre(content: Mapping[str, Any]) -> str:
    """llama.cpp's name for what splits a text before the merges."""
    parts = list(_parts(content.get("pre_tokenizer")))
    patterns = [part["pattern"].get("Regex") for part in parts if part["type"] == "Split"]
    patterns += [_GPT2 for part in parts if part["type"] == "ByteLevel" and part.get("use_regex", True)]
    others = {part["type"] for part in parts} - {"Split", "ByteLevel"}
    name = _PRE.get((patterns[0], bool(content["model"].get("ignore_merges")))) if len(patterns) == 1 and not others else None
    if name is None or any(part.get("add_prefix_space") for part in parts):
        raise ValueError("llama.cpp does not split texts as the tokenizer does, which is compiled into it")
    return name


def _parts(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A normaliser or pre-tokenizer's parts, where it is a sequence of them."""
    if part is None:
        return
    if part.get("type") != "Sequence":
        yield part
        return
    for inner in part.get("pretokenizers") or part.get("normalizers") or ():
        yield from _parts(inner)


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """llama.cpp joins the two pieces whose union has the highest score, which is then that of the earliest merge."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", "", 1), rank)
    return [-float(ranks[token]) if token in ranks else _NEVER for token in tokens]


def _prepends(content: Mapping[str, Any]) -> bool:
    """Whether a space is put before the text."""
    if any(part["type"] == "Prepend" for part in _parts(content.get("normalizer"))):
        return True
    spaces = [part for part in _parts(content.get("pre_tokenizer")) if part["type"] == "Metaspace"]
    return any(part.get("prepend_scheme", "always") != "never" for part in spaces)


def _special_ids(tokenizer: Tokenizer, model: Mapping[str, Any]) -> dict[str, Value]:
    """Which ids begin, end and fill texts."""
    backend, given = tokenizer.backend, tokenizer.special_ids
    end = given.end_of_text if given is not None else backend.token_to_id(END_OF_TEXT)
    pad = given.pad if given is not None else backend.token_to_id(PAD)
    unknown = backend.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    others = [] if given is None else [one for one in given.stops if one != end]
    named = {"bos": tokenizer.begin, "eos": end, "eot": others[0] if others else None, "padding": pad, "unknown": unknown}
    begins = tokenizer.begin is not None and tokenizer.encode("a", special=True)[:1] == [tokenizer.begin]
    return {
        **{f"tokenizer.ggml.{name}_token_id": one for name, one in named.items() if one is not None},
        "tokenizer.ggml.add_bos_token": begins,
        "tokenizer.ggml.add_eos_token": False,
    }
