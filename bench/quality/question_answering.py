"""Extractive question answering: from nothing, beside two baselines; and the pipeline beside a plain loop over `transformers`.

    python -m bench.quality.question_answering                                    # all three data sets, 3 seeds of 10 minutes each
    python -m bench.quality.question_answering --data cmrc2018 --minutes 3 --seeds 1
    python -m bench.quality.question_answering --data xquad-en --unmarked         # what one choice of the recipe brings
    python -m bench.quality.question_answering --pipeline                         # some minutes

Data: question-answering in $LODESTAR_DATA. Of CMRC 2018 it has the dev and the trial questions, and not the 10,000 that others train on;
XQuAD is for judging and has none to train on. So they are split here, by a hash of their passage: 70 % to learn, 10 % to steer, 20 % to
judge.
All of it goes the product's way: prepare, train, evaluate. The pipeline is a random BERT made by `transformers`, fine-tuned on the same 500
questions in the same batches by us and by a plain loop over it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.overlap import nearest_words, usual_lengths
from lodestar.evaluate.squad import ANSWER_F1, EXACT_MATCH, cmrc_scores, squad_scores
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.tasks.question_answering import QuestionAnswering, QuestionOnText, answer_columns
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "question-answering"
SETS: Mapping[str, Sequence[str]] = {"cmrc2018": ("cmrc2018/dev", "cmrc2018/trial"), "xquad-en": ("xquad/en",), "xquad-zh": ("xquad/zh",)}
CONTEXT, ROWS, VOCABULARY = 512, 16, 4000
SHAPE: Mapping[str, Any] = {"depth": 3, "width": 128, "heads": 4}
_SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]?")


def from_nothing(name: str, minutes: float, seeds: int, options: argparse.Namespace) -> None:
    """Prepare once, train and judge once a seed, and print a line of the table for each."""
    with tempfile.TemporaryDirectory() as place:
        folder, task = Path(place), QuestionAnswering()
        data = DataSettings(sources=[f"{file}.json.gz" for file in SETS[name]], validation=0.1, test=0.2, vocabulary=VOCABULARY)
        prepare(task, data, DATA, folder / "data", context=CONTEXT)
        splits = {split: open_split(folder / "data", split) for split in ("train", "validation", "test")}
        judged, learnt = list(splits["test"].examples(task)), list(splits["train"].examples(task))
        _, nearest = task.baseline(learnt, judged)
        first = answer_columns([_first_sentence(example) for example in judged], judged)
        print(f"\n{name}: {len(learnt)} questions to learn, {len(judged)} to judge\n")
        print("| seed | steps | F1, ours | nearest words | first sentence | ours less nearest | exact, ours | nearest words |")
        print("|---|---|---|---|---|---|---|---|")
        found = []
        for seed in range(seeds):
            steps, columns = _train(task, folder, splits, judged, seed, minutes, options)
            found.append(columns)
            _row(str(seed), str(steps), columns, nearest, first)
        if seeds > 1:  # a question's score is its mean over the seeds
            _row("mean", "", {name: np.mean([each[name] for each in found], axis=0) for name in found[0]}, nearest, first)


def _train(
    task: QuestionAnswering, folder: Path, splits: Mapping[str, Any], judged: Sequence[QuestionOnText], seed: int, minutes: float,
    options: argparse.Namespace,
) -> tuple[int, dict[str, np.ndarray]]:  # fmt: skip
    tokenizer = Tokenizer.load(folder / "data")
    decided = {**task.architecture(), "dropout": options.dropout}
    shaped = {**SHAPE, "dropout": options.dropout, "token_types": 2 if options.unmarked else 3}
    settings = ModelSettings(size="tiny", context=CONTEXT, overrides=shaped)
    config = derive(settings, decided, tokenizer.vocabulary_size).config
    plan = TrainSettings(
        minutes=minutes, batch_tokens=ROWS * CONTEXT, learning_rate=options.learning_rate, seed=seed, schedule="wsd", weight_decay=0.1
    )
    shape: dict[str, Any] = {"rows": ROWS, "context": CONTEXT, "pad": tokenizer.pad}
    torch.manual_seed(derive_seed(seed, "model"))
    model = task.build(config)
    loader = make_loader(splits["train"], task.batching, seed=seed, **shape)
    validation = Sequential(splits["validation"], task.batching, limit=16, **shape)

    def save(trained: nn.Module, place: Path) -> None:
        task.calibrate(trained, tokenizer, list(splits["validation"].examples(task)))
        save_bundle(place, Bundle(trained, config, tokenizer, task.describe()))

    record = train(task, model, loader, lambda: validation, plan, folder / f"train-{seed}", save=save)
    return int(record.facts["steps"]), task.measure(model, tokenizer, judged)


def _first_sentence(example: QuestionOnText) -> str:
    found = _SENTENCE.search(example.context)
    return found.group().strip() if found else example.context


def _row(seed: str, steps: str, ours: Mapping[str, np.ndarray], nearest: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray]) -> None:
    def shown(metric: Any, columns: Mapping[str, np.ndarray]) -> str:
        (score,) = scores([metric], columns, resamples=2000, confidence=0.95, seed=0)
        return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"

    paired = paired_difference(ANSWER_F1, nearest, ours, resamples=2000, confidence=0.95, seed=0)
    difference = f"{100 * paired.value:+.1f} [{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]"
    cells = [seed, steps, *(shown(ANSWER_F1, columns) for columns in (ours, nearest, first)), difference]
    print("| " + " | ".join([*cells, shown(EXACT_MATCH, ours), shown(EXACT_MATCH, nearest)]) + " |", flush=True)


def pipeline(steps: int) -> None:
    """The losses of both fine-tunings, step by step, and the scores of their answers by our scorer and by others."""
    import transformers

    with tempfile.TemporaryDirectory() as place:
        folder, task = Path(place), QuestionAnswering({"overlap": 64})
        examples = _questions("xquad/en")[:500]
        (folder / "records.jsonl").write_text("".join(example.model_dump_json() + "\n" for example in examples))
        _make_base(folder / "base", [text for example in examples for text in task.texts(example)])
        base = find_base("base", folder)
        data = DataSettings(sources=["records.jsonl"], validation=0, test=0, deduplicate="no")
        prepare(task, data, folder, folder / "data", context=base.config.context, tokenizer=base.tokenizer)
        config = derive_from(base, ModelSettings(base="base"), {**task.architecture(), "dropout": 0.0}, None).config
        split, shape = open_split(folder / "data", "train"), {"rows": 16, "context": config.context, "seed": 0, "pad": base.tokenizer.pad}
        plan = TrainSettings(
            tokens=steps << 20, batch_tokens=1 << 20, micro_batch_tokens=1 << 20, optimizer="adamw", learning_rate=3e-4,
            schedule="constant", warmup=0, weight_decay=0.01, precision="fp32", evaluate_every=steps,
        )  # fmt: skip
        model = begin_from(base, task, config, None)
        train(task, model, make_loader(split, "padded", **shape), lambda: (), plan, folder / "train", save=lambda _, out: out.mkdir())
        lines = [json.loads(line) for line in (folder / "train" / "metrics.jsonl").read_text().splitlines()]
        ours = np.array([line["loss"] for line in lines if "loss" in line])
        peer = transformers.BertForQuestionAnswering.from_pretrained(folder / "base").train()
        loader = make_loader(split, "padded", **shape)
        theirs = np.array(_plain_loop(peer, [loader.next_batch() for _ in range(steps)]))
        print(f"\n{len(examples)} questions, {split.records} windows, {steps} steps of 16 windows; losses")
        for step in sorted({0, 1, 2, 4, 9, *range(19, steps, 20), steps - 1} & set(range(steps))):
            print(
                f"  step {step + 1:4}: ours {ours[step]:.5f}, transformers {theirs[step]:.5f}, difference {ours[step] - theirs[step]:+.1e}"
            )
        print(f"  largest difference of all steps: {np.abs(ours - theirs).max():.1e}")
        _compare_scorers(task, model, base.tokenizer, examples)
        _compare_chinese_scorers()


def _questions(name: str) -> list[QuestionOnText]:
    """The questions of a file."""
    with tempfile.TemporaryDirectory() as place:
        task = QuestionAnswering()
        settings = DataSettings(sources=[f"{name}.json.gz"], validation=0, test=0, vocabulary=300, deduplicate="no")
        prepare(task, settings, DATA, Path(place) / "data")
        return list(open_split(Path(place) / "data", "train").examples(task))


def _make_base(folder: Path, texts: Sequence[str]) -> None:
    """A random BERT that answers questions, with a tokenizer of word pieces learnt from the texts."""
    import transformers
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=4000, special_tokens=special, show_progress=False))
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=backend.get_vocab_size(), hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512,
        max_position_embeddings=192, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    transformers.BertForQuestionAnswering(config).save_pretrained(folder)


def _plain_loop(model: Any, batches: Sequence[Mapping[str, torch.Tensor]]) -> list[float]:
    def loss_of(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        mask = batch["attention_mask"]
        output = model(batch["tokens"], attention_mask=mask.long(), token_type_ids=batch["token_types"].clamp(max=1))
        ends = ((output.start_logits, batch["start"]), (output.end_logits, batch["end"]))
        # Its own loss would count the padding among the places.
        return torch.stack([F.cross_entropy(logits.masked_fill(~mask, -torch.inf), places) for logits, places in ends]).mean()

    return plain_losses(model, batches, loss_of)


def _compare_chinese_scorers() -> None:
    """Our scores of the baseline's answers to CMRC 2018's trial questions beside those by nltk's words and difflib's longest match."""
    from difflib import SequenceMatcher

    from nltk.tokenize import NLTKWordTokenizer

    signs = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"

    def words(text: str) -> list[str]:
        parts = re.split("([\u4e00-\u9fa5])", "".join(sign for sign in text.lower().strip() if sign not in signs))
        return [
            word for part in parts for word in ([part] if re.fullmatch("[\u4e00-\u9fa5]", part) else NLTKWordTokenizer().tokenize(part))
        ]

    def f1(one: Sequence[str], other: Sequence[str]) -> float:
        common = SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size
        return 2 * common / (len(one) + len(other)) if common else 0.0

    examples = _questions("cmrc2018/trial")
    lengths = usual_lengths((example.answers[0].text, example.context) for example in examples)
    texts = [nearest_words(example.question, example.context, lengths) for example in examples]
    known = [[answer.text for answer in example.answers] for example in examples]
    ours = np.array([cmrc_scores(text, answers)[1] for text, answers in zip(texts, known, strict=True)])
    theirs = np.array([max(f1(words(text), words(one)) for one in answers) for text, answers in zip(texts, known, strict=True)])
    print(f"the baseline's answers to {len(examples)} questions of CMRC 2018: F1 {100 * ours.mean():.4f}; with nltk's words", end=" ")
    print(f"{100 * theirs.mean():.4f}, another in {int((np.abs(ours - theirs) > 1e-9).sum())}")


def _compare_scorers(task: QuestionAnswering, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[QuestionOnText]) -> None:
    """Our scores of the tuned model's answers beside torchmetrics' SQuAD on the same ones."""
    from torchmetrics.functional.text import squad

    texts = task.predictions(model, tokenizer, examples)
    known = [[answer.text for answer in example.answers] for example in examples]
    exact, f1 = np.mean([squad_scores(text, answers) for text, answers in zip(texts, known, strict=True)], axis=0)
    theirs = squad(
        [{"prediction_text": text, "id": str(row)} for row, text in enumerate(texts)],
        [{"answers": {"text": answers, "answer_start": [0] * len(answers)}, "id": str(row)} for row, answers in enumerate(known)],
    )
    print(f"its answers: exact match {100 * exact:.4f}, F1 {100 * f1:.4f}; by torchmetrics", end=" ")
    print(f"{float(theirs['exact_match']):.4f}, {float(theirs['f1']):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=0.006)
    parser.add_argument("--unmarked", action="store_true", help="without a type for the words of the text that stand in the question")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pipeline", action="store_true", help="compare with a plain loop over transformers")
    parser.add_argument("--steps", type=int, default=100, help="of the pipeline")
    chosen = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}; set LODESTAR_DATA to the folder that holds the data sets")
    torch.set_num_threads(chosen.threads)
    names = ("torch", "tokenizers", *(("transformers", "torchmetrics") if chosen.pipeline else ()))
    print(machine({name: version(name) for name in names}, seed=0), flush=True)
    begin = seconds()
    if chosen.pipeline:
        pipeline(chosen.steps)
    else:
        for name in chosen.data:
            from_nothing(name, chosen.minutes, chosen.seeds, chosen)
    print(f"\n{(seconds() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
