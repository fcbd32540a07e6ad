"""Multimodal beyond what every task must do: records in several forms, files that cannot be read, front ends, an open model as base."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.multimodal import MultimodalDecoder
from lodestar.contracts.errors import UserError
from lodestar.contracts.media import ImagePart, Picture, Recording, SoundPart
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.prepare import open_split, prepare, special_tokenizer
from lodestar.prepare.exchanges import recognise
from lodestar.prepare.robot_voice import wave_file
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks import find, load
from lodestar.tasks.multimodal import Exchange, Multimodal, Options

SMALL = {"size": 16, "patch": 4, "merge": 2, "tower_depth": 1}
SOUNDS = {"reads": "sounds", "rate": 8000, "bands": 20, "seconds": 1.5, "tower_depth": 1}
COLOURS = {"red": (220, 40, 30), "blue": (30, 60, 230)}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = ["What colour is it? It is red. What is heard?", "这是什么颜色？红色。"]
    return train_tokenizer(texts, 300, Multimodal.special_tokens)


def model_of(task: Multimodal, tokenizer: Tokenizer, context: int = 128) -> nn.Module:
    torch.manual_seed(0)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 2, "heads": 2, "context": context, "initial_std": 0.3}
    return task.build(ModelConfig(**{**shape, **task.architecture()})).eval()


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(colour: str = "red", size: int = 20) -> Image.Image:
    return Image.new("RGB", (size, size), COLOURS[colour])


def tone(seconds: float, rate: int = 8_000) -> bytes:
    return wave_file(0.4 * np.sin(np.arange(round(seconds * rate)) * 0.3), rate)


def image(content: bytes) -> dict[str, Any]:
    return ImagePart.of(Picture.of(content), "image/png")


def sound(content: bytes) -> dict[str, Any]:
    return SoundPart.of(Recording.of(content), "wav")


def asked(*parts: Any, **fields: Any) -> dict[str, Any]:
    content = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in parts]
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 4, **fields}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 30}, r"patch \(4\) does not divide size \(30\)"),
        ({"patch": 6, "size": 24}, "patch is 6, and convolutions halve a picture"),
        ({"size": 20}, r"merge \(2\) does not divide the 5 patches along a side"),
        ({"frozen": True}, "frozen keeps a tower as it began, and without front it began at random"),
        ({"reads": "videos"}, "'reads' is 'videos'"),
        ({"sise": 3}, "did you mean 'size'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Multimodal(options)


# Records


def test_records_of_llava_of_openai_and_plain_ones_become_the_same() -> None:
    plain_one = recognise({"image": "a.png", "question": "What is it?", "answer": "A star.", "kind": "what"})
    talk = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A star."}]
    llava = recognise({"id": "7", "image": "a.png", "conversations": talk, "kind": "what"})
    messages = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A star."}]
    openai = recognise({"images": ["a.png"], "messages": messages, "kind": "what"})
    assert plain_one == llava
    assert plain_one["images"] == openai["images"] == ["a.png"]
    heard = recognise({"audio": "a.wav", "question": "Who?", "answer": "Ann."})
    assert (heard["audios"], heard["images"]) == (["a.wav"], [])
    assert heard["messages"][0]["content"] == "<audio>\nWho?"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image": "a.png"}, "no exchange is recognised in the fields image; give image"),
        ({"image": "a.png", "question": " ", "answer": "x"}, "the question is empty"),
        (
            {"image": "a.png", "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "x"}]},
            "the question is empty",
        ),
        (
            {"image": "a.png", "conversations": [{"from": "human", "value": "<image><image> alike?"}, {"from": "gpt", "value": "yes"}]},
            "the exchange has 2 placeholders <image> and 1 picture; write <image> once for each",
        ),
        ({"question": "<image>what?", "answer": "x"}, "1 placeholders <image> and 0 pictures"),
        ({"images": ["a", "b"], "question": "<image> or?", "answer": "x"}, "1 placeholders <image> and 2 pictures"),
        ({"image": "a.png", "conversations": [{"from": "human", "value": "<image>what?"}]}, "does not end with an answer"),
    ],
)
def test_a_record_whose_files_and_places_differ_is_refused(fields: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recognise(fields)


def write_records(folder: Path) -> None:
    """Twelve pictures with two questions each, in LLaVA's form; the last record has two pictures and three turns."""
    records: list[dict[str, Any]] = []
    for number in range(12):
        colour = list(COLOURS)[number % 2]
        (folder / f"{number}.png").write_bytes(saved(plain(colour, 18 + number)))
        for question in ("What colour?", "Colour, please?"):
            talk = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": colour}]
            records.append({"id": str(len(records)), "image": f"{number}.png", "conversations": talk})
    told = [("human", "<image> and <image>: alike?"), ("gpt", "no"), ("human", "the first?"), ("gpt", "red")]
    turns = [{"from": who, "value": said} for who, said in told]
    records.append({"id": "two", "image": ["0.png", "1.png"], "conversations": turns})
    (folder / "records.json").write_text(json.dumps(records))


