"""`lodestar explain --image`: a page, a drawing in characters, and JSON; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lodestar import tasks
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.cli.main import main
from lodestar.model.config import ModelConfig
from lodestar.prepare import special_tokenizer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that takes any picture for one of the signs, and a picture."""
    folder = tmp_path_factory.mktemp("explain")
    task = tasks.find("image-classification")({"size": 16, "patch": 4})
    sample = task.sample()
    task.fit(sample)
    config = ModelConfig.from_dict({"width": 32, "depth": 2, "heads": 2, **task.architecture()})
    torch.manual_seed(0)
    save_bundle(folder / "model", Bundle(task.build(config).eval(), config, special_tokenizer(), task.describe()))
    (folder / "sign.png").write_bytes(next(sample[0].media()).read())
    return folder


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


def test_a_picture_is_explained_in_characters_in_json_and_on_a_page(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["explain", str(place / "model"), "--image", str(place / "sign.png"), "--orders", "19"]
    assert main([*asked, "--method", "rollout", "--output", "star"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Answer: star")
    assert "Attention roll-out" in told
    assert (tmp_path / "explanation.html").read_text("utf-8").count('class="seen"') == 6
    assert main([*asked, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["grid"] == {"rows": 4, "columns": 4}
    assert set(value["patches"]) == {"gradients", "rollout", "attention"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image", "none.png"], "none.png: no such picture"),
        ([], "one of --text and --image is needed"),
        (["--image", "sign.png", "--text", "a"], "one of --text and --image is needed"),
        (["--image", "sign.png", "--output", "sstar"], "unknown label 'sstar'; did you mean 'star'?"),
        (["--image", "sign.png", "--layer", "3"], "there is no layer 3; the model has 2"),
        (["--image", "model/config.json"], "the file is no picture that can be read"),
        (["--text", "a star"], "the field 'input"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    given = [str(place / part) if part.endswith((".png", ".json")) else part for part in arguments]
    assert main(["explain", str(place / "model"), *given]) == 2
    assert sentence in capsys.readouterr().err
