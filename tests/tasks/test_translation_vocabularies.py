"""A translator that reads with one vocabulary and writes with another, from the pairs to the checkpoint that other programs load."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import transformers
import yaml
from click.testing import CliRunner
from torch import nn

from lodestar import tasks
from lodestar.build.base import begin_from, derive_from, find_base
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.formats import load_tokenizer, save_model
from lodestar.build.sizes import derive
from lodestar.cli.main import cli, main
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.task import Task
from lodestar.contracts.tokenizer import SpecialIds, Tokenizer
from lodestar.deploy.serve import background
from lodestar.explain.explanation import look
from lodestar.model.transformer import Transformer
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.prepare.tokenizer import AheadTokenizer
from lodestar.tasks.translation import Translation
from lodestar.train.loop import train

CONTEXT = 64
SOURCE, TARGET = 330, 300
"""Sizes of the two vocabularies, the tags of languages not counted."""
MARIAN: dict[str, Any] = {
    "depth": 1, "width": 48, "heads": 2, "position": "sinusoidal-halves", "norm": "layer", "norm_place": "post", "norm_epsilon": 1e-5,
    "feed_forward": "relu", "feed_forward_width": 96, "bias": True, "output_bias": True, "qk_norm": False, "scaled_embeddings": True,
    "initial_std": 0.14, "dropout": 0.0,
}  # fmt: skip
"""A shape that Marian's format can say."""


def write_pairs(folder: Path) -> Path:
    """English to Chinese alone."""
    pairs = [pair for pair in Translation.sample() if pair.source_language == "en"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(pair.model_dump_json() + "\n" for pair in pairs), "utf-8")
    return folder


@dataclass
class Trained:
    """What came of the pairs."""

    task: Translation
    model: Transformer
    tokenizer: Tokenizer
    folder: Path
    losses: list[float]

    @property
    def release(self) -> Path:
        return self.folder / "train" / "model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = write_pairs(tmp_path_factory.mktemp("apart"))
    task = tasks.find("translation")({"beams": 2, "label_smoothing": 0.0})
    assert isinstance(task, Translation)
    data = DataSettings(sources=["pairs.jsonl"], validation=0, test=0, vocabulary=TARGET, source_vocabulary=SOURCE)
    prepare(task, data, folder, folder / "data", context=CONTEXT)
    tokenizer = Tokenizer.load(folder / "data")
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides=MARIAN)
    config = derive(settings, task.architecture(), tokenizer.vocabulary_size, tokenizer.source_vocabulary_size).config
    torch.manual_seed(0)
    model = task.build(config)
    assert isinstance(model, Transformer)
    shape: dict[str, Any] = {"rows": 1024 // CONTEXT, "context": CONTEXT, "pad": tokenizer.pad}
    recipe = TrainSettings(batch_tokens=1024, tokens=60 * 1024, learning_rate=0.01, precision="fp32", optimizer="adamw")

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    split = open_split(folder / "data", "train")
    validation = Sequential(split, "paired", **shape)
    train(task, model, make_loader(split, "paired", seed=0, **shape), lambda: validation, recipe, folder / "train", save=save)
    rows = [json.loads(line) for line in (folder / "train" / "metrics.jsonl").read_text().splitlines()]
    return Trained(task, model.eval(), tokenizer, folder, [row["loss"] for row in rows if "loss" in row])


def test_each_side_has_the_tokens_of_its_own_texts(trained: Trained) -> None:
    tokenizer = trained.tokenizer
    assert (tokenizer.source_vocabulary_size, tokenizer.vocabulary_size) == (SOURCE, TARGET)
    english, chinese = "The harbour is quiet tonight.", "今晚港口很安静。"
    for text in (english, chinese, "שלום 👩‍🚀\u200b"):
        assert tokenizer.source.decode(tokenizer.source.encode(text)) == tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.source.encode(english)) < len(tokenizer.encode(english)) == len(english), "what is written has no English merge"
    assert len(tokenizer.encode(chinese)) < len(tokenizer.source.encode(chinese)) == len(chinese.encode())


