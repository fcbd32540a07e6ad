"""Pictures with boxes as other tools write them: Pascal VOC's XML, COCO's JSON, YOLO's text files → records with `image` and `boxes`.

VOC: https://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, COCO: https://cocodataset.org/#format-data,
YOLO: https://docs.ultralytics.com/datasets/detect/.

Each box carries its `place`, so that what is wrong with it is found in the file.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from ..contracts.errors import UserError, quoted
from ..contracts.media import Picture, read_file
from .sources import SourceFile, unreadable

RECORD = tuple[Mapping[str, Any], str]
"""Fields, and where they stand."""
LARGEST_XML = 16 << 20
"""Bytes; the annotation of one picture is some thousand."""
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(file: SourceFile) -> RECORD:
    """The record of one XML file. Its pixels count from 1, and a box holds its last one, as in VOC's development kit.

    A declaration of the document's type, which could hold entities that expand without end, is refused.
    """
    found = _VocFile(file.path)
    picture = _beside(file.path, found.texts.get("filename", ""))
    size: dict[str, Any] = {name: found.whole(name, found.texts[name], 1) for name in ("width", "height") if name in found.texts}
    return {"image": _picture(picture), "boxes": [found.box(item) for item in found.objects], **size}, str(file.path)


class _VocFile:
    """One annotation, parsed. Objects are the direct ones of the annotation: their parts (a person's head) are none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: dict[str, str] = {}
        self.objects: list[tuple[int, dict[str, str]]] = []
        self._stack: list[str] = []
        self._text: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._begin, self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._refuse
        try:
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from None
        if len(content) > LARGEST_XML:
            raise UserError(f"the file is larger than {LARGEST_XML >> 20} MiB", where=path, fix="give one XML file for each picture")
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            what = f"bad XML: {expat.ErrorString(error.code)}"
            raise UserError(what, where=f"{path}:{error.lineno}", fix="correct or write the file again") from None

    def _refuse(self, *_: object) -> None:
        line = self._parser.CurrentLineNumber
        raise UserError("the XML declares a document type, which no VOC file needs", where=f"{self.path}:{line}", fix="take the line out")

    def _begin(self, tag: str, _: object) -> None:
        if not self._stack and tag != "annotation":
            raise UserError(f"the XML is a <{tag}> and no <annotation>", where=self.path, fix="give files in the form of Pascal VOC")
        self._stack.append(tag)
        self._text.clear()
        if self._stack == ["annotation", "object"]:
            self.objects.append((self._parser.CurrentLineNumber, {}))

    def _end(self, tag: str) -> None:
        text, above = "".join(self._text).strip(), self._stack[1:-1]
        self._text.clear()
        self._stack.pop()
        if above in ([], ["size"]):
            self.texts[tag] = text
        elif above in (["object"], ["object", "bndbox"]):
            self.objects[-1][1][tag] = text

    def box(self, item: tuple[int, dict[str, str]]) -> dict[str, Any]:
        """An object as a box of a record."""
        line, texts = item
        for name in ("name", *_EDGES):
            if not texts.get(name):
                raise UserError(f"the object has no <{name}>", where=f"{self.path}:{line}", fix="add it, or take the object out")
        left, top, right, bottom = (self.whole(name, texts[name], line) for name in _EDGES)
        ignored = texts.get("difficult", "0") == "1"
        place = f"line {line}"
        return {
            "label": texts["name"], "left": left - 1, "top": top - 1, "right": right, "bottom": bottom, "ignored": ignored, "place": place,
        }  # fmt: skip

    def whole(self, name: str, text: str, line: int) -> float:
        """A number in pixels; some tools write 12.0 for 12, and some parts of pixels."""
        number = _number(text)
        if number is None:
            raise UserError(f"<{name}> is {quoted(text)}, which is no number", where=f"{self.path}:{line}", fix="correct it")
        return number


def read_coco(path: Path, content: Mapping[str, Any]) -> Iterator[RECORD]:
    """A record for each picture of a file, those without boxes, too. `iscrowd` becomes `ignored`."""
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list):
            raise UserError(
                f"the COCO file has no list {name!r}", where=path, fix="give instances, with images, annotations and categories"
            )
    names = {_field(each, "id", f"{path}: category"): _field(each, "name", f"{path}: category") for each in content["categories"]}
    boxes: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, each in enumerate(content["annotations"], 1):
        place = f"annotation {each.get('id', number) if isinstance(each, Mapping) else number}"
        picture, category, box = (_field(each, name, f"{path}: {place}") for name in ("image_id", "category_id", "bbox"))
        if category not in names:
            raise UserError(f"there is no category {quoted(category)}", where=f"{path}: {place}", fix="add it to categories")
        if not (isinstance(box, list) and len(box) == 4 and all(isinstance(one, int | float) for one in box)):
            raise UserError(f"the bbox is {quoted(box)}", where=f"{path}: {place}", fix="write [left, top, width, height]")
        left, top, width, height = box
        boxes[picture].append({
            "label": str(names[category]), "left": left, "top": top, "right": left + width, "bottom": top + height,
            "ignored": bool(each.get("iscrowd", 0)), "place": place,
        })  # fmt: skip
    for number, each in enumerate(content["images"], 1):
        where = f"{path}: image {each.get('id', number) if isinstance(each, Mapping) else number}"
        name = _field(each, "file_name", where)
        size = {side: each[side] for side in ("width", "height") if isinstance(each.get(side), int)}
        found = _beside(path, str(name), path.stem.removeprefix("instances_"))
        yield {"image": _picture(found), "boxes": boxes.pop(_field(each, "id", where), []), **size}, where
    if boxes:
        what = f"annotations are of an image {quoted(next(iter(boxes)))} that the file does not list"
        raise UserError(what, where=path, fix="add it to images, or take them out")


