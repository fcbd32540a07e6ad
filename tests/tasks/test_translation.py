"""What translation reads, learns, refuses and answers."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.task import IGNORE
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import open_split, prepare, train_tokenizer
from lodestar.tasks.translation import Pair, Translation, readings

EN_DE = [Pair(source="A dog runs.", target="Ein Hund rennt.", source_language="en", target_language="de")]
MANY = [*EN_DE, Pair(source="A dog.", target="一只狗。", source_language="en", target_language="zh")]


def fitted(pairs: list[Pair], **options: Any) -> Translation:
    task = Translation(options)
    task.fit(pairs)
    return task


def tokenizer_of(task: Translation) -> Tokenizer:
    texts = [text for pair in Translation.sample() for text in (pair.source, pair.target)]
    return train_tokenizer(texts, 320, task.special_tokens)


def model_of(task: Translation, tokenizer: Tokenizer, context: int = 48, **fields: Any) -> Any:
    torch.manual_seed(0)
    shape = {"width": 32, "depth": 1, "heads": 2, "context": context, "initial_std": 0.3, **task.architecture(), **fields}
    return task.build(ModelConfig(vocabulary_size=tokenizer.vocabulary_size, **shape)).eval()


@pytest.fixture(scope="module")
def many() -> tuple[Translation, Tokenizer, Any]:
    task = fitted(MANY)
    tokenizer = tokenizer_of(task)
    return task, tokenizer, model_of(task, tokenizer)


# Records


def test_a_pair_comes_as_wmt_s_translation_too() -> None:
    record = {"translation": {"de": "Hallo", "en": "Hello"}}
    assert Pair.model_validate(Pair.of_record(record)) == Pair(source="Hallo", target="Hello", source_language="de", target_language="en")
    with pytest.raises(UserError, match="the translation has 3 languages"):
        Pair.of_record({"translation": {"de": "a", "en": "b", "fr": "c"}})


@pytest.mark.parametrize("code", ["english", "e", "en de", "12"])
def test_what_is_no_language_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="no language code; give an ISO 639 code"):
        Pair(source="a", target="b", source_language=code)


def test_both_directions_of_a_pair_stay_in_one_split() -> None:
    there = Pair(source="A dog.", target="一只狗。", source_language="en", target_language="zh")
    back = Pair(source="一只狗。", target="A dog.", source_language="zh", target_language="en")
    assert there.kinship() == back.kinship() == "A dog."


def test_one_direction_needs_no_names_and_no_tags() -> None:
    task = fitted([Pair(source="a", target="b")])
    assert task.directions == [("", "")]
    assert not task.tagged
    assert task.special_tokens == ()


def test_several_targets_are_told_by_a_tag_before_the_source(many: tuple[Translation, Tokenizer, Any]) -> None:
    task, tokenizer, _ = many
    assert task.special_tokens == ("<2de>", "<2zh>")
    for pair in MANY:
        encoded: Any = task.encode(pair, tokenizer)
        end = tokenizer.end_of_text
        assert encoded["source"] == [tokenizer.special(f"<2{pair.target_language}>"), *tokenizer.encode(pair.source), end]
        assert encoded["tokens"] == [end, *tokenizer.encode(pair.target)]
        assert encoded["targets"] == [*tokenizer.encode(pair.target), end]


def test_options_name_the_languages_and_add_the_other_direction() -> None:
    task = fitted([Pair(source="A dog.", target="Ein Hund.")], source="en", target="de", both_directions=True)
    assert task.directions == [("de", "en"), ("en", "de")]
    tokenizer = tokenizer_of(task)
    there, back = task.rows(Pair(source="A dog.", target="Ein Hund."), tokenizer, 48)
    assert there["source"] == [tokenizer.special("<2de>"), *tokenizer.encode("A dog."), tokenizer.end_of_text]
    assert back["source"] == [tokenizer.special("<2en>"), *tokenizer.encode("Ein Hund."), tokenizer.end_of_text]
    assert back["targets"] == [*tokenizer.encode("A dog."), tokenizer.end_of_text]


def test_a_direction_of_few_pairs_is_read_more_often() -> None:
    # Shares of 0.8, 0.15 and 0.05 to the power 1/2, over what they are: 1.118, 2.582, 4.472; over the first: 1, 2.31, 4.
    assert readings([80, 15, 5], 2.0) == [1, 2, 4]
    assert readings([80, 15, 5], 1.0) == [1, 1, 1]
    assert readings([80, 15, 5], 100.0) == [1, 5, 16]  # as good as alike: 80, 75, 80
    pairs = [EN_DE[0]] * 16 + [MANY[-1]]
    task = fitted(pairs, both_directions=True, temperature=2)
    tokenizer = tokenizer_of(task)
    assert [len(task.rows(pair, tokenizer, 48)) for pair in (pairs[0], pairs[-1])] == [2, 8]
    assert len(task.rows(pairs[-1], tokenizer, 48)) == 4 * len(fitted(pairs, both_directions=True).rows(pairs[-1], tokenizer, 48))


def test_a_vocabulary_has_room_for_a_language_of_few_pairs() -> None:
    words = ["".join(pair) for pair in product(("ba", "ke", "mi", "to", "zu", "la"), repeat=2)]
    common = [Pair(source=one, target=other, source_language="en", target_language="de") for one, other in product(words[:12], words[12:])]
    rare = Pair(source="sea", target="바다", source_language="en", target_language="ko")
    lengths = []
    for temperature in (1, 100):
        task = fitted([*common, rare], temperature=temperature)
        tokenizer = train_tokenizer([text for pair in [*common, rare] for text in task.texts(pair)], 290, task.special_tokens)
        lengths.append(len(tokenizer.encode("바다")))
    assert lengths == [6, 1]  # six bytes, or one token


@pytest.mark.parametrize(("pairs", "options", "sentence"), [
    ([Pair(source="a", target="b", source_language="en")], {}, "1 records name no target language; set options.source"),
    ([Pair(source="a", target="b"), *EN_DE], {}, "1 records name no source language"),
    ([Pair(source="a", target="b")], {"both_directions": True}, "both_directions needs the languages"),
    ([Pair(source="a", target="b")], {"architecture": "decoder"}, "1 records name no source language"),
])  # fmt: skip
def test_data_that_cannot_name_its_languages_is_refused(pairs: list[Pair], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        fitted(pairs, **options)


def test_a_decoder_reads_both_texts_in_one_sequence_and_learns_the_target() -> None:
    task = fitted(EN_DE, architecture="decoder")
    tokenizer = tokenizer_of(task)
    assert task.batching == "whole"
    encoded: Any = task.encode(EN_DE[0], tokenizer)
    prompt = [tokenizer.end_of_text, *tokenizer.encode("English: A dog runs.\nGerman:")]
    written = [*tokenizer.encode(" Ein Hund rennt."), tokenizer.end_of_text]
    assert encoded["tokens"] == [*prompt, *written]
    assert encoded["targets"] == [*[IGNORE] * (len(prompt) - 1), *written, IGNORE]
    model = model_of(task, tokenizer)
    assert isinstance(task.answer(model, tokenizer, {"input": "A dog."})["text"], str)


# From files to batches


def test_multi30k_and_tatoeba_are_read_by_fields_of_venture_yaml(shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "translation"
    settings_ = DataSettings.parse({
        "sources": ["multi30k/val.{en,de}.gz", "tatoeba-en-ko/val.tsv.gz"], "columns": {"source": "0", "target": "1"},
        "constants": {"tatoeba-en-ko/*": {"source_language": "en", "target_language": "ko"}}, "vocabulary": 400, "too_long": "drop",
    }, where="data")  # fmt: skip
    task = Translation()
    record = prepare(task, settings_, data, tmp_path / "out", context=96)
    assert task.directions == [("en", "de"), ("en", "ko")]
    assert sum(split["records"] for split in record.facts["splits"].values()) > 1150
    split = open_split(tmp_path / "out", "train")
    assert split.source is not None
    pair = split.examples(task)[0]
    encoded: Any = task.encode(pair, Tokenizer.load(tmp_path / "out"))
    assert split.tokens[: split.offsets[1]].tolist() == encoded["tokens"]
    assert split.source[: split.source_offsets[1]].tolist() == encoded["source"]


# Answers


def test_a_list_is_answered_as_its_texts_are_alone(many: tuple[Translation, Tokenizer, Any]) -> None:
    task, tokenizer, model = many
    texts = ["A dog runs.", "", "  ", "How far is the next island?"]
    together = task.answer(model, tokenizer, {"input": texts, "target": "zh"})["results"]
    for text, result in zip(texts, together, strict=True):
        alone = task.answer(model, tokenizer, {"input": text, "target": "zh"})
        assert alone["text"] == result["text"]
        assert (result["source"], result["target"]) == ("en", "zh")
    assert together[1]["text"] == ""
    assert together[2]["text"] == "  "


@pytest.mark.parametrize(("request_", "sentence"), [
    ({"input": []}, "the list of inputs is empty; send at least one text"),
    ({"input": "a"}, "the model writes several languages; send target: one of de, zh"),
    ({"input": "a", "target": "fr"}, "not trained from any language to fr; it translates en to de, en to zh"),
    ({"input": "a", "source": "de", "target": "zh"}, "not trained from de to zh"),
    ({"input": "a", "target": "zh", "beam": 3}, "beam"),
    ({"input": "a", "target": "zh", "beams": 100}, "beams"),
    ({"input": "a", "target": "zh", "format": "html"}, "are for documents; send document: true"),
    ({"input": "a", "target": "zh", "document": True, "format": "word"}, "format"),
])  # fmt: skip
def test_a_request_at_fault_is_refused(many: tuple[Translation, Tokenizer, Any], request_: dict[str, Any], sentence: str) -> None:
    task, tokenizer, model = many
    with pytest.raises(UserError, match=sentence):
        task.answer(model, tokenizer, request_)


def test_a_document_keeps_what_no_translation_may_change(many: tuple[Translation, Tokenizer, Any]) -> None:
    task, tokenizer, model = many
    text = "# The boat\n\n- A dog runs. {name} is here.\n\n```\nx = 1\n```\n"
    answer = task.answer(model, tokenizer, {"input": text, "target": "de", "document": True, "format": "markdown"})
    lines = answer["text"].split("\n")
    assert lines[0].startswith("# ")
    assert lines[2].startswith("- ")
    assert answer["text"].count("{name}") == 1
    assert answer["text"].endswith("```\nx = 1\n```\n")


AWKWARD = st.text(st.sampled_from("aé字。．漢한日 \n\t👩‍👩‍👧🏽‍🚀\u200b\u202e\ufeffשלום؟é̂0,.!"), max_size=200)


@settings(max_examples=25)
@given(AWKWARD | st.text(max_size=60))
def test_any_text_is_answered(many: tuple[Translation, Tokenizer, Any], text: str) -> None:
    task, tokenizer, model = many
    answer = task.answer(model, tokenizer, {"input": text, "target": "de", "beams": 1})
    assert isinstance(answer["text"], str)
    json.dumps(answer, ensure_ascii=False).encode()
    if not text.strip():
        assert answer["text"] == text


def test_half_a_surrogate_pair_is_refused_or_answered_but_never_a_crash(many: tuple[Translation, Tokenizer, Any]) -> None:
    task, tokenizer, model = many
    with pytest.raises(UserError, match="surrogate"):
        task.answer(model, tokenizer, {"input": "a \ud800 b", "target": "de"})


LONG = {
    "no sentence ends": " ".join(f"word{number}" for number in range(3000)),
    "one word": "".join(chr(0x4E00 + number) for number in range(2500)),
    "sentences": " ".join(f"Dog {number} runs." for number in range(700)),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_text_far_longer_than_the_context_is_translated_to_its_end(many: tuple[Translation, Tokenizer, Any], text: str) -> None:
    """Each part is read: what is counted as read is all of it."""
    task, tokenizer, model = many
    answer = task.answer(model, tokenizer, {"input": text, "target": "de", "beams": 1})
    assert answer["usage"]["prompt_tokens"] >= len(tokenizer.encode(text))


def test_a_translation_that_was_cut_off_says_so() -> None:
    task = fitted(EN_DE)
    tokenizer = tokenizer_of(task)
    model = model_of(task, tokenizer, context=8, initial_std=1.0)
    answers = [task.answer(model, tokenizer, {"input": text, "beams": 1}) for text in ("a", "b", "c", "d", "e", "f")]
    assert any("truncated" in answer for answer in answers)


# Quality


def test_signatures_name_each_tokenisation(many: tuple[Translation, Tokenizer, Any]) -> None:
    task, *_ = many
    assert "tok:13a" in task.signatures()["bleu"]
    assert "tok:char" in task.signatures()["bleu"]
    assert task.signatures()["chrf"].startswith("chrF2|")


def test_pairs_that_are_learnt_both_ways_are_measured_both_ways() -> None:
    pairs = [pair for pair in Translation.sample() if pair.source_language == "en"][:6]
    task = fitted(pairs, both_directions=True, beams=1)
    tokenizer = tokenizer_of(task)
    table = task.measure(model_of(task, tokenizer), tokenizer, pairs)
    assert all(len(column) == len(pairs) for column in table.values()), "a row is a pair, which the bootstrap draws whole"
    model = model_of(task, tokenizer)
    turned = [Pair(source=pair.target, target=pair.source, source_language="zh", target_language="en") for pair in pairs]
    expected: dict[str, list[float]] = {"bleu": [], "chrf": []}
    for read, write, way in (("en", "zh", pairs), ("zh", "en", turned)):
        sources, references = [pair.source for pair in way], [pair.target for pair in way]
        written = [one["text"] for one in task.answer(model, tokenizer, {"input": sources, "source": read, "target": write})["results"]]
        bleu = sacrebleu.BLEU(tokenize="char" if write == "zh" else "13a")
        expected["bleu"].append(bleu.corpus_score(written, [references]).score)
        expected["chrf"].append(sacrebleu.CHRF().corpus_score(written, [references]).score)
    for metric in task.metrics:
        assert metric.compute(table) == pytest.approx(np.mean(expected[metric.name]))
        assert task.signatures()[metric.name].endswith(", each pair both ways")
    found = task.findings(table, pairs, [])
    assert found is not None
    for sentence, read, place in zip(found.sentences, ("en → zh", "zh → en"), (0, 1), strict=True):
        assert sentence.en.startswith(f"{read}: bleu {expected['bleu'][place]:.1f} [")
        assert f"chrf {expected['chrf'][place]:.1f} [" in sentence.zh
        assert "6 sentences" in sentence.en
    # The dictionary, too, is learnt and asked both ways.
    (_, both), (_, back) = task.baseline(pairs, pairs), fitted(turned).baseline(turned, turned)
    assert both.keys() == table.keys()
    assert np.array_equal(both["chrf_back"], back["chrf"])
    assert both["chrf_back"].any()


def test_one_direction_has_no_figures_beside_its_scores() -> None:
    task = fitted(EN_DE)
    tokenizer = tokenizer_of(task)
    assert task.findings(task.measure(model_of(task, tokenizer), tokenizer, EN_DE), EN_DE, []) is None


def test_the_baseline_learns_a_dictionary() -> None:
    words = {"the": "der", "dog": "Hund", "cat": "Kater", "sees": "sieht", "big": "große"}
    draw = np.random.default_rng(0)
    train = []
    for _ in range(80):
        chosen = draw.choice(list(words), 4).tolist()
        train.append(Pair(source=" ".join(chosen), target=" ".join(words[word] for word in chosen)))
    task = fitted(train)
    name, columns = task.baseline(train, [Pair(source="big cat sees the dog!", target="große Kater sieht der Hund!")])
    assert name == "word by word (IBM model 1)"
    assert [metric.compute(columns) for metric in task.metrics] == pytest.approx([100, 100])


# Open translators


def a_base(folder: Path, model_type: str, tags: list[str], **config: Any) -> Tokenizer:
    """The files of an open translator that its form follows from."""
    tokenizer = train_tokenizer(["A dog runs. Ein Hund rennt."], 300, ("<s>", *tags))
    folder.mkdir(exist_ok=True)
    for name, content in tokenizer.files().items():
        (folder / name).write_text(content, "utf-8")
    fields = {"model_type": model_type, "is_encoder_decoder": True, "decoder_start_token_id": 1, **config}
    (folder / "config.json").write_text(json.dumps(fields), "utf-8")
    return tokenizer


@pytest.mark.parametrize(("model_type", "tags", "source", "start"), [
    ("marian", [], ["*", "</s>"], [1]),
    ("m2m_100", ["__en__", "__de__"], ["__en__", "*", "</s>"], [1, "__de__"]),
    ("m2m_100", ["eng_Latn", "deu_Latn"], ["eng_Latn", "*", "</s>"], [1, "deu_Latn"]),
    ("mbart", ["en_XX", "de_DE"], ["*", "</s>", "en_XX"], ["de_DE"]),
])  # fmt: skip
def test_a_pair_is_read_as_the_base_does(tmp_path: Path, model_type: str, tags: list[str], source: list[Any], start: list[Any]) -> None:
    tokenizer = a_base(tmp_path / "base", model_type, tags)
    task = Translation()
    task.adopt(tmp_path / "base")
    task.fit(EN_DE)
    encoded: Any = task.encode(EN_DE[0], tokenizer)

    def ids(parts: list[Any]) -> list[int]:
        marks = {"*": tokenizer.encode("A dog runs."), "</s>": [tokenizer.end_of_text]}
        return [one for part in parts for one in ([part] if isinstance(part, int) else marks.get(part) or [tokenizer.special(part)])]

    assert encoded["source"] == ids(source)
    assert encoded["tokens"] == [*ids(start), *tokenizer.encode("Ein Hund rennt.")]
    assert encoded["targets"] == [*[IGNORE] * (len(start) - 1), *tokenizer.encode("Ein Hund rennt."), tokenizer.end_of_text]
    assert task.special_tokens == ()


def test_t5_is_asked_in_words_and_a_missing_tag_is_named(tmp_path: Path) -> None:
    tokenizer = a_base(tmp_path / "t5", "t5", [])
    task = Translation()
    task.adopt(tmp_path / "t5")
    task.fit(EN_DE)
    encoded: Any = task.encode(EN_DE[0], tokenizer)
    assert encoded["source"] == [*tokenizer.encode("translate English to German: A dog runs."), tokenizer.end_of_text]
    nameless = a_base(tmp_path / "m2m", "m2m_100", ["__en__"])
    task = Translation()
    task.adopt(tmp_path / "m2m")
    task.fit(EN_DE)
    with pytest.raises(UserError, match="the base has no tag for the language 'de'"):
        task.encode(EN_DE[0], nameless)


def test_a_family_without_a_form_is_refused(tmp_path: Path) -> None:
    a_base(tmp_path / "base", "prophetnet", [])
    with pytest.raises(UserError, match="translation knows no form of the family 'prophetnet'; name one of bart"):
        Translation().adopt(tmp_path / "base")
