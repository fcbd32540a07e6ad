"""POST /v1/audio/speech as OpenAI's client calls it, and as a careless person does."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile

from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service

ROUTE = "/v1/audio/speech"
TEXT = "Hello there. Is it a star? 是星海。"


@pytest.fixture(scope="module")
def url(narrator: Service) -> Iterator[str]:
    with serving(narrator) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def offline(narrator: Service, **asked: object) -> bytes:
    request = {"input": TEXT, "voice": "bass", **asked}
    return base64.b64decode(narrator.task.answer(narrator.model, narrator.tokenizer, request)["audio"])


@pytest.mark.parametrize(("form", "kind"), [("wav", "audio/wav"), ("flac", "audio/flac"), ("mp3", "audio/mpeg"), ("opus", "audio/ogg")])
def test_openais_client_gets_every_format(client: openai.OpenAI, narrator: Service, form: Any, kind: str) -> None:
    answer = client.audio.speech.create(model=narrator.name, voice="bass", input=TEXT, response_format=form)
    assert answer.response.headers["content-type"] == kind
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    again, _ = soundfile.read(io.BytesIO(offline(narrator, response_format=form)))
    assert np.array_equal(samples, again)  # an Ogg file has a number of its own
    assert rate == 8_000
    assert len(samples) > 8_000


def test_mp3_is_what_is_sent_where_nothing_is_asked_for(client: openai.OpenAI, narrator: Service) -> None:
    answer = client.audio.speech.create(model=narrator.name, voice="treble", input="Yes")
    assert soundfile.info(io.BytesIO(answer.content)).format == "MP3"


def test_bare_samples_come_as_they_are_made(client: openai.OpenAI, narrator: Service) -> None:
    with client.audio.speech.with_streaming_response.create(
        model=narrator.name, voice="bass", input=TEXT, response_format="pcm"
    ) as answer:  # fmt: skip
        pieces = list(answer.iter_bytes())
    assert b"".join(pieces) == offline(narrator, response_format="pcm")


def test_events_bring_the_sound_and_when_each_symbol_is_said(url: str, narrator: Service) -> None:
    body = {"input": TEXT, "voice": "bass", "response_format": "wav", "stream_format": "sse"}
    lines = httpx.post(f"{url}{ROUTE}", json=body, timeout=60).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    deltas = [event for event in events if event["type"] == "speech.audio.delta"]
    assert len(deltas) == 5  # three sentences, two pauses
    content = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert content[44:] == offline(narrator, response_format="wav")[44:]  # the header does not know the length yet
    sounds = [sound for event in deltas for sound in event["sounds"]]
    spelled = "".join(sound["symbol"] for sound in sounds)
    assert spelled == "_hello there.__is it a star?__shir4xing1hai3._"
    assert all(before["end"] <= after["start"] + 1e-6 for before, after in itertools.pairwise(sounds))
    assert sounds[-1]["end"] == pytest.approx((len(content) - 44) / 2 / 8_000, abs=0.02)
    done = events[-1]
    assert (done["type"], done["usage"]["input_tokens"]) == ("speech.audio.done", len(sounds))


def test_twice_the_speed_is_about_half_as_long(narrator: Service) -> None:
    slow, fast = (len(offline(narrator, response_format="pcm", speed=speed, input="Hello there old star")) for speed in (0.5, 4))
    assert slow > 2 * fast


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"input": ""}, "there is nothing to say"),
        ({"input": " \n "}, "there is nothing to say"),
        ({"input": "... !"}, "there is nothing to say"),
        ({}, "the field 'input' is missing"),
        ({"input": "a" * 100_000}, "at most 4096"),
        ({"input": "a star 😀"}, "grinning face"),
        ({"input": "مرحبا"}, "arabic letter meem"),
        ({"input": "你"}, "never heard in its recordings"),
        ({"input": "a" * 500}, "longer than the model says at once"),
        ({"input": "yes", "voice": "tenor"}, "unknown voice 'tenor'"),
        ({"input": "yes", "response_format": "midi"}, "'response_format' is 'midi'"),
        ({"input": "yes", "response_format": "aac"}, "'response_format' is 'aac'"),
        ({"input": "yes", "speed": 9}, "'speed' is 9"),
        ({"input": "yes", "speed": 0}, "'speed' is 0"),
        ({"input": "yes", "stream_format": "sse"}, "mp3 cannot be sent sentence by sentence"),
        ({"input": "yes", "instructions": "Whisper"}, "takes no instructions"),
        ({"input": "yes", "pitch": 2}, "unknown"),
        ({"input": "yes", "model": "tts-1"}, "There is no model 'tts-1' here"),
        ({"input": "مرحبا", "response_format": "pcm"}, "arabic letter meem"),
        ({"input": "yes", "voice": "tenor", "response_format": "pcm", "stream_format": "sse"}, "unknown voice"),
    ],
)
def test_what_cannot_be_said_is_told_in_one_sentence(url: str, body: dict[str, Any], sentence: str) -> None:
    answer = httpx.post(f"{url}{ROUTE}", json={"voice": "bass", **body}, timeout=60)
    assert answer.status_code in (400, 404)
    error = answer.json()["error"]
    assert sentence in error["message"]
    assert "\n" not in error["message"]


def test_the_page_is_told_of_the_voices_and_of_a_command(url: str, narrator: Service) -> None:
    card = httpx.get(f"{url}/api/release").json()
    assert (card["endpoint"], card["form"]) == ("audio/speech", "speech")
    assert card["choices"]["voices"] == ["bass", "treble"]
    assert narrator.curl(url).endswith("--output speech.wav")