def coco_content(path: Path) -> Mapping[str, Any] | None:
    """What a JSON file holds where it is COCO's; None where it is a table of records, one object a line or a list of them."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
            if not head.startswith(b"{"):
                return None
            file.seek(0)
            content = json.load(file)
    except (ValueError, RecursionError):
        return None  # JSON lines, or damaged: who reads it as a table says where
    except OSError as error:
        raise unreadable(path, error) from None
    return content if isinstance(content, dict) and {"images", "annotations"} & content.keys() else None


def read_yolo(file: SourceFile) -> RECORD:
    """The record of one picture, whose boxes are in a text file of its own: class, middle and size, as shares of the picture. A line of
    more numbers is an outline, and its box the one around it. A picture without the file has none.
    """
    boxes = []
    if file.beside is not None:
        try:
            lines = file.beside.read_text("utf-8").splitlines()
        except OSError as error:
            raise unreadable(file.beside, error) from None
        except UnicodeDecodeError:
            raise UserError("the file is no text in UTF-8", where=file.beside, fix="give lines of a class and four numbers") from None
        boxes = [_yolo_box(line, f"{file.beside.name}:{number}", file) for number, line in enumerate(lines, 1) if line.strip()]
    return {"image": _picture(file.path), "boxes": boxes, "units": "relative"}, str(file.path)


def _yolo_box(line: str, place: str, file: SourceFile) -> dict[str, Any]:
    assert file.beside is not None
    where = f"{file.beside.parent}/{place}"
    numbers = [_number(part) for part in line.split()]
    if any(number is None for number in numbers) or not (len(numbers) == 5 or (len(numbers) >= 7 and len(numbers) % 2)):
        raise UserError(
            f"the line is {quoted(line.strip())}", where=where, fix="write a class and four numbers: middle x, y, width, height"
        )
    which, *rest = [number for number in numbers if number is not None]
    if which != int(which) or not 0 <= which < len(file.classes):
        raise UserError(f"there is no class {which:g}", where=where, fix=f"data.yaml names {len(file.classes)}, counted from 0")
    if len(rest) == 4:
        x, y, width, height = rest
        edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        edges = (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2]))
    return {"label": file.classes[int(which)], **dict(zip(("left", "top", "right", "bottom"), edges, strict=True)), "place": place}


def _picture(path: Path) -> Picture:
    return Picture.of(read_file(path, Picture.KIND), path.name)


def _beside(annotation: Path, name: str, folder: str = "") -> Path:
    """The picture of an annotation, wherever the usual layouts have it: beside it, or in a folder beside its own."""
    here, above = annotation.parent, annotation.parent.parent
    places = [here, here / "images", above / "JPEGImages", above / "images", above, *([above / folder, here / folder] if folder else [])]
    names = [Path(name)] if name and not Path(name).is_absolute() else []
    if not folder:  # VOC's files are called as their pictures are, whatever stands in them
        names += [Path(annotation.stem + suffix) for suffix in (".jpg", ".jpeg", ".png")]
    for place in places:
        for candidate in names:
            if (found := place / candidate).is_file():
                return found
    what = f"its picture {quoted(name)} is not there"
    raise UserError(what, where=annotation, fix="put it beside the file, or into JPEGImages or images beside its folder")


def _field(record: Any, name: str, where: str) -> Any:
    if not isinstance(record, Mapping) or name not in record:
        raise UserError(f"there is no {name!r}", where=where, fix="add it")
    return record[name]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# --- Sources that list others ---


def voc_list(path: Path) -> list[Path]:
    """The XML files that a list of VOC (ImageSets/Main/train.txt) names, one a line.

    Raises:
        UserError: one of them is not there.
    """
    folder = next((parent.parent / "Annotations" for parent in path.parents if parent.name == "ImageSets"), path.parent)
    found = []
    for number, line in enumerate(_lines(path), 1):
        name = line.strip()
        if not name:
            continue
        annotation = folder / f"{name}.xml"
        if not annotation.is_file():
            fix = "give a list of names without their endings" if " " not in name else "give the list of all classes: train.txt, say"
            raise UserError(f"there is no {annotation.name} in {folder}", where=f"{path}:{number}", fix=fix)
        found.append(annotation)
    return found


YOLO_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""What data.yaml calls the splits → what they are called here."""