def test_records_are_prepared_with_their_pictures_and_one_picture_stays_in_one_split(tmp_path: Path) -> None:
    write_records(tmp_path)
    task = Multimodal(SMALL)
    data = DataSettings(sources=["records.json"], validation=0.2, test=0.2, vocabulary=300, deduplicate="no")
    prepare(task, data, tmp_path, tmp_path / "out", context=96)
    seen: dict[str, set[str]] = {}
    for name in ("train", "validation", "test"):
        split = open_split(tmp_path / "out", name)
        for place, example in enumerate(split.examples(task)):
            seen.setdefault(example.images[0].sha256, set()).add(name)
            pixels = split.arrays["pixels"][place]
            assert pixels.shape == (len(example.images), 3, 16, 16)
            begin, end = split.offsets[place : place + 2]
            assert split.sequences["places"][begin:end].sum() == 4 * len(example.images)
    assert all(len(names) == 1 for names in seen.values())
    tokenizer = Tokenizer.load(tmp_path / "out")
    two = next(
        example
        for split in ("train", "validation", "test")
        for example in open_split(tmp_path / "out", split).examples(task)
        if len(example.images) == 2
    )
    row = task.encode(two, tokenizer)
    learnt = [token for token in row["targets"] if token >= 0]  # type: ignore[union-attr]
    end = tokenizer.special("<|im_end|>")
    assert tokenizer.decode(learnt) == "nored"
    assert learnt.count(end) == 2


def test_what_is_too_long_is_left_out_whole_and_counted(tokenizer: Tokenizer) -> None:
    task = Multimodal(SMALL)
    example = Exchange(**recognise({"image": saved(plain()), "question": "What colour? " * 20, "answer": "red"}))
    (row,) = task.rows(example, tokenizer, 64)
    assert (row["tokens"], row["places"]) == ([], [])
    assert row["pixels"].shape == (0, 3, 16, 16)  # type: ignore[union-attr]
    assert row["lost"] > 64  # type: ignore[operator]
    listener = Multimodal(SOUNDS)
    long = Exchange(**recognise({"audio": tone(3.0), "question": "What is heard?", "answer": "a tone"}))
    (row,) = listener.rows(long, tokenizer, None)
    assert row["tokens"] == []
    assert row["lost"] > 18  # type: ignore[operator]


def test_records_of_the_other_kind_and_without_files_are_refused(tokenizer: Tokenizer) -> None:
    silent = Exchange(**recognise({"question": "Who?", "answer": "Ann."}))
    heard = Exchange(**recognise({"audio": tone(0.2), "question": "Who?", "answer": "Ann."}))
    with pytest.raises(UserError, match="the training records hold no pictures; give records with files, or take the task chat"):
        Multimodal().fit([silent])
    with pytest.raises(UserError, match="the training records hold sounds, and the model reads pictures; set it to sounds"):
        Multimodal().fit([heard])
    Multimodal({"reads": "sounds"}).fit([heard, silent])


