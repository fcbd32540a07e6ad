"""Reading a prompt: the share of the bfloat16 matrix-product peak, with the logits of every token computed.

The two shapes of bench.decode, in bfloat16 with random weights, batch 1. Operations are those of the products (2 a weight and token, the
head's counted) and the seen half of the attention's. The peak is a square product by torch, in the same round; beside it stand the model's
own products alone, one after the other, as torch computes them.

    python -m bench.prefill [--shapes gpt2 qwen2] [--tokens 512] [--rounds 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from bench.rounds import machine, ratios, spread
from lodestar.model.config import ModelConfig
from lodestar.model.linear import Linear
from lodestar.model.transformer import Transformer

SEED, PEAK = 0, 2048
SHAPES = {
    "gpt2": ModelConfig(
        50_257, width=768, depth=12, heads=12, context=1024, position="learned", norm="layer", feed_forward="gelu-tanh", bias=True
    ),
    "qwen2": ModelConfig(
        151_936, width=896, depth=24, heads=14, key_value_heads=2, context=1024, feed_forward_width=4864, biased=("query", "key", "value"),
        rotary_base=1e6,
    ),
}  # fmt: skip


def operations(config: ModelConfig, weights: int, tokens: int) -> int:
    """Of one prompt: `weights` numbers in products, and 4 · T · T / 2 · D for each head."""
    return 2 * weights * tokens + config.depth * config.heads * 2 * tokens * tokens * config.head_size


def contenders(config: ModelConfig, tokens: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """What is timed, and its operations."""
    torch.manual_seed(SEED)
    model = Transformer(config).bfloat16().eval()
    prompt = torch.randint(0, config.vocabulary_size, (1, tokens))
    assert model.embedding is not None
    weights = [module.weight for module in model.modules() if isinstance(module, Linear)] + [model.embedding.weight]
    inputs = {weight.shape[1]: torch.randn(tokens, weight.shape[1]).bfloat16() for weight in weights}
    a, b = (torch.randn(PEAK, PEAK).bfloat16() for _ in range(2))
    count = sum(weight.numel() for weight in weights)
    found: dict[str, Callable[[], object]] = {
        "prefill": lambda: model(prompt),
        "its products": lambda: [F.linear(inputs[weight.shape[1]], weight) for weight in weights],
        "peak": lambda: a @ b,
    }
    return found, {"prefill": operations(config, count, tokens), "its products": 2 * count * tokens, "peak": 2 * PEAK**3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine({"torch": torch.__version__}, seed=SEED))
    for shape in arguments.shapes:
        with torch.inference_mode():
            found, counts = contenders(SHAPES[shape], arguments.tokens)
            rates: dict[str, list[float]] = {name: [] for name in found}
            for number in range(arguments.rounds + 1):
                for name, work in found.items():
                    begin = time.perf_counter()
                    work()
                    if number:  # the first round warms up
                        rates[name].append(counts[name] / (time.perf_counter() - begin))
        print(f"{shape}, {arguments.tokens} tokens: peak {spread([rate / 1e9 for rate in rates['peak']], 0)} GFLOP/s")
        for name in ("prefill", "its products"):
            seconds = spread([counts[name] / rate for rate in rates[name]])
            print(f"  {name:13} {seconds} s, {spread(ratios(rates[name], rates['peak']))} of the peak")


if __name__ == "__main__":
    main()
