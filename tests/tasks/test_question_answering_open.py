"""Question answering from an open BERT: the rows, the losses of a fine-tuning and the written model are those of `transformers`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional as F

from lodestar import tasks
from lodestar.build.base import begin_from, derive_from, find_base
from lodestar.build.bundle import load_bundle
from lodestar.build.formats import load_model, save_model
from lodestar.build.heads import SpanClassifier
from lodestar.build.opening import open_bundle
from lodestar.build.spans import best_spans
from lodestar.cli._opening import task_for
from lodestar.cli.import_ import command as import_command
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.task import Batch
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.prepare import make_loader, open_split, prepare
from lodestar.tasks.question_answering import QuestionAnswering, QuestionOnText
from lodestar.train.loop import train

CONTEXT, ROWS, STEPS = 48, 8, 12


def word_pieces(texts: Iterator[str]) -> Backend:
    """A tokenizer as BERT's: lower case, word pieces, [CLS] a [SEP] b [SEP]."""
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False))
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return backend


@pytest.fixture(scope="module")
def examples() -> list[QuestionOnText]:
    """The sample, with texts of three passages each, so that most are longer than the context."""
    sample = list(QuestionAnswering.sample())
    texts = [" ".join(one.context for one in sample[place : place + 15 : 7]) for place in range(len(sample) - 14)]
    return [one.model_copy(update={"context": text}) for one, text in zip(sample, texts, strict=False)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, examples: list[QuestionOnText]) -> Path:
    """A random BERT that answers questions, as transformers saves it, with its tokenizer; and the records beside it."""
    place = tmp_path_factory.mktemp("bert")
    backend = word_pieces(text for example in examples for text in QuestionAnswering().texts(example))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(place / "base")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=backend.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=CONTEXT, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )  # fmt: skip
    transformers.BertForQuestionAnswering(config).save_pretrained(place / "base")
    (place / "records.jsonl").write_text("".join(example.model_dump_json() + "\n" for example in examples))
    return place


@pytest.fixture(scope="module")
def tuned(folder: Path) -> tuple[nn.Module, Tokenizer, list[float], list[Batch]]:
    """Our fine-tuning: the model, its tokenizer, the losses of its steps, and their batches."""
    base, task = find_base("base", folder), QuestionAnswering({"overlap": 8})
    data = DataSettings(sources=["records.jsonl"], validation=0, test=0)
    prepare(task, data, folder, folder / "data", context=CONTEXT, tokenizer=base.tokenizer)
    decided = {**task.architecture(), "dropout": 0.0}
    model = begin_from(base, task, derive_from(base, ModelSettings(base="base"), decided, None).config, None)
    split = open_split(folder / "data", "train")
    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "seed": 0, "pad": base.tokenizer.pad}
    settings = TrainSettings(
        tokens=STEPS * 10_000, batch_tokens=10_000, optimizer="adamw", learning_rate=2e-3, schedule="constant", warmup=0, weight_decay=0.01,
        clip=1.0, precision="fp32", evaluate_every=STEPS,
    )  # fmt: skip
    settings = settings.model_copy(update={"micro_batch_tokens": settings.batch_tokens})
    train(task, model, make_loader(split, "padded", **shape), lambda: (), settings, folder / "train", save=lambda *_: _[1].mkdir())
    lines = [json.loads(line) for line in (folder / "train" / "metrics.jsonl").read_text().splitlines()]
    again = make_loader(split, "padded", **shape)
    return model, base.tokenizer, [line["loss"] for line in lines if "loss" in line], [again.next_batch() for _ in range(STEPS)]


def test_rows_are_those_of_transformers_tokenizer(folder: Path, examples: list[QuestionOnText]) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(folder / "base")
    ours = find_base("base", folder).tokenizer
    several = 0
    for example in examples:
        rows = QuestionAnswering({"overlap": 8}).rows(example, ours, CONTEXT)
        expected = theirs(
            example.question, example.context, truncation="only_second", max_length=CONTEXT, stride=8, return_overflowing_tokens=True,
            return_token_type_ids=True,
        )  # fmt: skip
        assert [row["tokens"] for row in rows] == expected["input_ids"]
        assert [[min(kind, 1) for kind in row["token_types"]] for row in rows] == expected["token_type_ids"]  # type: ignore[union-attr]
        several += len(rows) > 1
    assert several > 10