def test_the_two_stay_together_in_files_in_a_pickle_and_ahead(trained: Trained, tmp_path: Path) -> None:
    for name, content in trained.tokenizer.files().items():
        (tmp_path / name).write_text(content, "utf-8")
    named = trained.tokenizer.with_special_ids(SpecialIds(0, 1))
    again = (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(trained.tokenizer)), AheadTokenizer(trained.tokenizer), named)
    text = "The sea is quiet. <|endoftext|> 今晚"
    for one in again:
        assert one.encode(text) == trained.tokenizer.encode(text)
        assert one.source.encode(text) == trained.tokenizer.source.encode(text) != one.encode(text)
        assert one.source.end_of_text == trained.tokenizer.source.end_of_text
    ahead = AheadTokenizer(trained.tokenizer)
    ahead.prepare([text], ["two"])
    assert ahead.source.encode("two") == trained.tokenizer.source.encode("two")
    assert trained.tokenizer.source.source is trained.tokenizer.source


def test_what_is_prepared_is_each_side_by_its_own_tokenizer(trained: Trained) -> None:
    split = open_split(trained.folder / "data", "train")
    assert split.source is not None
    pair, tokenizer = split.examples(trained.task)[3], trained.tokenizer
    read = split.source[split.source_offsets[3] : split.source_offsets[4]].tolist()
    assert read == [*tokenizer.source.encode(pair.source), tokenizer.source.end_of_text]
    assert split.tokens[split.offsets[3] : split.offsets[4]].tolist() == [tokenizer.end_of_text, *tokenizer.encode(pair.target)]
    card = json.loads((trained.folder / "data" / "card.json").read_text())["tokenizer"]
    assert (card["source_vocabulary"], card["vocabulary"]) == (SOURCE, TARGET)
    bytes_ = sum(len(text.encode()) for pair in split.examples(trained.task) for text in (pair.source, pair.target))
    assert card["sample_bytes"] == bytes_
    assert f"tokenizers: {SOURCE} tokens to read and {TARGET} to write" in (trained.folder / "data" / "card.md").read_text("utf-8")


def test_training_goes_down_in_both_embeddings(trained: Trained) -> None:
    assert sum(trained.losses[-5:]) < 0.5 * sum(trained.losses[:5])
    torch.manual_seed(0)
    before = trained.task.build(trained.model.config)
    assert isinstance(before, Transformer)
    for name in ("source_embedding", "embedding"):
        rows = {"source_embedding": SOURCE, "embedding": TARGET}[name]
        weight = trained.model.get_parameter(f"{name}.weight")
        assert weight.shape == (rows, 48)
        assert not torch.equal(weight, before.get_parameter(f"{name}.weight"))


def test_served_it_answers_as_it_does_offline(trained: Trained) -> None:
    bundle = load_bundle(trained.release, lambda description, config: tasks.load(description).build(config))
    asked = {"input": ["The harbour is quiet tonight.", "How far is the next island?"]}
    expected = trained.task.answer(trained.model, trained.tokenizer, asked)
    assert tasks.load(bundle.task).answer(bundle.model, bundle.tokenizer, asked) == expected
    with background(trained.release, tasks.load(bundle.task)) as url:
        served = httpx.post(f"{url}/v1/translate", json=asked, timeout=60).json()
    assert served["results"] == expected["results"]
    assert served["usage"]["prompt_tokens"] == sum(len(trained.tokenizer.source.encode(text)) + 1 for text in asked["input"])


def test_explained_its_source_has_the_words_that_were_read(trained: Trained) -> None:
    request = {"input": "The lamp is green."}
    reading = trained.task.reading(trained.model, trained.tokenizer, request, output="灯是绿色的。")
    found = look(trained.model, trained.tokenizer, reading)
    assert "".join(word.text for word in found.words if not word.special) == "The lamp is green."
    assert "".join(word.text for word in found.rows if not word.special) == "灯是绿色的", "the last one is written, and not read again"


