"""POST /v1/embeddings as OpenAI's own client asks it."""

from __future__ import annotations

import numpy as np
import openai
import pytest
import torch

from lodestar import tasks
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer


def test_openai_s_client_reads_our_vectors() -> None:
    task = tasks.find("retrieval")()
    tokenizer = train_tokenizer([text for example in task.sample() for text in task.texts(example)], 320)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 64, **task.architecture())
    torch.manual_seed(0)
    model = task.build(config).eval()
    texts = ["When does the pool close?", "泳池晚上九点关门。", "😀" * 100]
    expected = [each["embedding"] for each in task.answer(model, tokenizer, {"input": texts})["data"]]
    with serving(Service("finder", task, model, tokenizer, config)) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        for options in ({}, {"encoding_format": "float"}):
            answer = client.embeddings.create(model="finder", input=texts, **options)  # type: ignore[arg-type]
            assert (answer.object, answer.model) == ("list", "finder")
            assert [each.index for each in answer.data] == [0, 1, 2]
            np.testing.assert_allclose([each.embedding for each in answer.data], expected, atol=1e-6)
            assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            client.embeddings.create(model="finder", input="x", dimensions=8)
        with pytest.raises(openai.NotFoundError, match="no model"):
            client.embeddings.create(model="other", input="x")
