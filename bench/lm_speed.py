"""Training throughput: Lodestar beside transformers' GPT-2, a plain PyTorch GPT, and what the matrix products allow.

6 layers, width 384, 6 heads, context 256, batch 16, 65 characters: nanoGPT's small GPT. Every contender takes whole steps (forward,
backward, clipping to norm 1, AdamW, fused) on the same random tokens, without dropout, in a process of its own.

    python -m bench.lm_speed [--rounds 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.rounds import interleave, machine, ratios, spread, work
from lodestar.build.arithmetic import bf16_speed
from lodestar.build.language import next_token_loss
from lodestar.contracts.settings import TrainSettings
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.train.memory import freed_memory_kept
from lodestar.train.precision import choose_precision
from lodestar.train.trainer import Trainer

VOCABULARY, DEPTH, WIDTH, HEADS, CONTEXT, BATCH = 65, 6, 384, 6, 256, 16
TOKENS = BATCH * CONTEXT
SEED = 0
PRODUCT = 2048
"""Rows and columns of the product that the peak is measured with."""
NAMES = ("ours auto", "ours bf16", "ours fp32", "gpt2 bf16", "gpt2 fp32", "plain bf16", "plain fp32", "peak bf16", "peak fp32")


class Loader:
    """Random tokens."""

    def next_batch(self) -> dict[str, Tensor]:
        return {name: torch.randint(0, VOCABULARY, (BATCH, CONTEXT)) for name in ("tokens", "targets")}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def ours(precision: Literal["auto", "fp32", "bf16"]) -> Callable[[], object]:
    """The update that `lodestar train` takes."""
    model = Transformer(
        ModelConfig(vocabulary_size=VOCABULARY, width=WIDTH, depth=DEPTH, heads=HEADS, context=CONTEXT, feed_forward="relu2")
    )
    settings = TrainSettings(optimizer="adamw", learning_rate=1e-3, batch_tokens=TOKENS, clip=1.0)
    model.train()
    trainer = Trainer(model, Loader(), next_token_loss, settings, choose_precision(precision, torch.device("cpu")))

    def step() -> float:
        return trainer.update(1.0)[0].item()

    return step


class PlainBlock(nn.Module):
    """What one writes first: nn.Linear, layer norm, fused attention, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        split = self.attention(self.norm_1(x)).split(WIDTH, dim=-1)
        queries, keys, values = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in split)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class PlainGPT(nn.Module):
    """A plain GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(PlainBlock() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=DEPTH, n_head=HEADS, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, use_cache=False, attn_implementation="sdpa", bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model: nn.Module = GPT2LMHeadModel(config)
    return model


def peer(model: nn.Module, logits: Callable[[nn.Module, Tensor], Tensor], precision: str) -> Callable[[], object]:
    """The ordinary loop around a peer."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    loader = Loader()

    def step() -> float:
        batch = loader.next_batch()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(logits(model, batch["tokens"]).flatten(0, 1), batch["targets"].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def peak(precision: str) -> Callable[[], object]:
    """Ten large products."""
    matrix = torch.randn(PRODUCT, PRODUCT, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    result = torch.empty_like(matrix)

    def products() -> None:
        for _ in range(10):
            torch.mm(matrix, matrix, out=result)

    return products


def contender(name: str) -> Callable[[], object]:
    who, precision = name.split()
    if who == "ours":
        return ours(precision)  # type: ignore[arg-type]
    if who == "gpt2":
        return peer(gpt2(), lambda model, tokens: model(input_ids=tokens).logits, precision)
    if who == "plain":
        return peer(PlainGPT(), lambda model, tokens: model(tokens), precision)
    return peak(precision)


def run_worker(name: str) -> None:
    torch.manual_seed(SEED)
    step = contender(name)

    def measure() -> float:
        begin = time.perf_counter()
        step()
        return time.perf_counter() - begin

    if name.startswith("ours"):
        with freed_memory_kept():  # as the training loop does
            work(measure)
    else:
        work(measure)


def report(taken: dict[str, list[float]]) -> None:
    matrices = DEPTH * 12 * WIDTH**2 + VOCABULARY * WIDTH
    # Forward and backward: three products of two operations a parameter; attention, QKᵀ and P·V over all T keys, or the half that is seen.
    full, seen = (6 * matrices + 12 * DEPTH * CONTEXT * WIDTH // halves for halves in (1, 2))
    print(f"\n{'':12} {'tokens/s':>8}  {'ours auto / it':22} {'ours bf16 / it':22} GFLOP/s (attention in full; the seen half)")
    for name, seconds in taken.items():
        against = [spread(ratios(seconds, taken[mine]), 2) for mine in ("ours auto", "ours bf16")]
        if name.startswith("peak"):
            print(f"{name:12} {'':8}  {'':22} {'':22} {spread([20 * PRODUCT**3 / s / 1e9 for s in seconds], 0)}")
            continue
        rates = [TOKENS / s for s in seconds]
        middle = sorted(rates)[len(rates) // 2]
        print(f"{name:12} {middle:8.0f}  {against[0]:22} {against[1]:22} {middle * full / 1e9:.0f}; {middle * seen / 1e9:.0f}")
    for mine in ("ours auto", "ours bf16", "ours fp32"):
        for limit in ("peak bf16", "peak fp32"):
            shares = [
                spread([TOKENS * flops / s / (20 * PRODUCT**3 / p) for s, p in zip(taken[mine], taken[limit], strict=True)])
                for flops in (full, seen)
            ]
            print(f"{mine} / {limit}: {shares[0]} attention in full; {shares[1]} the seen half")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=NAMES)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.worker:
        run_worker(arguments.worker)
        return
    import transformers

    print(machine({"torch": torch.__version__, "transformers": transformers.__version__}, seed=SEED))
    chosen = choose_precision("auto", torch.device("cpu"))
    print(f"this CPU multiplies bf16 {bf16_speed():.2f} times as fast as float32, so `auto` is {chosen}")
    report(interleave("bench.lm_speed", NAMES, arguments.rounds, warm_up=3, options=["--threads", str(arguments.threads)]))


if __name__ == "__main__":
    main()
