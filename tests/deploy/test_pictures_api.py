"""Pictures over HTTP: what is sent, what is refused, and the commands that are shown."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from lodestar import tasks
from lodestar.contracts.media import ImagePart, Picture
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare import special_tokenizer
from lodestar.prepare.pictures import png

Start = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def viewer() -> Service:
    """Takes any picture for one of the signs."""
    task = tasks.find("image-classification")({"size": 16, "patch": 4})
    task.fit(task.sample())
    config = ModelConfig.from_dict({"width": 32, "depth": 2, "heads": 2, **task.architecture()})
    torch.manual_seed(0)
    return Service("viewer", task, task.build(config).eval(), special_tokenizer(), config)


def noise(size: int) -> bytes:
    return png(np.random.default_rng(0).integers(0, 256, (3, size, size), dtype=np.uint8))


def test_a_large_picture_is_read_and_too_large_a_body_is_not(viewer: Service, start: Start) -> None:
    content = noise(1200)
    assert len(content) > 4_000_000
    body = {"input": ImagePart.of(Picture.of(content), "image/png")}
    with start(viewer) as url, httpx.Client(base_url=url, timeout=60) as client:
        told = client.post("/v1/classify", json=body).json()
        assert told["object"] == "classification"
        assert told["probabilities"] == viewer.answer(body)["probabilities"]
        refused = client.post("/v1/classify", content=b"{" + b" " * (26 << 20), headers={"Content-Type": "application/json"})
        assert refused.status_code == 413


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "https://example.com/cat.png",
            "is a path or an address, and neither is opened here; send its content as data:TYPE;base64,CONTENT.",
        ),
        (
            "data:image/png;base64,aGVsbG8=",
            "the file is no picture that can be read; save it as one of JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM.",
        ),
    ],
)
def test_what_is_no_picture_is_refused_with_400(viewer: Service, start: Start, url: str, sentence: str) -> None:
    with start(viewer) as address:
        told = httpx.post(f"{address}/v1/classify", json={"input": {"type": "image_url", "image_url": {"url": url}}}, timeout=60)
    assert told.status_code == 400
    assert sentence in told.json()["error"]["message"]


def test_several_pictures_at_once_and_no_more_than_are_allowed(viewer: Service, start: Start) -> None:
    part: Any = ImagePart.of(Picture.of(noise(8)), "image/png")
    with start(viewer) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert len(client.post("/v1/classify", json={"input": [part] * 3}).json()["results"]) == 3
        assert "at most 128 are answered at once" in client.post("/v1/classify", json={"input": [part] * 129}).json()["error"]["message"]


def test_the_command_that_is_shown_asks_about_a_file(viewer: Service, start: Start, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    content = noise(400)  # more than a command's argument may have
    (tmp_path / "file.png").write_bytes(content)
    with start(viewer) as url:
        command = viewer.curl(url)
        assert len(command) < 400
        told = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    wanted = viewer.answer({"input": ImagePart.of(Picture.of(content), "image/png")})
    assert f'"label":"{wanted["label"]}"' in told.replace('": "', '":"')


def test_the_page_is_told_which_form_to_show(viewer: Service) -> None:
    told = viewer.describe()
    assert (told["form"], told["context"], told["endpoint"]) == ("picture", 16, "classify")
    first = told["examples"][0]["input"]["image_url"]["url"]
    assert base64.b64decode(first.partition(",")[2]).startswith(b"\x89PNG")
