"""Reading recordings: held against scipy's and SoX's resamplers, against tones by formula, and against what soundfile wrote."""

from __future__ import annotations

import io
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import firwin, resample_poly

from lodestar.contracts.errors import UserError
from lodestar.prepare.sound import Resampler, read_sound, stream_sound

RATE = 16_000


def tone(hertz, rate, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def resample(samples, rate, wanted):
    resampler = Resampler(rate, wanted)
    return np.concatenate((resampler.push(samples), resampler.finish()))


def level_db(samples):
    """Of the loudest sample, less the edges, where a filter sees the recording begin and end."""
    return 20 * np.log10(np.abs(samples[len(samples) // 8 : -len(samples) // 8]).max() + 1e-12)


@pytest.mark.parametrize(("rate", "wanted"), [(8_000, 16_000), (44_100, 16_000), (96_000, 16_000), (11_025, 8_000), (16_000, 44_100)])
def test_resampling_is_scipys_and_pieces_change_nothing(rate, wanted):
    samples = np.random.default_rng(0).standard_normal(3_001).astype(np.float32)
    ours = resample(samples, rate, wanted)
    common = np.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    taps = firwin(128 * max(up, down) + 1, 0.95 / max(up, down), window=("kaiser", 0.1102 * 91.3))
    assert np.abs(ours - resample_poly(samples.astype(float), up, down, window=taps)).max() < 1e-5  # our taps are float32
    resampler = Resampler(rate, wanted)
    pieces = [resampler.push(piece) for piece in np.split(samples, [0, 1, 2, 700, 701, 2_999])]
    np.testing.assert_array_equal(np.concatenate([*pieces, resampler.finish()]), ours)


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050])
def test_speech_sounds_as_soxs_best_resampler_makes_it(rate):
    samples = sum(tone(hertz, rate) for hertz in (110.0, 997.0, 3_333.0, 6_400.0)) / 4
    apart = resample(samples, rate, RATE) - soxr.resample(samples, rate, RATE, quality="VHQ")
    assert np.abs(apart[1_000:-1_000]).max() < 1e-4  # of a tone by formula, SoX is off by as much


def test_what_the_lower_rate_cannot_hold_is_taken_out_and_the_rest_is_kept():
    for hertz in (8_100.0, 11_000.0, 20_000.0, 40_000.0):  # would be heard at 7.9, 5, 4 and 8 kHz
        assert level_db(resample(tone(hertz, 96_000), 96_000, RATE)) < -95
    for hertz in (20.0, 1_000.0, 7_100.0):
        assert abs(level_db(resample(tone(hertz, 96_000), 96_000, RATE))) < 0.05


def test_a_rate_without_a_common_divisor_takes_little_memory_and_keeps_time():
    resampler = Resampler(767_999, RATE)
    assert max(resampler.up, resampler.down) <= 4_096
    assert abs(resampler.up / resampler.down * 767_999 / RATE - 1) < 1e-5
    made = resample(tone(440.0, 44_101), 44_101, RATE)
    np.testing.assert_allclose(made[2_000:14_000], tone(440.0, RATE)[2_000:14_000], atol=1e-3)


@pytest.mark.parametrize(
    ("form", "subtype", "error"), [("WAV", "PCM_16", 1e-4), ("FLAC", "PCM_16", 1e-4), ("OGG", "VORBIS", 0.05), ("MP3", None, 0.05)]
)
def test_any_format_in_stereo_becomes_one_channel_at_the_models_rate(form, subtype, error, tmp_path):
    file = tmp_path / f"tone.{form.lower()}"
    rate = 48_000
    both = np.stack((0.6 * tone(500.0, rate), 0.2 * tone(500.0, rate)), 1)
    soundfile.write(file, both, rate, format=form, subtype=subtype)
    heard = read_sound(file, RATE)
    assert heard.dtype == np.float32
    assert abs(len(heard) - RATE) < 1_300  # MP3 pads what it holds
    shift = 0 if form != "MP3" else int(np.argmax(np.correlate(heard[3_200:5_200], 0.4 * tone(500.0, RATE)[:1_000])))
    np.testing.assert_allclose(heard[3_200 + shift :][:4_000], 0.4 * tone(500.0, RATE)[:4_000], atol=max(error, 1e-3))
    np.testing.assert_array_equal(read_sound(file.read_bytes(), RATE), heard)


def test_three_hours_are_read_in_little_memory(tmp_path):
    file = tmp_path / "long.wav"
    with soundfile.SoundFile(file, "w", 2_000, 1, subtype="PCM_U8") as written:
        for _ in range(180):
            written.write(np.zeros(2_000 * 60, np.float32))
    tracemalloc.start()
    samples = longest = 0
    for piece in stream_sound(file, 1_000):
        samples, longest = samples + len(piece), max(longest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 3 * 3_600 * 1_000
    assert longest < 1 << 20
    assert peak < 30 << 20  # the whole would be 43 MB at the one rate and 86 MB at the other


def wave_bytes(samples, **form):
    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format="WAV", **form)
    return file.getvalue()


WAVE = wave_bytes(np.zeros(9))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the recording: the file is empty; give a recording."),
        (b"RIFF....WAVEnot a recording at all", "the recording: not a recording that can be read ("),
        (b"\x00" * 500, "the recording: not a recording that can be read (Format not recognised); save it as WAV, FLAC, Ogg or MP3."),
        (wave_bytes(np.zeros(0)), "the recording holds no sound; give one that does."),
        (wave_bytes(np.array([0.0, np.nan]), subtype="FLOAT"), "the recording holds a sample that is no number; save it again."),
        (WAVE[:24] + (3).to_bytes(4, "little") + WAVE[28:], "the recording claims 3 samples a second"),
    ],
    ids=["empty", "half a header", "zeros", "no sound", "no number", "a rate of 3"],  # a file of floats holds the time of its writing
)  # fmt: skip
def test_what_is_no_recording_is_refused_in_one_sentence(data, sentence):
    with pytest.raises(UserError) as refused:
        read_sound(data, RATE)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_is_named_where_it_is_missing_or_damaged(tmp_path):
    with pytest.raises(UserError, match=r"gone\.wav: the recording cannot be read \(No such file or directory\)"):
        read_sound(tmp_path / "gone.wav", RATE)
    (tmp_path / "samples.raw").write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match=r"samples\.raw: not a recording that can be read \(samples without a header\)"):
        read_sound(tmp_path / "samples.raw", RATE)
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).standard_normal(80_000) / 9, 8_000)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.flac: not a recording that can be read"):
        read_sound(tmp_path / "cut.flac", RATE)


def test_without_the_package_the_command_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"needs the package 'soundfile'; install it with: pip install 'lodestar\[sound\]'"):
        read_sound(WAVE, RATE)
