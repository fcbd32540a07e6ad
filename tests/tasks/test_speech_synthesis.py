"""The synthesis task: what is learnt of a recording, what is left out or refused, the round trip, and recordings that a program makes."""

from __future__ import annotations

import base64
import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from lodestar import tasks
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.reading_aloud import Reader
from lodestar.build.synthesis import INT16, SpeechSynthesizer, Voices, spread
from lodestar.contracts.errors import UserError
from lodestar.contracts.media import Recording
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.symbols import EDGE, GAP, Symbol
from lodestar.contracts.task import MODEL_LENGTH
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.system import answer_all
from lodestar.model.config import ModelConfig
from lodestar.prepare import open_split, prepare
from lodestar.prepare.robot_voice import Voice, say, wave_file
from lodestar.prepare.tokenizer import special_tokenizer, train_tokenizer
from lodestar.tasks.speech_synthesis import Reading, SpeechSynthesis

OPTIONS = {"rate": 8000, "bands": 24}
STATE = {"symbols": [EDGE, GAP, *"aeilmnorstwy", "X", "ING", "H", "AI"], "voices": ["bass", "treble"], "measured": {"count": 2}}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return special_tokenizer(())


def untrained(task: SpeechSynthesis, context: int = 200) -> SpeechSynthesizer:
    torch.manual_seed(0)
    model = task.build(ModelConfig(**{"width": 32, "depth": 1, "heads": 2, "context": context, "initial_std": 0.3, **task.architecture()}))
    assert isinstance(model, SpeechSynthesizer)
    return model.eval()


def recorded(*words: str, text: str | None = None, voice: str = "bass") -> Reading:
    content = wave_file(say(words, Voice(), 0))
    return Reading(audio=Recording.of(content, "a.wav"), text=" ".join(words) if text is None else text, voice=voice)


def of_samples(samples: np.ndarray, rate: int, text: str = "moon") -> Reading:
    held = io.BytesIO()
    soundfile.write(held, samples, rate, format="WAV")
    return Reading(audio=Recording.of(held.getvalue(), "b.wav"), text=text, voice="bass")


