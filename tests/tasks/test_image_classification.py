"""Image classification beyond what every task must do: options, bad pictures, figures against other libraries, a run that is cut off."""

from __future__ import annotations

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

from lodestar.build.picture_labels import picture_logits
from lodestar.contracts.errors import UserError
from lodestar.contracts.media import ImagePart, Picture
from lodestar.contracts.settings import DataSettings, TrainSettings
from lodestar.evaluate.hog import hog, hog_logits
from lodestar.model.config import ModelConfig
from lodestar.prepare import make_loader, open_split, prepare, special_tokenizer
from lodestar.prepare.pictures import png, read_square
from lodestar.prepare.signs import signs
from lodestar.store.tensors import write_tensors
from lodestar.tasks import load
from lodestar.tasks.image_classification import ImageClassification, LabelledPicture
from lodestar.train.loop import train

TOKENIZER = special_tokenizer()
SMALL = {"size": 16, "patch": 4}


def task_of(**options: Any) -> ImageClassification:
    """A task that knows the sample's labels."""
    task = ImageClassification({**SMALL, **options})
    task.fit(ImageClassification.sample())
    return task


def model_of(task: ImageClassification) -> nn.Module:
    torch.manual_seed(0)
    fields = {"width": 32, "depth": 2, "heads": 2, **task.architecture()}
    return task.build(ModelConfig.from_dict(fields)).eval()


def part(content: bytes) -> dict[str, Any]:
    return ImagePart.of(Picture.of(content), "image/png")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patch": 5, "stem": "patches"}, r"patch \(5\) does not divide size \(32\); the nearest smaller size that it does is 30"),
        ({"size": 24, "patch": 6}, "patch is 6, and convolutions halve a picture; give 1, 2, 4, 8 …, or stem: patches"),
        ({"size": 8, "patch": 16}, r"patch \(16\) is larger than size \(8\)"),
        ({"crop": 32}, r"crop \(32\) moves a picture of size 32 out of sight"),
        ({"flips": True}, "unknown field 'flips'; did you mean 'flip'"),
        ({"erase": 2}, "'erase' is 2"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ImageClassification(options)


def test_one_label_alone_and_an_unknown_one_are_refused() -> None:
    cats = [LabelledPicture(image=Picture.of(bytes([number])), label="cat") for number in range(3)]
    with pytest.raises(UserError, match="the training records have one label alone, 'cat'; give pictures of at least two"):
        ImageClassification().fit(cats)
    task = task_of()
    wrong = LabelledPicture(image=ImageClassification.sample()[0].image, label="tringle")
    with pytest.raises(UserError, match="the label 'tringle' stands in no training record; did you mean 'triangle'"):
        task.encode(wrong, TOKENIZER)


@pytest.mark.parametrize("value", [3, 3.0, "3"])
def test_a_number_is_a_label_as_its_text(value: object) -> None:
    assert LabelledPicture.of_record({"label": value})["label"] == "3"


def test_alterations_follow_the_options_by_name() -> None:
    given = {"flip": False, "crop": 1, "erase": 0.2, "mixup": 0.3, "cutmix": 0.4, "label_smoothing": 0.05}
    assert task_of(**given).alterations.model_dump() == given
    assert task_of().alterations.crop == 2  # an eighth of the size


@pytest.mark.parametrize(("stem", "positions", "pooling"), [("convolutions", "grid", "mean"), ("patches", "learned", "token")])
def test_every_form_of_the_model_answers_alike_alone_and_in_company(stem: str, positions: str, pooling: str) -> None:
    task = task_of(stem=stem, positions=positions, pooling=pooling)
    model, sample = model_of(task), ImageClassification.sample()[:5]
    assert model.config.context == task.shape.tokens == 16 + (pooling == "token")  # type: ignore[union-attr] # what `build` makes
    requests = [task.request(example) for example in sample]
    together = task.answer(model, TOKENIZER, {"input": [request["input"] for request in requests]})
    assert together["usage"]["prompt_tokens"] == 5 * task.shape.tokens
    for request, found in zip(requests, together["results"], strict=True):
        alone = task.answer(model, TOKENIZER, request)
        assert alone["label"] == found["label"]
        assert alone["probabilities"] == pytest.approx(found["probabilities"], rel=1e-4)
        assert sum(alone["probabilities"].values()) == pytest.approx(1)


def test_training_alters_pictures_and_evaluation_does_not() -> None:
    task = task_of(mixup=0.3, erase=0.5)
    model = model_of(task)
    rows = [task.encode(example, TOKENIZER) for example in ImageClassification.sample()[:8]]
    batch = {name: torch.from_numpy(np.stack([np.asarray(row[name]) for row in rows])) for name in ("pixels", "label")}
    loss, terms = task.loss(model, batch)
    logits = picture_logits(model, batch["pixels"].numpy())
    expected = nn.functional.cross_entropy(torch.from_numpy(logits), batch["label"], reduction="sum")
    assert int(terms) == 8
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    model.train()
    assert len({float(task.loss(model, batch)[0].detach()) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"GIF89a", "input: the (file is no picture|picture is damaged)"),
        (saved(Image.new("RGB", (64, 64)), "JPEG")[:300], "input: the picture is damaged"),
        (saved(Image.new("1", (7_000, 7_000)), "PNG"), "input: the picture has 49 megapixels, and at most 40 are read; make it smaller"),
        (saved(Image.new("RGB", (1_000, 2)), "PNG"), "input: the picture is 1000×2 pixels, too narrow"),
    ],
)
def test_a_picture_that_cannot_be_read_is_refused_in_one_sentence(content: bytes, sentence: str) -> None:
    task = task_of()
    with pytest.raises(UserError, match=f"^{sentence}"):
        task.answer(model_of(task), TOKENIZER, {"input": part(content)})


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"input": {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}}, "is a path or an address, and neither is"),
        ({"input": {"type": "image_url", "image_url": {"url": "/etc/passwd"}}}, "is a path or an address, and neither is opened here"),
        ({"input": {"type": "image_url", "image_url": {"url": "data:image/png;base64,???"}}}, "no base64"),
        ({"input": []}, "the list of inputs is empty"),
        ({"input": "a text"}, "the field 'input"),
        ({"image": "x"}, "unknown field 'image'"),
    ],
)
def test_a_request_for_something_else_is_refused(request_: dict[str, Any], sentence: str) -> None:
    task = task_of()
    with pytest.raises(UserError, match=sentence):
        task.answer(model_of(task), TOKENIZER, request_)


