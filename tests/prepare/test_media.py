"""Records that hold files, and rows that hold arrays, on two toy tasks: squares of one colour, and sounds of any length."""

from __future__ import annotations

import base64
import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lodestar.contracts.errors import UserError
from lodestar.contracts.media import Picture, Recording
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.task import ArrayShape, Example, Task
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.prepare.pictures import png, read_square
from lodestar.train.trainer import tokens_in

from .conftest import TextToy, _Toy

SIZE = 6
COLOURS = {"red": (200, 10, 10), "green": (10, 200, 10), "blue": (10, 10, 200)}


class Square(Example):
    image: Picture
    label: str

    @classmethod
    def of_file(cls, path: str) -> Mapping[str, Any]:
        folder = PurePosixPath(path).parent.name
        return {"label": folder} if folder else {}


class Squares(_Toy):
    """Every picture is a row of pixels of one shape, without tokens."""

    example = Square
    batching = "padded"
    tokenized = False
    arrays = {"pixels": ArrayShape("uint8", (3, SIZE, SIZE))}

    def architecture(self) -> Mapping[str, Any]:
        return {"vocabulary_size": 0}

    def texts(self, example: Any) -> Iterator[str]:
        yield example.label

    def fit(self, examples: Any) -> None:
        self.state["labels"] = sorted({example.label for example in examples})

    def encode(self, example: Any, tokenizer: Any) -> Any:
        pixels, _ = read_square(example.image.read(), SIZE, "crop")
        return {"pixels": pixels, "label": self.state["labels"].index(example.label), "model_length": 4}


class Sound(Example):
    sound: Recording
    text: str


class Sounds(_Toy):
    """Every byte of a file is a sample: rows of any length, beside tokens."""

    example = Sound
    batching = "padded"
    arrays = {"samples": ArrayShape("int16", (None,)), "pairs": ArrayShape("float32", (None, 2))}

    def encode(self, example: Any, tokenizer: Any) -> Any:
        samples = np.frombuffer(example.sound.read(), np.uint8).astype(np.int16) - 128
        pairs = np.stack((samples, -samples), 1).astype(np.float32) / 2
        return {"tokens": tokenizer.encode(example.text), "samples": samples, "pairs": pairs, "model_length": len(samples) + 1}


def picture(colour: tuple[int, int, int], mark: int = 0) -> bytes:
    pixels = np.empty((3, SIZE, SIZE), np.uint8)
    pixels[:] = np.array(colour)[:, None, None]
    pixels[:, 0, 0] = mark
    return png(pixels)


def files(count: int = 4) -> dict[str, bytes]:
    return {f"{name}/{mark}.png": picture(colour, mark) for name, colour in COLOURS.items() for mark in range(count)}


def as_folder(root: Path) -> list[str]:
    for name, content in files().items():
        (root / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "pictures" / name).write_bytes(content)
    (root / "pictures" / "README.txt").write_text("no record")
    return ["pictures"]


