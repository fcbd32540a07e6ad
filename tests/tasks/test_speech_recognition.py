"""The speech task: what is learnt of a recording, what is refused, how long recordings and language models are dealt with."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from lodestar.build.speech import BLANK, INT16
from lodestar.contracts.errors import UserError
from lodestar.contracts.media import Recording
from lodestar.contracts.settings import DataSettings
from lodestar.contracts.task import MODEL_LENGTH
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.ngram import ByteNGram
from lodestar.model.config import ModelConfig
from lodestar.prepare import open_split, prepare
from lodestar.prepare.robot_voice import RATE, Voice, say, wave_file
from lodestar.prepare.tokenizer import train_tokenizer
from lodestar.tasks.speech_recognition import SpeechRecognition, Utterance

OPTIONS = {"rate": 8000, "bands": 24}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([text for example in SpeechRecognition.sample() for text in SpeechRecognition().texts(example)], 300)


def untrained(task: SpeechRecognition, tokenizer: Tokenizer, context: int = 64) -> nn.Module:
    torch.manual_seed(0)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 1, "heads": 2, "context": context, "initial_std": 0.3}
    return task.build(ModelConfig(**{**shape, **task.architecture()})).eval()


def spoken(*words: str, text: str | None = None) -> Utterance:
    return Utterance(audio=Recording.of(wave_file(say(words, Voice(), 0)), "a.wav"), text=" ".join(words) if text is None else text)


def test_a_row_holds_the_samples_the_tokens_and_the_frames(tokenizer: Tokenizer) -> None:
    example = spoken("yes", "moon", text="Yes, MOON!")
    row = SpeechRecognition(OPTIONS).encode(example, tokenizer)
    samples = row["samples"]
    assert isinstance(samples, np.ndarray)
    assert samples.dtype == np.int16
    np.testing.assert_allclose(samples / INT16, say(["yes", "moon"], Voice(), 0), atol=1e-4)
    assert tokenizer.decode(row["tokens"]) == "yes moon"  # type: ignore[arg-type]
    assert row[MODEL_LENGTH] == -(-len(samples) // 160)
    assert row["lost"] == 0
    as_it_stands = SpeechRecognition({**OPTIONS, "normalize": False}).encode(example, tokenizer)
    assert tokenizer.decode(as_it_stands["tokens"]) == "Yes, MOON!"  # type: ignore[arg-type]


def test_a_recording_too_short_for_its_text_is_left_out_and_counted(tokenizer: Tokenizer) -> None:
    row = SpeechRecognition(OPTIONS).encode(spoken("yes", text="a text that nobody says in half a second, however fast"), tokenizer)
    assert (row["tokens"], row[MODEL_LENGTH]) == ([], 0)
    assert row["lost"] > 20  # type: ignore[operator]


def test_a_recording_that_no_context_holds_at_its_slowest_is_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    example = spoken("yes", "moon")
    frames = int(SpeechRecognition(OPTIONS).encode(example, tokenizer)[MODEL_LENGTH])  # type: ignore[arg-type]
    task = SpeechRecognition({**OPTIONS, "slowest": 0.8})
    (fits,) = task.rows(example, tokenizer, 1 - (-frames * 10 // 8))
    assert fits[MODEL_LENGTH] == frames
    (left_out,) = task.rows(example, tokenizer, frames)
    assert (left_out["tokens"], left_out[MODEL_LENGTH], left_out["lost"]) == ([], 0, 1 - (-frames * 10 // 8))
    for words in (["yes"], ["no"], ["yes", "no", "moon", "sail"]):
        write(tmp_path / "words", f"{'_'.join(words)}/a.wav", say(words, Voice(), 0))
    data = DataSettings(sources=["words"], validation=0, test=0, vocabulary=300)
    prepare(SpeechRecognition(OPTIONS), data, tmp_path, tmp_path / "data", context=40)
    split = open_split(tmp_path / "data", "train")
    assert sorted(length > 0 for length in split.lengths) == [False, True, True]
    with pytest.raises(UserError, match=r"1 records of train are longer than the context of 40 tokens \(the longest has \d\d+\)"):
        prepare(SpeechRecognition(OPTIONS), data.model_copy(update={"too_long": "refuse"}), tmp_path, tmp_path / "more", context=40)


def test_the_loss_is_ctcs_and_only_training_alters_recordings(tokenizer: Tokenizer) -> None:
    task = SpeechRecognition({**OPTIONS, "noise": 0.5})
    model = untrained(task, tokenizer)
    rows = [task.encode(example, tokenizer) for example in (spoken("yes"), spoken("moon", "sail"))]
    lengths = [len(row["samples"]) for row in rows]  # type: ignore[arg-type]
    batch = {
        "samples": nn.utils.rnn.pad_sequence([torch.from_numpy(row["samples"]) for row in rows], batch_first=True),
        "samples_mask": torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
        "tokens": nn.utils.rnn.pad_sequence([torch.tensor(row["tokens"]) for row in rows], batch_first=True, padding_value=tokenizer.pad),
    }
    tokens = torch.tensor([len(row["tokens"]) for row in rows])  # type: ignore[arg-type]
    batch["attention_mask"] = torch.arange(int(tokens.max())) < tokens[:, None]
    loss, terms = task.loss(model, batch)
    assert int(terms) == int(tokens.sum())
    expected = 0.0
    for row in rows:
        logits, _ = model(torch.from_numpy(row["samples"])[None] / INT16)
        log = logits.log_softmax(-1).transpose(0, 1)
        targets = torch.tensor(row["tokens"])
        sizes = torch.tensor([len(log)]), torch.tensor([len(targets)])
        expected += float(nn.functional.ctc_loss(log, targets[None], *sizes, blank=BLANK, reduction="sum").detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    again, _ = task.loss(model, batch)
    assert float(again.detach()) == float(loss.detach())
    model.train()
    torch.manual_seed(0)
    altered, _ = task.loss(model, batch)
    assert float(altered.detach()) != float(loss.detach())
    torch.manual_seed(0)
    same, _ = task.loss(model, batch)
    assert float(same.detach()) == float(altered.detach())


def write(folder: Path, name: str, samples: np.ndarray, rate: int = RATE) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, samples, rate)


def test_folders_and_tables_of_recordings_are_prepared(tmp_path: Path) -> None:
    for place, words in enumerate([["yes"], ["no"], ["yes", "no"]] * 3):
        folder = "_".join(words)
        write(tmp_path / "words", f"{folder}/{place}.flac", say(words, Voice(100 + place), place))
        write(
            tmp_path / "table", f"clips/{place}.wav", np.repeat(say(words, Voice(90 + place), place), 2).reshape(-1, 1).repeat(2, 1), 16_000
        )
    lines = "".join(f"clips/{place}.wav\t{text}\n" for place, text in enumerate(["Yes.", "No.", "Yes, no!"] * 3))
    (tmp_path / "table" / "list.tsv").write_text("path\tsentence\n" + lines)
    made = {}
    for source, columns in (("words", {}), ("table", {"audio": "path", "text": "sentence"})):
        task = SpeechRecognition(OPTIONS)
        data = DataSettings(sources=[source], columns=columns, validation=0, test=0, vocabulary=300)
        prepare(task, data, tmp_path, tmp_path / f"{source}-data", context=128)
        split = open_split(tmp_path / f"{source}-data", "train")
        assert split.records == 9
        made[source] = sorted(task.written(example.text) for example in split.examples(task))
        samples = split.arrays["samples"][0]
        assert 0.2 * RATE < len(samples) < 1.5 * RATE
        assert np.abs(samples).max() > 3_000
    assert made["words"] == made["table"] == sorted(["yes", "no", "yes no"] * 3)


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    write(tmp_path, "yes/a.wav", say(["yes"], Voice(), 0))
    (tmp_path / "yes" / "b.wav").write_bytes(b"RIFF, but no more than that")
    with pytest.raises(UserError, match=r"b\.wav: not a recording that can be read") as refused:
        prepare(SpeechRecognition(OPTIONS), DataSettings(sources=["yes"], validation=0, test=0), tmp_path, tmp_path / "data", context=128)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "data").exists()


def test_three_hours_are_heard_in_little_memory(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Silence but for a word at the end of each hour."""
    task = SpeechRecognition({"rate": 4_000, "bands": 16})
    model = untrained(task, tokenizer)
    word = say(["moon"], Voice(), 0)[::2]
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 4_000, 1, subtype="PCM_16") as file:
        for _ in range(3):
            for _ in range(60):
                file.write(np.zeros(4_000 * 60 - 400, np.float32))
            file.write(np.pad(word, (400 * 60 - len(word), 0)))
    recording = Recording.of((tmp_path / "long.wav").read_bytes())
    tracemalloc.start()
    answer = task.answer(model, tokenizer, {"file": recording, "response_format": "verbose_json"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer["duration"] == pytest.approx(3 * 3_600, abs=1)
    assert answer["segments"]
    assert peak < 60 << 20  # all samples as float32 would be 173 MB
    assert answer["segments"][0]["start"] > 3_590


def test_n_grams_of_the_transcripts_have_a_say(tokenizer: Tokenizer) -> None:
    task = SpeechRecognition({**OPTIONS, "language_model": "transcripts", "language_weight": 2.0})
    task.fit(SpeechRecognition.sample())
    assert "sail" in " ".join(task.state["transcripts"])
    again = SpeechRecognition(task.options, task.state)
    model = untrained(again, tokenizer)
    examples = list(SpeechRecognition.sample())[:3]
    with_model = again.heard(model, tokenizer, examples)
    without = SpeechRecognition(OPTIONS).heard(model, tokenizer, examples)
    assert with_model != without
    scorer = ByteNGram(task.state["transcripts"])

    def mean(texts: Sequence[str]) -> float:
        return float(
            np.mean([score / (len(text) + 1) for text, score in zip(texts, scorer.log_probabilities(texts, whole=True), strict=True)])
        )

    assert mean(with_model) > mean(without)


def test_a_language_model_that_is_none_is_refused_before_training() -> None:
    task = SpeechRecognition({**OPTIONS, "language_model": "nowhere"})
    with pytest.raises(UserError, match="nowhere"):
        task.fit([])


def test_an_encoder_decoder_is_trained_by_both_losses_and_answers(tokenizer: Tokenizer) -> None:
    task = SpeechRecognition({**OPTIONS, "architecture": "encoder-decoder", "beams": 2})
    model = untrained(task, tokenizer)
    row = task.encode(spoken("yes", "no"), tokenizer)
    tokens = torch.tensor(row["tokens"])[None]
    batch = {
        "samples": torch.from_numpy(row["samples"])[None], "samples_mask": torch.ones(1, len(row["samples"]), dtype=torch.bool),  # type: ignore[arg-type]
        "tokens": tokens, "attention_mask": torch.ones_like(tokens, dtype=torch.bool),
    }  # fmt: skip
    loss, terms = task.loss(model, batch)
    loss.backward()
    assert int(terms) == tokens.shape[1]
    assert all(parameter.grad is not None for name, parameter in model.named_parameters()), "every weight learns"
    answer = task.answer(model, tokenizer, {"file": spoken("yes").audio, "response_format": "srt"})
    assert answer["text"] == "" or "-->" in answer["text"]
    with pytest.raises(UserError, match="its language model; leave language_model out"):
        SpeechRecognition({"architecture": "encoder-decoder", "language_model": "transcripts"})


def test_n_grams_know_how_texts_begin_and_end() -> None:
    texts = ["abc", "abd", "ab", ""]
    scorer = ByteNGram(["abc abd", "abd", "xyz 海"], order=3)
    whole = scorer.log_probabilities(texts, whole=True)
    np.testing.assert_allclose(whole, -scorer.document_columns(texts)["nats"])
    begins = scorer.log_probabilities(texts, whole=False)
    assert begins[3] == 0.0
    assert all(begin > all_of_it for begin, all_of_it in zip(begins, whole, strict=True))
    # What begins with ab goes on with one of all bytes, or ends.
    goes_on = [scorer.log_probabilities([f"ab{chr(code)}"], whole=False)[0] for code in range(1, 128)]
    assert np.logaddexp.reduce([*goes_on, whole[2]]) < begins[2]


def test_bad_requests_are_refused_in_one_sentence(tokenizer: Tokenizer) -> None:
    task = SpeechRecognition(OPTIONS)
    model = untrained(task, tokenizer)
    held = io.BytesIO()
    soundfile.write(held, np.zeros((96_000, 2)), 96_000, format="WAV")
    assert task.answer(model, tokenizer, {"file": Recording.of(held.getvalue())})["text"] == ""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "the field 'file' is missing"),
        ({"file": Recording.of(b"no sound")}, "not a recording that can be read"),
        ({"file": "speech.wav"}, "is a path or an address, and neither is opened here"),
    ]
    for request, sentence in wrong:
        with pytest.raises(UserError, match=sentence) as refused:
            task.answer(model, tokenizer, request)
        assert "\n" not in str(refused.value)
