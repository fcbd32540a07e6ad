"""An open model's tokenizer against transformers', and the special ids by whichever file names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lodestar import ModelConfig, Tokenizer, Transformer, UserError, load_tokenizer
from lodestar.build.completion import CompletionRequest, prompt_tokens
from lodestar.build.language import document_tokens
from lodestar.prepare.tokenizer import AheadTokenizer, train_tokenizer

TEXTS = ["the quick brown fox jumps over the lazy dog. " * 20, "床前明月光，疑是地上霜。" * 20, "def f(x):\n    return x + 1\n" * 20]
TRICKY = ["", " ", "  two  spaces ", "<s>no mark", "[CLS] neither", "né 床前明月光 🙂", "a\nb\tc"]


def llama_like() -> tokenizers.Tokenizer:
    """Pieces with ▁ for the space and bytes for what is unknown, `<s>` before a text: as Llama 2's and Gemma's."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    data = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *data], show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    backend.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return backend


def bert_like() -> tokenizers.Tokenizer:
    """WordPiece with `[CLS]` and `[SEP]` around a text."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=names, show_progress=False))
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)])
    return backend


def unigram_like() -> tokenizers.Tokenizer:
    """A Unigram with `</s>` after a text, as T5's."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    names = ["<pad>", "</s>", "<unk>"]
    backend.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=200, special_tokens=names, unk_token="<unk>", show_progress=False)
    )
    backend.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    return backend


KINDS: dict[str, Any] = {
    "llama": (llama_like, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "bert": (bert_like, {"pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]", "unk_token": "[UNK]"}),
    "t5": (unigram_like, {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Tokenizer]:
    make, names = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=make(), **names)
    theirs.save_pretrained(folder)
    return theirs, load_tokenizer(folder)


@pytest.mark.parametrize("text", TRICKY)
def test_ids_and_text_are_those_of_transformers(pair: tuple[Any, Tokenizer], text: str) -> None:
    theirs, ours = pair
    plain = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert ours.encode(text) == plain
    assert ours.encode_batch([text, "a"])[0] == plain
    assert ours.encode(text, special=True) == theirs.encode(text, split_special_tokens=True)
    assert ours.decode(ours.encode(text, special=True)) == theirs.decode(plain, skip_special_tokens=True)


@pytest.mark.parametrize("text", ["<s>a</s>[CLS][SEP]<pad>", "end</s>", "</s></s>"])
def test_a_mark_in_the_text_is_text(pair: tuple[Any, Tokenizer], text: str) -> None:
    """In transformers, T5's `</s>` in a text ends it even with `split_special_tokens`."""
    theirs, ours = pair
    special = set(theirs.all_special_ids) - {theirs.unk_token_id}
    assert not special & set(ours.encode(text))
    assert ours.encode_batch([text]) == [ours.encode(text)]
    around = ours.encode("", special=True)
    assert [one for one in ours.encode(text, special=True) if one in special] == around


def test_special_ids_are_those_of_transformers(pair: tuple[Any, Tokenizer]) -> None:
    theirs, ours = pair
    assert ours.begin == theirs.bos_token_id
    if theirs.eos_token_id is not None:
        assert ours.end_of_text == theirs.eos_token_id
        assert ours.stop_ids == (theirs.eos_token_id,)
        assert ours.pad == (theirs.eos_token_id if theirs.pad_token_id is None else theirs.pad_token_id)
    else:
        assert ours.pad == theirs.pad_token_id
        with pytest.raises(UserError, match=r"no token '<\|endoftext\|>'"):
            _ = ours.end_of_text


def test_a_text_opens_as_it_did_for_the_base(pair: tuple[Any, Tokenizer]) -> None:
    """Llama's `<s>`, as transformers puts it there; the end of the text before where the base has no mark of its own."""
    theirs, ours = pair
    if theirs.eos_token_id is None:
        pytest.skip("no decoder's tokenizer")
    text = "the lazy dog"
    model = Transformer(ModelConfig(ours.vocabulary_size, width=8, depth=1, heads=1, context=64))
    read = prompt_tokens(model, ours, CompletionRequest(prompt=text))
    learnt = document_tokens(text, ours)
    assert learnt == [*read, theirs.eos_token_id]
    if theirs.bos_token_id is None:
        assert read == [theirs.eos_token_id, *theirs.encode(text, add_special_tokens=False)]
    else:
        assert read == theirs.encode(text)


def test_what_is_written_is_read_back(pair: tuple[Any, Tokenizer], tmp_path: Path) -> None:
    _, ours = pair
    for name, content in ours.files().items():
        (tmp_path / name).write_text(content)
    again = load_tokenizer(tmp_path)
    assert again.special_ids == ours.special_ids
    assert again.to_json() == ours.to_json()
    assert AheadTokenizer(ours).special_ids == ours.special_ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_text(llama_like().to_str())
    return tmp_path


def ids_of(folder: Path, **files: Any) -> tuple[int | None, int | None, int | None, tuple[int, ...]]:
    for name, fields in files.items():
        (folder / f"{name}.json").write_text(json.dumps(fields))
    ids = load_tokenizer(folder).special_ids
    assert ids is not None
    return ids.end_of_text, ids.pad, ids.begin, ids.stops


def test_where_the_special_ids_come_from(folder: Path) -> None:
    assert load_tokenizer(folder).special_ids is None
    assert ids_of(folder, config={"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 99_999}) == (2, None, 1, (2,))
    assert ids_of(folder, generation_config={"eos_token_id": [5, 2], "pad_token_id": 0}) == (5, 0, 1, (5, 2))
    assert ids_of(folder, special_tokens_map={"eos_token": {"content": "</s>", "lstrip": False}}) == (2, 0, 1, (2, 5))
    assert ids_of(folder, tokenizer_config={"eos_token": "<unk>", "bos_token": None, "pad_token": "no such"}) == (0, 0, 1, (0, 5, 2))


def test_ours_keep_their_names(tmp_path: Path) -> None:
    trained = train_tokenizer(TEXTS, 300)
    (tmp_path / "tokenizer.json").write_text(trained.to_json())
    loaded = load_tokenizer(tmp_path)
    assert (loaded.special_ids, loaded.end_of_text, loaded.pad, loaded.begin, loaded.stop_ids) == (None, 0, 1, None, (0,))
    assert loaded.files() == {"tokenizer.json": trained.to_json()}


def test_no_length_to_cut_texts_to_is_followed(folder: Path) -> None:
    backend = llama_like()
    backend.enable_truncation(max_length=4)
    backend.enable_padding(length=16)
    (folder / "tokenizer.json").write_text(backend.to_str())
    assert load_tokenizer(folder).decode(load_tokenizer(folder).encode(TEXTS[0])) == TEXTS[0]


def test_folders_without_a_tokenizer_that_can_be_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_tokenizer(tmp_path / "none")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"the tokenizer is damaged \(.*\); download or save the tokenizer again"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    with pytest.raises(
        UserError, match=r'the tokenizer is tokenizer.model, not tokenizer.json; convert it once: python -c ".*AutoTokenizer'
    ):
        load_tokenizer(folder)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(UserError, match=r"the folder has no tokenizer\.json"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").write_text(llama_like().to_str())
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: cannot be read"):
        load_tokenizer(folder)
