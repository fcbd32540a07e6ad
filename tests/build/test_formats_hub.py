"""Ids on the hub, by its cache as it lies on the disk: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from lodestar import ModelConfig, Transformer, UserError, load_model, load_tokenizer, save_model
from lodestar.build.formats.folder import origin_of
from lodestar.prepare.tokenizer import train_tokenizer

COMMIT = "4f3c" * 10


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one model, acme/tiny, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = tmp_path / "models--acme--tiny"
    config = ModelConfig(300, 24, 1, 4, 32)
    save_model(Transformer(config), model / "snapshots" / COMMIT, tokenizer=train_tokenizer(["a text"], 258))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    # As the hub lays it out: a snapshot's files are links to blobs.
    (model / "blobs").mkdir()
    for number, file in enumerate(sorted((model / "snapshots" / COMMIT).iterdir())):
        blob = model / "blobs" / f"{number:040}"
        file.rename(blob)
        file.symlink_to(Path("../../blobs") / blob.name)
    return tmp_path


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_an_id_is_read_from_the_cache_and_its_commit_recorded(cache: Path, revision: str | None, tmp_path: Path) -> None:
    model = load_model("acme/tiny", revision=revision)
    origin = origin_of(model)
    assert origin is not None
    assert (origin.source, origin.revision) == ("acme/tiny", COMMIT)
    assert len(origin.weights_sha256) == 64
    assert load_tokenizer("acme/tiny", revision=revision).vocabulary_size == 258
    save_model(model, tmp_path / "again")
    assert not any(file.is_symlink() for file in (tmp_path / "again").iterdir())
    assert load_tokenizer(tmp_path / "again").vocabulary_size == 258


@pytest.mark.parametrize(("name", "revision"), [("acme/none", None), ("none", None), ("acme/tiny", "v2")])
def test_what_is_not_in_the_cache_is_told_offline(cache: Path, name: str, revision: str | None) -> None:
    for load in (load_model, load_tokenizer):
        with pytest.raises(
            UserError, match=f"{name}: no folder has this name, and the model is not in the hub's cache.*HF_HUB_OFFLINE unset"
        ):
            load(name, revision=revision)


def test_a_folder_goes_before_an_id(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(Transformer(ModelConfig(97, 24, 1, 4, 32)), tmp_path / "here" / "acme" / "tiny")
    monkeypatch.chdir(tmp_path / "here")
    origin = origin_of(load_model("acme/tiny"))
    assert origin is not None
    assert origin.revision is None


@pytest.mark.parametrize("name", ["./tiny", "/none/tiny", "~/none/tiny", "a/b/c", ".."])
def test_a_path_is_never_asked_of_the_hub(cache: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"no such folder|has no config.json"):
        load_model(name)


def test_an_unknown_architecture_is_refused_before_the_weights_come(cache: Path) -> None:
    snapshot = cache / "models--acme--tiny" / "snapshots" / COMMIT
    config = (snapshot / "config.json").resolve()
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        load_model("acme/tiny")
    config.write_text(config.read_text().replace("ForCausalLM", "ForSomething"))
    with pytest.raises(UserError, match="ForSomething' is unknown"):
        load_model("acme/tiny")
