"""Pictures with boxes in the forms of VOC, COCO and YOLO, and what of them is refused, with its place."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import DataSettings
from lodestar.prepare import open_split, prepare
from lodestar.prepare.boxes import Drawn, Frame, read_framed, upright
from lodestar.prepare.pictures import Header, decode
from lodestar.store.files import read_json
from lodestar.tasks.object_detection import BoxedPicture, ObjectDetection

Write = Callable[..., Path]
OPTIONS = {"width": 32, "height": 32, "patch": 8}
WIDTH, HEIGHT = 40, 20


def picture(colour: str = "white", kind: str = "PNG", size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int, kind: str = "PNG") -> bytes:
    """White, with a red box over (4, 2) to (14, 8) of the pixels as they are stored."""
    image, exif, file = Image.new("RGB", (WIDTH, HEIGHT), "white"), Image.Exif(), io.BytesIO()
    image.paste((255, 0, 0), (4, 2, 14, 8))
    exif[0x0112] = orientation
    image.save(file, kind, exif=exif)
    return file.getvalue()


def voc(*objects: str, filename: str = "a.png", size: str = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>") -> str:
    return f"<annotation>\n<filename>{filename}</filename>\n{size}\n" + "\n".join(objects) + "\n</annotation>\n"


def voc_object(name: str, left: float, top: float, right: float, bottom: float, more: str = "") -> str:
    edges = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{edges}</bndbox></object>"


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., list[BoxedPicture]]:
    """The training records that sources of the test's folder become."""

    def run(*sources: str, split: str = "train", **settings: Any) -> list[BoxedPicture]:
        task = ObjectDetection(OPTIONS)
        given = {"sources": list(sources), "validation": 0, "test": 0, **settings}
        prepare(task, DataSettings(**given), tmp_path, tmp_path / "out")
        return list(open_split(tmp_path / "out", split).examples(task))

    return run


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    def run(*sources: str, **settings: Any) -> str:
        given = {"sources": list(sources), "validation": 0, "test": 0, **settings}
        with pytest.raises(UserError) as caught:
            prepare(ObjectDetection(OPTIONS), DataSettings(**given), tmp_path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return str(caught.value).replace(str(tmp_path), "")

    return run


def test_voc_is_read_from_its_folder_and_from_its_lists(write: Write, prepared: Callable[..., list[BoxedPicture]]) -> None:
    cat, part = voc_object("cat", 5, 3, 14, 8), "<part><name>head</name><bndbox><xmin>5</xmin></bndbox></part>"
    write(
        "voc/Annotations/a.xml",
        voc(cat.replace("</object>", f"{part}</object>"), voc_object("dog", 1, 1, 40, 20, "<difficult>1</difficult>")),
    )
    write("voc/Annotations/b.xml", voc(filename="another name.png"))
    write("voc/JPEGImages/a.png", picture("red"))
    write("voc/JPEGImages/b.png", picture("blue"))
    write("voc/ImageSets/Main/train.txt", "a\n")
    write("voc/ImageSets/Main/test.txt", "b\n")
    records = {record.image.name: record for record in prepared("voc", deduplicate="no")}
    assert set(records) == {"a.png", "b.png"}
    first, second = records["a.png"].boxes
    # Pixels count from 1, and the last one is in the box.
    assert (first.label, first.left, first.top, first.right, first.bottom, first.ignored) == ("cat", 4, 2, 14, 8, False)
    assert (second.label, second.ignored) == ("dog", True)
    assert records["b.png"].boxes == []  # a picture without objects is a record, too
    lists = {"splits": {"test": ["voc/ImageSets/Main/test.txt"]}}
    assert [each.image.name for each in prepared("voc/ImageSets/Main/train.txt", **lists)] == ["a.png"]
    assert [each.image.name for each in prepared("voc/ImageSets/Main/train.txt", split="test", **lists)] == ["b.png"]


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>\n<annotation><filename>&y;</filename></annotation>'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (BOMB, "/v/a.xml:1: the XML declares a document type, which no VOC file needs; take the line out."),
        ("<annotation><object>", "/v/a.xml:1: bad XML: no element found; correct or write the file again."),
        ("<html></html>", "/v/a.xml: the XML is a <html> and no <annotation>"),
        (voc("<object><name>cat</name></object>"), "/v/a.xml:4: the object has no <xmin>; add it, or take the object out."),
        (voc(voc_object("cat", "one", 1, 2, 2)), "/v/a.xml:4: <xmin> is 'one', which is no number; correct it."),  # type: ignore[arg-type] # the mistake
        (voc("", voc_object("cat", 50, 3, 60, 8)), "/v/a.xml: line 5: the box lies outside of its picture of 40×20 pixels: 49, 2, 60, 8"),
        (voc(voc_object("cat", 5, 3, 3, 8)), "/v/a.xml: line 4: the box is empty: it reaches from 4 to 3 across and from 2 to 8 down"),
        (
            voc(size="<size><width>80</width><height>60</height></size>"),
            "/v/a.xml: the boxes were drawn on a picture of 80×60 pixels, and the",
        ),
        (voc(filename="b.png").replace("a", "a"), "/v/b.xml: its picture 'b.png' is not there; put it beside the file"),
    ],
)
def test_what_is_wrong_with_a_voc_file_is_told_with_its_place(
    write: Write, refused: Callable[..., str], content: str, sentence: str
) -> None:  # fmt: skip
    write("v/b.xml" if "/v/b.xml" in sentence else "v/a.xml", content)
    write("v/a.png", picture())
    assert refused("v").startswith(sentence)


