"""Object detection beyond what every task must do: options, records, answers, odd pictures, what is explained, a run that is cut off."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from lodestar.build.detection import detect
from lodestar.contracts.errors import UserError
from lodestar.contracts.media import ImagePart, Picture
from lodestar.contracts.reading import Detected
from lodestar.contracts.settings import DataSettings, TrainSettings
from lodestar.evaluate.detection import MAP_50, Boxed, detection_columns
from lodestar.evaluate.sliding import WindowDetector
from lodestar.explain.patches import explain_picture
from lodestar.explain.patches_page import picture_document
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig
from lodestar.prepare import make_loader, open_split, prepare, special_tokenizer
from lodestar.prepare.signs import SIGNS, scenes
from lodestar.store.tensors import write_tensors
from lodestar.tasks.object_detection import Box, BoxedPicture, ObjectDetection
from lodestar.train.loop import train

TOKENIZER = special_tokenizer()
SMALL = {"width": 48, "height": 48, "patch": 8}


def task_of(**options: Any) -> ObjectDetection:
    """A task that knows the sample's labels."""
    task = ObjectDetection({**SMALL, **options})
    task.fit(ObjectDetection.sample())
    return task


def model_of(task: ObjectDetection, std: float = 0.02) -> nn.Module:
    torch.manual_seed(0)
    fields = {"width": 32, "depth": 2, "heads": 2, "initial_std": std, **task.architecture()}
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
        ({"width": 100}, r"patch \(16\) does not divide width \(100\); the nearest smaller width that it does is 96"),
        ({"height": 40, "patch": 64, "width": 64}, r"patch \(64\) is larger than height \(40\)"),
        ({"width": 48, "height": 48, "patch": 12}, "patch is 12, and convolutions halve a picture; give 2, 4, 8, 16 …, or stem: patches"),
        ({"cells": 3}, r"cells \(3\) does not divide patch \(16\)"),
        ({"flips": "no"}, "unknown field 'flips'; did you mean 'flip'"),
        ({"mosaic": 2}, "'mosaic' is 2"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ObjectDetection(options)


def test_alterations_follow_the_options_by_name() -> None:
    given: dict[str, Any] = {"flip": "both", "zoom": 1.2, "colour": 0.1, "mosaic": 0.3}
    assert task_of(**given).alterations.model_dump() == given


def test_no_boxes_and_an_unknown_label_are_refused() -> None:
    first, *_ = ObjectDetection.sample()
    with pytest.raises(UserError, match="the training records have no boxes; give pictures with boxes beside those without"):
        ObjectDetection(SMALL).fit([BoxedPicture(image=first.image, boxes=[])])
    wrong = BoxedPicture(image=first.image, boxes=[Box(label="circel", left=1, top=1, right=9, bottom=9)])
    with pytest.raises(UserError, match="the label 'circel' stands in no training record; did you mean 'circle'; add training boxes of it"):
        task_of().encode(wrong, TOKENIZER)


def test_the_samples_boxes_hold_their_signs_exactly() -> None:
    """Pixels change at the box's edges, and there is nothing but ground outside of the boxes."""
    for example in ObjectDetection.sample():
        pixels = np.asarray(Image.open(io.BytesIO(example.image.read())), float)
        outside = np.ones(pixels.shape[:2], bool)
        for left, top, right, bottom in example.upright().edges:
            inner = pixels[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
            outside[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = False
            assert inner.std() > 20
        assert pixels[outside].std(0).max() < 6  # noise alone
    assert any(not example.boxes for example in ObjectDetection.sample())


def test_the_usual_object_is_the_geometric_mean_in_the_models_pixels() -> None:
    picture = Picture.of(saved(Image.new("RGB", (200, 100)), "PNG"))
    boxes = [Box(label="a", left=0, top=0, right=20, bottom=10), Box(label="a", left=0, top=0, right=80, bottom=90)]
    excused = Box(label="b", left=0, top=0, right=200, bottom=100, ignored=True)
    task = ObjectDetection({"width": 64, "height": 64, "patch": 16, "fit": "stretch"})
    task.fit([BoxedPicture(image=picture, boxes=[*boxes, excused])])
    assert task.state["usual"] == pytest.approx([40 * 64 / 200, 30 * 64 / 100], abs=0.01)
    assert task.labels == ["a", "b"]
    row = task.encode(BoxedPicture(image=picture, boxes=[excused]), TOKENIZER)
    np.testing.assert_allclose(row["objects"], [[0, 0, 64, 64, 1, 1]])


@pytest.mark.parametrize(("stem", "positions", "fit"), [("convolutions", "grid", "pad"), ("patches", "learned", "stretch")])
def test_every_form_of_the_model_answers_alike_alone_and_in_company(stem: str, positions: str, fit: str) -> None:
    task = task_of(stem=stem, positions=positions, fit=fit)
    model, sample = model_of(task), ObjectDetection.sample()[:4]
    requests = [{**task.request(example), "threshold": 0.0} for example in sample]
    together = task.answer(model, TOKENIZER, {"input": [request["input"] for request in requests], "threshold": 0.0})
    assert together["usage"]["prompt_tokens"] == 4 * 36
    for request, found in zip(requests, together["results"], strict=True):
        alone = task.answer(model, TOKENIZER, request)
        assert len(alone["detections"]) == len(found["detections"]) == 100
        assert (alone["width"], alone["height"]) == (48, 48)
        scores = [each["score"] for each in alone["detections"]]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([each["score"] for each in found["detections"]], rel=1e-4)


def test_a_threshold_decides_what_is_answered_and_validation_decides_the_threshold() -> None:
    task = task_of()
    model, sample = model_of(task), ObjectDetection.sample()
    request = task.request(sample[1])
    everything = task.answer(model, TOKENIZER, {**request, "threshold": 0.0})["detections"]
    least = everything[9]["score"]
    assert task.answer(model, TOKENIZER, {**request, "threshold": least})["detections"] == everything[:10]
    assert task.answer(model, TOKENIZER, request)["detections"] == [each for each in everything if each["score"] >= 0.5]
    task.calibrate(model, TOKENIZER, sample)
    assert task.choices()["threshold"] == task.state["threshold"] != 0.5
    assert task.choices()["labels"] == task.labels


def test_boxes_are_told_in_pixels_of_the_upright_picture() -> None:
    """A picture on its side, with a camera's word for it, is answered like the upright one."""
    task = task_of()
    model = model_of(task)
    content, _ = next(iter(scenes(1, ["star"], size=96, most=1, seed=3)))
    upright = Image.open(io.BytesIO(content)).crop((0, 0, 96, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = saved(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    wanted, found = (task.answer(model, TOKENIZER, {"input": part(each), "threshold": 0.0}) for each in (saved(upright, "PNG"), lying))
    assert (found["width"], found["height"]) == (96, 60)
    assert found["detections"] == wanted["detections"]
    for each in found["detections"]:
        box = each["box"]
        assert 0 <= box["left"] <= box["right"] <= 96
        assert 0 <= box["top"] <= box["bottom"] <= 60


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"GIF89a", "input: the (file is no picture|picture is damaged)"),
        (saved(Image.new("RGB", (64, 64)), "JPEG")[:300], "input: the picture is damaged"),
        (saved(Image.new("1", (7_100, 7_100)), "PNG"), "input: the picture has 50 megapixels, and at most 40 are read; make it smaller"),
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
        ({"input": {"type": "image_url", "image_url": {"url": "/etc/passwd"}}}, "is a path or an address, and neither is opened here"),
        ({"input": []}, "the list of inputs is empty"),
        ({"input": "a text"}, "the field 'input"),
        ({"input": part(saved(Image.new("RGB", (9, 9)), "PNG")), "threshold": 2}, "'threshold' is 2"),
    ],
)
def test_a_request_for_something_else_is_refused(request_: dict[str, Any], sentence: str) -> None:
    task = task_of()
    with pytest.raises(UserError, match=sentence):
        task.answer(model_of(task), TOKENIZER, request_)


def test_unusual_pictures_are_read_and_a_moving_one_is_said_to_be() -> None:
    task = task_of()
    model = model_of(task)
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    moving = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    parts = [part(moving), part(saved(frames[0], "PNG")), part(saved(frames[0].convert("CMYK"), "JPEG"))]
    answer = task.answer(model, TOKENIZER, {"input": parts, "threshold": 0.0})
    assert [result.get("frames") for result in answer["results"]] == [2, None, None]
    moved, still, printed = ([each["score"] for each in result["detections"]] for result in answer["results"])
    assert moved == pytest.approx(still, rel=1e-3)
    assert printed == pytest.approx(still, rel=0.1)


def test_the_objects_of_a_picture_can_be_explained_one_by_one() -> None:
    task = task_of()
    model = model_of(task, std=0.3)
    request = task.request(ObjectDetection.sample()[2])
    best = task.answer(model, TOKENIZER, {**request, "threshold": 0.0})["detections"]
    reading = task.reading(model, TOKENIZER, request)
    assert reading.answer == f"{best[0]['label']} 1"
    label = best[0]["label"]
    second = [each for each in best if each["label"] == label][1]
    asked = task.reading(model, TOKENIZER, request, f"{label} 2")
    assert isinstance(asked.asked, Detected)
    assert asked.answer == f"{label} 2"
    made = finish(explain_picture(model, asked, orders=19))
    assert made.probability == pytest.approx(second["score"], rel=1e-3)
    assert made.attribution.complete
    assert picture_document(made, model="m", language="zh").count('class="asked"') >= 3
    # What the patch that proposes it looks at, and nothing else.
    assert sum(float(one.sum()) for one in made.maps) == pytest.approx(2 * 2, rel=1e-4)
    with pytest.raises(UserError, match="there is no '大 200' in the picture"):
        task.reading(model, TOKENIZER, request, "大 200")
    with pytest.raises(UserError, match="unknown label 'circel'; did you mean 'circle'"):
        task.reading(model, TOKENIZER, request, "circel 1")


def test_windows_on_gradients_find_signs_that_they_have_learnt() -> None:
    """The baseline is no straw man: one black sign on white, always of the same size."""

    def scene(number: int) -> tuple[np.ndarray, Boxed]:
        left, top = np.random.default_rng(number).integers(2, 40, 2).tolist()
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse((left, top, left + 19, top + 19), outline="black", width=3)
        box = np.array([[left, top, left + 20, top + 20]], float)
        return np.asarray(image).transpose(2, 0, 1), Boxed(box, np.zeros(1, np.int64), np.zeros(1))

    pictures = [scene(number) for number in range(20)]
    learnt = WindowDetector(pictures[:12], 1)
    found = [learnt.find(pixels, 10) for pixels, _ in pictures[12:]]
    columns = detection_columns(found, [truth for _, truth in pictures[12:]], 1, 10)
    assert MAP_50.compute(columns) > 0.9


def test_what_is_found_and_missed_is_shown_on_the_pictures() -> None:
    task, examples = task_of(), ObjectDetection.sample()
    model = model_of(task)
    columns = task.measure(model, TOKENIZER, examples)
    found = task.findings(columns, examples, [])
    assert all("average precision" in sentence.en and "平均精度" in sentence.zh for sentence in found.sentences[:-1])
    assert found.mistakes
    assert all(mistake.picture.startswith("data:image/svg+xml;base64,") for mistake in found.mistakes)
    missed = sum(len(example.boxes) for example in examples)
    assert sum(int(count) for count in columns["objects"].sum(0)) == missed


def test_further_signs_are_data_that_every_installation_has() -> None:
    drawn = [BoxedPicture.model_validate(example) for example in ObjectDetection.builtins()["signs"]()]
    assert {box.label for example in drawn for box in example.boxes} == set(SIGNS)
    assert len(drawn) == 400
    assert 20 < sum(not example.boxes for example in drawn) < 70


def test_a_run_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path) -> None:
    task = ObjectDetection({**SMALL, "flip": "both", "mosaic": 1.0})
    prepare(task, DataSettings(sources=["builtin:sample"], validation=0, test=0), tmp_path, tmp_path / "data", context=36)
    split = open_split(tmp_path / "data", "train")
    recipe = TrainSettings(
        batch_tokens=288, tokens=4 * 288, learning_rate=0.01, precision="fp32", checkpoint_every=2, evaluate_every=4, keep=9
    )  # fmt: skip

    def save(model: nn.Module, place: Path) -> None:
        place.mkdir()
        write_tensors(place / "weights.safetensors", model.state_dict())

    def run(out: Path) -> bytes:
        loader = make_loader(split, "padded", rows=8, context=36, seed=0, pad=1)
        train(task, model_of(task).train(), loader, lambda: (), recipe, out, save=save)
        return (out / "model" / "weights.safetensors").read_bytes()

    whole = run(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-000004")
    shutil.rmtree(tmp_path / "cut" / "model")
    (tmp_path / "cut" / "record.json").unlink()
    assert run(tmp_path / "cut") == whole


def test_blood_cells_are_read_as_their_authors_gave_them(tmp_path: Path, shared_data: Path) -> None:
    data = shared_data / "object-detection" / "bccd"
    task = ObjectDetection({"width": 64, "height": 48, "patch": 16, "fit": "stretch"})
    settings = DataSettings(sources=["ImageSets/Main/val.txt"], splits={"test": ["ImageSets/Main/test.txt"]}, validation=0)
    prepare(task, settings, data, tmp_path / "out", context=task.shape.tokens)
    assert task.labels == ["Platelets", "RBC", "WBC"]
    train_split, test_split = (open_split(tmp_path / "out", name) for name in ("train", "test"))
    assert (train_split.records, test_split.records) == (87, 27)
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert "repaired" not in card
    model = model_of(task)
    examples = list(test_split.examples(task))[:3]
    assert [len(found.scores) for found in detect(model, [task._read(each.image.read(), None).pixels for each in examples])] == [48] * 3
