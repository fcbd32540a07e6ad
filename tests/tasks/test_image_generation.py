"""Image generation beyond what every task must do: options, requests, texts, what is kept of a training, a run that is cut off."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.contracts.errors import UserError
from lodestar.contracts.media import Picture
from lodestar.contracts.settings import DataSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import Sequential, make_loader, open_split, prepare, special_tokenizer, train_tokenizer
from lodestar.prepare.pictures import png
from lodestar.store.tensors import write_tensors
from lodestar.tasks import find, load
from lodestar.tasks.image_generation import ImageGeneration, Partial, ShownPicture
from lodestar.train.loop import train

assert find("image-generation") is ImageGeneration
SMALL: Mapping[str, Any] = {"size": 8, "patch": 4, "sampling": {"steps": 3}}
CAPTIONS = ["a red star on white", "白色背景上的红色圆形", "a blue circle on black", "黄色背景上的黑色“山”字"]


def task_of(**options: Any) -> ImageGeneration:
    """A task that knows the sample's labels, or takes texts."""
    task = ImageGeneration({**SMALL, **options})
    task.fit(ImageGeneration.sample())
    return task


def tokenizer_of(task: ImageGeneration) -> Tokenizer:
    return train_tokenizer(CAPTIONS, 300) if task.tokenized else special_tokenizer()


def model_of(task: ImageGeneration) -> nn.Module:
    torch.manual_seed(0)
    fields = {"vocabulary_size": 300, "width": 32, "depth": 2, "heads": 2, **task.architecture()}
    model = task.build(ModelConfig.from_dict(fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def opened(file: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(file))))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patch": 5}, r"patch \(5\) does not divide size \(32\); the nearest smaller size that it does is 30"),
        ({"size": 8, "patch": 16}, r"patch \(16\) is larger than size \(8\)"),
        (
            {"unconditional": 0},
            "guidance needs pictures that are learnt with nothing asked for; set unconditional above 0",
        ),
        ({"conditioning": "label"}, "'conditioning' is 'label'"),
        ({"sampling": {"guidance_interval": [0.9, 0.1]}}, "guidance_interval begins at 0.9 and ends at 0.1; give the smaller number first"),
        ({"sampling": {"step": 3}}, "unknown field 'sampling.step'; did you mean 'steps'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ImageGeneration(options)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"prompt": "tringle"}, "the label 'tringle' stands in no training record; did you mean 'triangle'"),
        ({"prompt": " "}, "the prompt is empty; say what is to be shown"),
        ({"prompt": "star", "n": 11}, "'n' is 11: input should be less than or equal to 10"),
        ({"prompt": "star", "n": 0}, "'n' is 0"),
        ({"prompt": "star", "size": "1024x1024"}, "the size '1024x1024' is not made here; ask for 8x8, or auto"),
        ({"prompt": "star", "guidance": 0.5}, "'guidance' is 0.5: input should be greater than or equal to 1"),
        ({"prompt": "star", "guidance": 99}, "'guidance' is 99"),
        ({"prompt": "star", "steps": 0}, "'steps' is 0"),
        ({"prompt": "star", "steps": 1000}, "'steps' is 1000: input should be less than or equal to 250"),
        ({"prompt": "star", "sampler": "ddim"}, "'sampler' is 'ddim'"),
        ({"prompt": "star", "seed": -1}, "'seed' is -1"),
        ({"prompt": "star", "guidance_interval": [0, 2]}, "'guidance_interval.1' is 2"),
        ({"prompt": "star", "output_format": "gif"}, "'output_format' is 'gif'"),
        ({"prompt": ["star"]}, "the field 'prompt' is"),
        ({"n": 2}, "the field 'prompt' is missing"),
        ({"prompt": "star", "seeds": 3}, "unknown field 'seeds'; did you mean 'seed'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_sentence(request_: dict[str, Any], sentence: str) -> None:
    task = task_of()
    with pytest.raises(UserError, match=sentence):
        task.answer(model_of(task), special_tokenizer(), request_)


def test_a_text_that_is_too_long_is_refused_and_guidance_that_was_not_learnt() -> None:
    task = task_of(conditioning="texts", text_tokens=8)
    with pytest.raises(UserError, match=r"the prompt has \d+ tokens, and the model reads 8; shorten it"):
        task.answer(model_of(task), tokenizer_of(task), {"prompt": "a red star on white and many more of them"})
    plain = task_of(unconditional=0, sampling={"steps": 2, "guidance": 1})
    model = model_of(plain)
    assert plain.answer(model, special_tokenizer(), {"prompt": "star"})["data"]
    with pytest.raises(UserError, match="this model has learnt nothing that guidance could lead away from; set guidance to 1"):
        plain.answer(model, special_tokenizer(), {"prompt": "star", "guidance": 2})


def test_labels_are_learnt_and_too_many_are_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert task_of().labels == sorted({example.prompt for example in ImageGeneration.sample()})
    assert task_of(conditioning="texts").labels == []
    with pytest.raises(UserError, match="the training records have no pictures; give some"):
        ImageGeneration(SMALL).fit([])
    monkeypatch.setattr("lodestar.tasks.image_generation.LABELS_AT_MOST", 7)
    with pytest.raises(UserError, match=r"8 different labels; set options\.conditioning to texts"):
        task_of()


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"prompt": "a", "label": "b"}, "a"), ({"label": 3}, "3"), ({"label": 3.0}, "3"), ({"caption": "一只猫"}, "一只猫"),
        ({"text": "x"}, "x"), ({"image": "1.png"}, None),
    ],
)  # fmt: skip
def test_what_a_picture_shows_stands_under_any_of_its_names(fields: Mapping[str, Any], prompt: str | None) -> None:
    assert ShownPicture.of_record(fields).get("prompt") == prompt
    assert ShownPicture.of_file("cat/1.png") == {"prompt": "cat"}


