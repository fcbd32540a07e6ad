"""Summarization of DialogSum: from nothing, beside its first sentences; and the pipeline beside a plain loop over `transformers`.

    python -m bench.quality.summarization                      # from nothing: 3 seeds of 10 minutes
    python -m bench.quality.summarization --minutes 2 --seeds 1
    python -m bench.quality.summarization --architecture decoder
    python -m bench.quality.summarization --pipeline           # about two minutes

Data: summarization/dialogsum in $LODESTAR_DATA. It has the dev and the test dialogues, and not the 12,460 that others train on: so dev, 424
dialogues with a summary each, is learnt from here (a tenth of it steers), and test, 432 with three summaries each, judges. All goes the
product's way: prepare, train, measure. The scores are against the best of three summaries, by our ROUGE, which is checked against
rouge-score on the same texts. The pipeline is a random BART and a random T5 made by `transformers`, fine-tuned on the same 500 records in
the same batches by us and by a plain loop over it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench.quality.plain_loop import plain_losses
from bench.rounds import machine
from lodestar.build.base import begin_from, derive_from, find_base
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.build.summarize import summarize
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.summaries import COVERAGE, REPETITION, ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_LSUM
from lodestar.model.beam import BeamSettings
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.summarization import Summarization, SummarizedText, first_sentences, summary_columns
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "summarization" / "dialogsum"
CONTEXT, ROWS, VOCABULARY, SUMMARY_TOKENS = 384, 16, 2000, 64
SHAPE: Mapping[str, Any] = {"depth": 2, "width": 128, "heads": 2}
SHOWN = (ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_LSUM, COVERAGE, REPETITION)
Columns = Mapping[str, np.ndarray]


def from_nothing(options: argparse.Namespace) -> None:
    """Prepare once, train and judge once a seed, and print a line of the table for each."""
    chosen = {"architecture": options.architecture, "beams": options.beams, "summary_tokens": SUMMARY_TOKENS}
    task = Summarization({**chosen, "word_dropout": options.word_dropout})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sources = ["dev.jsonl.gz", "test.jsonl.gz"]
        data = DataSettings(
            sources=sources, splits={"test": sources[1:]}, columns={"text": "dialogue"}, validation=0.1, test=0, vocabulary=VOCABULARY
        )  # fmt: skip
        prepare(task, data, DATA, folder / "data", context=CONTEXT)
        splits = {split: open_split(folder / "data", split) for split in ("train", "validation", "test")}
        judged = list(splits["test"].examples(task))
        leads = {
            "first sentence": [first_sentences(example.text, 1) for example in judged],
            "first three sentences": [first_sentences(example.text, 3) for example in judged],
            "first three turns": ["\n".join(example.text.split("\n")[:3]) for example in judged],
            "the longest turn": [max(example.text.split("\n"), key=len) for example in judged],
        }
        rows: dict[str, Columns] = {name: summary_columns(judged, texts) for name, texts in leads.items()}
        learnt = splits["train"].records
        print(f"\n{learnt} dialogues to learn from, {len(judged)} to judge, 3 summaries each\n")
        print("| | steps | " + " | ".join(metric.name for metric in SHOWN) + " |\n|---|---|" + "---|" * len(SHOWN))
        for name, columns in rows.items():
            print(_row(name, "", columns), flush=True)
        found = []
        for seed in range(options.seeds):
            steps, columns, texts = _train(task, folder, splits, judged, seed, options)
            found.append(columns)
            print(_row(f"ours, seed {seed}", str(steps), columns), flush=True)
        mean = {name: np.mean([each[name] for each in found], axis=0) for name in found[0]}  # a dialogue's score is its mean over the seeds
        first = [SummarizedText(text=example.text, summary=example.summary[:1]) for example in judged]
        print(_row("the last seed's, against the first summary alone", "", summary_columns(first, texts)))
        print("\nours less each lead, paired:")
        for name, columns in rows.items():
            print(f"  {name}: " + ", ".join(f"{metric.name} {_paired(metric, columns, mean)}" for metric in (ROUGE_1, ROUGE_2, ROUGE_L)))
        _agree(judged, texts)
        print("\nsummaries, the last seed's:")
        for example, text in list(zip(judged, texts, strict=True))[:4]:
            print(f"  {text!r}\n    a person: {example.summary[0]!r}")


def _train(
    task: Summarization, folder: Path, splits: Mapping[str, Any], judged: Sequence[SummarizedText], seed: int, options: argparse.Namespace
) -> tuple[int, Columns, list[str]]:  # fmt: skip
    tokenizer = Tokenizer.load(folder / "data")
    decided = {**task.architecture(), "dropout": options.dropout}
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides={**SHAPE, "dropout": options.dropout})
    config = derive(settings, decided, tokenizer.vocabulary_size).config
    plan = TrainSettings(
        minutes=options.minutes, batch_tokens=ROWS * CONTEXT, learning_rate=options.learning_rate, seed=seed, weight_decay=0.1
    )
    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "pad": tokenizer.pad}
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    loader = make_loader(splits["train"], task.batching, seed=seed, **shape)
    validation = Sequential(splits["validation"], task.batching, **shape)

    def save(trained: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(trained, config, tokenizer, task.describe()))

    record = train(task, model, loader, lambda: validation, plan, folder / f"train-{seed}", save=save)
    beams = BeamSettings(options.beams, unrepeated=task.chosen.unrepeated)
    found = summarize(
        model,
        tokenizer,
        task.summary_form,
        [example.text for example in judged],
        max_tokens=SUMMARY_TOKENS,
        settings=beams,
        label="summaries",
    )
    texts = [one.text for one in found]
    return int(record.facts["steps"]), summary_columns(judged, texts), texts


def _row(name: str, steps: str, columns: Columns) -> str:
    found = scores(list(SHOWN), columns, resamples=2000, confidence=0.95, seed=0)
    return "| " + " | ".join([name, steps, *(f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]" for one in found)]) + " |"


def _paired(metric: Any, theirs: Columns, ours: Columns) -> str:
    paired = paired_difference(metric, theirs, ours, resamples=2000, confidence=0.95, seed=0)
    return f"{100 * paired.value:+.1f} [{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]"


def _agree(examples: Sequence[SummarizedText], texts: Sequence[str]) -> None:
    """Our scores of the texts beside rouge-score's."""
    from rouge_score.rouge_scorer import RougeScorer

    names = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    scorer, ours = RougeScorer(list(names.values()), use_stemmer=True), summary_columns(examples, texts)
    theirs = [scorer.score_multi(example.summary, text) for example, text in zip(examples, texts, strict=True)]
    largest = max(abs(ours[name][row] - found[other].fmeasure) for row, found in enumerate(theirs) for name, other in names.items())
    print(f"\nour ROUGE-1, -2 and -L of these {len(texts)} texts and rouge-score's: largest difference {largest:.1e}")


