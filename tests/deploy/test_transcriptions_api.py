"""POST /v1/audio/transcriptions as OpenAI's client calls it, and as a browser and a careless person do."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile

from lodestar.contracts.media import Recording
from lodestar.deploy.api import create_app
from lodestar.deploy.engine import Engine
from lodestar.deploy.errors import ApiError
from lodestar.deploy.listening import LOOPBACK_HOSTS
from lodestar.deploy.multipart import Part, read_form
from lodestar.deploy.routes import ApiLimits
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.prepare.robot_voice import RATE, Voice, say, wave_file

ROUTE = "/v1/audio/transcriptions"
SPEECH = wave_file(say(["yes", "moon"], Voice(), 0))


@pytest.fixture(scope="module")
def url(listener: Service) -> Iterator[str]:
    with serving(listener) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def offline(listener: Service, **asked: object) -> dict[str, Any]:
    return listener.task.answer(listener.model, listener.tokenizer, {"file": Recording.of(SPEECH), **asked})


def test_openais_client_gets_every_form(client: openai.OpenAI, listener: Service) -> None:
    def ask(**asked: Any) -> Any:
        return client.audio.transcriptions.create(model=listener.name, file=("speech.wav", SPEECH), **asked)

    plain = ask()
    assert isinstance(plain, openai.types.audio.Transcription)
    assert plain.text == offline(listener)["text"] != ""
    assert str(ask(response_format="text")).strip() == plain.text
    verbose = ask(response_format="verbose_json", timestamp_granularities=["word", "segment"], temperature=0, language="en")
    assert isinstance(verbose, openai.types.audio.TranscriptionVerbose)
    expected = offline(listener, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert verbose.text == plain.text
    assert verbose.duration == pytest.approx(len(SPEECH[44:]) / 2 / RATE, abs=1e-3)
    assert [word.model_dump() for word in verbose.words or ()] == expected["words"]
    assert verbose.segments is not None
    assert [(one.start, one.end, one.text) for one in verbose.segments] == [
        (one["start"], one["end"], one["text"]) for one in expected["segments"]
    ]
    assert str(ask(response_format="srt")) == offline(listener, response_format="srt")["text"]
    assert str(ask(response_format="vtt")).startswith("WEBVTT\n")


def test_openais_client_streams_segments(client: openai.OpenAI, listener: Service) -> None:
    long = wave_file(np.concatenate([piece for _ in range(3) for piece in (say(["moon"], Voice(), 0), np.zeros(12_000, np.float32))]))
    whole = client.audio.transcriptions.create(model=listener.name, file=("a.wav", long)).text
    told = list(client.audio.transcriptions.create(model=listener.name, file=("a.wav", long), stream=True))
    deltas = [event.delta for event in told if event.type == "transcript.text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == whole
    assert told[-1].type == "transcript.text.done"
    assert told[-1].text == whole


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3"])
def test_any_format_and_rate_is_heard(client: openai.OpenAI, listener: Service, form: str) -> None:
    held = io.BytesIO()
    stereo = np.repeat(say(["yes"], Voice(), 0), 4).repeat(2).reshape(-1, 2)
    soundfile.write(held, stereo, 32_000, format=form)
    assert client.audio.transcriptions.create(model=listener.name, file=(f"a.{form.lower()}", held.getvalue())).text


def test_a_stereo_file_of_96_khz_and_silence(client: openai.OpenAI, listener: Service) -> None:
    held = io.BytesIO()
    soundfile.write(held, np.zeros((96_000, 2)), 96_000, format="WAV", subtype="PCM_24")
    answer = client.audio.transcriptions.create(model=listener.name, file=("silence.wav", held.getvalue()), response_format="verbose_json")
    assert (answer.text, answer.duration) == ("", 1.0)


@pytest.mark.parametrize(
    ("files", "data", "sentence"),
    [
        ({"file": ("a.wav", b"RIFF nothing")}, {}, "not a recording that can be read"),
        ({"file": ("a.wav", b"")}, {}, "the file is empty"),
        ({"file": ("a.wav", SPEECH)}, {"response_format": "mp3"}, "'response_format' is 'mp3'"),
        ({"file": ("a.wav", SPEECH)}, {"temperature": "0.5"}, "'temperature' is '0.5'"),
        ({"file": ("a.wav", SPEECH)}, {"prompt": "Dear crew"}, "the model takes no prompt; leave it out"),
        ({"file": ("a.wav", SPEECH)}, {"responseformat": "srt"}, "did you mean 'response_format'"),
        ({"file": ("a.wav", SPEECH)}, {"include[]": "logprobs"}, "does not support 'include'"),
        ({"file": ("a.wav", SPEECH)}, {"model": "whisper-1"}, "There is no model 'whisper-1' here"),
        ({"other": ("a.txt", b"text")}, {}, "There is no recording. Send it as the field `file`."),
        ({"file": (None, b"a.wav")}, {}, "The field `file` holds no file"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_sentence(url: str, files: dict[str, Any], data: dict[str, str], sentence: str) -> None:
    answer = httpx.post(f"{url}{ROUTE}", files=files, data=data)
    assert answer.status_code in (400, 404)
    error = answer.json()["error"]
    assert sentence in error["message"]
    assert "\n" not in error["message"]


def test_a_recording_in_json_and_bodies_that_are_neither(url: str, listener: Service) -> None:
    example = listener.task.request(next(iter(listener.task.sample())))
    served = httpx.post(f"{url}{ROUTE}", json=example).json()
    assert served["text"] == listener.task.answer(listener.model, listener.tokenizer, example)["text"]
    wrong = {b"{": "The body is not JSON", b"[]": "must be a JSON object", b'{"file": "/etc/passwd"}': "neither is opened here"}
    for body, sentence in wrong.items():
        answer = httpx.post(f"{url}{ROUTE}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert sentence in answer.json()["error"]["message"]
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = httpx.post(f"{url}{ROUTE}", content=b"--y\r\n\r\n--y--", headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert "no multipart form" in answer.json()["error"]["message"]
    assert httpx.post(f"{url}{ROUTE}", content=SPEECH, headers={"Content-Type": "audio/wav"}).status_code == 415


def test_a_page_of_another_origin_sends_no_form(url: str) -> None:
    def status(origin: str) -> int:
        return httpx.post(f"{url}{ROUTE}", files={"file": ("a.wav", SPEECH)}, headers={"Origin": origin}).status_code

    assert status("https://elsewhere.example") == 403
    assert status("null") == 403
    assert status(url) == 200


def test_what_is_too_large_is_refused_and_an_allowed_page_is_not(listener: Service) -> None:
    small = wave_file(say(["yes"], Voice(), 0)[:2_000])

    async def statuses(engine: Engine) -> list[int]:
        app = create_app(listener, engine, hosts=LOOPBACK_HOSTS, origins=["https://ours.example"], limits=ApiLimits(upload_bytes=5_000))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            answers = [
                await client.post(ROUTE, files={"file": ("a.wav", content)}, headers={"Origin": "https://ours.example"})
                for content in (SPEECH, small)
            ]
        return [answer.status_code for answer in answers]

    with Engine() as engine:
        assert asyncio.run(statuses(engine)) == [413, 200]


def test_forms_are_read_as_browsers_and_clients_write_them() -> None:
    content = bytes(range(256)) + b"\r\n--not the mark\r\n"
    request = httpx.Request(
        "POST", "http://x", files=[("file", ("naïve 录音.wav", content, "audio/wav")), ("a[]", (None, "1")), ("a[]", (None, ""))]
    )  # fmt: skip
    request.read()
    parts = read_form(request.content, request.headers["content-type"])
    assert parts == [Part("file", "naïve 录音.wav", content), Part("a[]", None, b"1"), Part("a[]", None, b"")]
    with pytest.raises(ApiError, match="no multipart form"):
        read_form(request.content[:-20], request.headers["content-type"])
    many = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' for _ in range(99)) + b"--x--"
    with pytest.raises(ApiError, match="99 fields"):
        read_form(many, "multipart/form-data; boundary=x")


def test_the_page_is_told_of_the_form_and_of_a_command(listener: Service, url: str) -> None:
    card = httpx.get(f"{url}/api/release").json()
    assert (card["endpoint"], card["form"]) == ("audio/transcriptions", "transcriptions")
    assert card["examples"]
    assert "-F file=@recording.wav" in listener.curl(url)
    assert "microphone=(self)" in httpx.get(url).headers["permissions-policy"]
    assert json.dumps(card)
