"""Whether llama.cpp itself answers as we do from the GGUF files that we write.

For a random model of each architecture and kind: the largest difference of log-probabilities over 40 positions, among the tokens that
have more than e^-12, and at how many positions the likeliest token is the same. llama.cpp keeps keys and values in float16, and with
q8_0 and q4_0 it rounds the activations, too, so that random weights, which are wide, show what a trained model's would not.

    npm install --prefix DIR --omit=optional --ignore-scripts node-llama-cpp @node-llama-cpp/linux-x64
    python -m bench.gguf_llama_cpp DIR/node_modules
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor

from bench.rounds import machine
from lodestar import ModelConfig, Transformer
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.deploy.export_gguf import export_gguf
from lodestar.deploy.gguf.blocks import KINDS
from lodestar.model.config import RotaryScaling

LENGTH, VOCABULARY = 40, 320
TEXTS = ("the cat's 123 mats,  and\n\nthe  dog 你好!", "that the 世界 é\t x", "  x")
BASE: dict[str, Any] = {
    "vocabulary_size": VOCABULARY, "width": 64, "depth": 3, "heads": 4, "key_value_heads": 2, "context": 64, "feed_forward_width": 96,
    "tied_embeddings": False, "initial_std": 0.2,
}  # fmt: skip
GEMMA = {"norm_place": "sandwich", "feed_forward": "geglu-tanh", "scaled_embeddings": True, "tied_embeddings": True, "head_width": 32}
EXPERTS = {"experts": 4, "expert_width": 64}
FACTORS: dict[str, Any] = {"short_factors": tuple(1 + i / 10 for i in range(8)), "long_factors": tuple(1 + i / 2 for i in range(8))}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {
        "position": "learned", "norm": "layer", "norm_epsilon": 1e-5, "bias": True, "feed_forward": "gelu-tanh", "key_value_heads": 4,
    },
    "llama": {},
    "llama, biases": {"biased": ("query", "key", "value", "output", "feed_forward"), "head_width": 32, "tied_embeddings": True},
    "llama, llama3 scaling": {
        "rotary_scaling": RotaryScaling("llama3", 4.0, 32, low_frequency_factor=1.0, high_frequency_factor=4.0),
    },
    "llama, linear scaling": {"rotary_scaling": RotaryScaling("linear", 2.0)},
    "llama, experts": EXPERTS,
    "qwen2": {"biased": ("query", "key", "value")},
    "qwen3": {"qk_norm": True, "head_width": 32},
    "qwen3, yarn": {"qk_norm": True, "rotary_scaling": RotaryScaling("yarn", 4.0, 16, attention_factor=1.1386294361119891)},
    "qwen3moe": {"qk_norm": True, **EXPERTS},
    "olmo2": {"norm_place": "output", "qk_norm": True, "qk_norm_over": "all"},
    "gemma2": {**GEMMA, "depth": 4, "attention_cap": 50.0, "logit_cap": 30.0, "layer_windows": (8, None, 8, None)},
    "gemma3": {**GEMMA, "depth": 6, "qk_norm": True, "layer_windows": (8, 8, 8, 8, 8, None), "rotary_base": 1e6, "local_rotary_base": 1e4},
    "phi3, half turned": {"rotary_share": 0.5},
    "phi3, longrope": {"rotary_scaling": RotaryScaling("longrope", original_context=32, attention_factor=1.095, **FACTORS)},
}  # fmt: skip


def random_model(changes: dict[str, Any]) -> Transformer:
    """With norms and biases that are not ones and zeros."""
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**{**BASE, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def byte_level_tokenizer() -> Tokenizer:
    """As GPT-2's."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["the cat sat on the mat, and the dog's 123 bones", "the rat that sat"] * 3, trainer)
    return Tokenizer(backend)


def compare(ours_TV: Tensor, theirs: list[list[tuple[int, float]]]) -> tuple[float, int]:
    """The largest difference of log-probabilities, and at how many positions the likeliest tokens agree."""
    theirs_TV = torch.full_like(ours_TV, -torch.inf)
    for position, pairs in enumerate(theirs):
        ids, probabilities = zip(*pairs, strict=True)
        theirs_TV[position, list(ids)] = torch.tensor(probabilities).log()
    likely = ours_TV > -12
    return float((theirs_TV - ours_TV)[likely].abs().max()), int((theirs_TV.argmax(-1) == ours_TV.argmax(-1)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("node_modules", type=Path)
    arguments = parser.parse_args()
    tokens = torch.randint(2, 300, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    tokenizer = byte_level_tokenizer()
    with tempfile.TemporaryDirectory() as name:
        folder, jobs, expected = Path(name), [], []
        for number, changes in enumerate(SHAPES.values()):
            model = random_model(changes)
            with torch.no_grad():
                expected.append(model(tokens)[0].log_softmax(-1))
            for kind in KINDS:
                file = folder / f"{number}-{kind}.gguf"
                export_gguf(model, file, kind=kind, tokenizer=tokenizer)  # type: ignore[arg-type]
                jobs.append({"path": str(file), "ids": tokens[0].tolist(), "texts": TEXTS})
        (folder / "jobs.json").write_text(json.dumps(jobs))
        reader = Path(__file__).with_suffix(".mjs")
        subprocess.run(
            ["node", str(reader), str(arguments.node_modules), str(folder / "jobs.json"), str(folder / "answers.json")], check=True
        )
        answers = iter(json.loads((folder / "answers.json").read_text()))
    release = json.loads((arguments.node_modules / "node-llama-cpp" / "package.json").read_text())["version"]
    print(f"{machine({'node-llama-cpp': release, 'torch': torch.__version__}, seed=0)}\n")
    print(f"| shape | {' | '.join(KINDS)} |\n|---|{'---|' * len(KINDS)}")
    for shape, ours in zip(SHAPES, expected, strict=True):
        cells = []
        for _ in KINDS:
            answer = next(answers)
            assert answer["ids"] == [tokenizer.encode(text) for text in TEXTS], f"{shape}: other tokens"
            difference, same = compare(ours, answer["probabilities"])
            cells.append(f"{difference:.3f}, {same}/{LENGTH}")
        print(f"| {shape} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
