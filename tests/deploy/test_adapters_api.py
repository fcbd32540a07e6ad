"""Several adapters over one served model, through OpenAI's client and over real sockets: each answers as it does alone."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
import torch

from lodestar import Transformer, load_model, load_tokenizer, save_model
from lodestar.build.adapters import add_adapter, load_adapter, save_adapter, use_adapter
from lodestar.build.completion import CompletionRequest, complete
from lodestar.cli.main import main
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.errors import UserError
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.deploy.serve import background
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.tasks.text_generation import TextGeneration

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("north", "team/south")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A base with two adapters, and one for another base; all random."""
    place = tmp_path_factory.mktemp("adapters")
    config = ModelConfig(tokenizer.vocabulary_size, width=32, depth=2, heads=2, context=256, initial_std=0.5)
    for seed, name in enumerate(("base", "other")):
        torch.manual_seed(seed)
        save_model(Transformer(config), place / name, tokenizer=tokenizer)
    for seed, (base, name) in enumerate([("base", "north"), ("base", "south"), ("other", "foreign")]):
        model = load_model(place / base)
        torch.manual_seed(seed)
        add_adapter(model, AdapterSettings(rank=4))
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
        save_adapter(model, place / name)
    return place


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    adapters = {name: folder / name.rpartition("/")[2] for name in NAMES}
    with background(folder / "base", TextGeneration(), name="base", adapters=adapters) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, str]:
    """What each writes by itself."""
    tokenizer, request = load_tokenizer(folder / "base"), CompletionRequest(prompt="The star", max_tokens=24)
    texts = {"base": complete(load_model(folder / "base"), tokenizer, request)["text"]}
    for name in NAMES:
        model = load_model(folder / "base")
        load_adapter(model, folder / name.rpartition("/")[2], "only")
        with use_adapter(model, "only"):
            texts[name] = complete(model, tokenizer, request)["text"]
    assert len(set(texts.values())) == 3
    return texts


def test_each_is_a_model_of_its_own(client: openai.OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["base", *NAMES]
    assert [getattr(model, "parent", None) for model in listed] == [None, "base", "base"]
    assert client.models.retrieve("team/south").id == "team/south"
    with pytest.raises(openai.NotFoundError, match=r"There is no model 'east' here\. This server has 'base', 'north', 'team/south'"):
        client.completions.create(model="east", prompt="The star")


def test_each_answers_as_it_does_alone(client: openai.OpenAI, alone: dict[str, str]) -> None:
    for name, expected in alone.items():
        answer = client.completions.create(model=name, prompt="The star", max_tokens=24, temperature=0)
        assert (answer.model, answer.choices[0].text) == (name, expected)


def test_they_take_turns_without_mixing(client: openai.OpenAI, alone: dict[str, str]) -> None:
    def ask(name: str) -> str:
        chunks = client.completions.create(model=name, prompt="The star", max_tokens=24, temperature=0, stream=True)
        return "".join(chunk.choices[0].text for chunk in chunks)

    names = [*alone, *alone, *alone]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(ask, names)) == [alone[name] for name in names]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["north={}/foreign"], "/foreign: the adapter is for another base model; load the model that its adapter_config.json names."),
        (["north={}/none"], "/none: no adapter_config.json here; name the folder of an adapter that peft or Lodestar saved."),
        (["north={}/north", "north={}/south"], "--adapter: two adapters are called 'north'; give them different names."),
        (["{}/north"], "is no NAME=FOLDER; write such as --adapter mate=runs/train-1/adapter."),
        (["base={}/north"], "adapter: the model itself is called 'base'; give the adapter another name."),
        (["a.b={}/north"], "'a.b' is no name for an adapter; choose one without a dot."),
    ],
)
def test_what_does_not_belong_here_is_refused_before_anything_is_served(
    given: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [part for one in given for part in ("--adapter", one.format(folder))]
    assert main(["serve", str(folder / "base"), "--port", "0", *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.endswith(f"{sentence}\n")
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_a_model_that_has_none_names_itself_alone(folder: Path) -> None:
    assert Service.load(folder / "base", TextGeneration()).names == ("base",)
    with pytest.raises(UserError, match="another base"):
        Service.load(folder / "other", TextGeneration(), adapters={"north": folder / "north"})


@pytest.mark.slow
def test_the_guide_serves_them_as_written(folder: Path, tmp_path: Path) -> None:
    pages = [(DOCS / name).read_text("utf-8") for name in ("open-models.md", "open-models.zh.md")]
    blocks = [re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for page in pages]
    commands, chinese = (next(block for block in page if "--adapter" in block) for page in blocks)
    assert commands == chinese
    (tmp_path / "adapters").mkdir()
    for place, name in (("my-model", "base"), ("adapters/north", "north"), ("adapters/south", "south")):
        shutil.copytree(folder / name, tmp_path / place)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        commands = commands.replace("8000", str(probe.getsockname()[1]))
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "LODESTAR_LANGUAGE": "en"}
    # -m: a job of its own for the server, as in a terminal, so that `kill %1` reaches it.
    command = ["bash", "-e", "-m", "-c", f"{commands}\nwait"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "models:   my-model, north, south" in done.stdout
    assert '"parent":"my-model"' in done.stdout
    assert '"model":"north"' in done.stdout
