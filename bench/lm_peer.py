"""The peer's CPU recipe for tiny-shakespeare in plain torch, none of our model or loop: what bench.lm_quality has to reproduce.

    python -m bench.lm_peer            # three seeds

Written from nanoGPT's model.py and train.py: GPT-2's block, AdamW on two groups, cosine after a linear warm-up. Prints the loss over the
whole validation tenth, and the mean and standard deviation of the estimate (20 batches of 12 random windows) that the peer itself prints.
"""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.lm_quality import CONTEXT, Corpus

WIDTH, HEADS, DEPTH, ROWS, STEPS = 128, 4, 4, 12, 2_000


class LayerNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self.weight, None, 1e-5)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = LayerNorm(), LayerNorm()
        self.c_attn, self.c_fc = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.attn_c_proj, self.mlp_c_proj = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(WIDTH, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.attn_c_proj(mixed)
        return x + self.mlp_c_proj(F.gelu(self.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks, self.ln_f = nn.ModuleList(Block() for _ in range(DEPTH)), LayerNorm()
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * DEPTH) if name.endswith("c_proj.weight") else 0.02)

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        x = self.wte(tokens) + self.wpe.weight
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def random_windows(ids: Tensor) -> tuple[Tensor, Tensor]:
    index = torch.randint(len(ids) - CONTEXT, (ROWS, 1)) + torch.arange(CONTEXT)
    return ids[index], ids[index + 1]


def learning_rate(step: int) -> float:
    if step < 100:
        return 1e-3 * (step + 1) / 101
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (STEPS - 100))) * (1e-3 - 1e-4)


def run(corpus: Corpus, seed: int) -> tuple[float, list[float]]:
    """The whole validation loss, and twenty of the peer's estimates."""
    torch.manual_seed(1337 + seed)
    model = GPT(len(corpus.characters))
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        model(*random_windows(corpus.train)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        sums = [model(batch["tokens"], batch["targets"], "sum").item() for batch in corpus.windows]
        estimates = [statistics.mean(model(*random_windows(corpus.validation)).item() for _ in range(20)) for _ in range(20)]
    return sum(sums) / sum(batch["targets"].numel() for batch in corpus.windows), estimates


def main() -> None:
    corpus = Corpus()
    for seed in range(3):
        whole, estimates = run(corpus, seed)
        mean, deviation = statistics.mean(estimates), statistics.stdev(estimates)
        print(
            f"seed {seed}: validation loss {whole:.4f}; the peer's estimates of it: {mean:.4f}, standard deviation {deviation:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
