"""Translating many sentences with beams: Lodestar beside CTranslate2 and transformers, all with the same random weights of Marian's shape.

Sentences of 8 to 40 tokens are written as 24 tokens each, with 4 beams: random weights end no sentence, so the length is set for all. What
is counted are the tokens of the best hypotheses, the encoder's time included. transformers makes the weights and saves them in float32;
Lodestar reads that folder, CTranslate2 converts it to int8. All run in one process, one after the other in each round.

    python -m bench.translate_speed [--shapes base small] [--kinds fp32 int8] [--rounds 6] [--sentences 96] [--threads 2]
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.rounds import machine, ratios, spread, take_turns, timed
from lodestar.build.formats import load_model
from lodestar.build.quantize import quantize
from lodestar.build.seq2seq import ToWrite, write_texts
from lodestar.model.beam import BeamSettings

SEED, REST_S, BEAMS, WRITTEN, BATCH = 0, 0.2, 4, 24, 32
SHAPES = {"base": (512, 6, 2048, 32_000), "small": (256, 3, 1024, 8_000)}
"""Width, layers of either stack, hidden width of the feed-forwards, vocabulary."""
EOS, PAD_FROM_END = 0, 1
Contender = Callable[[], object]


def hugging_face(shape: str) -> nn.Module:
    """The peer's model, with its own initialisation."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(SEED)
    width, layers, hidden, vocabulary = SHAPES[shape]
    config = transformers.MarianConfig(
        vocab_size=vocabulary, d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64, encoder_ffn_dim=hidden, decoder_ffn_dim=hidden, max_position_embeddings=512,
        activation_function="swish", scale_embedding=True, pad_token_id=vocabulary - PAD_FROM_END, eos_token_id=EOS,
        decoder_start_token_id=vocabulary - PAD_FROM_END, forced_eos_token_id=None,
    )  # fmt: skip
    return transformers.MarianMTModel(config).eval()


def save_tokenizer(folder: Path, vocabulary: int) -> None:
    """A word a token: CTranslate2 converts no model without a tokenizer."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"</s>": EOS, **{f"t{token}": token for token in range(1, vocabulary - PAD_FROM_END)}, "<pad>": vocabulary - PAD_FROM_END}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t1"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="t1", pad_token="<pad>").save_pretrained(folder)


def sources(vocabulary: int, sentences: int) -> list[list[int]]:
    drawn = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(7, 40, (sentences,), generator=drawn).tolist()
    return [[*torch.randint(2, vocabulary - PAD_FROM_END, (length,), generator=drawn).tolist(), EOS] for length in lengths]


def ours(model: nn.Module, texts: list[list[int]], pad: int) -> Contender:
    wanted = [ToWrite(text, [pad], WRITTEN) for text in texts]
    return lambda: write_texts(model, wanted, BeamSettings(beams=BEAMS), ends=[EOS], pad=pad, banned=[EOS, pad])


def transformers_peer(model: Any, texts: list[list[int]], pad: int) -> Contender:
    ordered = sorted(texts, key=len)

    def work() -> None:
        for first in range(0, len(ordered), BATCH):
            batch = ordered[first : first + BATCH]
            longest = max(map(len, batch))
            ids = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in batch])
            model.generate(
                ids, attention_mask=ids != pad, num_beams=BEAMS, do_sample=False, max_new_tokens=WRITTEN, min_new_tokens=WRITTEN
            )  # fmt: skip

    return work


def ctranslate2_peer(translator: Any, texts: list[list[int]]) -> Contender:
    words = [[*(f"t{token}" for token in text[:-1]), "</s>"] for text in texts]
    return lambda: translator.translate_batch(
        words, beam_size=BEAMS, max_decoding_length=WRITTEN, min_decoding_length=WRITTEN, max_batch_size=BATCH
    )


def contenders(shape: str, kinds: list[str], sentences: int, threads: int, folder: Path) -> dict[str, Contender]:
    import ctranslate2

    peer = hugging_face(shape)
    vocabulary = SHAPES[shape][-1]
    pad, texts = vocabulary - PAD_FROM_END, sources(vocabulary, sentences)
    peer.save_pretrained(folder / "hf")  # type: ignore[operator]
    save_tokenizer(folder / "hf", vocabulary)
    ctranslate2.converters.TransformersConverter(str(folder / "hf")).convert(str(folder / "ct2"), quantization="int8")
    translator = ctranslate2.Translator(str(folder / "ct2"), compute_type="int8", intra_threads=threads, inter_threads=1)
    base = load_model(folder / "hf")
    found: dict[str, Contender] = {}
    for kind in kinds:
        model = copy.deepcopy(base)
        if kind in ("int8", "int4"):
            quantize(model, code=kind, head=True)  # type: ignore[arg-type]
        found[f"ours {kind}"] = ours(model.bfloat16() if kind == "bf16" else model, texts, pad)
    found["CTranslate2 int8"] = ctranslate2_peer(translator, texts)
    found["transformers fp32"] = transformers_peer(peer, texts, pad)
    return found


def main() -> None:
    import ctranslate2
    import transformers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--kinds", nargs="+", default=["fp32", "int8"], choices=("fp32", "bf16", "int8", "int4"))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--sentences", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)  # the peers' advice
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "ctranslate2": ctranslate2.__version__}
    print(machine(versions, seed=SEED))
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            found = contenders(shape, arguments.kinds, arguments.sentences, arguments.threads, Path(folder))
        taken = take_turns({name: timed(work) for name, work in found.items()}, arguments.rounds, REST_S)
        print(f"\n{shape}: {arguments.sentences} sentences of {WRITTEN} tokens, {BEAMS} beams")
        for name, times in taken.items():
            over = [f"{spread(ratios(taken[peer], times))} × {peer}" for peer in ("CTranslate2 int8", "transformers fp32") if peer != name]
            print(f"  {name:18} {spread([arguments.sentences * WRITTEN / s for s in times], 0)} tokens/s; {'; '.join(over)}")


if __name__ == "__main__":
    main()
