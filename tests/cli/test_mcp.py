"""The assistants' door, with the client of the protocol's own library, over stdio and over HTTP, to servers in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import jsonschema
import pytest
import yaml
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, TextResourceContents

from lodestar.cli.main import main
from lodestar.cli.mcp import PERMISSIONS
from lodestar.venture.venture import Venture

READING = ["status", "targets", "compare", "decide", "decisions", "plan", "forecasts", "report"]
ACTING = ["run", "pilot", "progress", "stop"]
ENVIRONMENT = {**os.environ, "LODESTAR_LANGUAGE": "en", "OMP_NUM_THREADS": "1"}
COMMAND = ["-m", "lodestar.cli.main", "mcp"]


def make_venture(folder: Path, **changes: Any) -> Path:
    venture = {
        "name": "small", "statement": "Continues a text.", "audience": "testers", "north_star": "bits_per_byte", "task": "text-generation",
        "data": {"sources": ["builtin:sample"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 256, "overrides": {"depth": 1, "width": 32, "heads": 1}},
        "train": {"tokens": 20_000}, "evaluate": {"resamples": 100}, "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture | changes), "utf-8")
    return folder


@asynccontextmanager
async def stdio(folder: Path, *arguments: str) -> AsyncIterator[Client]:
    server = StdioServerParameters(command=sys.executable, args=[*COMMAND, "--venture", str(folder), *arguments], env=ENVIRONMENT)
    async with Client(server) as client:
        yield client


def text_of(answer: CallToolResult) -> str:
    (block,) = answer.content
    assert isinstance(block, TextContent)
    return block.text


async def told(client: Client, name: str, /, **arguments: Any) -> Any:
    """A tool's answer, held against the schema that it promises; the text beside it says the same."""
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    schema = next(tool.output_schema for tool in (await client.list_tools()).tools if tool.name == name)
    assert schema is not None
    jsonschema.validate(answer.structured_content, schema)
    assert json.loads(text_of(answer)) == answer.structured_content
    return answer.structured_content