def test_a_row_holds_the_symbols_the_samples_the_pitch_and_the_voice(tokenizer: Tokenizer) -> None:
    row: Any = SpeechSynthesis(OPTIONS, STATE).encode(recorded("yes", "moon", voice="treble"), tokenizer)
    assert "".join(STATE["symbols"][place] for place in row["symbols"]) == "_yes moon_"  # type: ignore[index]
    assert not row["tones"].any()
    assert row["samples"].dtype == np.int16
    assert np.abs(row["samples"]).max() > INT16 // 10
    assert row["voice"] == 1
    assert row[MODEL_LENGTH] == len(row["pitch"]) == -(-len(row["samples"]) // 100)
    voiced = row["pitch"][row["pitch"] > 0]
    assert 100 < np.median(voiced) < 140
    tones: Any = SpeechSynthesis(OPTIONS, STATE).encode(recorded("星", "海"), tokenizer)
    assert tones["tones"].tolist() == [0, 0, 1, 0, 0, 3, 0]


@pytest.mark.parametrize(
    "example",
    [
        recorded("moon", text="a moon 😀"),
        recorded("moon", text="queue"),  # a letter that no training text has
        recorded("moon", text=""),
        recorded("moon", text="at noon no one sails at sea in rain or in wet as two men as tall as I am or as well"),
        recorded("moon", voice="tenor"),
        of_samples(np.zeros(8_000), 8_000),
    ],
    ids=["emoji", "unknown letter", "no text", "too short", "unknown voice", "silence"],
)
def test_what_cannot_be_learnt_from_is_left_out_and_counted(tokenizer: Tokenizer, example: Reading) -> None:
    row: Any = SpeechSynthesis(OPTIONS, STATE).encode(example, tokenizer)
    assert row[MODEL_LENGTH] == len(row["samples"]) == len(row["symbols"]) == 0
    assert row["lost"] > 0 or not example.text


def test_a_recording_of_three_hours_is_left_out_without_being_read_whole(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 4_000, 1, subtype="PCM_16") as file:
        minute = 0.1 * np.sin(np.arange(60 * 4_000) * 0.2)
        for _ in range(180):
            file.write(minute)
    example = Reading(audio=Recording.of((tmp_path / "long.wav").read_bytes(), "long.wav"), text="moon", voice="bass")
    (row,) = SpeechSynthesis(OPTIONS, STATE).rows(example, tokenizer, 128)
    assert row[MODEL_LENGTH] == 0
    assert 128 < row["lost"] < 180 * 60 * 80  # type: ignore[operator]


def test_stereo_of_96_khz_is_what_it_sounds_like(tokenizer: Tokenizer) -> None:
    """Twelve times as many samples, on two channels: the same word."""
    word = say(["moon"], Voice(), 0)
    wide = np.repeat(word, 12)[:, None].repeat(2, 1)
    task = SpeechSynthesis(OPTIONS, STATE)
    ours: Any = task.encode(of_samples(wide, 96_000), tokenizer)
    plain: Any = task.encode(recorded("moon"), tokenizer)
    assert abs(ours[MODEL_LENGTH] - plain[MODEL_LENGTH]) <= 1
    both = (ours["pitch"][:20] > 0) & (plain["pitch"][:20] > 0)
    np.testing.assert_allclose(ours["pitch"][:20][both], plain["pitch"][:20][both], rtol=0.03)


def test_texts_that_cannot_be_said_are_told_of_and_a_damaged_recording_is_named(tmp_path: Path) -> None:
    for name, words in (("yes", ["yes"]), ("no", ["no"]), ("日本です", ["moon"])):
        (tmp_path / "words" / name).mkdir(parents=True)
        (tmp_path / "words" / name / "a.wav").write_bytes(wave_file(say(words, Voice(), 0)))
    task = SpeechSynthesis(OPTIONS)
    data = DataSettings(sources=["words"], validation=0, test=0)
    prepare(task, data, tmp_path, tmp_path / "data", context=128)
    assert task.state["symbols"] == ["_", "e", "n", "o", "s", "y"]
    assert task.state["voices"] == ["default"]
    assert sorted(length > 0 for length in open_split(tmp_path / "data", "train").lengths) == [False, True, True]
    (tmp_path / "words" / "yes" / "b.wav").write_bytes(b"RIFF, but no more than that")
    with pytest.raises(UserError, match=r"b\.wav: not a recording that can be read") as refused:
        prepare(SpeechSynthesis(OPTIONS), data, tmp_path, tmp_path / "more", context=128)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "more").exists()
    with pytest.raises(UserError, match="no training record has a text that can be said"):
        SpeechSynthesis(OPTIONS).fit([recorded("yes", text="です")])
    with pytest.raises(UserError, match="nothing is said in the training recordings"):
        SpeechSynthesis(OPTIONS).fit([of_samples(np.zeros(8_000), 8_000)])


def test_frames_are_spread_as_durations_say() -> None:
    places, along, mask = spread(torch.tensor([[2, 0, 3], [1, 1, 0]]))
    assert places[0].tolist() == [0, 0, 2, 2, 2]
    assert places[1, :2].tolist() == [0, 1]
    assert mask.tolist() == [[True] * 5, [True, True, False, False, False]]
    torch.testing.assert_close(along[0, :, 0], torch.tensor([1 / 4, 3 / 4, 1 / 6, 1 / 2, 5 / 6]))
    torch.testing.assert_close(along[0, :, 0] + along[0, :, 1], torch.ones(5))


