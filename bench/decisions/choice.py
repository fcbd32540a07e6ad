"""Does `lodestar decide` choose well, and cheaply? Small problems whose every option is run to the end, too.

Each problem is a venture with no model at all, three sizes from scratch and, of texts, a small open model to fine-tune. `decide` tries them
on a fifth of what running them all would take and chooses; then all are run, and judged on the test split by the north star. Counted is how
often the choice is the best or within 2% of it, beside always the largest, always fine-tuning (where there is such an option, else the
largest) and a coin. The data: scikit-learn's digits, breast cancer, wine and diabetes, the project's own samples, and texts made by rule.

    python -m bench.decisions.choice --out FOLDER [--only NAME ...] [--tokens N]

Each problem's result is kept in FOLDER/NAME.json and not computed again.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import yaml
from scipy.stats import binomtest
from sklearn import datasets

from bench.rounds import machine
from lodestar.cli import _steps
from lodestar.cli._metrics import metrics_of
from lodestar.cli._pilots import Budget, Trial, run_pilots
from lodestar.cli._plan import load_task, prepare_folder
from lodestar.contracts.clock import seconds
from lodestar.contracts.randomness import generator
from lodestar.contracts.task import Task
from lodestar.prepare.shards import open_split
from lodestar.store.files import read_json, write_json
from lodestar.venture.decision import compare
from lodestar.venture.pilots import read_pilots
from lodestar.venture.problem import build_problem
from lodestar.venture.strategies import settings_of, strategies_of, with_settings
from lodestar.venture.venture import Venture

SHARE = 0.2
"""Of what running every option takes, that the pilots may."""
NEAR = 0.02
"""A choice within this share of the best one's score counts as right."""
SIZES = {"thin": (1, 32), "middle": (2, 64), "deep": (4, 128)}
"""Layers and width; the last one is the largest."""
LARGEST, FINE_TUNE = "deep", "fine-tune"
Rows = list[tuple[str, str]]
"""Texts and their labels."""


# The problems


def by_rule(rule: str, count: int) -> Rows:
    """Texts of made-up words: one word decides the label, or which of two comes first, or which is said more often."""
    random = generator(0, "choice", rule, count)
    words = np.array([f"{a}{b}" for a in ("ba", "de", "fi", "go", "ku", "la", "mi", "no") for b in ("sa", "te", "vi", "zo", "ru")])
    rows = []
    for _ in range(count):
        text = list(words[random.integers(0, len(words), int(random.integers(12, 24)))])
        first, second = (int(place) for place in np.sort(random.choice(len(text), 2, replace=False)))
        label = bool(random.integers(0, 2))
        if rule == "keyword":
            text[first] = "sun" if label else "moon"
        elif rule == "order":
            text[first], text[second] = ("sun", "moon") if label else ("moon", "sun")
        else:
            for place in random.choice(len(text), 7, replace=False):
                text[int(place)] = "sun" if random.random() < (0.7 if label else 0.3) else "moon"
            label = text.count("sun") > text.count("moon")
        rows.append((" ".join(text), "yes" if label else "no"))
    return rows


def as_words(load: Callable[[], Any], levels: int) -> Rows:
    """A table as texts: of each column one word for the quantile that the value is in."""
    table = load()
    values, target = np.asarray(table.data), np.asarray(table.target)
    if len(np.unique(target)) > 20:
        target = (target > np.median(target)).astype(int)
    ends = np.quantile(values, np.linspace(0, 1, levels + 1)[1:-1], axis=0)
    place = (values[None] > ends[:, None]).sum(axis=0)
    return [
        (" ".join(f"c{column}q{level}" for column, level in enumerate(row)), f"k{label}") for row, label in zip(place, target, strict=True)
    ]


def from_sample(kind: str) -> Rows:
    from lodestar.tasks.classification import Classification

    return [(each.text, each.label or "") for each in Classification.sample(kind)]


