"""The recogniser: what padding, chunks and pauses change, which is nothing; and how recordings are altered in training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from lodestar.build.ctc import ctc_loss
from lodestar.build.scorer import TransformerScorer
from lodestar.build.spectrogram import MelSettings, SpecAugment
from lodestar.build.speech import BLANK, END, Augmentation, Listener, Segment, SpeechRecognizer, joined, nearest, writing_loss
from lodestar.build.transcripts import subrip, verbose, webvtt
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.robot_voice import RATE, WORDS, Voice, sample, say, wave_file
from lodestar.prepare.sound import read_sound

SETTINGS = MelSettings.at(8_000, 24)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    backend = Backend(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["yes no sea moon wind rain star sail", "是不海月风雨星帆"] * 3, trainer)
    return Tokenizer(backend)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> SpeechRecognizer:
    torch.manual_seed(0)
    config = ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size, width=32, depth=2, heads=2, context=64, architecture="encoder", initial_std=0.3
    )  # fmt: skip
    return SpeechRecognizer(config, SETTINGS).eval()


def speech(*words: str) -> np.ndarray:
    return say(words, Voice(), 0)


def test_padding_and_company_change_no_logit(model: SpeechRecognizer) -> None:
    recordings = [speech("yes"), speech("moon", "sail"), speech("雨")]
    samples = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in recordings], batch_first=True)
    mask = torch.arange(samples.shape[1]) < torch.tensor([len(one) for one in recordings])[:, None]
    with torch.inference_mode():
        together, frames = model(samples, mask)
        for row, one in enumerate(recordings):
            alone, (count,) = model(torch.from_numpy(one)[None])
            assert int(frames[row]) == int(count) == alone.shape[1] == -(-len(one) // model.frame_samples)
            assert (together[row, :count] - alone[0]).abs().max() < 2e-4


@pytest.mark.parametrize("architecture", ["encoder", "encoder-decoder"])
def test_it_learns_to_write_what_it_hears(tokenizer: Tokenizer, architecture: Literal["encoder", "encoder-decoder"]) -> None:
    torch.manual_seed(0)
    config = ModelConfig(vocabulary_size=tokenizer.vocabulary_size, width=32, depth=1, heads=2, context=64, architecture=architecture)
    model = SpeechRecognizer(config, SETTINGS)
    texts = ["yes", "雨", "sail"]
    recordings = [torch.from_numpy(speech(text)) for text in texts]
    samples = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True)
    mask = torch.arange(samples.shape[1]) < torch.tensor([len(one) for one in recordings])[:, None]
    tokens = [torch.tensor(tokenizer.encode(text)) for text in texts]
    targets, lengths = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True), torch.tensor([len(one) for one in tokens])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(80):
        memory, frames = model.encode(samples, mask)
        loss, _ = ctc_loss(model.named(memory), frames, targets, lengths, BLANK)
        if model.writes:
            loss = 0.3 * loss + 0.7 * writing_loss(model, memory, frames, targets, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    listener = Listener(model, tokenizer, beams=2)
    assert listener.texts([one.numpy() for one in recordings]) == texts
    for one, text in zip(recordings, texts, strict=True):
        (segment,) = listener.segments(np.array_split(one.numpy(), 5))
        assert segment.text == text
        assert 0 <= segment.start < segment.end <= len(one) / RATE + 0.02
        assert [word for word, _, _ in segment.words] == [text]


def test_the_writing_loss_is_of_each_token_and_the_end(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 1, "heads": 2, "context": 64, "initial_std": 0.3}
    model = SpeechRecognizer(ModelConfig(**shape, architecture="encoder-decoder"), SETTINGS).eval()  # type: ignore[arg-type]
    recordings = [torch.from_numpy(speech("yes")), torch.from_numpy(speech("moon", "sail"))]
    samples = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True)
    mask = torch.arange(samples.shape[1]) < torch.tensor([len(one) for one in recordings])[:, None]
    texts = [[5, 6], [7, 8, 9]]
    memory, frames = model.encode(samples, mask)
    loss = writing_loss(model, memory, frames, torch.tensor([[5, 6, 99], [7, 8, 9]]), torch.tensor([2, 3]))
    expected = 0.0
    for one, text in zip(recordings, texts, strict=True):
        alone, _ = model.encode(one[None])
        logits = model.transformer(torch.tensor([[END, *text]]), memory=alone)[0]
        expected -= float(logits.log_softmax(-1).gather(1, torch.tensor([*text, END])[:, None]).sum().detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    with torch.inference_mode():
        written = model.write(memory[0, : frames[0]], 8, beams=1)
        by_hand: list[int] = []
        while len(by_hand) < 8:
            token = int(model.transformer(torch.tensor([[END, *by_hand]]), memory=memory[:1, : frames[0]])[0, -1].argmax())
            if token == END:
                break
            by_hand.append(token)
    assert written == by_hand


# --- Long recordings ---


def said(listener: Listener, chunks: list[list[int]]) -> list[Segment]:
    """The segments of frames that say these tokens for certain, in chunks."""
    size = listener.model.config.vocabulary_size

    def certain(tokens: list[int]) -> np.ndarray:
        log_TV = np.full((len(tokens), size), -20.0, np.float32)
        log_TV[np.arange(len(tokens)), tokens] = -0.001
        return log_TV

    return list(listener._said(map(certain, chunks)))


def test_pauses_cut_segments_wherever_chunks_do(model: SpeechRecognizer, tokenizer: Tokenizer) -> None:
    listener = Listener(model, tokenizer)
    yes, no, moon = (tokenizer.encode(word) for word in ("yes", " no", "moon"))
    frames = [BLANK] * 10 + [*yes, BLANK, BLANK, *no] + [BLANK] * 50 + [*moon] + [BLANK] * 5
    whole = said(listener, [frames])
    assert [segment.text for segment in whole] == ["yes no", "moon"]
    second = 10 + len(yes) + 2
    assert whole[0].words == [("yes", 0.2, round(0.02 * (10 + len(yes)), 3)), ("no", 0.02 * second, round(0.02 * (second + len(no)), 3))]
    assert (whole[0].start, whole[1].end) == (0.2, round(0.02 * (len(frames) - 5), 3))
    assert whole[0].log_probability == pytest.approx(-0.001)
    for cut in range(1, len(frames)):
        assert said(listener, [frames[:cut], frames[cut:]]) == whole, cut
    assert said(listener, [[one] for one in frames]) == whole
    assert said(listener, [[BLANK] * 200]) == []


def test_who_speaks_without_a_pause_is_cut_off(model: SpeechRecognizer, tokenizer: Tokenizer) -> None:
    token = tokenizer.encode("sea")[0]
    frames = [token, BLANK] * 200
    found = said(Listener(model, tokenizer), [frames[at : at + 10] for at in range(0, 400, 10)])
    assert 2 <= len(found) <= 5
    assert sum(len(segment.text.replace(" ", "")) for segment in found) == 200 * len(tokenizer.decode([token]))


def test_a_long_recording_is_heard_in_chunks_that_overlap(model: SpeechRecognizer) -> None:
    """Each frame once; and where a chunk hears as much around a frame as the whole recording's reading does, the same."""
    listener = Listener(model, None)  # type: ignore[arg-type] # nothing is written
    recording = np.tile(speech("yes", "moon"), 6)
    frames = -(-len(recording) // model.frame_samples)
    pieces = np.array_split(recording, 29)
    chunks = list(listener._chunks(pieces))
    assert sum(map(len, chunks)) == frames
    assert len(chunks) > 5
    again = list(listener._chunks([recording]))
    assert all(np.array_equal(one, other) for one, other in zip(chunks, again, strict=True))
    first = listener._hear([recording[: 64 * model.frame_samples]])[0]
    np.testing.assert_array_equal(chunks[0], first[: len(chunks[0])])
    short = speech("yes")
    (alone,) = listener._chunks([short])
    np.testing.assert_array_equal(alone, listener._hear([short])[0])


def test_silence_says_nothing_whatever_the_model_thinks(model: SpeechRecognizer, tokenizer: Tokenizer) -> None:
    listener = Listener(model, tokenizer)
    assert listener.texts([np.zeros(8_000, np.float32), np.zeros(0, np.float32), np.full(90_000, 5e-4, np.float32)]) == ["", "", ""]
    assert listener.texts([speech("yes") * 3]) != [""]  # this model always says something


def test_texts_and_segments_agree(model: SpeechRecognizer, tokenizer: Tokenizer) -> None:
    listener = Listener(model, tokenizer)
    recordings = [speech("yes"), np.tile(speech("moon", "雨"), 5), speech("海", "风")]
    assert listener.texts(recordings) == [joined(one.text for one in listener.segments([recording])) for recording in recordings]
    assert joined(["今天", "很好", "yes", "", "no"]) == "今天很好 yes no"


# --- Alterations ---


def test_recordings_are_altered_within_their_masks() -> None:
    recordings = [torch.from_numpy(speech("yes")), torch.from_numpy(speech("moon", "sail"))]
    samples = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True)
    mask = torch.arange(samples.shape[1]) < torch.tensor([len(one) for one in recordings])[:, None]
    torch.manual_seed(0)
    lengths = set()
    for _ in range(12):
        made, other = Augmentation((0.8, 1.25)).samples(samples, mask)
        ratio = int(other[1].sum()) / len(recordings[1])
        assert 1 / 1.26 <= ratio <= 1 / 0.79
        assert int(other[0].sum()) == pytest.approx(ratio * len(recordings[0]), abs=2)
        assert made.shape == other.shape
        assert made[0, int(other[0].sum()) + 40 :].abs().max() < 1e-3  # what was padding is padding
        lengths.add(int(other[1].sum()))
    assert len(lengths) > 5
    same, still = Augmentation().samples(samples, mask)
    assert same is samples
    assert still is mask
    noisy, _ = Augmentation(noise=0.5).samples(samples, mask)
    added = (noisy - samples)[1]
    loudness = float(samples[1].square().sum().div(mask[1].sum()).sqrt())
    assert 0 < float(added.std()) <= 0.5 * loudness * 1.1


