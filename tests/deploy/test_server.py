"""What stands around the routes: other routes, the key, the host, headers, ports and signals."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lodestar.build.bundle import Bundle, save_bundle
from lodestar.contracts.errors import UserError
from lodestar.deploy.api import create_app
from lodestar.deploy.engine import Engine
from lodestar.deploy.serve import background, serve, serving
from lodestar.deploy.service import Service

# Patient, since machines that test are busy.
http_get, http_post = partial(httpx.get, timeout=60), partial(httpx.post, timeout=60)
Start = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def classifier(judge: Service) -> Iterator[str]:
    with serving(judge) as address:
        yield address


def test_classify_gives_the_task_s_own_answer(classifier: str, judge: Service) -> None:
    request = {"input": "每个港口都为晚归的船留一盏灯。"}
    response = http_post(f"{classifier}/v1/classify", json={**request, "model": "tiny-judge"})
    body = response.json()
    expected = judge.task.answer(judge.model, judge.tokenizer, request)
    assert body["object"] == "classification"
    assert body["id"].startswith("clsf-")
    assert body["label"] == expected["label"]
    assert body["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_a_server_leaves_the_process_s_log_handlers_alone(judge: Service) -> None:
    """absl's, which other libraries bring, closes its stream when it is ended."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.close = stream.close  # type: ignore[method-assign]
    with serving(judge):
        logging.getLogger("a.test").addHandler(handler)
    with serving(judge):
        assert not stream.closed


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 400, "'input' is missing"),
        ({"input": "a", "inputs": "a"}, 400, "did you mean 'input'"),
        ({"input": 5}, 400, "'input' is 5"),
        ({"input": ["a"] * 200}, 400, "at most 128"),
        ({"input": "a", "model": "other"}, 404, "no model 'other'"),
        ([1], 400, "JSON object"),
    ],
)
def test_a_bad_classification_is_refused(classifier: str, body: Any, status: int, sentence: str) -> None:
    response = http_post(f"{classifier}/v1/classify", json=body)
    assert response.status_code == status
    assert sentence in response.json()["error"]["message"]