def test_unusual_pictures_are_read_and_a_moving_one_is_said_to_be() -> None:
    task = task_of()
    model = model_of(task)
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    moving = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    answer = task.answer(
        model, TOKENIZER, {"input": [part(moving), part(saved(frames[0], "PNG")), part(saved(frames[0].convert("CMYK"), "JPEG"))]}
    )
    assert [result.get("frames") for result in answer["results"]] == [2, None, None]
    red = [result["probabilities"] for result in answer["results"]]
    assert red[0] == pytest.approx(red[1], rel=1e-2)
    assert task.answer(model, TOKENIZER, {"input": part(png(np.zeros((3, 1, 1), np.uint8)))})["label"] in task.labels


def test_the_right_label_among_the_first_five_is_scikit_learns() -> None:
    from sklearn.metrics import top_k_accuracy_score

    from lodestar.evaluate.metrics import TOP_5

    task, examples = task_of(), ImageClassification.sample()
    logits = np.random.default_rng(0).normal(size=(len(examples), len(task.labels)))
    columns = task._columns(logits, examples, None)
    expected = top_k_accuracy_score(columns["label"], logits, k=5)
    assert TOP_5.compute(columns) == pytest.approx(expected)
    assert {metric.name for metric in task.metrics} >= {"accuracy", "precision", "recall", "f1", "top_5", "log_loss", "ece"}


@pytest.mark.parametrize(("size", "cell"), [(32, 4), (16, 4), (24, 3)])
def test_gradients_are_oriented_as_scikit_image_says(size: int, cell: int) -> None:
    from skimage import feature

    random = np.random.default_rng(size)
    pixels = random.integers(0, 256, (3, size, size), dtype=np.uint8)
    expected = feature.hog(
        pixels.transpose(1, 2, 0).astype(float), orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2),
        block_norm="L2-Hys", channel_axis=-1,
    )  # fmt: skip
    np.testing.assert_allclose(hog(pixels, cell), expected, atol=1e-5)


