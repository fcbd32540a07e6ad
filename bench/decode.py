"""Decoding one token at a time: Lodestar beside transformers.generate and CTranslate2, and what reading the weights allows.

Two shapes with random weights, greedy, at batch 1 and 8: a GPT-2 of 124M parameters, and a Qwen 2 of 494M. transformers makes the weights
and saves them in bfloat16; Lodestar reads that folder, CTranslate2 converts it to int8. A token's time is that from the first token to the
last, over their distance: the prompt's own pass is left out.

All run in one process, one after the other in each round, and rest between: a pool of threads spins for a while after its work. The read
limit is the time to sum a buffer of 1 GiB, and one of as many bytes as a token reads, by the fastest loop at hand. The second is what a
cache as large as the weights would allow.

    python -m bench.decode [--shapes gpt2 qwen2] [--kinds bf16 int8 int4] [--rounds 8] [--tokens 16] [--threads 2]
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import functools
import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.rounds import machine, ratios, spread, take_turns
from lodestar.build.formats import load_model
from lodestar.build.quantize import quantize
from lodestar.model.generate import stream
from lodestar.model.native.pages import settle
from lodestar.model.quantized import QuantizedLinear
from lodestar.model.transformer import Transformer

PROMPT, SEED, REST_S, BATCHES = 8, 0, 0.25, (1, 8)
GIBIBYTE = 1 << 30
READER = """
float read_all(const float *from, long count) {
  float sum = 0;
#pragma omp parallel for simd reduction(+ : sum) schedule(static)
  for (long i = 0; i < count; i++) sum += from[i];
  return sum;
}

/* The same, asking for each line of memory 4096 bytes before it is needed. */
float read_ahead(const float *from, long count) {
  float sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(static)
  for (long line = 0; line < count / 16; line++) {
    float part = 0;
    __builtin_prefetch(from + 16 * line + 1024);
    for (int i = 0; i < 16; i++) part += from[16 * line + i];
    sum += part;
  }
  return sum;
}
"""
Contender = Callable[[], float]
"""Does its work once, and says how many seconds a step of it took."""


def hugging_face(shape: str) -> nn.Module:
    """The peer's model, with its own initialisation, in bfloat16."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(SEED)
    if shape == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config()).bfloat16().eval()
    config = transformers.Qwen2Config(
        vocab_size=151_936, hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        intermediate_size=4864, tie_word_embeddings=True, max_position_embeddings=1024,
    )  # fmt: skip
    return transformers.Qwen2ForCausalLM(config).bfloat16().eval()