@pytest.mark.parametrize("conditioning", ["labels", "texts"])
def test_an_answer_follows_from_its_seed_and_the_first_pictures_stay(conditioning: str) -> None:
    task = task_of(conditioning=conditioning)
    model, tokenizer = model_of(task), tokenizer_of(task)
    prompt = CAPTIONS[1] if task.tokenized else "star"
    asked = {"prompt": prompt, "n": 3, "seed": 5}
    answer = task.answer(model, tokenizer, asked)
    assert answer == task.answer(model, tokenizer, asked)
    pictures = [opened(each["b64_json"]) for each in answer["data"]]
    assert [picture.shape for picture in pictures] == [(8, 8, 3)] * 3
    (alone,) = task.answer(model, tokenizer, {**asked, "n": 1})["data"]
    # Of another company, sums may be taken in another order.
    assert np.abs(opened(alone["b64_json"]).astype(int) - pictures[0]).max() <= 1
    assert (pictures[0] != pictures[1]).any()
    other = task.answer(model, tokenizer, {**asked, "seed": 6})["data"][0]
    assert (opened(other["b64_json"]) != pictures[0]).any()
    usage = answer["usage"]
    assert usage["output_tokens"] == 3 * 4
    assert usage["input_tokens"] == (len(tokenizer.encode(prompt)) + 1 if task.tokenized else 1)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_pictures_come_in_the_format_that_is_asked_for(kind: str) -> None:
    task = task_of()
    answer = task.answer(model_of(task), special_tokenizer(), {"prompt": "star", "output_format": kind, "size": "8x8"})
    assert Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).format == kind.upper()
    assert answer["output_format"] == kind


def test_pictures_on_the_way_are_told_of_as_often_as_is_asked() -> None:
    task = task_of()
    *steps, last = task.generate(model_of(task), special_tokenizer(), {"prompt": "star", "n": 2, "steps": 8, "partial_images": 3})
    assert isinstance(last, dict)
    assert all(isinstance(step, Partial) and step.steps == 8 for step in steps)
    told = [step.step for step in steps if isinstance(step, Partial) and step.pictures]
    assert told == [2, 4, 6]
    assert len(steps) == 8
    for step in steps:
        assert isinstance(step, Partial)
        assert all(opened(file).shape == (8, 8, 3) for file in step.pictures)
    every = task.generate(model_of(task), special_tokenizer(), {"prompt": "star", "steps": 4, "partial_images": 250})
    assert sum(bool(step.pictures) for step in every if isinstance(step, Partial)) == 3  # the fourth is the answer itself


