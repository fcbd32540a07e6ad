"""Summarization: records of every form, documents of every length, encoder-decoders and decoders, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from lodestar import tasks
from lodestar.build.base import begin_from, derive_from, find_base
from lodestar.build.chat import Conversing
from lodestar.build.seq2seq import pair_loss
from lodestar.build.summarize import SEPARATOR, SummaryForm
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings, ModelSettings
from lodestar.contracts.task import IGNORE
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.summaries import columns
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.store.files import read_json
from lodestar.tasks.summarization import Summarization, SummarizedText, first_sentences

CONTEXT = 96


def made(folder: Path, options: dict[str, Any]) -> tuple[Summarization, Transformer, Tokenizer]:
    """A task on its sample, and a model of random weights."""
    task = tasks.find("summarization")(options)
    assert isinstance(task, Summarization)
    prepare(task, DataSettings(sources=["builtin:sample"], validation=0, test=0, vocabulary=400), folder, folder / "data", context=CONTEXT)
    tokenizer = Tokenizer.load(folder / "data")
    torch.manual_seed(0)
    config = ModelConfig(vocabulary_size=tokenizer.vocabulary_size, width=32, depth=1, heads=2, context=CONTEXT, **task.architecture())
    model = task.build(config).eval()
    assert isinstance(model, Transformer)
    return task, model, tokenizer


@pytest.fixture(scope="module", params=["encoder-decoder", "decoder"])
def ready(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summarization, Transformer, Tokenizer]:
    return made(tmp_path_factory.mktemp(request.param), {"architecture": request.param, "beams": 2, "summary_tokens": 12})


def test_reads_dialogsum_by_the_fields_of_its_files(shared_data: Path, tmp_path: Path) -> None:
    """`summary` in one file, three of them in the other: the same columns for both."""
    folder = shared_data / "summarization" / "dialogsum"
    for name in ("dev", "test"):
        lines = gzip.decompress((folder / f"{name}.jsonl.gz").read_bytes()).splitlines()[:30]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    task = tasks.find("summarization")()
    splits: Any = {"train": ["dev.jsonl"], "test": ["test.jsonl"]}
    data = DataSettings(sources=["dev.jsonl", "test.jsonl"], columns={"text": "dialogue"}, splits=splits, validation=0, vocabulary=400)
    prepare(task, data, tmp_path, tmp_path / "data", context=256)
    train, test = (open_split(tmp_path / "data", name) for name in ("train", "test"))
    first = json.loads((tmp_path / "test.jsonl").read_text().splitlines()[0])
    found = {example.text: example.summary for example in test.examples(task)}
    assert found[first["dialogue"]] == [first["summary1"], first["summary2"], first["summary3"]]
    assert all(len(example.summary) == 1 for example in train.examples(task))
    # A document that is longer than the context is cut, and the card says so.
    assert read_json(tmp_path / "data" / "card.json")["splits"]["train"]["truncated"] > 0
    batch = next(iter(Sequential(test, task.batching, rows=8, context=256, pad=1)))
    assert batch["source_tokens"].shape[1] <= 256
    end = Tokenizer.load(tmp_path / "data").end_of_text
    lengths = batch["source_mask"].sum(1)
    assert all(int(row[length - 1]) == end for row, length in zip(batch["source_tokens"], lengths, strict=True))


@pytest.mark.parametrize("summary", ["", " ", [], ["a", "\n"], 3])
def test_a_record_without_a_summary_is_refused(summary: Any, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({"text": "a", "summary": summary}) + "\n")
    task = tasks.find("summarization")()
    with pytest.raises(UserError, match=r"data.jsonl:1"):
        prepare(task, DataSettings(sources=["data.jsonl"]), tmp_path, tmp_path / "data")


def test_each_of_several_summaries_is_learnt(ready: tuple[Summarization, Transformer, Tokenizer]) -> None:
    task, _, tokenizer = ready
    example = SummarizedText(text="The lamp is lit.", summary=["Light.", "Lit."])
    rows = task.rows(example, tokenizer, CONTEXT)
    written = [[target for target in row["targets"] if target != IGNORE] for row in rows if not isinstance(row["targets"], int)]
    assert [tokenizer.decode(ids) for ids in written] == ["Light.", "Lit."]
    assert all(ids[-1] == tokenizer.end_of_text for ids in written)


def test_a_decoder_s_summary_is_whole_however_long_its_document(tmp_path: Path) -> None:
    task, _, tokenizer = made(tmp_path, {"architecture": "decoder"})
    long = SummarizedText(text="The wind blew. " * 100, summary=["Wind."])
    (row,) = task.rows(long, tokenizer, CONTEXT)
    tokens, targets = row["tokens"], row["targets"]
    assert not isinstance(tokens, int)
    assert not isinstance(targets, int)
    assert len(tokens) == CONTEXT
    assert tokenizer.decode(tokens).endswith(f"{SEPARATOR}Wind.")
    assert row["lost"] == len(task.summary_form.encode(long.text, "Wind.", tokenizer)["tokens"]) - CONTEXT  # type: ignore[arg-type]
    assert [target for target in targets if target != IGNORE] == [*tokenizer.encode("Wind."), tokenizer.end_of_text]
    loader = make_loader(open_split(tmp_path / "data", "train"), task.batching, rows=2, context=CONTEXT, seed=0, pad=tokenizer.pad)
    assert set(loader.next_batch()) >= {"tokens", "targets", "document_ids"}


def test_a_document_of_any_length_is_read_whole(ready: tuple[Summarization, Transformer, Tokenizer]) -> None:
    task, model, tokenizer = ready
    sentences = [f"Ship {number} came in from the sea at dawn." for number in range(40)]
    short, long = (task.answer(model, tokenizer, {"input": " ".join(part), "max_tokens": 8}) for part in (sentences[:1], sentences))
    assert short["windows"] == 1
    assert long["windows"] > 8
    # Every token of the document was read, and the marks of each window besides.
    assert long["usage"]["prompt_tokens"] >= len(tokenizer.encode(" ".join(sentences)))
    assert len(tokenizer.encode(long["summary"])) <= 8 or long["finish_reason"] == "length"


def test_a_list_is_answered_as_each_alone(ready: tuple[Summarization, Transformer, Tokenizer]) -> None:
    task, model, tokenizer = ready
    texts = ["The lamp is lit.", "灯亮了。" * 40, "The wind blew. " * 30]
    together = task.answer(model, tokenizer, {"input": texts})["results"]
    alone = [task.answer(model, tokenizer, {"input": text}) for text in texts]
    assert together == [{name: one[name] for name in ("summary", "windows", "finish_reason")} for one in alone]


@pytest.mark.parametrize(
    ("request_body", "sentence"),
    [
        ({"input": ""}, "the input has no text"),
        ({"input": " \n\u3000"}, "the input has no text"),
        ({"input": ["a", " "]}, "the input 1 has no text"),
        ({"input": []}, "the list of inputs is empty"),
        ({"input": "a", "max_tokens": CONTEXT}, "leaves no room for a summary of 96"),
        ({"input": "a", "beams": 0}, "beams"),
        ({"input": "a \ud800"}, "half of a surrogate pair"),
        ({"text": "a"}, "input"),
    ],
)
def test_what_cannot_be_summarised_is_refused(
    ready: tuple[Summarization, Transformer, Tokenizer], request_body: dict[str, Any], sentence: str
) -> None:
    task, model, tokenizer = ready
    with pytest.raises(UserError, match=sentence):
        task.answer(model, tokenizer, request_body)


@settings(max_examples=25)
@given(text=st.text(max_size=200))
def test_any_text_is_answered_or_refused(ready: tuple[Summarization, Transformer, Tokenizer], text: str) -> None:
    task, model, tokenizer = ready
    for written in (text, f"{text}\u200b\u202e \u05e9\u05dc\u05d5\u05dd \U0001f468\u200d\U0001f469\u200d\U0001f467 好。"):
        try:
            answer = task.answer(model, tokenizer, {"input": written, "max_tokens": 3, "beams": 1})
        except UserError:
            assert not written.strip()
        else:
            assert answer["windows"] >= 1


@pytest.mark.parametrize("text", ["x" * 100_000, "The ship came in at dawn. " * 4_000], ids=["one word", "sentences"])
def test_a_hundred_thousand_characters_are_summarised(ready: tuple[Summarization, Transformer, Tokenizer], text: str) -> None:
    task, model, tokenizer = ready
    answer = task.answer(model, tokenizer, {"input": text, "max_tokens": 4, "beams": 1})
    assert answer["windows"] > 100
    assert answer["usage"]["prompt_tokens"] >= len(tokenizer.encode(text))


def test_scores_are_those_of_the_official_scorer() -> None:
    references = [["The lamp was lit by Anna.\nShe ran."], ["A storm came.", "The storms came at night.\nAll slept."]]
    written = ["Anna lights the lamps.\nShe runs.", "The storm came at night."]
    found = columns(["", ""], references, written)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    for row, (wanted, given_) in enumerate(zip(references, written, strict=True)):
        theirs = scorer.score_multi(wanted, given_)
        for ours, name in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL"), ("rouge_lsum", "rougeLsum")):
            assert found[ours][row] == pytest.approx(theirs[name].fmeasure, abs=1e-12)


def test_the_baseline_is_the_beginning_of_each_document() -> None:
    text = "Mr. Hill came at 3.30 p.m. He sat.\nHe ate. He left."
    assert first_sentences(text, 3) == "Mr. Hill came at 3.30 p.m. He sat.\nHe ate."
    name, found = Summarization().baseline([], [SummarizedText(text=text, summary=["He sat. He ate."])])
    assert name == "the first three sentences"
    assert found["coverage"] == pytest.approx(1)
    assert set(found) >= {metric.name for metric in Summarization.metrics}


@pytest.fixture(scope="module", params=["bart", "t5"])
def open_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A small open encoder-decoder of random weights, as transformers saves it, with a tokenizer that puts its marks."""
    import tokenizers
    import transformers

    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    if request.param == "bart":
        config: Any = transformers.BartConfig(
            vocab_size=300, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=CONTEXT,
            dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, bos_token_id=0, pad_token_id=1, eos_token_id=2,
            decoder_start_token_id=2,
        )  # fmt: skip
        model: Any = transformers.BartForConditionalGeneration(config)
        names, around = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}, "<s> $A </s>"
    else:
        config = transformers.T5Config(
            vocab_size=300, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, dropout_rate=0.0, decoder_start_token_id=1,
            pad_token_id=1, eos_token_id=2,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
        names, around = {"pad_token": "<pad>", "eos_token": "</s>"}, "$A </s>"
    model.save_pretrained(folder)
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator([text for example in Summarization.sample() for text in Summarization().texts(example)], trainer)
    backend.post_processor = tokenizers.processors.TemplateProcessing(single=around, special_tokens=[("<s>", 0), ("</s>", 2)])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder, model.eval()


def test_an_open_model_is_fine_tuned_from_the_loss_that_transformers_computes(open_model: tuple[Path, Any], tmp_path: Path) -> None:
    folder, theirs = open_model
    task = tasks.find("summarization")({"smoothing": 0.0, "unrepeated": 0})
    base = find_base(str(folder), tmp_path)
    task.adopt(base.folder)
    derived = derive_from(base, ModelSettings(), task.architecture(), None)
    model = begin_from(base, task, derived.config, None).eval()
    example = SummarizedText(text="The lamp went out at two. Anna climbed the stairs.", summary=["Anna lit the lamp."])
    encoded: Any = task.encode(example, base.tokenizer)
    source, labels = base.tokenizer.encode(example.text, special=True), base.tokenizer.encode(example.summary[0], special=True)
    assert encoded["source"] == source
    assert encoded["targets"] == labels
    batch = {
        "source_tokens": torch.tensor([source]), "source_mask": torch.ones(1, len(source), dtype=torch.bool),
        "tokens": torch.tensor([encoded["tokens"]]), "targets": torch.tensor([encoded["targets"]]),
    }  # fmt: skip
    with torch.inference_mode():
        loss, count = pair_loss(model, batch)
        reference = theirs(input_ids=batch["source_tokens"], labels=batch["targets"]).loss
    assert float(loss / count) == pytest.approx(float(reference), abs=1e-5)
    answer = task.answer(model, base.tokenizer, {"input": example.text, "max_tokens": 8, "beams": 1})
    with torch.inference_mode():
        written = theirs.generate(batch["source_tokens"], max_new_tokens=9, num_beams=1, do_sample=False)[0, 1:].tolist()
    written = written[: written.index(2)] if 2 in written else written[:9]
    assert answer["summary"] == base.tokenizer.decode(written).strip()


def test_fine_tuning_takes_the_course_that_it_takes_in_transformers(open_model: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = open_model
    task = tasks.find("summarization")({"smoothing": 0.0})
    base = find_base(str(folder), tmp_path)
    task.adopt(base.folder)
    config = derive_from(base, ModelSettings(), {**task.architecture(), "dropout": 0.0}, None).config
    prepare(task, DataSettings(sources=["builtin:sample"], validation=0, test=0), tmp_path, tmp_path / "data", context=CONTEXT,
            tokenizer=base.tokenizer)  # fmt: skip
    split = open_split(tmp_path / "data", "train")
    loader = make_loader(split, task.batching, rows=4, context=CONTEXT, seed=0, pad=base.tokenizer.pad)
    ours, theirs = begin_from(base, task, config, None).train(), open_model[1].from_pretrained(folder).train()
    settings: dict[str, Any] = {"lr": 3e-3, "weight_decay": 0.01}
    trained = [[parameter for parameter in model.parameters() if parameter.requires_grad] for model in (ours, theirs)]
    optimizers = [torch.optim.AdamW(parameters, **settings) for parameters in trained]
    for _ in range(12):
        batch = loader.next_batch()
        loss, count = task.loss(ours, batch)
        reference = theirs(
            input_ids=batch["source_tokens"], attention_mask=batch["source_mask"].long(), decoder_input_ids=batch["tokens"],
            labels=batch["targets"],
        ).loss  # fmt: skip
        assert (loss / count).item() == pytest.approx(reference.item(), abs=1e-3)
        (loss / count).backward()
        reference.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert reference.item() < 5.5  # it has learnt: log 300 is 5.7


def test_an_open_model_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    import transformers

    shape: Any = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.BertConfig(**shape, architectures=["BertModel"]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="an encoder, which writes nothing"):
        SummaryForm.adopted(tmp_path)


def test_what_was_read_can_be_explained(ready: tuple[Summarization, Transformer, Tokenizer]) -> None:
    task, model, tokenizer = ready
    found = task.reading(model, tokenizer, {"input": "The lamp is lit."}, output="Light.")
    assert found.answer == "Light."
    assert tokenizer.decode(found.tokens).endswith("Light.")
    assert "The lamp is lit." in tokenizer.decode(found.source or found.tokens)
    assert bool(found.source) != task.summary_form.decoder
    with pytest.raises(UserError, match="explain a part of it"):
        task.reading(model, tokenizer, {"input": "The lamp is lit. " * 100})


def test_no_measurement_depends_on_the_company(ready: tuple[Summarization, Transformer, Tokenizer]) -> None:
    task, model, tokenizer = ready
    examples = [*task.sample()[::9], SummarizedText(text="The wind blew. " * 30, summary=["Wind."])]
    together = task.measure(model, tokenizer, examples)
    for place, example in enumerate(examples):
        for name, column in task.measure(model, tokenizer, [example]).items():
            np.testing.assert_allclose(column[0], together[name][place], err_msg=name)


def test_it_is_no_task_to_talk_to() -> None:
    """Its form is not that of chats, which exports would look for the ends of turns in."""
    assert not isinstance(Summarization(), Conversing)