def test_a_list_that_names_no_file_is_refused_with_its_line(write: Write, refused: Callable[..., str]) -> None:
    write("v/Annotations/a.xml", voc())
    write("v/ImageSets/Main/cat_train.txt", "a -1\n")
    told = refused("v/ImageSets/Main/cat_train.txt")
    assert (
        told == "/v/ImageSets/Main/cat_train.txt:1: there is no a -1.xml in /v/Annotations; give the list of all classes: train.txt, say."
    )


def coco(**changes: Any) -> dict[str, Any]:
    content = {
        "info": {"year": 2026},
        "images": [{"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "bbox": [4, 2, 10, 6], "iscrowd": 0, "area": 60},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0.5, 1.5, 30, 10], "iscrowd": 1, "segmentation": []},
        ],
    }
    return {**content, **changes}


def test_coco_is_read_with_its_crowds_and_its_empty_pictures(write: Write, prepared: Callable[..., list[BoxedPicture]]) -> None:
    write("annotations/instances_train.json", json.dumps(coco(), indent=1))
    write("train/a.png", picture("red"))
    write("train/b.png", picture("blue"))
    records = {record.image.name: record for record in prepared("annotations/instances_train.json")}
    dog, cats = records["a.png"].boxes
    assert (dog.label, dog.left, dog.top, dog.right, dog.bottom, dog.ignored) == ("dog", 4, 2, 14, 8, False)
    assert (cats.label, cats.right, cats.ignored) == ("cat", 30.5, True)
    assert records["b.png"].boxes == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (coco(categories=None), "/c.json: the COCO file has no list 'categories'; give instances"),
        (
            coco(annotations=[{"id": 4, "image_id": 7, "category_id": 8, "bbox": [1, 1, 2, 2]}]),
            "/c.json: annotation 4: there is no category 8",
        ),
        (coco(annotations=[{"id": 4, "image_id": 7, "category_id": 3, "bbox": [1, 1, 2]}]), "/c.json: annotation 4: the bbox is [1, 1, 2]"),
        (
            coco(annotations=[{"id": 4, "image_id": 8, "category_id": 3, "bbox": [1, 1, 2, 2]}]),
            "/c.json: annotations are of an image 8 that",
        ),
        (
            coco(annotations=[{"id": 4, "image_id": 7, "category_id": 3, "bbox": [1, 1, 0, 2]}]),
            "/c.json: image 7: annotation 4: the box is empty",
        ),
        (
            coco(annotations=[{"id": 4, "image_id": 7, "category_id": 3, "bbox": [90, 1, 5, 2]}]),
            "/c.json: image 7: annotation 4: the box lies",
        ),
        (coco(annotations=[{"image_id": 7, "bbox": []}]), "/c.json: annotation 1: there is no 'category_id'; add it."),
        (coco(images=[{"id": 7, "file_name": "z.png"}]), "/c.json: its picture 'z.png' is not there"),
    ],
)
def test_what_is_wrong_with_a_coco_file_is_told_with_its_place(
    write: Write, refused: Callable[..., str], content: dict[str, Any], sentence: str
) -> None:  # fmt: skip
    write("c.json", json.dumps(content))
    write("a.png", picture("red"))
    write("b.png", picture("blue"))
    assert refused("c.json").startswith(sentence)