def test_masks_are_drawn_in_training_alone(tokenizer: Tokenizer, model: SpeechRecognizer) -> None:
    samples = torch.from_numpy(speech("yes", "no"))[None]
    with torch.inference_mode():
        plain, _ = model(samples)
        torch.manual_seed(0)
        masked, _ = model(samples, None, SpecAugment(2, 8, 2, 20, 0.5))
    assert not torch.equal(plain, masked)


# --- Language models, transcripts, the sample's voice ---


def test_a_transformer_scores_texts_token_by_token(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    decoder = Transformer(
        ModelConfig(vocabulary_size=tokenizer.vocabulary_size, width=32, depth=1, heads=2, context=32, initial_std=0.3)
    ).eval()
    scorer = TransformerScorer(decoder, tokenizer)
    texts = ["yes no", "", "海月"]

    def by_hand(ids: list[int]) -> float:
        with torch.inference_mode():
            chances = decoder(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
        return float(chances.gather(1, torch.tensor(ids[1:])[:, None]).sum())

    for whole in (False, True):
        expected = []
        for text in texts:
            ids = [tokenizer.opening, *tokenizer.encode(text), *([tokenizer.end_of_text] if whole else [])]
            expected.append(by_hand(ids) if len(ids) > 1 else 0.0)
        assert scorer.log_probabilities(texts, whole=whole) == pytest.approx(expected, abs=1e-4)
    assert scorer.log_probabilities([], whole=True) == []


def test_a_folder_without_a_language_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        TransformerScorer.load(tmp_path / "nothing")


SEGMENTS = [
    Segment("yes, no", 0.5, 1.25, [("yes,", 0.5, 0.75), ("no", 1.0, 1.25)], -0.25),
    Segment("a < b", 3_661.0, 3_662.5, [("a", 3_661.0, 3_661.5), ("< b", 3_662.0, 3_662.5)], -0.5),
]


def test_transcripts_in_every_form() -> None:
    assert subrip(SEGMENTS) == (
        "1\n00:00:00,500 --> 00:00:01,250\nyes, no\n\n2\n01:01:01,000 --> 01:01:02,500\na < b\n"
    )  # fmt: skip
    assert webvtt(SEGMENTS) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nyes, no\n\n01:01:01.000 --> 01:01:02.500\na &lt; b\n"
    )  # fmt: skip
    assert subrip([]) == ""
    told = verbose(SEGMENTS, 3_700.0, by_word=True)
    assert told["text"] == "yes, no a < b"
    assert told["segments"][1] == {"id": 1, "start": 3_661.0, "end": 3_662.5, "text": "a < b", "avg_logprob": -0.5}
    assert told["words"][0] == {"word": "yes,", "start": 0.5, "end": 0.75}
    assert "words" not in verbose(SEGMENTS, 3_700.0, by_word=False)


def test_a_long_segment_is_several_cues() -> None:
    words = [(f"w{place}", 0.5 * place, 0.5 * place + 0.4) for place in range(40)]
    cues = subrip([Segment(" ".join(word for word, _, _ in words), 0.0, 20.0, words, -0.1)]).split("\n\n")
    lines = [cue.split("\n")[2].split() for cue in cues]
    assert [word for line in lines for word in line] == [word for word, _, _ in words]
    assert all(len(line) <= 12 for line in lines)  # six seconds


def test_the_voice_speaks_with_its_pitch_and_its_resonances() -> None:
    for word in WORDS:
        samples = say([word], Voice(), 0)
        assert 0.2 < len(samples) / RATE < 0.7
        assert np.abs(samples).max() == pytest.approx(0.5)
    vowel = say(["雨"], Voice(pitch=150), 0)
    spectrum = np.abs(np.fft.rfft(vowel * np.hanning(len(vowel)), 1 << 14))
    hertz = np.fft.rfftfreq(1 << 14, 1 / RATE)
    band = (hertz > 1_500) & (hertz < 2_150)
    assert hertz[band][spectrum[band].argmax()] == pytest.approx(1_850, abs=160)  # its second formant
    hiss, buzz = say(["是"], Voice(), 0), say(["雨"], Voice(), 0)
    changes = [float(np.mean(np.diff(np.sign(one[len(one) // 5 : len(one) // 3])) != 0)) for one in (hiss, buzz)]
    assert changes[0] > 2 * changes[1]  # a hiss crosses zero often
    np.testing.assert_array_equal(say(["帆"], Voice(), 3), say(["帆"], Voice(), 3))
    assert not np.array_equal(say(["帆"], Voice(), 3), say(["帆"], Voice(), 4))


def test_the_sample_says_every_word_as_often() -> None:
    found = sample()
    counts = dict.fromkeys(WORDS, 0)
    for _, text, content in found:
        for word in text.split() if text.isascii() else text:
            counts[word] += 1
        assert len(read_sound(content, RATE)) > 0.2 * RATE
    assert len(set(counts.values())) == 1
    assert len({content for _, _, content in found}) == len(found)
    samples = say(["yes"], Voice(), 0)
    np.testing.assert_allclose(read_sound(wave_file(samples), RATE), samples, atol=1e-4)


def test_the_nearest_recording_is_the_same_words_elsewhere() -> None:
    known = [say([word], Voice(120, 1.0, 1.0), 0) for word in ("yes", "moon", "雨", "star")]
    asked = [say([word], Voice(126, 1.02, 1.1), 1) for word in ("star", "雨", "yes")]
    assert nearest(known, asked, SETTINGS) == [3, 2, 0]