def test_every_weight_learns(tokenizer: Tokenizer) -> None:
    task = SpeechSynthesis(OPTIONS, STATE)
    model = untrained(task).train()
    rows: list[Any] = [task.encode(example, tokenizer) for example in (recorded("yes"), recorded("moon", "sail"))]
    batch: dict[str, torch.Tensor] = {"voice": torch.tensor([row["voice"] for row in rows])}
    for name in task.arrays:
        parts = [torch.from_numpy(np.asarray(row[name], task.arrays[name].dtype)) for row in rows]
        batch[name] = nn.utils.rnn.pad_sequence(parts, batch_first=True)
        batch[f"{name}_mask"] = torch.arange(batch[name].shape[1]) < torch.tensor([len(part) for part in parts])[:, None]
    loss, terms = task.loss(model, batch)
    loss.backward()
    assert int(terms) == sum(row[MODEL_LENGTH] for row in rows)
    assert [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ] == []
    model.eval()
    again, same = (float(task.loss(model, batch)[0].detach()) for _ in range(2))
    assert again == same
    padded = float(task.loss(model, {name: value[:1] for name, value in batch.items()})[0].detach())
    alone = {name: value[:1] for name, value in batch.items()}
    for name in task.arrays:
        length = int(batch[f"{name}_mask"][0].sum())
        alone |= {name: alone[name][:, :length], f"{name}_mask": alone[f"{name}_mask"][:, :length]}
    assert padded == pytest.approx(float(task.loss(model, alone)[0].detach()), rel=1e-4)


def test_a_long_sentence_is_said_in_parts_and_a_long_word_is_refused() -> None:
    task = SpeechSynthesis(OPTIONS, STATE)
    reader = Reader(untrained(task, context=24), STATE["symbols"], 0)  # type: ignore[arg-type]
    word = [Symbol(letter) for letter in "moon"]
    said = [Symbol(EDGE), *word, Symbol(GAP), *word, Symbol(GAP), *word, Symbol(GAP), *word, Symbol(GAP), *word, Symbol(EDGE)]
    pieces = list(reader.pieces([said]))
    assert len(pieces) > 1
    spelled = "".join(sound.symbol for piece in pieces for sound in piece.sounds)
    assert spelled.replace("_", "").replace(" ", "") == "moon" * 5
    times = [sound.start for piece in pieces for sound in piece.sounds]
    assert times == sorted(times)
    with pytest.raises(UserError, match="longer than the model says at once") as refused:
        list(reader.pieces([[Symbol(EDGE), *word * 10, Symbol(EDGE)]]))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("vocoder", ["neural", "griffin-lim"])
def test_an_answer_is_a_file_with_the_times_of_its_sounds(tokenizer: Tokenizer, vocoder: str) -> None:
    task = SpeechSynthesis({**OPTIONS, "vocoder": vocoder}, STATE)
    model = untrained(task)
    answer = task.answer(model, tokenizer, {"input": "moon. sail", "voice": "treble", "response_format": "wav"})
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(answer["audio"])))
    assert rate == 8_000
    assert answer["usage"]["seconds"] == pytest.approx(len(samples) / rate)
    assert "".join(sound["symbol"] for sound in answer["sounds"]) == "_moon__sail_"
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() > 1e-4
    assert task.answer(model, tokenizer, {"input": "moon. sail", "voice": "treble", "response_format": "wav"}) == answer


def test_the_alignment_of_a_recording_has_each_symbol_in_its_order() -> None:
    task = SpeechSynthesis(OPTIONS, STATE)
    samples, pitch = task.spoken(recorded("yes", "moon").audio)
    reader = task.reader(untrained(task), "bass")
    durations = reader.align(task.said("yes moon"), samples)
    assert len(durations) == len("_yes moon_")
    assert int(durations.sum()) == len(pitch)
    assert (durations >= 1).all()
    assert not reader.align(task.said("yes moon"), samples[:500]).any()


