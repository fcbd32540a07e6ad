"""A classifier whose reason is known: one word of a text decides its label, and nothing else does."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers
from torch.nn import functional as F

from lodestar.build.heads import SequenceClassifier
from lodestar.build.reading import read_label
from lodestar.contracts.reading import Reading
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.model.config import ModelConfig

LABELS = ["calm", "storm"]
DECIDING = ["lighthouse", "thunder"]
"""The word of each label."""
OTHERS = [f"word{number}" for number in range(24)]


@dataclass(frozen=True)
class Weather:
    model: SequenceClassifier
    tokenizer: Tokenizer
    deciding = DECIDING

    def text(self, label: int, length: int = 24, seed: int = 0) -> str:
        """Words that mean nothing, and among them one that decides."""
        draw = random.Random(f"{seed} {label}")
        words = [draw.choice(OTHERS) for _ in range(length - 1)]
        words.insert(draw.randrange(length), DECIDING[label])
        return " ".join(words)

    def read(self, text: str, output: str | None = None) -> Reading:
        return read_label(self.model, [*self.tokenizer.encode(text), self.tokenizer.end_of_text], LABELS, output)


@pytest.fixture(scope="session")
def weather() -> Weather:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL_TOKENS, *DECIDING, *OTHERS])}
    backend = Backend(models.WordLevel(vocabulary, unk_token="word0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer = Tokenizer(backend)
    torch.manual_seed(0)
    config = ModelConfig(architecture="encoder", vocabulary_size=len(vocabulary), width=32, depth=2, heads=2, context=64)
    made = Weather(SequenceClassifier(config, 2), tokenizer)
    optimizer = torch.optim.AdamW(made.model.parameters(), 3e-3)
    for step in range(150):
        labels = torch.arange(32) % 2
        rows = [[*tokenizer.encode(made.text(int(label), seed=32 * step + n)), tokenizer.end_of_text] for n, label in enumerate(labels)]
        loss = F.cross_entropy(made.model(torch.tensor(rows)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    made.model.eval()
    assert float(loss.detach()) < 0.05
    return made