def test_guidance_and_steps_of_a_request_win_over_the_options() -> None:
    task = task_of()
    model = model_of(task)

    def first(**how: Any) -> str:
        return str(task.answer(model, special_tokenizer(), {"prompt": "star", "seed": 1, **how})["data"][0]["b64_json"])

    ways: list[dict[str, Any]] = [{}, {"guidance": 9}, {"steps": 1}, {"sampler": "euler"}, {"guidance": 9, "guidance_interval": [0, 0.4]}]
    assert len({first(**how) for how in ways}) == len(ways)
    assert first(guidance=2, steps=3, sampler="adams") == first()


def test_each_record_is_measured_by_a_picture_of_what_it_shows() -> None:
    task = task_of()
    model, examples = model_of(task), ImageGeneration.sample()[:6]
    columns = task.measure(model, special_tokenizer(), examples)
    assert columns["pixels"].shape == (6, 3, 8, 8)
    assert columns["real"].shape == columns["made"].shape
    name, baseline = task.baseline(ImageGeneration.sample(), examples)
    assert name == "Gaussian of each label's pixels"
    assert baseline.keys() == columns.keys()
    np.testing.assert_allclose(baseline["real"], columns["real"])
    found = task.findings(columns, examples, ImageGeneration.sample()[6:])
    assert {"made", "nearest"} == set(found.pictures)
    assert set(task.signatures()) == {"fid", "precision", "recall"}


def test_a_sample_that_is_learnt_by_heart_is_drawn_again() -> None:
    """One picture of each sign, over and over: asked for, each is drawn, and nearer to its own than to any other."""
    task = ImageGeneration({"size": 12, "patch": 4, "flip": False, "sampling": {"steps": 12, "guidance": 1}})
    examples = list(ImageGeneration.sample()[:8])
    task.fit(examples)
    torch.manual_seed(0)
    fields = {"width": 64, "depth": 2, "heads": 2, "qk_norm": True, **task.architecture()}
    model = task.build(ModelConfig.from_dict(fields))
    rows = [task.encode(example, special_tokenizer()) for example in examples]
    batch = {name: torch.from_numpy(np.stack([np.asarray(row[name]) for row in rows]).repeat(4, 0)) for name in rows[0]}
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(600):
        optimizer.zero_grad()
        loss, terms = task.loss(model, batch)
        (loss / terms).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    made = task.measure(model.eval(), special_tokenizer(), examples)["pixels"].astype(float)
    learnt = np.stack([np.asarray(row["pixels"]) for row in rows]).astype(float)
    apart = np.sqrt(np.square(made[:, None] - learnt[None]).mean((2, 3, 4)))  # of 255
    assert apart.argmin(1).tolist() == list(range(8))
    assert np.median(apart.diagonal()) < 20
    assert np.median(apart) > 60


@pytest.mark.parametrize("conditioning", ["labels", "texts"])
def test_a_model_learns_is_saved_and_draws_the_same_again(conditioning: str, tmp_path: Path) -> None:
    """Through prepare, train, bundle and back, with previews that are kept; and cut off and resumed, with the same weights."""
    task = ImageGeneration({**SMALL, "conditioning": conditioning, "text_tokens": 16})
    source = "builtin:sample"
    prepare(task, DataSettings(sources=[source], validation=0.2, test=0, vocabulary=300), tmp_path, tmp_path / "data", context=4)
    tokenizer, split = Tokenizer.load(tmp_path / "data"), open_split(tmp_path / "data", "train")
    shape: dict[str, Any] = {"rows": 8, "context": 4, "pad": tokenizer.pad}
    held_out = open_split(tmp_path / "data", "validation")
    recipe = TrainSettings(
        batch_tokens=32, tokens=6 * 32, learning_rate=0.01, precision="fp32", checkpoint_every=2, evaluate_every=3, keep=9, ema=0.9
    )
    fields = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 1, "heads": 2, **task.architecture()}
    config = ModelConfig.from_dict(fields)

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    def run(out: Path) -> bytes:
        torch.manual_seed(0)
        loader = make_loader(split, "padded", seed=0, **shape)
        train(
            task, task.build(config), loader, lambda: Sequential(held_out, "padded", **shape), recipe, out, save=save,
            preview=lambda model: task.preview(model, tokenizer, held_out.examples(task)),
        )  # fmt: skip
        return (out / "model" / "model.safetensors").read_bytes()

    whole = run(tmp_path / "whole")
    kept = sorted((tmp_path / "whole" / "previews").iterdir())
    assert [path.name for path in kept] == ["step-000000.png", "step-000003.png", "step-000006.png"]
    # Eight in a row of 64 pixels each, whatever a picture's own size.
    assert {Image.open(io.BytesIO(path.read_bytes())).size[0] for path in kept} == {8 * 68 + 4}
    assert kept[0].read_bytes() != kept[2].read_bytes()
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / f"step-{step:06d}")
    shutil.rmtree(tmp_path / "cut" / "model")
    (tmp_path / "cut" / "record.json").unlink()
    assert run(tmp_path / "cut") == whole

    bundle = load_bundle(tmp_path / "whole" / "model", lambda description, config: load(description).build(config))
    again = load(bundle.task)
    assert isinstance(again, ImageGeneration)
    request = again.request(next(iter(held_out.examples(task))))
    assert again.answer(bundle.model, bundle.tokenizer, request) == task.answer(bundle.model, tokenizer, request)