@torch.no_grad()
def test_exported_it_answers_as_transformers_and_may_be_a_base(trained: Trained, tmp_path: Path) -> None:
    named = trained.tokenizer.with_special_ids(SpecialIds(0, 1))
    save_model(trained.model, tmp_path / "marian", tokenizer=named)
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "marian").eval()
    source, tokens = torch.tensor([trained.tokenizer.source.encode("The bell rings.")]), torch.tensor([[0, 40, 41]])
    expected = theirs(input_ids=source, decoder_input_ids=tokens).logits
    torch.testing.assert_close(trained.model(tokens, source_tokens=source), expected, rtol=0, atol=2e-5)

    base = find_base(str(tmp_path / "marian"), Path())
    task = Translation({"source": "en", "target": "zh"})
    task.adopt(base.folder)
    task.fit([pair for pair in Translation.sample() if pair.source_language == "en"])
    model = begin_from(base, task, derive_from(base, ModelSettings(), task.architecture(), None).config, None)
    asked = {"input": "The harbour is quiet tonight."}
    again = task.answer(model.eval(), base.tokenizer, asked)
    assert again["text"] == trained.task.answer(trained.model, trained.tokenizer, asked | {"beams": 4})["text"]


@pytest.mark.parametrize(("task", "sentence"), [
    (tasks.find("translation")({"both_directions": True}), "one vocabulary for what it reads and writes"),
    (tasks.find("translation")({"architecture": "decoder"}), "the task translation has, with its options, one vocabulary"),
    (tasks.find("classification")(), "the task classification has, with its options, one vocabulary"),
])  # fmt: skip
def test_where_one_vocabulary_is_all_there_can_be_two_are_refused(task: Task, sentence: str, tmp_path: Path) -> None:
    data = DataSettings(sources=["builtin:sample"], source_vocabulary=300)
    with pytest.raises(UserError, match=sentence):
        prepare(task, data, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_keeps_its_vocabularies(trained: Trained, tmp_path: Path) -> None:
    data = DataSettings(sources=["builtin:sample"], source_vocabulary=300)
    with pytest.raises(UserError, match="the model to begin from brings its tokenizer"):
        prepare(Translation(), data, tmp_path, tmp_path / "out", tokenizer=trained.tokenizer)


def test_the_shape_follows_from_the_tokenizers_alone() -> None:
    settings = ModelSettings(size="tiny", overrides={"source_vocabulary_size": 9})
    with pytest.raises(UserError, match="source_vocabulary_size"):
        derive(settings, {"architecture": "encoder-decoder"}, 300)


def a_venture(folder: Path, **changes: Any) -> Path:
    """As the template makes it, but from English to Chinese alone, and trained for a moment."""
    CliRunner().invoke(cli, ["new", "Harbour", "--template", "translation", "--path", str(folder)], catch_exceptions=False)
    write_pairs(folder)
    file = folder / "venture.yaml"
    venture = yaml.safe_load(file.read_text("utf-8"))
    venture["data"] |= {"sources": ["pairs.jsonl"], "vocabulary": TARGET, "source_vocabulary": SOURCE}
    venture |= {
        "model": {"size": "tiny", "context": CONTEXT, "overrides": {key: value for key, value in MARIAN.items() if key != "dropout"}},
        "train": {"tokens": 4096, "batch_tokens": 1024, "average_last": 2}, "evaluate": {"resamples": 100},
        "targets": [{"metric": "chrf", "at_least": 0}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(venture | changes, allow_unicode=True), "utf-8")
    return folder


def test_the_vision_does_not_hold_where_two_vocabularies_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venture = a_venture(tmp_path / "harbour", options={"both_directions": True})
    assert main(["vision", "--venture", str(venture)]) == 2
    assert "data.source_vocabulary" in capsys.readouterr().err


@pytest.mark.slow
def test_a_venture_with_two_vocabularies_runs_is_released_and_exported(tmp_path: Path) -> None:
    venture = a_venture(tmp_path / "harbour")

    def run(*arguments: str | Path) -> Any:
        done = CliRunner().invoke(cli, [*map(str, arguments), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    steps = run("run", "--venture", venture)
    assert steps["train"]["record"]["facts"]["averaged"] == 2
    model = steps["train"]["record"]["config"]["model"]
    assert model["source_vocabulary_size"] > model["vocabulary_size"]
    release = Path(run("release", "--venture", venture)["folder"])
    run("export", release, tmp_path / "marian", "--format", "huggingface")
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "marian")
    assert theirs.config.vocab_size == model["source_vocabulary_size"]
    assert load_tokenizer(tmp_path / "marian").source_vocabulary_size == model["source_vocabulary_size"]