def as_tar(root: Path) -> list[str]:
    with tarfile.open(root / "all.tar.gz", "w:gz") as archive:
        for name, content in {**files(), "red/._1.png": b"a file of a Mac", "notes.txt": b"no record"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return ["all.tar.gz"]


def as_csv(root: Path) -> list[str]:
    as_folder(root)
    rows = [f"{name},{name.split('/')[0]}" for name in files()]
    (root / "pictures" / "table.csv").write_text("\n".join(["image,label", *rows]))
    return ["pictures"]  # the table says which pictures there are, and what they show


def as_json_lines(root: Path) -> list[str]:
    rows = [
        {"image": f"data:image/png;base64,{base64.b64encode(content).decode()}", "label": name.split("/")[0]}
        for name, content in files().items()
    ]
    (root / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["all.jsonl"]


def as_parquet(root: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    rows = [{"image": {"bytes": content, "path": name}, "label": name.split("/")[0]} for name, content in files().items()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "all.parquet")
    return ["all.parquet"]


@pytest.mark.parametrize("write_all", [as_folder, as_tar, as_csv, as_json_lines, as_parquet])
def test_the_same_pictures_in_any_form_are_the_same_rows(tmp_path: Path, write_all: Callable[[Path], list[str]]) -> None:
    task = Squares()
    prepare(task, DataSettings(sources=write_all(tmp_path), validation=0.25, test=0), tmp_path, tmp_path / "out", context=4)
    assert task.state["labels"] == ["blue", "green", "red"]
    seen: dict[bytes, str] = {}
    for name in ("train", "validation"):
        split = open_split(tmp_path / "out", name)
        assert (split.all_tokens, split.token_count, split.lengths.tolist()) == (4 * split.records, 0, [4] * split.records)
        assert split.arrays["pixels"].values.dtype == np.uint8
        for row, example in enumerate(split.examples(task)):
            content = example.image.read()
            wanted = np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1)
            np.testing.assert_array_equal(split.arrays["pixels"][row], wanted)
            assert task.state["labels"][int(split.numbers["label"][row])] == example.label
            seen[content] = example.label
            assert not example.image.name.startswith("/")
    assert seen == {content: name.split("/")[0] for name, content in files().items()}


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Task, Path]:
    task = Squares()
    prepare(task, DataSettings(sources=as_folder(tmp_path), validation=0.25, test=0), tmp_path, tmp_path / "out", context=4)
    return task, tmp_path


def test_batches_of_pixels_count_positions_of_the_model_and_resume_where_they_were(prepared: tuple[Task, Path]) -> None:
    split = open_split(prepared[1] / "out", "train")
    shape: dict[str, Any] = {"rows": 4, "context": 4, "pad": 1}
    loader = make_loader(split, "padded", seed=3, **shape)
    batches = [loader.next_batch() for _ in range(3)]
    state = loader.state_dict()
    after = loader.next_batch()
    assert set(after) == {"pixels", "label", "model_length"}
    assert after["pixels"].shape[1:] == (3, SIZE, SIZE)
    assert str(after["pixels"].dtype) == "torch.uint8"
    assert tokens_in(after) == 4 * len(after["pixels"])
    again = make_loader(split, "padded", seed=3, **shape)
    again.load_state_dict(state)
    for name, tensor in again.next_batch().items():
        assert tensor.equal(after[name])
    # One epoch is every picture once.
    epoch = np.concatenate([batch["pixels"].numpy() for batch in batches])[: split.records]
    assert {row.tobytes() for row in epoch} == {row.tobytes() for row in split.arrays["pixels"].values}
    fixed = [batch["pixels"] for batch in Sequential(split, "padded", **shape)]
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in fixed]), split.arrays["pixels"].values)


def test_arrays_of_any_length_are_padded_beside_tokens(write: Callable[..., Path], tmp_path: Path) -> None:
    contents = [bytes(range(100, 100 + length)) for length in (3, 11, 1, 7)]
    for number, content in enumerate(contents):
        write(f"{number}.wav", content)
    write("all.csv", "sound,text\n" + "\n".join(f"{number}.wav,take {number}" for number in range(4)))
    task = Sounds()
    prepare(task, DataSettings(sources=["all.csv"], validation=0, test=0), tmp_path, tmp_path / "out", context=32)
    split = open_split(tmp_path / "out", "train")
    assert split.lengths.tolist() == [len(content) + 1 for content in contents]
    (batch,) = Sequential(split, "padded", rows=4, context=32, pad=1)
    order = np.argsort([len(content) for content in contents])
    for place, row in enumerate(order):
        wanted = np.frombuffer(contents[row], np.uint8).astype(np.int16) - 128
        mask = batch["samples_mask"][place].numpy()
        assert mask.sum() == len(wanted)
        np.testing.assert_array_equal(batch["samples"][place].numpy()[mask], wanted)
        assert not batch["samples"][place].numpy()[~mask].any()
        np.testing.assert_array_equal(batch["pairs"][place, : len(wanted), 1].numpy(), -wanted / 2)
        assert int(batch["attention_mask"][place].sum()) == len(split.tokens[split.offsets[row] : split.offsets[row + 1]])


def test_what_is_too_long_counts_in_positions_and_is_left_out_where_told(write: Callable[..., Path], tmp_path: Path) -> None:
    for number, length in enumerate((3, 11, 5)):
        write(f"{number}.wav", bytes(range(length)))
    write("all.csv", "sound,text\n" + "\n".join(f"{number}.wav,take" for number in range(3)))
    task, data = Sounds(), {"sources": ["all.csv"], "validation": 0, "test": 0}
    prepare(task, DataSettings(**data, too_long="drop"), tmp_path, tmp_path / "out", context=8)
    split = open_split(tmp_path / "out", "train")
    assert split.lengths.tolist() == [4, 0, 6]
    assert sum(len(batch["samples"]) for batch in Sequential(split, "padded", rows=1, context=8, pad=1)) == 2
    with pytest.raises(UserError, match="1 records of train are longer than the context of 8"):
        prepare(task, DataSettings(**data, too_long="refuse"), tmp_path, tmp_path / "out", context=8)