# The pipeline


def pipeline(steps: int) -> None:
    """The losses of both fine-tunings, step by step."""
    for kind in ("bart", "t5"):
        with tempfile.TemporaryDirectory() as place:
            folder, task = Path(place), Summarization({"smoothing": 0.0, "prefix": "summarize: " if kind == "t5" else ""})
            examples = _records(500)
            (folder / "records.jsonl").write_text("".join(example.model_dump_json() + "\n" for example in examples))
            _make_base(kind, folder / "base", [text for example in examples for text in task.texts(example)])
            base = find_base("base", folder)
            task.adopt(base.folder)
            data = DataSettings(sources=["records.jsonl"], validation=0, test=0, deduplicate="no")
            settings = ModelSettings(base="base", context=256)
            config = derive_from(base, settings, {**task.architecture(), "dropout": 0.0}, None).config
            prepare(task, data, folder, folder / "data", context=config.context, tokenizer=base.tokenizer)
            split, shape = (
                open_split(folder / "data", "train"),
                {"rows": 8, "context": config.context, "seed": 0, "pad": base.tokenizer.pad},
            )
            plan = TrainSettings(
                tokens=steps << 20, batch_tokens=1 << 20, micro_batch_tokens=1 << 20, optimizer="adamw", learning_rate=3e-4,
                schedule="constant", warmup=0, weight_decay=0.01, precision="fp32", evaluate_every=steps,
            )  # fmt: skip
            model = begin_from(base, task, config, None)
            loader = make_loader(split, task.batching, **shape)
            train(task, model, loader, lambda: (), plan, folder / "train", save=lambda _, out: out.mkdir())
            lines = [json.loads(line) for line in (folder / "train" / "metrics.jsonl").read_text().splitlines()]
            ours = np.array([line["loss"] for line in lines if "loss" in line])
            loader = make_loader(split, task.batching, **shape)
            theirs = np.array(_plain_loop(kind, folder / "base", [loader.next_batch() for _ in range(steps)]))
            print(f"\n{kind}: {len(examples)} records, {steps} steps; losses")
            for step in sorted({0, 1, 2, 4, 9, *range(19, steps, 20), steps - 1} & set(range(steps))):
                difference = ours[step] - theirs[step]
                print(f"  step {step + 1:4}: ours {ours[step]:.5f}, transformers {theirs[step]:.5f}, difference {difference:+.1e}")
            print(f"  largest difference of all steps: {np.abs(ours - theirs).max():.1e}")
            few = examples[:50]
            written = summarize(
                model, base.tokenizer, task.summary_form, [one.text for one in few], max_tokens=32, settings=BeamSettings(1)
            )
            _agree([*few, *few], [*(one.text for one in written), *(first_sentences(one.text, 3) for one in few)])