def test_the_round_trip_is_heard_by_a_release_of_the_recogniser(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recognition = tasks.find("speech-recognition")({"rate": 8000, "bands": 24, "beams": 1})
    words = train_tokenizer([text for example in recognition.sample() for text in recognition.texts(example)], 300)
    config = ModelConfig(
        vocabulary_size=words.vocabulary_size, width=32, depth=1, heads=2, context=64, initial_std=0.3, **recognition.architecture()
    )  # fmt: skip
    torch.manual_seed(0)
    save_bundle(tmp_path / "ear", Bundle(recognition.build(config), config, words, recognition.describe()))
    task = SpeechSynthesis({**OPTIONS, "recognizer": str(tmp_path / "ear")}, STATE)
    examples = [recorded("moon"), recorded("sail", "moon"), of_samples(np.zeros(8_000), 8_000)]
    found = task.measure(untrained(task), tokenizer, examples)
    assert {"mcd", "heard_mcd", "length_error", "word_errors", "words"} <= set(found)
    assert found["words"].tolist() == [1, 2, 1]
    assert np.isnan(found["mcd"]).tolist() == [False, False, True]
    scores = {metric.name: metric.compute(found) for metric in task.metrics}
    assert all(np.isfinite(value) for value in scores.values())
    told = task.findings(found, examples, [])
    assert told is not None
    assert "1 of 3 records are silent" in told.sentences[0].en
    assert told.pictures["spoken"].zh.startswith("<svg")
    assert "模型所说" in told.pictures["spoken"].zh
    name, baseline = task.baseline([recorded("moon"), recorded("sail", "moon")], examples[:2])
    assert name == "mean sounds"
    assert baseline["mcd"][0] > 1
    assert SpeechSynthesis(OPTIONS).metrics == task.metrics[:3]


def test_what_is_refused_is_not_timed(tokenizer: Tokenizer) -> None:
    task = SpeechSynthesis(OPTIONS, STATE)
    model = untrained(task)
    rows = answer_all(task, model, tokenizer, [recorded("moon", text=text) for text in ("moon", "queue", "sail", "日本です", "moon")])
    assert 0 < len(rows["latency_ms"]) < 20
    assert all(seconds > 0 for seconds in rows["sound_ms"])
    with pytest.raises(UserError, match="never heard"):
        answer_all(task, model, tokenizer, [recorded("moon", text="queue")])


def test_a_folder_that_hears_nothing_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    other = SpeechSynthesis(OPTIONS, STATE)
    model = untrained(other)
    save_bundle(tmp_path / "mouth", Bundle(model, model.config, tokenizer, other.describe() | {"task": "speech-synthesis"}))
    for folder, sentence in ((tmp_path / "mouth", "holds a model of the task speech-synthesis"), (tmp_path / "none", "no such folder")):
        task = SpeechSynthesis({**OPTIONS, "recognizer": str(folder)}, STATE)
        with pytest.raises(UserError, match=sentence):
            task.fit([recorded("moon")])


def test_espeak_makes_the_recordings_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from lodestar.prepare.espeak import grammar, say

    assert len(set(grammar("en", 300))) == len(set(grammar("zh", 300))) == 300
    assert grammar("en", 20) == grammar("en", 300)[:20]
    if shutil.which("espeak-ng"):
        content = say("The cook saw the red lamp.")
        samples, rate = soundfile.read(io.BytesIO(content))
        assert 1 < len(samples) / rate < 4
        with pytest.raises(UserError, match="does not say it with the voice 'nobody'"):
            say("hello", voice="nobody")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="install it with: sudo apt-get install espeak-ng") as refused:
        say("hello")
    assert "\n" not in str(refused.value)


def test_voices_are_measured() -> None:
    mel, pitch = np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([0.0, np.exp(4.0), np.exp(6.0)])
    assert dataclasses.asdict(Voices.measured([mel], [pitch], 2)) == pytest.approx(
        {"mel_mean": 4.0, "mel_deviation": 5**0.5, "pitch_mean": 5.0, "pitch_deviation": 1.0, "count": 2}
    )
    assert Voices.measured([mel], [np.zeros(3)], 1).pitch_mean == 5.0
