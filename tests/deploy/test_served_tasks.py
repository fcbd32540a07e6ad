"""Every task, served: the answer over HTTP equals the task's own, for the requests that its users make."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from lodestar import tasks
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.deploy.serve import background
from lodestar.model.config import ModelConfig


@pytest.mark.parametrize("name", tasks.names())
def test_the_served_answer_equals_the_offline_one(name: str, tmp_path: Path) -> None:
    task = tasks.find(name)()
    sample = list(task.sample())
    task.fit(sample)
    backend = Backend(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*SPECIAL_TOKENS, *task.special_tokens], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator((text for example in sample for text in task.texts(example)), trainer)
    tokenizer = Tokenizer(backend)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 2, "heads": 2, "context": 1024, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    model = task.build(config).eval()
    save_bundle(tmp_path / "release", Bundle(model, config, tokenizer, task.describe()))

    with background(tmp_path / "release", tasks.load(task.describe())) as url, httpx.Client(base_url=url, timeout=60) as client:
        for example in sample[::17]:
            request = task.request(example)
            expected = task.answer(model, tokenizer, request)
            told = client.post(f"/v1/{task.endpoint}", json=request)
            if task.endpoint == "audio/speech":  # the file itself, as OpenAI's
                assert told.content == base64.b64decode(expected["audio"])
                continue
            served = told.json()
            if task.endpoint == "completions":
                choice = served["choices"][0]
                served = {"text": choice["text"], "finish_reason": choice["finish_reason"], "usage": served["usage"]}
            if task.endpoint == "chat/completions":
                choice = served["choices"][0]
                message = {name: value for name, value in choice["message"].items() if name != "refusal"}
                served = {"message": message, "finish_reason": choice["finish_reason"], "usage": served["usage"]}
            assert {key: served[key] for key in expected} == expected
        offered = client.get("/api/release").json()["examples"]
        assert offered
        for request in offered:
            assert client.post(f"/v1/{task.endpoint}", json=request).status_code == 200
            # What a person takes in at a glance; of a picture or a recording, what a page does.
            assert len(json.dumps(request, ensure_ascii=False)) < (40_000 if task.example.media_fields() else 400)
