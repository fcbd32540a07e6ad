"""A model that looks, from the command line: over an open decoder, whole and by an adapter; and what it looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from lodestar.build.multimodal import MultimodalDecoder
from lodestar.build.opening import open_bundle
from lodestar.cli._opening import task_for
from lodestar.cli.main import cli, main
from lodestar.contracts.media import Picture
from lodestar.prepare.signs import signs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, save_llama: Callable[..., Path]) -> Path:
    return save_llama(tmp_path_factory.mktemp("base") / "tiny-llama")


def venture_of(folder: Path, base: Path, **changes: Any) -> Path:
    """A venture made by `lodestar new`, on the sample, over an open decoder, and trained for a moment."""
    CliRunner().invoke(cli, ["new", "Looker", "--template", "multimodal", "--path", str(folder)], catch_exceptions=False)
    file = folder / "venture.yaml"
    venture = yaml.safe_load(file.read_text("utf-8"))
    venture |= {
        "data": {"sources": ["builtin:sample"], "validation": 0, "test": 0.3}, "model": {"base": str(base), "context": 128},
        "options": {"size": 16, "patch": 8, "merge": 1, "tower_depth": 1, "tower_width": 16},
        "train": {"tokens": 2048, "batch_tokens": 1024, "learning_rate": 0.01}, "evaluate": {"resamples": 100},
        "targets": [{"metric": "exact_match", "at_least": 0.0}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(venture | changes, allow_unicode=True), "utf-8")
    return folder


def run(*arguments: str | Path) -> Any:
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, {"rank": 4, "alpha": 8}])
def test_an_open_decoder_learns_to_look(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: dict[str, Any] | None
) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    venture = venture_of(tmp_path / "looker", base, **({} if adapter is None else {"adapter": adapter}))
    steps = run("run", "--venture", venture)
    folder = Path(steps["train"]["folder"]) / "model"
    bundle = open_bundle(folder, task_for(folder))
    assert isinstance(bundle.model, MultimodalDecoder)
    original = open_bundle(base, task_for(base)).model
    same = torch.equal(bundle.model.transformer.state_dict()["embedding.weight"], original.state_dict()["embedding.weight"])
    assert same == (adapter is not None), "an adapter leaves the base as it was"
    assert bundle.tokenizer.backend.token_to_id("<|user|>") is not None, "the base's tokenizer"
    release = Path(run("release", "--venture", venture)["folder"])
    picture = tmp_path / "sign.png"
    picture.write_bytes(Picture.of(next(signs(1))[1]).read())
    told = run("explain", release, "--image", picture, "--text", "What?", "--orders", "19", "--out", tmp_path / "page.html")
    assert told["grid"] == {"rows": 2, "columns": 2}
    assert (tmp_path / "page.html").read_text("utf-8").count('class="seen"') == 6
    answer = run("chat", release, "--message", "What?", "--temperature", "0", "--max-tokens", "4")
    assert answer["message"]["role"] == "assistant"
    assert main(["explain", str(release), "--image", str(picture)]) == 2
