"""POST /v1/completions over real sockets, mostly through OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.deploy.routes import ApiLimits
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service

http_post = partial(httpx.post, timeout=60)  # patient, since machines that test are busy

PROMPT = "床前明月光，疑是"
NAME = "tiny-poet"


@pytest.fixture(scope="module")
def url(poet: Service) -> Iterator[str]:
    with serving(poet, api_limits=ApiLimits(body_bytes=50_000)) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed", max_retries=0) as opened:
        yield opened


def offline(poet: Service, **request: Any) -> dict[str, Any]:
    return poet.task.answer(poet.model, poet.tokenizer, request)


def test_the_models_list_names_the_release(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "lodestar"
    with pytest.raises(openai.NotFoundError, match="no model 'other' here"):
        client.models.retrieve("other")


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_tokens": 40},
        {"max_tokens": 40, "temperature": 1.0, "seed": 7},
        {"max_tokens": 200, "temperature": 0.8, "top_p": 0.9, "seed": 3, "stop": ["\n", "e"]},
    ],
)
def test_the_served_answer_equals_the_offline_one(client: openai.OpenAI, poet: Service, parameters: dict[str, Any]) -> None:
    expected = offline(poet, prompt=PROMPT, **parameters)
    whole = client.completions.create(model=NAME, prompt=PROMPT, **parameters)
    assert whole.usage is not None
    assert whole.choices[0].text == expected["text"]
    assert whole.choices[0].finish_reason == expected["finish_reason"]
    assert {key: getattr(whole.usage, key) for key in expected["usage"]} == expected["usage"]

    chunks = list(client.completions.create(model=NAME, prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **parameters))
    texts = [choice.text for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == expected["text"]
    assert len(texts) > 2
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == [expected["finish_reason"]]
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_streamed_character_is_never_cut(client: openai.OpenAI, tokenizer: Tokenizer, poet: Service) -> None:
    """Most tokens of this model are single bytes, so its text is full of U+FFFD; a part may hold only those that the whole holds."""
    expected = offline(poet, prompt=PROMPT, max_tokens=300, temperature=1.0, seed=1)["text"]
    parts = [
        chunk.choices[0].text
        for chunk in client.completions.create(model=NAME, prompt=PROMPT, max_tokens=300, temperature=1.0, seed=1, stream=True)
    ]
    assert "".join(parts) == expected
    assert any(ord(sign) > 127 and sign != "\ufffd" for sign in expected)


def test_several_answers_to_several_prompts(client: openai.OpenAI, poet: Service) -> None:
    """The answer `i` of the prompt `p` has the index p·n + i; the first draws with the seed, the others with seeds derived from it."""
    prompts = [PROMPT, "Every harbour"]
    answer = client.completions.create(model=NAME, prompt=prompts, n=2, max_tokens=8, temperature=1.0, seed=5)
    seeds = [5, *(derive_seed(5, "choice", index) for index in (1, 2, 3))]
    expected = [
        offline(poet, prompt=prompts[index // 2], max_tokens=8, temperature=1.0, seed=seed)["text"] for index, seed in enumerate(seeds)
    ]
    assert [choice.text for choice in answer.choices] == expected
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 32
    assert len(set(expected)) == 4


def test_token_ids_are_read_exactly_as_given(client: openai.OpenAI, tokenizer: Tokenizer, poet: Service) -> None:
    ids = [tokenizer.end_of_text, *tokenizer.encode(PROMPT)]
    expected = offline(poet, prompt=PROMPT, max_tokens=8)["text"]
    assert client.completions.create(model=NAME, prompt=ids, max_tokens=8).choices[0].text == expected
    two = client.completions.create(model=NAME, prompt=[ids, ids[:4]], max_tokens=8)
    assert two.choices[0].text == expected
    assert two.usage is not None
    assert two.usage.prompt_tokens == len(ids) + 4


def test_echo_begins_with_the_prompt(client: openai.OpenAI, poet: Service) -> None:
    answer = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=8, echo=True)
    assert answer.choices[0].text == PROMPT + offline(poet, prompt=PROMPT, max_tokens=8)["text"]


def test_the_seed_that_was_drawn_is_told_and_repeats_the_answer(client: openai.OpenAI) -> None:
    first = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=30, temperature=1.5)
    again = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=30, temperature=1.5, seed=first.model_extra["seed"])  # type: ignore[index]
    other = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=30, temperature=1.5)
    assert again.choices[0].text == first.choices[0].text != other.choices[0].text


def test_top_k_one_is_greedy_at_any_temperature(client: openai.OpenAI, poet: Service) -> None:
    answer = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=20, temperature=2.0, extra_body={"top_k": 1})
    assert answer.choices[0].text == offline(poet, prompt=PROMPT, max_tokens=20)["text"]


def test_two_clients_are_answered_at_once(start: Callable[..., AbstractContextManager[str]], slow_poet: Service) -> None:
    """Both streams are under way at the same time, and each gets its own text."""
    prompts = {"left": "春眠不觉晓", "right": "The star that"}
    log: list[str] = []

    async def ask(client: openai.AsyncOpenAI, name: str) -> str:
        text = ""
        async for chunk in await client.completions.create(model=NAME, prompt=prompts[name], max_tokens=150, stream=True):
            log.append(name)
            text += chunk.choices[0].text
        return text

    async def both(url: str) -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, name) for name in prompts))

    with start(slow_poet) as url:
        answers = asyncio.run(both(url))
    assert answers == [offline(slow_poet, prompt=prompt, max_tokens=150)["text"] for prompt in prompts.values()]
    assert log.index("right") < len(log) - 1 - log[::-1].index("left")
    assert log.index("left") < len(log) - 1 - log[::-1].index("right")


def test_the_stream_is_server_sent_events(url: str) -> None:
    with httpx.stream("POST", f"{url}/v1/completions", json={"prompt": "月", "max_tokens": 5, "stream": True}, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        body = response.read().decode()
    *events, last, rest = body.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    for event in events:
        assert event.startswith("data: {")
        assert json.loads(event.removeprefix("data: "))["object"] == "text_completion"


@pytest.mark.parametrize(
    ("body", "param", "sentence"),
    [
        ({"suffix": "end"}, None, "has not learnt to fill a gap"),
        ({"logprobs": 3}, "logprobs", "does not support 'logprobs'"),
        ({"logprobs": 0}, "logprobs", "does not support 'logprobs'"),  # it asks for those of the tokens that were drawn
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "-1 (as many as there is room for), or"),
        ({"prompt": "月" * 3000, "truncate_prompt_tokens": -1, "max_tokens": 1024}, "max_tokens", "1025 were asked for"),
        ({"best_of": 4}, "best_of", "does not support 'best_of'"),
        ({"presence_penalty": 0.5}, "presence_penalty", "does not support"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "does not support"),
        ({"temprature": 1}, "temprature", "Did you mean 'temperature'?"),
        ({"temperature": "hot"}, "temperature", "must be a valid number"),
        ({"temperature": 3}, "temperature", "must be less than or equal to 2"),
        ({"temperature": float("nan")}, "temperature", "must be"),
        ({"top_p": 0}, "top_p", "must be greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "must be greater than or equal to 1"),
        ({"max_tokens": "16"}, "max_tokens", "must be a valid integer"),
        ({"max_tokens": True}, "max_tokens", "must be a valid integer"),
        ({"max_tokens": 5000}, "max_tokens", "at most 4096"),
        ({"n": 17}, "n", "at most 16"),
        ({"n": 3, "prompt": ["a"] * 6}, "n", "18 answers"),
        ({"stop": ""}, "stop", "not empty"),
        ({"stop": 5}, "stop", "a string or a list of strings"),
        ({"seed": 2**70}, "seed", "must be"),
        ({"prompt": 5}, "prompt", "a string, a list of strings, or the token ids"),
        ({"prompt": []}, "prompt", "is empty"),
        ({"prompt": [[]]}, "prompt", "at least one"),
        ({"prompt": [100_000]}, "prompt", "no token 100000"),
        ({"prompt": [-1]}, "prompt", "no token -1"),
        ({"prompt": "\ud800"}, "prompt", "surrogate"),
        ({"prompt": "月" * 3000}, "prompt", "context is 1024 tokens"),
        ({"prompt": "a", "max_tokens": 1023}, "max_tokens", "context is 1024 tokens, and 1025 were asked for"),
        ({"model": "gpt-4"}, "model", "no model 'gpt-4' here"),
        ({"stream_options": {"include_use": True}}, "stream_options.include_use", "Unknown parameter"),
    ],
)
def test_a_bad_request_is_one_sentence_in_openais_shape(url: str, body: dict[str, Any], param: str, sentence: str) -> None:
    # json.dumps of the standard library: httpx would not send NaN or half a character.
    sent = json.dumps({"prompt": "a", **body})
    response = http_post(f"{url}/v1/completions", content=sent, headers={"Content-Type": "application/json"})
    assert response.status_code == (404 if param == "model" else 400)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert sentence in error["message"]
    assert "\n" not in error["message"]


def test_parameters_of_openais_that_ask_for_nothing_are_taken(client: openai.OpenAI, poet: Service) -> None:
    answer = client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=8, suffix=None, best_of=1, logit_bias={}, presence_penalty=0, frequency_penalty=0.0, user="u"
    )
    assert answer.choices[0].text == offline(poet, prompt=PROMPT, max_tokens=8)["text"]


@pytest.mark.parametrize(("asked", "read"), [(-1, 1016), (20, 20), (20_000, None)])
def test_of_a_long_prompt_what_stands_last_is_read_where_that_is_asked_for(
    client: openai.OpenAI, tokenizer: Tokenizer, asked: int, read: int | None
) -> None:
    text = PROMPT * 200
    extra = {"truncate_prompt_tokens": asked}
    if read is None:
        with pytest.raises(openai.BadRequestError, match="context is 1024 tokens"):
            client.completions.create(model=NAME, prompt=text, max_tokens=8, extra_body=extra)
        return
    told = client.completions.create(model=NAME, prompt=text, max_tokens=8, extra_body=extra)
    expected = client.completions.create(model=NAME, prompt=tokenizer.encode(text)[-read:], max_tokens=8)
    assert told.choices[0].text == expected.choices[0].text
    assert told.usage == expected.usage
    short = client.completions.create(model=NAME, prompt=PROMPT, max_tokens=8, extra_body={"truncate_prompt_tokens": -1})
    assert short.choices[0].text == client.completions.create(model=NAME, prompt=PROMPT, max_tokens=8).choices[0].text


@pytest.mark.parametrize("guide", ["code-generation.md", "code-generation.zh.md"])
def test_the_guide_s_editor_is_answered_in_the_gap(
    guide: str, coder: Service, start: Callable[..., AbstractContextManager[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / guide).read_text("utf-8")
    program = text.split("```python\n")[1].split("```")[0]
    with start(coder) as url:
        exec(program.replace("http://127.0.0.1:8000", url).replace("coder-v1", coder.name), {})
    asked = {"prompt": "def clamp(value, low, high):\n", "suffix": "    return value\n", "max_tokens": 48, "stop": ["\n\n"]}
    assert capsys.readouterr().out == offline(coder, **asked)["text"] + "\n"


def test_the_context_may_be_used_to_its_last_token(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=NAME, prompt="", max_tokens=1023, stop="never to be found")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1
    assert answer.usage.total_tokens <= 1024


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b"[" * 20_000])
def test_a_body_that_is_no_json_object_is_refused(url: str, content: bytes) -> None:
    response = http_post(f"{url}/v1/completions", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_openais_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=NAME, prompt="月" * 3000)
    assert caught.value.code == "context_length_exceeded"


def test_what_is_too_large_is_refused_unread(url: str) -> None:
    big = json.dumps({"prompt": "a" * 60_000}).encode()
    headers = {"Content-Type": "application/json"}
    announced = http_post(f"{url}/v1/completions", content=big, headers=headers)
    chunked = http_post(f"{url}/v1/completions", content=iter([big[:30_000], big[30_000:]]), headers=headers)
    for response in (announced, chunked):
        assert response.status_code == 413
        assert "larger than the limit of 50000 bytes" in response.json()["error"]["message"]


def test_the_ledger_is_told_facts_and_no_text(
    start: Callable[..., AbstractContextManager[str]], poet: Service, facts: list[dict[str, Any]]
) -> None:
    with start(poet) as url:
        good = http_post(f"{url}/v1/completions", json={"prompt": "a secret", "max_tokens": 6}).json()
        http_post(f"{url}/v1/completions", json={"prompt": "a secret", "max_tokens": 6, "stream": True})
        http_post(f"{url}/v1/completions", json={"prompt": "月" * 3000})
        feedback = http_post(f"{url}/v1/feedback", json={"id": good["id"], "rating": "up", "comment": "apt"})
        unknown = http_post(f"{url}/v1/feedback", json={"id": "cmpl-0", "rating": "up"})
    assert feedback.status_code == 200
    assert unknown.status_code == 404
    whole, streamed, refused, liked = facts
    assert (whole["id"], whole["status"], whole["outcome"], whole["streamed"]) == (good["id"], 200, "length", False)
    assert (whole["prompt_tokens"], whole["completion_tokens"]) == (good["usage"]["prompt_tokens"], 6)
    assert 0 < whole["first_token_ms"] < whole["latency_ms"]
    assert (streamed["streamed"], streamed["completion_tokens"]) == (True, 6)
    assert (refused["status"], refused["outcome"]) == (400, "refused")
    assert liked == {"route": "/v1/feedback", "id": good["id"], "rating": "up", "comment": "apt", "outcome": None}
    assert "secret" not in json.dumps(facts)