def yolo_pictures(path: Path) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, Path | None]]]]:
    """What a data.yaml says: the names of the classes; and split → the pictures, each with the file of its boxes where it has one.

    Raises:
        UserError: it is no such file, or a folder that it names is not there.
    """
    import yaml

    try:
        content = yaml.safe_load("\n".join(_lines(path)))
    except yaml.YAMLError as error:
        raise UserError(f"bad YAML ({str(error).splitlines()[0]})", where=path, fix="correct the file") from None
    names = content.get("names") if isinstance(content, Mapping) else None
    if isinstance(names, Mapping) and sorted(names) == list(range(len(names))):
        names = [names[place] for place in range(len(names))]
    if not isinstance(names, list) or not names:
        raise UserError("the file names no classes", where=path, fix="write names: [cat, dog], and train: images/train")
    found = {}
    for key, split in YOLO_SPLITS.items():
        if content.get(key):
            given = content[key] if isinstance(content[key], list) else [content[key]]
            pictures = [picture for each in given for picture in _yolo_listed(path, str(content.get("path") or ""), str(each))]
            found[split] = [(picture, _yolo_label(picture)) for picture in pictures]
    if not found:
        raise UserError("the file names no pictures", where=path, fix="write train: images/train, and val and test in the same way")
    return tuple(map(str, names)), found


def _yolo_listed(path: Path, base: str, given: str) -> Sequence[Path]:
    """The pictures of a folder, or of a list of files, that data.yaml names. Some tools write `../train/images` for what is beside it."""
    root = path.parent / base
    places = [root / given, path.parent / given, path.parent / given.removeprefix("../")]
    place = next((each for each in places if each.exists()), None)
    if place is None:
        raise UserError(f"there is no {given!r}", where=path, fix="name a folder of pictures, relative to this file")
    if place.is_dir():
        return sorted(each for each in place.rglob("*") if each.suffix.lower() in Picture.SUFFIXES and not each.name.startswith("."))
    return [place.parent / line.strip() for line in _lines(place) if line.strip()]


def _yolo_label(picture: Path) -> Path | None:
    """…/images/…/NAME.jpg → …/labels/…/NAME.txt, or the text file beside it."""
    parts = list(picture.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return next((place for place in (Path(*parts).with_suffix(".txt"), picture.with_suffix(".txt")) if place.is_file()), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise UserError("the file is no text in UTF-8", where=path, fix="write it in UTF-8") from None