def save_tokenizer(folder: Path, vocabulary: int) -> None:
    """A word a token: CTranslate2 converts no model without a tokenizer."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<|endoftext|>" if token == 1 else f"t{token}": token for token in range(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="t0", eos_token="<|endoftext|>", unk_token="t0").save_pretrained(folder)


def bytes_a_token(model: Transformer) -> int:
    """What one token reads: all weights but the rows of embeddings that are not its own; a tied embedding is the output, too."""
    unread = [model.decoder.learned] if model.decoder is not None else []
    if model.output is not None:
        unread.append(model.embedding)
    tensors = {*model.parameters()} - {module.weight for module in unread if module is not None}
    codes = [x for layer in model.modules() if isinstance(layer, QuantizedLinear) for x in (layer.codes, layer.scales)]
    return sum(x.numel() * x.element_size() for x in (*tensors, *codes))


def per_token(moments: Callable[[int], Sequence[float]], tokens: int) -> Contender:
    """Seconds a token, from when the first one is there: `moments` says when each, or at least the first and the last, of so many is."""

    def measure() -> float:
        passed = moments(1 + tokens)
        return (passed[-1] - passed[0]) / tokens

    return measure


def reading(size: int) -> Contender:
    """Seconds to read `size` bytes once, the fastest way at hand, of three readings."""
    numbers = torch.ones(size // 4)
    ways: list[Callable[[], object]] = [numbers.sum]
    compiler = shutil.which("gcc")
    if compiler is not None:
        folder = Path(tempfile.mkdtemp())
        (folder / "read.c").write_text(READER, "utf-8")
        flags = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512", "-fopenmp", "-fPIC"]
        subprocess.run([compiler, *flags, "-c", folder / "read.c", "-o", folder / "read.o"], check=True)
        subprocess.run([compiler, "-shared", folder / "read.o", "-o", folder / "read.so"], check=True)  # on torch's threads, as ours
        library = ctypes.CDLL(str(folder / "read.so"))
        shutil.rmtree(folder)
        for function in (library.read_all, library.read_ahead):
            function.argtypes = [ctypes.c_void_p, ctypes.c_long]
            ways.append(functools.partial(function, numbers.data_ptr(), numbers.numel()))

    def measure() -> float:
        best = float("inf")
        for way in ways:
            begin = time.perf_counter()
            for _ in range(3):
                way()
            best = min(best, (time.perf_counter() - begin) / 3)
        return best

    return measure


def ours(model: Transformer, batch: int, tokens: int) -> Contender:
    prompt = prompts(model.config.vocabulary_size, batch)
    return per_token(lambda n: [time.perf_counter() for _ in stream(model, prompt, n)], tokens)


def transformers_peer(model: Any, batch: int, tokens: int) -> Contender:
    prompt = prompts(model.config.vocab_size, batch)
    mask = torch.ones_like(prompt)

    def moments(n: int) -> list[float]:
        passed: list[float] = []

        def note(ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:  # asked after each token whether a row stops there
            passed.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        model.generate(
            prompt, attention_mask=mask, max_new_tokens=n, min_new_tokens=n, do_sample=False, pad_token_id=0, stopping_criteria=[note]
        )
        return passed

    return per_token(moments, tokens)


def ctranslate2_peer(generator: Any, vocabulary: int, batch: int, tokens: int) -> Contender:
    words = [[f"t{token}" for token in row] for row in prompts(vocabulary, batch).tolist()]

    def moments(n: int) -> list[float]:
        passed: list[float] = []

        def note(result: Any) -> bool:  # called for each row's token; True would end the row
            if result.batch_id == batch - 1:
                passed.append(time.perf_counter())
            return False

        generator.generate_batch(
            words, max_length=n, min_length=n, beam_size=1, sampling_topk=1, include_prompt_in_result=False, callback=note
        )
        return passed

    return per_token(moments, tokens)


def prompts(vocabulary: int, batch: int) -> torch.Tensor:
    return torch.randint(2, vocabulary, (batch, PROMPT), generator=torch.Generator().manual_seed(SEED))


def contenders(shape: str, kinds: list[str], tokens: int, threads: int, folder: Path) -> tuple[dict[str, Contender], dict[str, int]]:
    """By name; and the bytes that a token of ours reads, by kind."""
    import ctranslate2

    peer = hugging_face(shape)
    vocabulary: int = peer.config.vocab_size  # type: ignore[union-attr,assignment]
    peer.save_pretrained(folder / "hf")  # type: ignore[operator]
    save_tokenizer(folder / "hf", vocabulary)
    ctranslate2.converters.TransformersConverter(str(folder / "hf")).convert(str(folder / "ct2"), quantization="int8")
    generator = ctranslate2.Generator(str(folder / "ct2"), compute_type="int8", intra_threads=threads, inter_threads=1)
    base = load_model(folder / "hf", dtype=torch.bfloat16)
    assert isinstance(base, Transformer)
    found: dict[str, Contender] = {}
    sizes: dict[str, int] = {}
    for kind in kinds:
        model = base
        if kind != "bf16":
            model = copy.deepcopy(base)
            quantize(model, code=kind, head=True)  # type: ignore[arg-type]
        settle(model)  # as in serving
        sizes[kind] = bytes_a_token(model)
        found[f"read as {kind}"] = reading(sizes[kind])
        found |= {f"ours {kind} {batch}": ours(model, batch, tokens) for batch in BATCHES}
    for batch in BATCHES:
        found[f"transformers bf16 {batch}"] = transformers_peer(peer, batch, tokens)
        found[f"CTranslate2 int8 {batch}"] = ctranslate2_peer(generator, vocabulary, batch, tokens)
    found["read 1 GiB"] = reading(GIBIBYTE)
    return found, sizes


def report(shape: str, taken: dict[str, list[float]], sizes: dict[str, int]) -> None:
    print(f"\n{shape}: reading 1 GiB {spread([GIBIBYTE / s / 1e9 for s in taken['read 1 GiB']], 1)} GB/s")
    for batch in BATCHES:
        for name in (f"transformers bf16 {batch}", f"CTranslate2 int8 {batch}"):
            print(f"  batch {batch} {name[:-2]:18} {spread([batch / s for s in taken[name]], 1)} tokens/s")
        for kind, size in sizes.items():
            times = taken[f"ours {kind} {batch}"]
            print(
                f"  batch {batch} ours {kind:13} {spread([batch / s for s in times], 1)} tokens/s; {size / 1e6:.0f} MB a step;"
                f" of the limit {spread([size / s * limit / GIBIBYTE for s, limit in zip(times, taken['read 1 GiB'], strict=True)])},"
                f" cached {spread(ratios(taken[f'read as {kind}'], times))};"
                f" {spread(ratios(taken[f'transformers bf16 {batch}'], times))} × transformers bf16,"
                f" {spread(ratios(taken[f'CTranslate2 int8 {batch}'], times))} × CTranslate2 int8"
            )


def main() -> None:
    import ctranslate2
    import transformers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=["gpt2", "qwen2"], choices=("gpt2", "qwen2"))
    parser.add_argument("--kinds", nargs="+", default=["bf16", "int8", "int4"], choices=("bf16", "int8", "int4"))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)  # the peers' advice
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "ctranslate2": ctranslate2.__version__}
    print(machine(versions, seed=SEED))
    for shape in arguments.shapes:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found, sizes = contenders(shape, arguments.kinds, arguments.tokens, arguments.threads, Path(folder))
            print(f"{shape} made in {time.perf_counter() - begin:.0f} s", flush=True)
            report(shape, take_turns(found, arguments.rounds, REST_S), sizes)
        print(f"{shape} took {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
