"""LoRA fine-tuning beside `peft` + `transformers`: tokens a second in interleaved rounds, and peak memory, in the same precision.

    python -m bench.finetune                      # 124M and 0.5B, float32 and bfloat16
    python -m bench.finetune --shapes 0.5b-fp32   # one of them

Random weights, random tokens, adapters of rank 16 on all linear layers of all layers, AdamW, clipping at 1. bf16 is a model whose weights
are bfloat16, with adapters in float32, on either side.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.rounds import interleave, machine, ratios, spread, work
from lodestar.build.adapters import add_adapter
from lodestar.build.language import next_token_loss
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.settings import TrainSettings
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.train.memory import freed_memory_kept
from lodestar.train.trainer import Trainer

SEED, RANK, ALPHA = 0, 16, 32
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CONFIGS = {
    "124m": ModelConfig(
        vocabulary_size=50257, width=768, depth=12, heads=12, context=1024, position="learned", norm="layer", feed_forward="gelu-tanh",
        bias=True,
    ),
    "0.5b": ModelConfig(
        vocabulary_size=151_936, width=896, depth=24, heads=14, key_value_heads=2, context=1024, feed_forward_width=4864,
        biased=("query", "key", "value"),
    ),
}  # fmt: skip
"""GPT-2, and Qwen 2."""


class Loader:
    """Random tokens."""

    def __init__(self, vocabulary: int, rows: int, length: int) -> None:
        self.vocabulary, self.shape = vocabulary, (rows, length + 1)

    def next_batch(self) -> dict[str, Tensor]:
        ids = torch.randint(0, self.vocabulary, self.shape)
        return {"tokens": ids[:, :-1].contiguous(), "targets": ids[:, 1:].contiguous()}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def ours(shape: str, precision: str, loader: Loader) -> Callable[[], object]:
    """The update that `lodestar train` takes."""
    model = Transformer(CONFIGS[shape]).to(TYPES[precision])
    add_adapter(model, AdapterSettings(rank=RANK, alpha=ALPHA))
    model.train()
    settings = TrainSettings(optimizer="adamw", learning_rate=1e-4, batch_tokens=loader.shape[0] * (loader.shape[1] - 1), clip=1.0)
    trainer = Trainer(model, loader, next_token_loss, settings, "fp32")

    def step() -> float:
        return trainer.update(1.0)[0].item()

    return step


def peer(shape: str, precision: str, loader: Loader) -> Callable[[], object]:
    """The ordinary loop around `peft`'s model."""
    import peft

    model = peft.get_peft_model(
        _base(shape).to(TYPES[precision]),
        peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=shape == "124m"),
    ).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> float:
        batch = loader.next_batch()
        logits = model(input_ids=batch["tokens"]).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch["targets"].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def _base(shape: str) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    model: nn.Module
    if shape == "124m":
        model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False))
    else:
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=151_936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                num_key_value_heads=2, tie_word_embeddings=True, use_cache=False,
            )
        )  # fmt: skip
    return model


def make(who: str, shape: str, precision: str, rows: int, length: int) -> Callable[[], object]:
    torch.manual_seed(SEED)
    loader = Loader(CONFIGS[shape].vocabulary_size, rows, length)
    return (ours if who == "ours" else peer)(shape, precision, loader)


def run_worker(who: str, *settings: Any) -> None:
    step = make(who, *settings)

    def measure() -> float:
        begin = time.perf_counter()
        step()
        return time.perf_counter() - begin

    if who == "ours":
        with freed_memory_kept():  # as the training loop does
            work(measure)
    else:
        work(measure)


def peak_memory(who: str, *settings: Any) -> None:
    """Prints the megabytes that three steps took at most, above those of the process before the model was made."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make(who, *settings)
    if who == "ours":
        with freed_memory_kept():
            for _ in range(3):
                step()
    else:
        for _ in range(3):
            step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=[f"{shape}-{kind}" for shape in CONFIGS for kind in TYPES])
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=("ours", "peer"))
    parser.add_argument("--memory", choices=("ours", "peer"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if who := given.worker or given.memory:
        shape, precision = given.shapes[0].split("-")
        (run_worker if given.worker else peak_memory)(who, shape, precision, given.rows, given.length)
        return
    import peft
    import transformers

    print(machine({"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}, seed=SEED))
    for name in given.shapes:
        options = ["--shapes", name, "--rows", str(given.rows), "--length", str(given.length), "--threads", str(given.threads)]
        command = [sys.executable, "-m", "bench.finetune", *options, "--memory"]
        memory = [float(subprocess.run([*command, who], capture_output=True, check=True, text=True).stdout) for who in ("ours", "peer")]
        taken = interleave("bench.finetune", ("ours", "peer"), given.rounds, warm_up=1, options=options)
        rates = [statistics.median(given.rows * given.length / seconds for seconds in taken[who]) for who in ("ours", "peer")]
        print(
            f"{name}: ours {rates[0]:.0f} tokens/s, peer {rates[1]:.0f}; ours / peer {spread(ratios(taken['peer'], taken['ours']))}; "
            f"peak memory {memory[0]:.0f} MB, peer {memory[1]:.0f} MB"
        )


if __name__ == "__main__":
    main()