YOLO = {"path": ".", "train": "images/train", "val": "images/val", "names": {0: "cat", 1: "dog"}}


def yolo(write: Write, label: str, **changes: Any) -> None:
    write("y/data.yaml", json.dumps({**YOLO, "names": ["cat", "dog"], **changes}))  # JSON is YAML
    write("y/images/train/a.png", picture("red"))
    write("y/images/train/empty.png", picture("green"))
    write("y/images/val/b.png", picture("blue"))
    write("y/labels/train/a.txt", label)
    write("y/labels/val/b.txt", "0 0.5 0.5 0.5 0.5\n")


def test_yolo_is_read_with_its_splits(write: Write, prepared: Callable[..., list[BoxedPicture]]) -> None:
    yolo(write, "1 0.225 0.25 0.25 0.3\n\n0 0.1 0.1 0.4 0.1 0.4 0.9\n", test="../images/val")
    write("y/images/val/b.png", picture("blue"))
    records = {record.image.name: record for record in prepared("y", validation=0)}
    assert set(records) == {"a.png", "empty.png"}
    assert records["empty.png"].boxes == []
    dog, outline = records["a.png"].boxes
    assert (dog.label, outline.label) == ("dog", "cat")
    edges = records["a.png"].upright().edges
    np.testing.assert_allclose(edges[0], [4, 2, 14, 8])
    np.testing.assert_allclose(edges[1], [0.1 * WIDTH, 0.1 * HEIGHT, 0.4 * WIDTH, 0.9 * HEIGHT])


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("0 0.5 0.5 0.2\n", "/y/labels/train/a.txt:1: the line is '0 0.5 0.5 0.2'; write a class and four numbers"),
        ("0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n", "/y/labels/train/a.txt:2: there is no class 2; data.yaml names 2, counted from 0."),
        ("0 1.5 0.5 0.2 0.2\n", "/y/images/train/a.png: a.txt:1: the box lies outside of its picture of 40×20 pixels"),
        ("0 0.5 0.5 0 0.2\n", "/y/images/train/a.png: a.txt:1: the box is empty"),
        ("0 nan 0.5 0.1 0.2\n", "/y/labels/train/a.txt:1: the line is '0 nan 0.5 0.1 0.2'; write a class and four numbers"),
    ],
)
def test_what_is_wrong_with_a_yolo_file_is_told_with_its_line(
    write: Write, refused: Callable[..., str], label: str, sentence: str
) -> None:  # fmt: skip
    yolo(write, label)
    assert refused("y").startswith(sentence)


def test_yolos_names_are_part_of_the_data(write: Write, prepared: Callable[..., list[BoxedPicture]]) -> None:
    yolo(write, "1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n", test="images/val")
    assert prepared("y")[0].boxes[0].label == "dog"
    write("y/data.yaml", json.dumps({**YOLO, "names": ["cat", "wolf"], "test": "images/val"}))
    assert "wolf" in {box.label for record in prepared("y") for box in record.boxes}


def test_a_table_of_records_gives_pixels_or_shares(write: Write, prepared: Callable[..., list[BoxedPicture]]) -> None:
    pixels = {"image": "a.png", "boxes": [{"label": 3, "left": 4, "top": 2, "right": 14, "bottom": 8}]}
    shares = {"image": "b.png", "units": "relative", "boxes": [{"label": "3", "left": 0.1, "top": 0.1, "right": 0.35, "bottom": 0.4}]}
    write("t/records.jsonl", f"{json.dumps(pixels)}\n{json.dumps(shares)}\n")
    write("t/a.png", picture("red"))
    write("t/b.png", picture("blue"))
    for record in prepared("t"):
        np.testing.assert_allclose(record.upright().edges, [[4, 2, 14, 8]])
        assert record.boxes[0].label == "3"