def test_a_training_that_draws_previews_has_the_weights_of_one_that_does_not(tmp_path: Path) -> None:
    task = task_of()
    prepare(task, DataSettings(sources=["builtin:sample"], validation=0, test=0), tmp_path, tmp_path / "data", context=4)
    split = open_split(tmp_path / "data", "train")
    recipe = TrainSettings(batch_tokens=32, tokens=3 * 32, learning_rate=0.01, precision="fp32", evaluate_every=1)

    def run(out: Path, *, draws: bool) -> bytes:
        def save(model: nn.Module, place: Path) -> None:
            place.mkdir()
            write_tensors(place / "weights.safetensors", model.state_dict())

        def preview(model: nn.Module) -> bytes | None:
            return task.preview(model, special_tokenizer(), ImageGeneration.sample()) if draws else None

        loader = make_loader(split, "padded", rows=8, context=4, seed=0, pad=1)
        train(task, model_of(task).train(), loader, lambda: (), recipe, out, save=save, preview=preview)
        assert (out / "previews").exists() is draws
        return (out / "model" / "weights.safetensors").read_bytes()

    assert run(tmp_path / "with", draws=True) == run(tmp_path / "without", draws=False)


def test_captions_are_in_both_languages_and_name_what_is_drawn() -> None:
    examples = ImageGeneration.builtins()["captions"]()
    assert len(examples) == 2000
    chinese = [example for example in examples if isinstance(example, ShownPicture) and "背景上的" in example.prompt]
    assert len(chinese) == 1000
    stars = [example for example in examples if isinstance(example, ShownPicture) and example.prompt == "a red star on white"]
    assert stars
    pixels = np.asarray(Image.open(io.BytesIO(stars[0].image.read())))
    assert pixels[0, 0].min() > 220  # the ground, in a corner
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 90)
    assert red.sum() > 20


def test_any_picture_that_can_be_read_can_be_learnt_from() -> None:
    task = task_of()
    wide = ShownPicture(image=Picture.of(png(np.full((3, 9, 30), 77, np.uint8)), "star/wide.png"), prompt="star")
    row = task.encode(wide, special_tokenizer())
    assert np.asarray(row["pixels"]).shape == (3, 8, 8)
    with pytest.raises(UserError, match=r"star/broken\.png: the file is no picture"):
        task.encode(ShownPicture(image=Picture.of(b"no picture", "star/broken.png"), prompt="star"), special_tokenizer())
    with pytest.raises(UserError, match="the label 'moon' stands in no training record"):
        task.encode(ShownPicture(image=wide.image, prompt="moon"), special_tokenizer())


def test_a_caption_that_is_too_long_loses_its_end_and_is_counted() -> None:
    task = task_of(conditioning="texts", text_tokens=6)
    tokenizer = tokenizer_of(task)
    example = ShownPicture(image=ImageGeneration.sample()[0].image, prompt="a red star on white, a blue circle on black")
    row = task.encode(example, tokenizer)
    tokens = [tokenizer.end_of_text, *tokenizer.encode(example.prompt)]
    assert row["tokens"] == tokens[:6]
    assert row["lost"] == len(tokens) - 6