def test_equal_files_are_kept_once_and_stand_in_one_split(tmp_path: Path) -> None:
    red, green = picture(COLOURS["red"]), picture(COLOURS["green"])
    for name, content in {"a/1.png": red, "a/2.png": red, "b/3.png": red, "b/4.png": green}.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(content)
    prepare(Squares(), DataSettings(sources=["p"], validation=0.3, test=0), tmp_path, tmp_path / "out", context=4)
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["dropped"]["duplicates"] == 1  # 2.png: the same picture with the same label
    assert card["files"]["kept"] == 2
    splits = {
        name: {example.image.sha256 for example in open_split(tmp_path / "out", name).examples(Squares())}
        for name in ("train", "validation")
    }
    assert not splits["train"] & splits["validation"]


def test_a_record_travels_to_another_process_with_its_file(prepared: tuple[Task, Path]) -> None:
    task, folder = prepared
    example = open_split(folder / "out", "train").examples(task)[0]
    again = pickle.loads(pickle.dumps(example))
    assert again == example
    assert again.image.read() == example.image.read()
    held = Square(image=Picture.of(b"content"), label="x")
    assert pickle.loads(pickle.dumps(held)).image.read() == b"content"


def test_work_is_done_again_where_a_picture_that_a_table_names_has_changed(tmp_path: Path) -> None:
    settings = DataSettings(sources=as_csv(tmp_path), validation=0, test=0)
    first = prepare(Squares(), settings, tmp_path, tmp_path / "out", context=4)
    assert prepare(Squares(), settings, tmp_path, tmp_path / "out", context=4) == first
    (tmp_path / "pictures" / "red" / "1.png").write_bytes(picture((1, 2, 3)))
    assert prepare(Squares(), settings, tmp_path, tmp_path / "out", context=4).id != first.id


def test_a_task_without_text_has_a_tokenizer_of_marks_alone_and_a_card_that_speaks_of_files(prepared: tuple[Task, Path]) -> None:
    from lodestar.contracts.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(prepared[1] / "out")
    assert (tokenizer.vocabulary_size, tokenizer.end_of_text, tokenizer.pad) == (2, 0, 1)
    card = (prepared[1] / "out" / "card.md").read_text()
    assert "12 files" in card
    assert "12 个文件" in card
    assert "bytes per token" not in card


def test_a_folder_of_pictures_is_nothing_to_a_task_of_texts(tmp_path: Path, text_task: TextToy) -> None:
    as_folder(tmp_path)
    prepare(text_task, DataSettings(sources=["pictures"], validation=0, test=0), tmp_path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "card.json").read_text())["skipped_files"] == {".png": 12}
    assert not (tmp_path / "out" / "media").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("data/all.csv", "image,label\nnone.png,red\n", "all.csv:2: .*none.png: no such picture; give a path relative"),
        ("data/all.jsonl", '{"image": "data:image/png;base64,###", "label": "red"}', r"all.jsonl:1: the picture's data: URL is no base64"),
        ("data/all.jsonl", '{"image": "data:image/png,abc", "label": "red"}', "all.jsonl:1: the picture's data: URL is not in base64"),
        ("data/all.jsonl", '{"image": 7, "label": "red"}', "all.jsonl:1: the field 'image' is 7"),
        ("data/all.tar", "no archive", "all.tar: not a tar archive that can be read"),
        ("data/all.tgz", "no archive", "all.tgz: the compressed file is damaged"),
        ("data/all.txt", "a text", "no file here holds records"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_one_sentence(
    write: Callable[..., Path], refusal: Callable[..., str], name: str, content: str, sentence: str
) -> None:
    import re

    write(name, content)
    assert re.search(sentence, refusal(Squares()))


def test_a_picture_that_nothing_labels_and_words_of_pictures_are_refused(write: Callable[..., Path], refusal: Callable[..., str]) -> None:
    with_tar = io.BytesIO()
    with tarfile.open(fileobj=with_tar, mode="w") as archive:
        member = tarfile.TarInfo("1.png")
        member.size = len(picture((1, 2, 3)))
        archive.addfile(member, io.BytesIO(picture((1, 2, 3))))
    write("data/all.tar", with_tar.getvalue())
    assert "all.tar: 1.png: nothing tells the label of this picture; put each picture into a folder" in refusal(Squares())
    assert "data.deduplicate: near duplicates are told by their words" in refusal(Squares(), deduplicate="near")


def test_a_request_opens_no_file_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture((1, 2, 3)))
    for path in (str(tmp_path / "secret.png"), "file:///etc/passwd", "https://example.com/cat.png"):
        with pytest.raises(UserError, match="is a path or an address, and neither is opened here"):
            Square.model_validate({"image": path, "label": "x"})