def test_half_a_character_is_refused(classifier: str) -> None:
    response = http_post(f"{classifier}/v1/classify", content=b'{"input": "\\ud800"}', headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "surrogate" in response.json()["error"]["message"]


OTHERS = [("POST", "/v1/completions"), ("POST", "/v1/chat/completions"), ("GET", "/docs"), ("DELETE", "/v1/models")]


@pytest.mark.parametrize(("method", "path"), OTHERS)
def test_other_routes_are_answered_with_those_there_are(classifier: str, method: str, path: str) -> None:
    response = httpx.request(method, f"{classifier}{path}", headers={"Content-Type": "application/json"})
    assert response.status_code in (404, 405)
    assert f"There is no {method} {path} here. This release serves POST /v1/classify" in response.json()["error"]["message"]


def test_the_release_is_described(classifier: str) -> None:
    card = http_get(f"{classifier}/api/release").json()
    assert card["name"] == "tiny-judge"
    assert card["endpoint"] == "classify"
    assert card["words"] == {"en": "Tell praise from complaint.", "zh": "区分好评与差评。"}
    assert card["scores"][0]["value"] == 0.91
    assert {"input": "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"} in card["examples"]


def test_every_answer_carries_the_security_headers(classifier: str) -> None:
    for response in (http_get(classifier), http_get(f"{classifier}/nothing"), http_post(f"{classifier}/v1/classify", content=b"x")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "server" not in response.headers
        assert "access-control-allow-origin" not in response.headers


def test_a_foreign_page_may_use_the_api_only_where_it_is_named(poet: Service) -> None:
    """Asked without a socket, since it is a matter of headers alone."""
    asked = {"Origin": "https://ours.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    async def preflight(origins: list[str]) -> httpx.Response:
        with Engine() as engine:
            transport = httpx.ASGITransport(create_app(poet, engine, origins=origins))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.options("/v1/completions", headers=asked)

    allowed = asyncio.run(preflight(["https://ours.example"]))
    assert allowed.headers["access-control-allow-origin"] == "https://ours.example"
    for origins in ([], ["https://other.example"]):
        assert "access-control-allow-origin" not in asyncio.run(preflight(origins)).headers


def test_a_form_of_a_foreign_page_is_refused(classifier: str) -> None:
    response = http_post(f"{classifier}/v1/classify", content=b'{"input": "a"}', headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


def test_on_loopback_only_loopback_s_names_are_answered_to(classifier: str) -> None:
    port = httpx.URL(classifier).port
    assert http_get(f"{classifier}/v1/models", headers={"Host": f"localhost:{port}"}).status_code == 200
    rebound = http_get(f"{classifier}/v1/models", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    assert "'evil.example'" in rebound.json()["error"]["message"]


def test_the_key_is_asked_for_and_never_told(
    start: Start, poet: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LODESTAR_API_KEY", "north-star-密钥")
    with start(poet) as url:
        assert http_get(url).status_code == 200
        assert http_get(f"{url}/healthz").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "north-star"}):
            refused = http_get(f"{url}/v1/models", headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert "north" not in refused.text
        key = {b"Authorization": "Bearer north-star-密钥".encode()}
        assert http_get(f"{url}/v1/models", headers=key).status_code == 200
        with openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client, pytest.raises(openai.AuthenticationError):
            client.completions.create(model="tiny-poet", prompt="a")
    assert "north" not in "".join(capfd.readouterr())


def test_a_taken_port_is_named_with_a_free_one(poet: Service, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1: port {port} is in use; choose another one, such as \d+") as caught:
            serve(tmp_path / "the model is not even looked for", poet.task, port=port)
    free = int(str(caught.value.fix).split("such as ")[1].split(",")[0])
    with socket.create_server(("127.0.0.1", free)):
        pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"port": 70_000}, "there is no port 70000"),
        ({"host": "no.such.host.invalid", "port": 0}, "knows no host 'no.such.host.invalid'"),
        ({"host": "192.0.2.1", "port": 0}, "cannot listen on port 0"),
    ],
)
def test_an_address_that_cannot_be_is_refused(poet: Service, tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        serve(tmp_path, poet.task, **options)


@pytest.fixture
def release(poet: Service, tmp_path: Path) -> Path:
    folder = tmp_path / "poet-1"
    save_bundle(folder, Bundle(poet.model, poet.config, poet.tokenizer, poet.task.describe()))
    return folder


def test_a_release_is_served_from_its_folder(release: Path, poet: Service) -> None:
    with background(release, poet.task) as url:
        answer = http_post(f"{url}/v1/completions", json={"prompt": "月", "max_tokens": 9}).json()
    assert answer["model"] == "poet-1"
    assert answer["choices"][0]["text"] == poet.task.answer(poet.model, poet.tokenizer, {"prompt": "月", "max_tokens": 9})["text"]
    with pytest.raises(httpx.ConnectError):
        http_get(url)


def test_a_damaged_release_is_one_sentence(release: Path, poet: Service) -> None:
    (release / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"model\.safetensors"), background(release, poet.task):
        pass


SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import Poet
from lodestar.deploy.serve import serve
serve(Path(sys.argv[1]), Poet(), port=0)
"""


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(release: Path, poet: Service, which: signal.Signals) -> None:
    """A streamed answer is under way when the signal comes; it arrives whole, and the process then ends with 0."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LODESTAR_LANGUAGE": "en"}
    command = [sys.executable, "-c", SERVER, str(release), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        assert first.startswith("poet-1 answers at http://127.0.0.1:"), first + process.stderr.read()
        url = first.split(" at ")[1].strip()
        body = {"prompt": "月", "max_tokens": 300, "stream": True, "stop": "never to be found"}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as response:
            lines = response.iter_lines()
            received = [next(lines)]
            process.send_signal(which)
            received += lines
        assert received[-2] == "data: [DONE]"
        assert len(received) > 50
        welcome, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, errors
    assert errors == ""
    assert "curl http://127.0.0.1:" in welcome
    assert "Ctrl+C" in welcome