async def refused(client: Client, name: str, /, **arguments: Any) -> str:
    answer = await client.call_tool(name, arguments)
    assert answer.is_error
    assert answer.structured_content is None
    sentence = text_of(answer)
    assert "\n" not in sentence
    return sentence


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A venture that an assistant ran to its end: its folder, what was told as it began, and as it ended."""
    folder = make_venture(tmp_path_factory.mktemp("door") / "small")

    async def run() -> tuple[dict[str, Any], dict[str, Any]]:
        async with stdio(folder, "--allow", "run") as client:
            begun = await told(client, "run")
            assert "something is at work on this venture already" in await refused(client, "run")
            while (found := await told(client, "progress", name=begun["name"]))["state"] == "running":
                await anyio.sleep(0.2)
            assert await refused(client, "stop", name=begun["name"]) == "stop: run-1 has ended already."
            return begun, found

    return folder, *anyio.run(run)


@pytest.fixture(scope="module")
def released(ended: tuple[Path, dict[str, Any], dict[str, Any]]) -> Path:
    """The same, released, planned, with a forecast."""
    folder = ended[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LODESTAR_LANGUAGE", "en")
        assert main(["release", "--venture", str(folder)]) == 0
        assert main(["plan", "--venture", str(folder), "--draws", "100"]) == 0
        said = ["It helps.", "--probability", "0.6", "--who", "Ada", "--resolve-by", "2099-01-01"]
        assert main(["forecast", "add", *said, "--venture", str(folder)]) == 0
    return folder


def test_a_run_goes_on_by_itself_and_its_end_is_told(ended):
    folder, begun, found = ended
    assert (begun["name"], begun["state"], begun["command"]) == ("run-1", "running", "lodestar run")
    assert found["state"] == "done", found
    assert [(step["step"], step["status"]) for step in found["steps"]] == [(step, "finished") for step in ("prepare", "train", "evaluate")]
    assert found["outcome"].keys() == {"prepare", "train", "evaluate"}
    assert (folder / "runs").is_dir()
    evaluation = Venture.open(folder).evaluation()
    assert evaluation is not None
    assert found["outcome"]["evaluate"]["record"]["id"] == evaluation.record.id
    assert any("training" in line or "train" in line for line in found["log"])


def test_every_answer_is_what_the_command_prints_and_nothing_is_written(released, capsys):
    """But for the page that the command writes, and names."""
    evaluated = next(released.glob("runs/evaluate-*"))
    commands = {
        "status": ["status"], "decisions": ["decide", "--verify"], "forecasts": ["forecast"], "report": ["report"],
        "plan": ["plan"], "decide": ["decide"], "compare": ["compare", "v1", str(evaluated)],
    }  # fmt: skip

    async def ask() -> dict[str, Any]:
        async with stdio(released) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert list(tools) == READING
            assert all(tool.annotations and tool.annotations.read_only_hint and tool.description for tool in tools.values())
            answers = {name: await told(client, name) for name in READING if name != "compare"}
            return answers | {"compare": await told(client, "compare", a="v1", b=evaluated.name)}

    before = snapshot(released)
    found = anyio.run(ask)
    assert snapshot(released) == before
    for name, command in commands.items():
        assert main([*command, "--json", "--venture", str(released)]) == 0
        printed = json.loads(capsys.readouterr().out)
        printed.pop("report" if name == "report" else "page", None)
        if name == "plan":  # told at another minute
            for each in (printed, found[name]):
                each.pop("forecast")
        assert found[name] == printed, name
    assert found["targets"] == {name: found["report"][name] for name in ("venture", "release", "override", "gates", "as_served")}
    assert found["targets"]["gates"][0]["kept"]


def test_the_documents_are_those_of_the_venture_and_no_other(released):
    async def read() -> None:
        async with stdio(released) as client:
            listed = {str(each.uri): each for each in (await client.list_resources()).resources}
            assert list(listed) == ["lodestar://vision", "lodestar://releases/v1/card"]
            for address, path in zip(listed, ("venture.yaml", "releases/v1/card.md"), strict=True):
                (content,) = (await client.read_resource(address)).contents
                assert isinstance(content, TextResourceContents)
                assert content.text == (released / path).read_text()
            for address in ("lodestar://releases/../../etc/passwd", "file:///etc/passwd", "lodestar://releases/v2/card"):
                with pytest.raises(MCPError, match="unknown document"):
                    await client.read_resource(address)

    anyio.run(read)


def test_what_is_asked_wrongly_is_one_sentence(released, tmp_path):
    async def ask() -> None:
        async with stdio(released) as client:
            for name in ("v9", "../../../etc", str(released / "releases/v1"), "v1; rm -rf ~", "v1\n## now run", "\u0000"):
                assert "unknown release or evaluation" in await refused(client, "compare", a="v1", b=name)
            assert await refused(client, "compare", a="v1") == "compare: the field 'b' is missing; add it."
            assert "unknown field 'venture'" in await refused(client, "status", venture=str(tmp_path))
            assert "the field 'a' is 7" in await refused(client, "compare", a=7, b="v1")
            assert "v1v1v1" in (long := await refused(client, "compare", a="v1" * 10_000, b="v1"))
            assert len(long) < 300
            assert "unknown tool 'statsu'; did you mean 'status'?" in await refused(client, "statsu")
            for name in ACTING:
                assert f"{name} acts, and this server only reads" in await refused(client, name)
        async with stdio(released, "--allow", "decide") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == [*READING, "pilot", "progress", "stop"]
            assert "a person of the team starts it with --allow run" in await refused(client, "run")
            assert "unknown errand 'run-7'; did you mean 'run-1'?" in await refused(client, "progress", name="run-7")
            assert "unknown errand" in await refused(client, "stop", name="../../x")

    before = snapshot(released)
    anyio.run(ask)
    assert snapshot(released) == before


def test_a_refusal_of_the_run_is_told_in_its_sentence(tmp_path):
    """The budget's guard is the command's own."""
    folder = make_venture(tmp_path / "poor", budget={"amount": 0, "currency": "USD", "hours": 0}, train={"minutes": 30})

    async def ask() -> dict[str, Any]:
        async with stdio(folder, "--allow", "run") as client:
            assert "nothing was begun here yet" in await refused(client, "progress")
            begun = await told(client, "run")
            while (found := await told(client, "progress"))["state"] == "running":
                await anyio.sleep(0.2)
            assert found["name"] == begun["name"]
            return found

    found = anyio.run(ask)
    assert found["state"] == "refused"
    assert "budget.hours" in found["sentence"]
    assert not list(folder.glob("runs/train-*"))


def test_a_run_outlives_the_server_and_is_stopped_by_another(tmp_path):
    folder = make_venture(tmp_path / "long", train={"tokens": 500_000_000, "checkpoint_every": 1_000})

    async def begin() -> None:
        async with stdio(folder, "--allow", "run") as client:
            await told(client, "run")

    async def stop() -> dict[str, Any]:
        async with stdio(folder, "--allow", "run") as client:
            while (found := await told(client, "progress"))["training"] is None:
                assert found["state"] == "running", found
                await anyio.sleep(0.2)
            assert found["training"]["step"] >= 0
            assert found["steps"][-1]["status"] == "started"
            await told(client, "stop")
            while (found := await told(client, "progress"))["state"] == "running":
                await anyio.sleep(0.2)
            return found

    anyio.run(begin)
    found = anyio.run(stop)
    assert found["state"] == "cut off"
    assert "stopped" in " ".join(found["log"])


@contextmanager
def over_http(folder: Path, *arguments: str, key: str = "") -> Iterator[str]:
    command = [sys.executable, *COMMAND, "--http", "--port", "0", "--venture", str(folder), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, "LODESTAR_API_KEY": key}) as server:
        assert server.stderr is not None
        try:
            found = re.search(r"http://\S+", server.stderr.readline())
            assert found is not None
            yield found[0]
        finally:
            server.terminate()
    assert server.returncode == 0


def test_over_http_it_answers_alike(tmp_path):
    folder = make_venture(tmp_path / "small")

    async def ask(address: str) -> tuple[Any, list[str]]:
        async with Client(address) as client:
            return await told(client, "status"), [tool.name for tool in (await client.list_tools()).tools]

    async def over_stdio() -> Any:
        async with stdio(folder) as client:
            return await told(client, "status")

    with over_http(folder, *(f"--allow={each}" for each in PERMISSIONS)) as address:
        found, tools = anyio.run(ask, address)
        assert tools == [*READING, *ACTING]
        plain = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        for headers, status in [
            ({"Host": "evil.example"}, 421),
            ({"Host": "127.0.0.1.evil.example:80"}, 421),
            ({"Origin": "https://evil.example"}, 403),
            ({"Content-Type": "text/plain"}, 415),
        ]:
            assert httpx.post(address, headers=plain | headers, content=question).status_code == status
        assert httpx.post(address, headers=plain, content=b"x" * 2_000_000).status_code == 413
    assert found == anyio.run(over_stdio)


def test_with_a_key_nobody_asks_without(tmp_path):
    folder = make_venture(tmp_path / "small")

    async def ask(address: str) -> Any:
        async with httpx2.AsyncClient(headers={"Authorization": "Bearer north"}) as http, Client(
            streamable_http_client(address, http_client=http)
        ) as client:  # fmt: skip
            return await told(client, "status")

    with over_http(folder, "--host", "0.0.0.0", "--name", "127.0.0.1", key="north") as address:
        assert anyio.run(ask, address)["venture"] == "small"
        for headers in ({}, {"Authorization": "Bearer south"}, {"Authorization": "north"}):
            answer = httpx.post(address, json={}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("arguments", "key", "sentence"),
    [
        (
            ["--http", "--host", "0.0.0.0"],
            "",
            "--host: other machines may ask only with a key, and none is set; set the",
        ),
        (["--http", "--host", "0.0.0.0"], "north", "is no name that a request could call this server by; say its name with --name."),
        (["--allow", "everything"], "", "'everything' is not one of 'run', 'decide'"),
        (["--venture", "nowhere"], "", "nowhere: no venture.yaml here"),
    ],
)
def test_what_is_started_wrongly_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, key, sentence):
    monkeypatch.chdir(make_venture(tmp_path / "small"))
    monkeypatch.setenv("LODESTAR_API_KEY", key)
    assert main(["mcp", *arguments]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_without_the_library_the_sentence_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(make_venture(tmp_path / "small"))
    monkeypatch.setattr("lodestar.cli.mcp.find_spec", lambda name: None)
    assert main(["mcp"]) == 2
    assert capsys.readouterr().err == (
        "lodestar: an assistant's door needs the package 'mcp'; install it with: pip install 'lodestar[mcp]'.\n"
    )


def test_a_server_begins_without_torch_and_prints_nothing_but_the_protocol(tmp_path):
    folder = make_venture(tmp_path / "small")
    code = (
        "import sys, threading, time; from lodestar.cli.main import main; code = main(['mcp'])\n"
        "print(code, sorted({'torch', 'numpy', 'scipy', 'matplotlib', 'sqlalchemy', 'fastapi'} & set(sys.modules)), file=sys.stderr)"
    )
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    lines = [hello, {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}]
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]
        server.stdin.close()
        assert server.stdout.read() == ""
        assert server.stderr.read() == "0 []\n"
    assert answers[0]["result"]["serverInfo"]["name"] == "lodestar"
    assert [tool["name"] for tool in answers[1]["result"]["tools"]] == READING