def test_a_linear_model_on_gradients_tells_signs_apart_and_never_an_unseen_label() -> None:
    drawn = list(signs(14, size=24, seed=3))
    names = sorted({name for name, _ in drawn})
    pixels = [read_square(content, 24, "crop")[0] for _, content in drawn]
    truth = np.array([names.index(name) for name, _ in drawn])
    learnt = 10 * len(names)
    logits = hog_logits(pixels[:learnt], truth[:learnt], pixels[learnt:], len(names) + 1)
    assert (logits.argmax(1) == truth[learnt:]).mean() > 0.5
    assert logits[:, -1].max() < -20


def test_the_worst_mistakes_are_shown_as_pictures() -> None:
    from lodestar.venture.found import Found, shown

    task, examples = task_of(), ImageClassification.sample()
    columns = task._columns(np.random.default_rng(1).normal(size=(len(examples), len(task.labels))), examples, None)
    found = task.findings(columns, examples, [])
    assert set(found.pictures) == {"confusion", "reliability"}
    assert all("pictures of" in sentence.en and "张图片" in sentence.zh for sentence in found.sentences)
    assert found.mistakes
    assert all(mistake.picture.startswith("data:image/png;base64,") for mistake in found.mistakes)
    page = "".join(shown(Found(mistakes=found.mistakes)))
    assert page.count("<figure>") == len(found.mistakes)
    assert page.count("data:image/png") == len(found.mistakes)


def test_digits_are_data_that_every_installation_has(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    task = ImageClassification({"size": 8, "patch": 2, "flip": False})
    prepare(task, DataSettings(sources=["builtin:digits"], validation=0, test=0.2), tmp_path, tmp_path / "out", context=16)
    assert task.labels == [str(digit) for digit in range(10)]
    split = open_split(tmp_path / "out", "train")
    first = split.examples(task)[0]
    number = int(first.image.name.split("/")[1].removesuffix(".png"))
    wanted = 255 - load_digits().images[number] * (255 / 16)
    np.testing.assert_array_equal(split.arrays["pixels"][0][0], wanted.round())
    with pytest.raises(UserError, match="unknown builtin source 'digit'; did you mean 'digits'"):
        prepare(task, DataSettings(sources=["builtin:digit"]), tmp_path, tmp_path / "none")


def test_a_run_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    task = ImageClassification({**SMALL, "mixup": 0.3, "cutmix": 1.0, "erase": 0.3})
    prepare(task, DataSettings(sources=["builtin:sample"], validation=0, test=0), tmp_path, tmp_path / "data", context=16)
    split = open_split(tmp_path / "data", "train")
    recipe = TrainSettings(
        batch_tokens=128, tokens=6 * 128, learning_rate=0.01, precision="fp32", checkpoint_every=2, evaluate_every=6, keep=9
    )

    def save(model: nn.Module, place: Path) -> None:
        place.mkdir()
        write_tensors(place / "weights.safetensors", model.state_dict())

    def run(out: Path) -> bytes:
        loader = make_loader(split, "padded", rows=8, context=16, seed=0, pad=1)
        train(task, model_of(task).train(), loader, lambda: (), recipe, out, save=save)
        return (out / "model" / "weights.safetensors").read_bytes()

    whole = run(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / f"step-{step:06d}")
    shutil.rmtree(tmp_path / "cut" / "model")
    (tmp_path / "cut" / "record.json").unlink()
    assert run(tmp_path / "cut") == whole


def test_a_task_is_made_again_with_its_labels_and_its_calibration() -> None:
    task = task_of()
    model, examples = model_of(task), ImageClassification.sample()
    task.calibrate(model, TOKENIZER, examples)
    again = load({"task": "image-classification", "options": task.options, "state": task.state})
    assert again.state["calibration"]["temperature"] != 1.0
    request = task.request(examples[0])
    assert again.answer(model, TOKENIZER, request) == task.answer(model, TOKENIZER, request)