def _records(count: int) -> list[SummarizedText]:
    """The first records of dev and test, with one summary each."""
    with tempfile.TemporaryDirectory() as place:
        task, sources = Summarization(), ["dev.jsonl.gz", "test.jsonl.gz"]
        data = DataSettings(sources=sources, columns={"text": "dialogue"}, validation=0, test=0, vocabulary=300, deduplicate="no")
        prepare(task, data, DATA, Path(place) / "data")
        read = open_split(Path(place) / "data", "train").examples(task)
        return [SummarizedText(text=one.text, summary=one.summary[:1]) for one in read][:count]


def _make_base(kind: str, folder: Path, texts: Sequence[str]) -> None:
    """A random model as `transformers` saves it, with a tokenizer that was learnt from the texts and puts the model's marks around one."""
    import transformers
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    backend = Backend(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if kind == "bart" else "$A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    torch.manual_seed(0)
    marks: dict[str, Any] = {"pad_token_id": 1, "eos_token_id": 2}
    if kind == "bart":
        # As facebook/bart-base is published: without the bias of the logits, which transformers keeps and does not train.
        config: Any = transformers.BartConfig(
            vocab_size=2000, d_model=96, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=256, decoder_ffn_dim=256, max_position_embeddings=256, dropout=0.0, attention_dropout=0.0,
            activation_dropout=0.0, bos_token_id=0, decoder_start_token_id=2, **marks,
        )  # fmt: skip
        transformers.BartModel(config).save_pretrained(folder)
    else:
        config = transformers.T5Config(
            vocab_size=2000, d_model=96, d_kv=48, d_ff=256, num_layers=2, num_heads=2, dropout_rate=0.0, decoder_start_token_id=1,
            feed_forward_proj="gated-gelu", **marks,
        )  # fmt: skip
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)


def _plain_loop(kind: str, folder: Path, batches: Sequence[Mapping[str, torch.Tensor]]) -> list[float]:
    import transformers

    family: Any = transformers.BartForConditionalGeneration if kind == "bart" else transformers.T5ForConditionalGeneration
    model = family.from_pretrained(folder).train()

    def loss_of(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        output = model(input_ids=batch["source_tokens"], attention_mask=batch["source_mask"].long(), decoder_input_ids=batch["tokens"])
        return F.cross_entropy(output.logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=-100)

    return plain_losses(model, batches, loss_of)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architecture", choices=("encoder-decoder", "decoder"), default="encoder-decoder")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--word-dropout", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=0.006)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pipeline", action="store_true", help="compare with a plain loop over transformers")
    parser.add_argument("--steps", type=int, default=100, help="of the pipeline")
    chosen = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}; set LODESTAR_DATA to the folder that holds the data sets")
    torch.set_num_threads(chosen.threads)
    names = ("torch", "tokenizers", "rouge-score", *(("transformers",) if chosen.pipeline else ()))
    print(machine({name: version(name) for name in names}, seed=0), flush=True)
    begin = seconds()
    if chosen.pipeline:
        pipeline(chosen.steps)
    else:
        from_nothing(chosen)
    print(f"\n{(seconds() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