# Requests


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([image(saved(plain(), "JPEG")[:150]), "What?"], "message 1 of messages: the (picture is damaged|file is no picture)"),
        ([image(b"GIF89a"), "What?"], "message 1 of messages: the (file is no picture that can be read|picture is damaged)"),
        (
            [image(saved(Image.new("1", (7_100, 7_100)))), "What?"],
            "the picture has 50 megapixels, and at most 40 are read; make it smaller",
        ),
        (
            [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "What?"],
            "is a path or an address, and neither is opened",
        ),
        ([{"type": "image_url", "image_url": {"url": "/etc/passwd"}}, "What?"], "is a path or an address, and neither is opened here"),
        ([{"type": "image_url"}, "What?"], "message 1 of messages"),
        ([image(saved(plain()))], "message 1 of messages asks nothing; add a question"),
        ([image(saved(plain())), "  "], "message 1 of messages asks nothing; add a question"),
        ([sound(tone(0.2)), "What?"], "holds a part of type 'input_audio', and this model reads pictures"),
        ([*[image(saved(plain()))] * 40, "What?"], "the context has 128 tokens, and the conversation takes 1[0-9]{2} of them"),
        ([image(saved(plain())), "long " * 200], "the context has 128 tokens"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_sentence(parts: Sequence[Any], sentence: str, tokenizer: Tokenizer) -> None:
    task = Multimodal(SMALL)
    with pytest.raises(UserError, match=sentence):
        task.answer(model_of(task, tokenizer), tokenizer, asked(*parts))


def test_a_file_that_the_assistant_sends_is_refused(tokenizer: Tokenizer) -> None:
    task = Multimodal(SMALL)
    messages = [{"role": "assistant", "content": [image(saved(plain()))]}, {"role": "user", "content": "What?"}]
    with pytest.raises(UserError, match="message 1 of messages holds a file and is of the role assistant"):
        task.answer(model_of(task, tokenizer), tokenizer, {"messages": messages})


def test_unusual_pictures_are_read_as_what_they_show(tokenizer: Tokenizer) -> None:
    """A moving one by its first frame, CMYK, a palette, and one that its camera says is turned."""
    task = Multimodal(SMALL)
    model = model_of(task, tokenizer)
    still, other = plain("red"), plain("blue")

    def read(content: bytes) -> torch.Tensor:
        return embedded(task, model, tokenizer, asked(image(content), "What?"))

    wanted = read(saved(still))
    for content in (
        saved(still, "GIF", save_all=True, append_images=[other]), saved(still.convert("P", palette=Image.Palette.ADAPTIVE)),
        saved(still.convert("CMYK"), "TIFF"),
    ):  # fmt: skip
        torch.testing.assert_close(read(content), wanted, atol=0.3, rtol=0.05)
    half = Image.new("RGB", (20, 20))
    half.paste(still.crop((0, 0, 20, 10)), (0, 0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = saved(half, "PNG", exif=exif)
    torch.testing.assert_close(read(turned), read(saved(half.rotate(180))))
    assert not torch.allclose(read(turned), read(saved(half)), atol=0.05)


def embedded(task: Multimodal, model: nn.Module, tokenizer: Tokenizer, fields: dict[str, Any]) -> torch.Tensor:
    """What the decoder is given of a request, (1, T, W)."""
    embed = task.ask(model, tokenizer, _request(fields)).embed
    assert embed is not None
    return embed()


def _request(fields: dict[str, Any]) -> Any:
    from lodestar.build.chat import ChatRequest

    return ChatRequest.parse(fields, where="request")


def test_silence_is_heard_and_a_recording_of_three_hours_is_refused_before_it_is_read(tokenizer: Tokenizer) -> None:
    import soundfile

    task = Multimodal(SOUNDS)
    model = model_of(task, tokenizer)
    silent = task.answer(model, tokenizer, asked(sound(wave_file(np.zeros(4_000))), "What is heard?"))
    assert silent["usage"]["completion_tokens"] > 0
    for samples in (1, 7):
        assert task.answer(model, tokenizer, asked(sound(wave_file(np.zeros(samples))), "What is heard?"))["message"]
    file = io.BytesIO()
    soundfile.write(file, np.zeros(3 * 3_600 * 8_000, np.int16), 8_000, format="FLAC")
    with pytest.raises(UserError, match=r"message 1 of messages: the recording is longer than the 1.5 s that are heard; cut it"):
        task.answer(model, tokenizer, asked(sound(file.getvalue()), "What is heard?"))
    for content, sentence in ((b"RIFF", "not a recording that can be read"), (b"", "the file is empty")):
        with pytest.raises(UserError, match=f"message 1 of messages: {sentence}"):
            task.answer(model, tokenizer, asked(sound(content), "What is heard?"))
    broken = {"type": "input_audio", "input_audio": {"data": "???", "format": "wav"}}
    with pytest.raises(UserError, match="the recording is no base64"):
        task.answer(model, tokenizer, asked(broken, "What is heard?"))


def test_several_pictures_and_turns_are_read_in_their_places(tokenizer: Tokenizer) -> None:
    task = Multimodal(SMALL)
    model = model_of(task, tokenizer)
    red, blue = image(saved(plain("red"))), image(saved(plain("blue")))
    messages = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": [red, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "red"},
        {"role": "user", "content": [{"type": "text", "text": "And"}, blue, {"type": "text", "text": "?"}]},
    ]  # fmt: skip
    question = task.ask(model, tokenizer, _request({"messages": messages, "max_tokens": 2}))
    assert sum(question.files) == 8
    given = embedded(task, model, tokenizer, {"messages": messages, "max_tokens": 2})
    swapped = [
        messages[0], {"role": "user", "content": [blue, {"type": "text", "text": "What?"}]}, messages[2],
        {"role": "user", "content": [{"type": "text", "text": "And"}, red, {"type": "text", "text": "?"}]},
    ]  # fmt: skip
    other = embedded(task, model, tokenizer, {"messages": swapped, "max_tokens": 2})
    places = torch.tensor(question.files)
    torch.testing.assert_close(given[0][places][:4], other[0][places][4:])
    torch.testing.assert_close(given[0][places][4:], other[0][places][:4])
    torch.testing.assert_close(given[0][~places], other[0][~places])
    # A text that spells a placeholder is a text.
    assert sum(task.ask(model, tokenizer, _request(asked("What is <image>? \ufdd2", max_tokens=2))).files) == 0


def test_an_answer_keeps_to_a_form_and_equals_the_measured_one(tokenizer: Tokenizer) -> None:
    task = Multimodal(SMALL)
    model = model_of(task, tokenizer)
    schema = {"enum": ["red", "blue"]}
    form = {"type": "json_schema", "json_schema": {"name": "colour", "schema": schema}}
    told = task.answer(model, tokenizer, asked(image(saved(plain())), "What colour?", response_format=form, max_tokens=30))
    assert json.loads(told["message"]["content"]) in ("red", "blue")
    example = Exchange(**recognise({"image": saved(plain()), "question": "What colour?", "answer": "red"}))
    whole = task.answer(model, tokenizer, {**task.request(example), "max_tokens": 64})["message"]["content"]
    assert task.answers(model, tokenizer, [example])[0].startswith(whole)


# Quality


def test_the_baseline_says_what_is_most_often_said_to_the_question() -> None:
    def of(question: str, answer: str) -> Exchange:
        return Exchange(**recognise({"image": b"x", "question": question, "answer": answer}))

    train = [of("What?", "red"), of("What?", "blue"), of("What?", "blue"), of("Where?", "here"), of("Where?", "here"), of("Where?", "here")]
    name, columns = Multimodal().baseline(train, [of("What?", "blue"), of("What?", "red"), of("New?", "here"), of("Where?", "there")])
    assert name == "most common answer to the question"
    assert columns["exact"].tolist() == [1, 0, 1, 0]


def test_builtin_scenes_are_split_by_what_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lodestar.tasks import multimodal

    monkeypatch.setattr(multimodal, "SCENES", 12)
    monkeypatch.setattr(multimodal, "HELD_OUT", 6)
    data = DataSettings(sources=["builtin:tunes"], splits={"test": ["builtin:held-out-tunes"]}, validation=0.1, test=0, vocabulary=300)
    task = Multimodal(SOUNDS)
    prepare(task, data, tmp_path, tmp_path / "out", context=128)
    test = list(open_split(tmp_path / "out", "test").examples(task))
    learnt = list(open_split(tmp_path / "out", "train").examples(task))
    assert len({example.audios[0].sha256 for example in test}) == 6
    assert {example.audios[0].sha256 for example in test}.isdisjoint(example.audios[0].sha256 for example in learnt)
    assert task.metrics[0].name == "exact_match"


def test_recordings_are_learnt_from_as_they_are_measured(tokenizer: Tokenizer) -> None:
    """The loss of a batch of rows is that of its answers, each read by itself; and it falls."""
    task = Multimodal(SOUNDS)
    model = model_of(task, tokenizer)
    pairs = ((0.3, "low"), (0.7, "high"))
    examples = [Exchange(**recognise({"audio": tone(seconds), "question": "How high?", "answer": answer})) for seconds, answer in pairs]
    losses = []
    for rows in ([0], [1], [0, 1]):
        found = [task.encode(examples[row], tokenizer) for row in rows]
        lengths = torch.tensor([len(row["tokens"]) for row in found])  # type: ignore[arg-type]
        batch = {
            name: nn.utils.rnn.pad_sequence([torch.as_tensor(row[name]) for row in found], batch_first=True)
            for name in ("tokens", "targets", "places", "samples", "sounds")
        }
        batch["attention_mask"] = torch.arange(int(lengths.max())) < lengths[:, None]
        losses.append(task.loss(model, batch))
    assert float(losses[2][0].detach()) == pytest.approx(float(losses[0][0].detach() + losses[1][0].detach()), rel=1e-4)
    assert int(losses[2][1]) == int(losses[0][1]) + int(losses[1][1])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(40):
        loss, terms = task.loss(model, batch)
        optimizer.zero_grad()
        (loss / terms).backward()
        optimizer.step()
    assert task.answers(model, tokenizer, examples) == ["low", "high"]


def test_what_a_person_is_offered_to_try_is_of_the_kind_that_the_model_reads() -> None:
    assert all(example.audios for example in Multimodal({"reads": "sounds"}).shown())  # type: ignore[attr-defined]
    assert all(example.images for example in Multimodal().shown())  # type: ignore[attr-defined]


# Front ends and bases


@pytest.fixture
def viewer(tmp_path: Path) -> Path:
    """A release of image-classification."""
    task = find("image-classification")({"size": 16, "patch": 4, "pooling": "token"})
    task.fit(task.sample())
    config = ModelConfig.from_dict({"width": 16, "depth": 2, "heads": 2, **task.architecture()})
    torch.manual_seed(1)
    save_bundle(tmp_path / "viewer", Bundle(task.build(config), config, special_tokenizer(), task.describe()))
    return tmp_path / "viewer"


def about_red() -> Exchange:
    return Exchange(**recognise({"image": saved(plain()), "question": "What colour?", "answer": "red"}))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_tower_begins_as_a_classifiers_encoder(viewer: Path, tokenizer: Tokenizer, frozen: bool, tmp_path: Path) -> None:
    task = find("multimodal")({**SMALL, "front": str(viewer), "frozen": frozen})
    assert isinstance(task, Multimodal)
    task.fit([about_red()])
    model = model_of(task, tokenizer)
    task.begin(model, tokenizer, [])
    assert isinstance(model, MultimodalDecoder)
    theirs = load_bundle(viewer, lambda described, config: load(described).build(config)).model
    pixels = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model.tower.encoder.hidden(pixels), theirs.hidden(pixels))  # type: ignore[operator]
    assert all(parameter.requires_grad != frozen for parameter in model.tower.parameters())
    # Without the front's folder the model can be used all the same.
    save_bundle(tmp_path / "made", Bundle(model, model.config, tokenizer, task.describe()))
    for file in viewer.iterdir():
        file.unlink()
    again = load_bundle(tmp_path / "made", lambda described, config: load(described).build(config))
    request = task.request(about_red())
    assert load(again.task).answer(again.model, tokenizer, request) == task.answer(model, tokenizer, request)
    with pytest.raises(UserError, match="is not the model that it was when the data was prepared"):
        task.begin(model, tokenizer, [])


def test_a_tower_begins_as_a_recognisers_encoder(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for architecture in ("ctc", "encoder-decoder"):
        their_task = find("speech-recognition")({"rate": 8000, "bands": 20, "architecture": architecture})
        shape = {"vocabulary_size": 300, "width": 16, "depth": 1, "heads": 2, "context": 64, **their_task.architecture()}
        config = ModelConfig(**shape)
        theirs = their_task.build(config).eval()
        folder = tmp_path / architecture
        save_bundle(folder, Bundle(theirs, config, tokenizer, their_task.describe()))
        task = Multimodal({**SOUNDS, "front": str(folder)})
        task.fit([Exchange(**recognise({"audio": tone(0.3), "question": "What is heard?", "answer": "a tone"}))])
        model = model_of(task, tokenizer)
        task.begin(model, tokenizer, [])
        assert isinstance(model, MultimodalDecoder)
        samples = torch.randn(1, 3_000) * 0.1
        with torch.inference_mode():
            ours, expected = (one.encode(samples)[0] for one in (model.tower.encoder.eval(), theirs))  # type: ignore[operator]
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 32}, "was trained with size: 16, and here it is 32; set it to 16"),
        ({"reads": "sounds"}, "holds a model of the task image-classification, and the front end is to read sounds"),
        ({"front": "/nowhere"}, "/nowhere holds no model of Lodestar's"),
    ],
)
def test_a_front_end_that_does_not_fit_is_refused(viewer: Path, options: dict[str, Any], sentence: str) -> None:
    task = Multimodal({**SMALL, "front": str(viewer), **options})
    example = about_red()
    if options.get("reads") == "sounds":
        example = Exchange(**recognise({"audio": tone(0.2), "question": "What?", "answer": "a tone"}))
    with pytest.raises(UserError, match=sentence):
        task.fit([example])


def test_what_must_agree_with_a_front_end_stands_for_the_same_where_it_is_left_out() -> None:
    from lodestar.build.front_end import DEFAULTS

    ours = {name: field.default for name, field in Options.model_fields.items() if name in DEFAULTS}
    assert ours == dict(DEFAULTS)
    for name, its in (("image-classification", DEFAULTS.keys() - {"rate", "bands"}), ("speech-recognition", {"rate", "bands"})):
        chosen = find(name)().chosen  # type: ignore[attr-defined]
        assert {each: getattr(chosen, each) for each in its} == {each: DEFAULTS[each] for each in its}


def test_data_urls_in_records_are_read(tokenizer: Tokenizer) -> None:
    url = f"data:image/png;base64,{base64.b64encode(saved(plain())).decode()}"
    example = Exchange.model_validate(recognise({"image": url, "question": "What colour?", "answer": "red"}))
    assert example.images[0].read() == saved(plain())