TEXTS: Mapping[str, Callable[[], Rows]] = {
    **{f"{rule}-{count}": partial(by_rule, rule, count) for rule in ("keyword", "order", "count") for count in (400, 1500)},
    **{f"breast-cancer-{levels}": partial(as_words, datasets.load_breast_cancer, levels) for levels in (3, 8)},
    **{f"wine-{levels}": partial(as_words, datasets.load_wine, levels) for levels in (3, 8)},
    **{f"diabetes-{levels}": partial(as_words, datasets.load_diabetes, levels) for levels in (3, 8)},
    **{f"sample-{kind}": partial(from_sample, kind) for kind in ("sentiment", "topic", "intent")},
}
DIGITS: Mapping[str, tuple[Sequence[int], int, float]] = {
    "digits-all": (range(10), 1797, 0.0),
    "digits-few": (range(10), 400, 0.0),
    "digits-noise": (range(10), 1797, 4.0),
    "digits-noise-few": (range(10), 400, 4.0),
    "digits-3-8": ((3, 8), 400, 0.0),
    "digits-low": (range(5), 900, 2.0),
}
"""Digits, records, and the noise on pixels from 0 to 16."""


def write_texts(folder: Path, rows: Rows) -> dict[str, Any]:
    with (folder / "records.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return {"task": "classification", "data": {"sources": ["records.csv"], "vocabulary": 400}}


def write_digits(folder: Path, wanted: Sequence[int], count: int, noise: float) -> dict[str, Any]:
    from PIL import Image

    table = datasets.load_digits()
    random = generator(0, "choice", count, str(noise))
    chosen = random.permutation(np.flatnonzero(np.isin(table.target, list(wanted))))[:count]
    for number in chosen:
        pixels = np.clip((table.images[number] + noise * random.normal(size=(8, 8))) * 16, 0, 255).astype(np.uint8)
        place = folder / "pictures" / str(table.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return {"task": "image-classification", "options": {"size": 8, "patch": 2, "flip": False, "crop": 1}, "data": {"sources": ["pictures"]}}


def make_venture(folder: Path, name: str, tokens: int, base: Path | None) -> Venture:
    """The problem's venture, with its strategies."""
    folder.mkdir(parents=True)
    fields = write_texts(folder, TEXTS[name]()) if name in TEXTS else write_digits(folder, *DIGITS[name])
    fields["data"] |= {"validation": 0.2, "test": 0.25}
    context = {"context": 96} if name in TEXTS else {}
    strategies: list[dict[str, Any]] = [{"name": "none", "kind": "baseline"}]
    for size, (depth, width) in SIZES.items():
        overrides = {"depth": depth, "width": width, "heads": max(1, width // 32)}
        strategies.append({"name": size, "kind": "scratch", "model": {"size": "tiny", **context, "overrides": overrides}})
    if name in TEXTS and base is not None:
        strategies.append({"name": FINE_TUNE, "kind": "fine-tune", "model": {"base": str(base)}, "train": {"tokens": tokens}})
    # Nothing but the score counts: it alone is known of every option in the end.
    decision = {"strategies": strategies, "per_day": 0, "months": 0, "pilot": {"share": SHARE}}
    venture = {
        "name": name, "statement": "A problem.", "audience": "the bench", "north_star": "accuracy", **fields,
        "targets": [{"metric": "accuracy", "at_least": 0.8}], "train": {"tokens": tokens, "batch_tokens": 2048},
        "model": strategies[1]["model"], "decision": decision,
    }  # fmt: skip
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture, sort_keys=False), "utf-8")
    return Venture.open(folder)


# Deciding, and running everything


def decide(venture: Venture) -> tuple[dict[str, float], float]:
    """Each option's expected utility after the pilots, and the seconds that these took."""
    metrics = metrics_of(venture.file)
    run_pilots(venture, metrics, Budget(float("inf"), SHARE))
    comparison = compare(build_problem(venture, metrics), draws=10_000, detail=False)
    spent = sum(pilot.seconds for _, pilot in read_pilots(venture).values())
    return {outlook.name: outlook.expected_utility for outlook in comparison.options}, spent


def run_everything(venture: Venture) -> tuple[dict[str, float], float]:
    """Each option's score on the test split after its whole run, and the seconds of training and measuring them all.

    Latency and memory, which an evaluation measures in a process of its own, decide nothing here, and are left out.
    """
    found: dict[str, float] = {}
    spent = 0.0
    for strategy in strategies_of(venture.file):
        if strategy.kind == "baseline":
            continue
        trial = Trial(venture.folder, with_settings(venture.file, settings_of(strategy, venture.file)))
        _steps.prepare(Venture(venture.folder, trial.file))
        begin = seconds()
        bundle = _steps.load_model(_steps.train(trial, looked=True).folder / "model")
        task, prepared = load_task(bundle.task), prepare_folder(trial)
        examples = open_split(prepared, "test").examples(task)
        found[strategy.name] = accuracy(task, task.measure(bundle.model, bundle.tokenizer, examples))
        spent += seconds() - begin
        if "none" not in found:
            found["none"] = accuracy(task, task.baseline(open_split(prepared, "train").examples(task), examples)[1])
    return found, spent


def accuracy(task: Task, columns: Mapping[str, Any]) -> float:
    return next(metric for metric in task.metrics if metric.name == "accuracy").compute(columns)


def solve(name: str, out: Path, tokens: int, base: Path | None) -> dict[str, Any]:
    path = out / f"{name}.json"
    if path.exists():
        found: dict[str, Any] = read_json(path)
        return found
    folder = out / "ventures" / name
    shutil.rmtree(folder, ignore_errors=True)
    venture = make_venture(folder, name, tokens, base)
    utilities, piloted = decide(venture)
    scores, whole = run_everything(venture)
    result = {"name": name, "utilities": utilities, "scores": scores, "pilot_seconds": piloted, "whole_seconds": whole}
    write_json(path, result)
    shutil.rmtree(folder)
    return result


def pretrained(out: Path) -> Path:
    """A small open encoder, taught by masked words on the texts of all problems without their labels, as transformers saves one."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    folder = out / "base"
    if (folder / "model.safetensors").exists():
        return folder
    texts = [text for load in TEXTS.values() for text, _ in load()]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=marks))
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = transformers.BertTokenizerFast(tokenizer_object=backend, bos_token="[CLS]", eos_token="[SEP]")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=backend.get_vocab_size(), bos_token_id=2, eos_token_id=3, hidden_size=96, num_hidden_layers=3, num_attention_heads=3,
        intermediate_size=384, max_position_embeddings=128,
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config)
    collate = transformers.DataCollatorForLanguageModeling(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    random = generator(0, "pretraining")
    rows = [tokenizer(text, truncation=True, max_length=96) for text in texts]
    for _ in range(400):
        batch = collate([rows[int(row)] for row in random.integers(0, len(rows), 32)])
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# What comes of it


def rules(result: Mapping[str, Any]) -> dict[str, float]:
    """Each way to choose → how often it is right on a problem: 0 or 1, or the coin's share."""
    scores: dict[str, float] = result["scores"]
    best = max(scores.values())
    right = {name: score >= best * (1 - NEAR) for name, score in scores.items()}
    chosen = max(result["utilities"], key=lambda name: result["utilities"][name])
    return {
        "decide": float(right[chosen]),
        "always the largest": float(right[LARGEST]),
        "always fine-tune": float(right.get(FINE_TUNE, right[LARGEST])),
        "a coin": sum(right.values()) / len(right),
    }


def report(results: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| problem | scores | chosen | right | pilots, of running all |", "|---|---|---|---|---|"]
    for result in results:
        chosen = max(result["utilities"], key=lambda name, of=result["utilities"]: of[name])  # type: ignore[misc]
        scores = ", ".join(f"{name} {score:.3f}" for name, score in result["scores"].items())
        share = result["pilot_seconds"] / result["whole_seconds"]
        lines.append(f"| {result['name']} | {scores} | {chosen} | {'yes' if rules(result)['decide'] else 'no'} | {share:.0%} |")
    lines += ["", "| way to choose | right | 95% interval |", "|---|---|---|"]
    for way in rules(results[0]):
        total = sum(rules(result)[way] for result in results)
        interval = binomtest(round(total), len(results)).proportion_ci(method="exact")
        lines.append(f"| {way} | {total:.1f} of {len(results)} ({total / len(results):.0%}) | {interval.low:.0%} to {interval.high:.0%} |")
    cost = sum(result["pilot_seconds"] for result in results) / sum(result["whole_seconds"] for result in results)
    lines += ["", f"Pilots took {cost:.1%} of running every option to its end. Targets: right at least 90%, at most 20%."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=[*TEXTS, *DIGITS], default=[*TEXTS, *DIGITS])
    parser.add_argument("--tokens", type=int, default=600_000, help="of each whole run")
    options = parser.parse_args()
    base = pretrained(options.out) if any(name in TEXTS for name in options.only) else None
    results = [solve(name, options.out, options.tokens, base and base.absolute()) for name in options.only]
    print(machine({"scikit-learn": sklearn.__version__}, seed=0))
    print(report(results))
    write_json(options.out / "choice.json", json.loads(json.dumps(results)))


if __name__ == "__main__":
    main()