def test_a_box_that_reaches_out_is_clipped_and_counted(write: Write, tmp_path: Path, prepared: Callable[..., list[BoxedPicture]]) -> None:
    write("v/a.xml", voc(voc_object("cat", -3, 3, 14, 90), voc_object("cat", 5, 3, 14, 8)))
    write("v/a.png", picture())
    (record,) = prepared("v")
    np.testing.assert_allclose(record.upright().edges, [[0, 2, 14, 20], [4, 2, 14, 8]])
    assert read_json(tmp_path / "out" / "card.json")["repaired"]["count"] == 1
    assert "boxes that reach out of their pictures, clipped to them: 1" in (tmp_path / "out" / "card.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_their_picture(orientation: int, kind: str) -> None:
    content = turned(orientation, kind)
    drawn = Drawn(np.array([[4.0, 2, 14, 8]]), ["box 1"], False, None)
    (edges,) = upright(drawn, Header.of(content)).edges.round().astype(int)
    left, top, right, bottom = edges.tolist()
    pixels = np.asarray(decode(content).image, float)
    red = pixels[..., 0] - pixels[..., 1] > 128
    assert red[top:bottom, left:right].mean() > 0.9
    assert red.sum() == pytest.approx(60, abs=12)  # JPEG blurs the edge
    assert red[top:bottom, left:right].sum() == pytest.approx(60, abs=6)


def test_boxes_that_were_drawn_on_the_turned_picture_stay() -> None:
    header = Header(WIDTH, HEIGHT, 6)
    drawn = Drawn(np.array([[3.0, 5, 9, 30]]), ["box 1"], False, (HEIGHT, WIDTH))
    np.testing.assert_allclose(upright(drawn, header).edges, drawn.edges)
    shares = Drawn(np.array([[0.0, 0.5, 0.5, 1.0]]), ["box 1"], True, None)
    np.testing.assert_allclose(upright(shares, header).edges, [[0, 0, HEIGHT / 2, WIDTH / 2]])


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("size", [(40, 20), (20, 40), (640, 481), (33, 33)])
def test_boxes_go_into_the_models_shape_with_the_picture_and_back(fit: Any, size: tuple[int, int]) -> None:
    edges = np.array([[0.25, 0.25, 0.75, 0.5]]) * np.array(size * 2)
    image = Image.new("RGB", size, "white")
    image.paste((255, 0, 0), tuple(edges[0].round().astype(int).tolist()))
    file = io.BytesIO()
    image.save(file, "PNG")
    framed = read_framed(file.getvalue(), 48, 64, fit)
    assert framed.pixels.shape == (3, 48, 64)
    left, top, right, bottom = framed.frame.to_model(edges)[0].round().astype(int)
    red = framed.pixels[0].astype(int) - framed.pixels[1] > 128
    assert red[top:bottom, left:right].mean() > 0.85
    assert red.sum() == pytest.approx((right - left) * (bottom - top), rel=0.2)
    np.testing.assert_allclose(framed.frame.to_picture(framed.frame.to_model(edges)), edges)


def test_a_picture_too_narrow_is_refused() -> None:
    with pytest.raises(UserError, match=r"x\.png: the picture is 1000×2 pixels, too narrow to look for anything in"):
        Frame.of((1000, 2), 32, 32, "pad", "x.png")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no picture", "the file is no picture that can be read"),
        (picture()[:-24], "the picture is damaged"),
        (picture(size=(7_100, 7_100)), "the picture has 50 megapixels, and at most 40 are read; make it smaller"),
    ],
)
def test_a_picture_that_cannot_be_read_is_refused_before_anything_is_kept(
    write: Write, refused: Callable[..., str], content: bytes, sentence: str
) -> None:  # fmt: skip
    write("v/a.xml", voc(size=""))
    write("v/a.png", content)
    assert sentence in refused("v")