def test_the_losses_of_a_fine_tuning_are_those_of_a_loop_over_transformers(
    folder: Path, tuned: tuple[nn.Module, Tokenizer, list[float], list[Batch]]
) -> None:
    _, _, losses, batches = tuned
    model = transformers.BertForQuestionAnswering.from_pretrained(folder / "base").train()
    plain = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))
    expected = []
    for batch in batches:
        mask = batch["attention_mask"]
        output = model(batch["tokens"], attention_mask=mask.long(), token_type_ids=batch["token_types"].clamp(max=1))
        ends = ((output.start_logits, batch["start"]), (output.end_logits, batch["end"]))
        # Its own loss would count the padding among the places.
        loss = torch.stack([F.cross_entropy(logits.masked_fill(~mask, -torch.inf), places) for logits, places in ends]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, abs=1e-3)
    assert losses[-1] < losses[0] - 0.3, "there was something to learn"


@torch.no_grad()
def test_the_tuned_model_is_written_as_one_that_answers_questions(
    tuned: tuple[nn.Module, Tokenizer, list[float], list[Batch]], tmp_path: Path, examples: list[QuestionOnText]
) -> None:
    model, tokenizer, _, (batch, *_) = tuned
    save_model(model, tmp_path / "written", tokenizer=tokenizer)
    theirs = transformers.BertForQuestionAnswering.from_pretrained(tmp_path / "written").eval()
    types = batch["token_types"].clamp(max=1)
    output = theirs(batch["tokens"], attention_mask=batch["attention_mask"].long(), token_type_ids=types)
    ours = model.eval()(batch["tokens"], batch["attention_mask"], types)
    real = batch["attention_mask"]
    for side, logits in enumerate((output.start_logits, output.end_logits)):
        torch.testing.assert_close(ours[..., side][real], logits[real], rtol=0, atol=1e-4)
    again = load_model(tmp_path / "written")
    assert isinstance(again, SpanClassifier)
    asked = (examples[0].question, [examples[0].context])
    assert best_spans(again, tokenizer, *asked)[0][:3] == best_spans(model, tokenizer, *asked)[0][:3]


def test_an_adapter_trains_beside_the_head(folder: Path) -> None:
    base, task = find_base("base", folder), QuestionAnswering()
    config = derive_from(base, ModelSettings(base="base"), {**task.architecture(), "dropout": 0.0}, AdapterSettings()).config
    model = begin_from(base, task, config, AdapterSettings(rank=2))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"output.weight", "output.bias"} < trained
    assert all(".adapters." in name or name.startswith("output.") for name in trained)


def test_an_open_model_that_finds_answers_is_imported_and_asked_as_it_is(
    folder: Path, tmp_path: Path, examples: list[QuestionOnText]
) -> None:
    task = task_for(folder / "base")
    assert task.name == "question-answering"
    opened = open_bundle(folder / "base", task)
    request = task.request(examples[0])
    told = task.answer(opened.model, opened.tokenizer, request)
    (span,) = best_spans(load_model(folder / "base"), opened.tokenizer, request["question"], [request["context"]])
    silent = span.null_score > span.score
    assert (told["start"], told["end"]) == ((None, None) if silent else (span.start, span.end))
    shown = CliRunner().invoke(import_command, [str(folder / "base"), str(tmp_path / "reader")])
    assert shown.exit_code == 0, shown.output
    assert "finds answers in texts" in shown.output
    again = load_bundle(tmp_path / "reader", lambda described, config: tasks.load(described).build(config))
    assert tasks.load(again.task).answer(again.model, again.tokenizer, request) == told
