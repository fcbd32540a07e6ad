"""Translation from scratch on two cores: Multi30k from English to German, and Tatoeba's pairs of English with Chinese, Japanese and Korean.

    python -m bench.quality.translation                                # Multi30k, the default recipe, 58 minutes of training
    python -m bench.quality.translation --recipe tiny --minutes 58     # the literature's small Transformer
    python -m bench.quality.translation --pairs                        # one multilingual model beside one a pair
    python -m bench.quality.translation --out runs/m30k                # keeps its work there, and goes on where it was cut off

Data: translation/ in $LODESTAR_DATA, with the splits that stand there: 29,000 pairs of Multi30k to train on, 1,014 to watch, the 1,000 of
test_2016_flickr to judge. Everything goes the product's way: prepare, train, measure. No text is normalised, lower-cased or tokenised
before: BLEU is sacreBLEU's of the raw text, by its signature. The papers' figures on this test are of lower-cased and tokenised text:
41.0 for the text-only "tiny" of Wu et al. 2021 (https://arxiv.org/abs/2105.14462), from memory: the paper was not at hand, so look
before you quote it. For comparison such a figure is shown, too: lower-cased, with sacreBLEU's 13a in the place of the Moses tokenizer, of
the same outputs.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
import torch
from torch import nn

from lodestar import tasks
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.sizes import derive
from lodestar.build.translation import Translator
from lodestar.contracts.clock import seconds
from lodestar.contracts.meter import versions
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.score import Metric
from lodestar.contracts.settings import DataSettings, ModelSettings, TrainSettings
from lodestar.contracts.task import Task
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import paired_difference, scores
from lodestar.evaluate.translation import BACK, BLEU, CHRF, columns
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.train.loop import train

DATA = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[3] / "shared" / "data")) / "translation"
CONTEXT = 128
LANGUAGES = ("zh", "ja", "ko")


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; what it leaves out is the product's default."""

    words: str
    vocabulary: int
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)


_SHAPE: Mapping[str, Any] = {"depth": 4, "width": 192, "heads": 6, "feed_forward_width": 384, "dropout": 0.3}
_TRAIN: Mapping[str, Any] = {"batch_tokens": 8192, "precision": "bf16", "learning_rate": 0.006, "decay": 0.5, "weight_decay": 0.1}
_BEAMS: Mapping[str, Any] = {"beams": 5, "length_penalty": 1.0}
_OURS: Mapping[str, Any] = {**_BEAMS, "word_dropout": 0.1}
RECIPES: Mapping[str, Recipe] = {
    "default": Recipe("ours, a tenth of the words hidden", 6000, _SHAPE, _TRAIN, _OURS),
    "plain": Recipe("ours, all words shown", 6000, _SHAPE, _TRAIN, _BEAMS),
    "both": Recipe("as default, and the other way round, too", 6000, _SHAPE, _TRAIN, {**_OURS, "both_directions": True}),
    "consistent": Recipe("as default, and R-Drop", 6000, _SHAPE, _TRAIN, {**_OURS, "consistency": 3.0}),
    "tiny": Recipe(
        "4 layers of width 128, AdamW, an average of the weights: after Wu et al. 2021", 10_000,
        {"depth": 4, "width": 128, "heads": 4, "feed_forward_width": 256, "dropout": 0.3, "norm": "layer", "norm_place": "post",
         "position": "sinusoidal", "feed_forward": "relu", "qk_norm": False, "bias": True, "scaled_embeddings": True, "initial_std": 0.088},
        {"batch_tokens": 8192, "precision": "fp32", "optimizer": "adamw", "betas": (0.9, 0.98), "learning_rate": 0.003, "warmup": 0.2,
         "schedule": "cosine", "weight_decay": 0.0, "ema": 0.998, "clip": 0.0},
        _BEAMS,
    ),
}  # fmt: skip
PAIRS = Recipe("both ways between two languages", 6000, _SHAPE, {**_TRAIN, "batch_tokens": 4096}, {**_OURS, "both_directions": True})
TOGETHER = Recipe("both ways of every pair, few pairs more often", 8000, PAIRS.model, PAIRS.train, {**PAIRS.options, "temperature": 5})
ALL = "all"
FEWEST_STEPS = 1_000
"""A model of few pairs reads them more often. # assumed"""


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    task: Task
    model: nn.Module
    tokenizer: Tokenizer
    test: Sequence[Any]
    train: Sequence[Any]
    facts: Mapping[str, Any]
    seconds: float

    def translate(self) -> list[str]:
        """The test's sources."""
        task: Any = self.task
        translator = Translator(self.model, self.tokenizer, task.pair_form, task.beams(None), tagged=task.tagged)
        return [one.text for one in translator.translate([(pair.source, task.languages(pair)) for pair in self.test], label="test")]


def run(recipe: Recipe, data: DataSettings, seed: int, folder: Path, minutes: float | None, passes: float | None = None) -> Trained:
    """Prepare and train."""
    task = tasks.find("translation")(recipe.options)
    prepared = folder / "data"
    prepare(task, data, DATA, prepared, context=CONTEXT)
    tokenizer, split = Tokenizer.load(prepared), open_split(prepared, "train")
    config = derive(
        ModelSettings(size="tiny", context=CONTEXT, overrides=dict(recipe.model)), task.architecture(), tokenizer.vocabulary_size
    ).config
    plan = TrainSettings.parse({"seed": seed, **recipe.train}, where=recipe.words)
    batch = plan.batch_tokens or 0
    tokens = None if passes is None else max(round(passes * split.all_tokens), FEWEST_STEPS * batch)
    plan = plan.model_copy(update={"minutes": minutes, "tokens": tokens, "micro_batch_tokens": batch})
    torch.manual_seed(derive_seed(seed, "model"))

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    shape: dict[str, Any] = {"rows": batch // CONTEXT, "context": CONTEXT, "pad": tokenizer.pad}
    validation = Sequential(open_split(prepared, "validation"), task.batching, **shape)
    out = folder / f"train-{seed}"
    begin = seconds()
    record = train(
        task, task.build(config), make_loader(split, task.batching, seed=seed, **shape), lambda: validation, plan, out, save=save
    )
    trained = load_bundle(out / "model", lambda _, config: task.build(config)).model
    facts = {**record.facts, "passes": record.facts["tokens"] / split.all_tokens}
    return Trained(task, trained, tokenizer, open_split(prepared, "test").examples(task), split.examples(task), facts, seconds() - begin)


def multi30k() -> DataSettings:
    files = {
        name: [f"multi30k/{file}.{{en,de}}.gz"] for name, file in (("train", "train"), ("validation", "val"), ("test", "test_2016_flickr"))
    }
    return _settings(files, RECIPES["default"].vocabulary)


def tatoeba(languages: Sequence[str], vocabulary: int) -> DataSettings:
    files = {
        name: [f"tatoeba-en-{one}/{file}.tsv.gz" for one in languages]
        for name, file in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    constants = {f"tatoeba-en-{one}/*": {"source_language": "en", "target_language": one} for one in languages}
    return _settings(files, vocabulary, columns={"source": "0", "target": "1"}, constants=constants)


def _settings(files: dict[str, list[str]], vocabulary: int, **fields: Any) -> DataSettings:
    # Tests keep every record that they have, twins included, as others count them.
    given = {"sources": files["train"], "splits": files, "vocabulary": vocabulary, "deduplicate": "no", "too_long": "drop", **fields}
    return DataSettings.parse(given, where="bench")


def shown(metric: Metric, table: Mapping[str, np.ndarray]) -> str:
    (found,) = scores([metric], table, resamples=1000, confidence=0.95, seed=0)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def judge_multi30k(name: str, seed: int, trained: Trained, minutes: float) -> None:
    """The figures of one run."""
    begin = seconds()
    written = trained.translate()
    decoded = seconds() - begin
    references = [pair.target for pair in trained.test]
    table = columns(written, references, ["de"] * len(written), [0] * len(written))
    peer, lower = sacrebleu.BLEU(), sacrebleu.BLEU(lowercase=True)
    official, lowered = peer.corpus_score(written, [references]).score, lower.corpus_score(written, [references]).score
    _, baseline = trained.task.baseline(trained.train, trained.test)
    facts = trained.facts
    print(f"\n{name}: {RECIPES[name].words}; seed {seed}")
    print(f"  parameters {facts['parameters']:,}; {facts['steps']:,} steps, {facts['passes']:.1f} passes")
    print(f"  trained {trained.seconds / 60:.1f} minutes of {minutes:g}")
    print(f"  validation {facts['validation_loss']:.4f} nats a token")
    print(f"  BLEU {shown(BLEU, table)}, sacreBLEU's own {official:.2f}  {peer.get_signature()}")
    print(f"  BLEU {lowered:.2f} lower-cased  {lower.get_signature()}   (papers: lower-cased and tokenised; tiny: 41.0)")
    print(f"  chrF {shown(CHRF, table)}")
    print(f"  word by word (IBM model 1): BLEU {shown(BLEU, baseline)}, chrF {shown(CHRF, baseline)}")
    print(f"  {len(written) / decoded:.1f} sentences/s, {trained.task.beams(None)}", flush=True)  # type: ignore[attr-defined]


def train_pairs(name: str, seed: int, folder: Path, passes: float) -> Trained:
    """The model of one pair of languages, named for the other one, or `ALL`, of all of them; both ways."""
    languages, recipe = (LANGUAGES, TOGETHER) if name == ALL else ([name], PAIRS)
    trained = run(recipe, tatoeba(languages, recipe.vocabulary), seed, folder / name, None, passes)
    facts = trained.facts
    told = f"{facts['parameters']:,} parameters, {facts['steps']:,} steps, {facts['passes']:.1f} passes, {trained.seconds:.0f} s"
    print(f"{name}: {recipe.words}; {told}", flush=True)
    return trained


def judge_pairs(seed: int, folder: Path, passes: float) -> None:
    """The multilingual model, and one a pair, on the same tests."""
    everything = train_pairs(ALL, seed, folder, passes)
    together = everything.task.measure(everything.model, everything.tokenizer, everything.test)
    print("| direction | pairs | metric | one model a pair | one of all | difference | word by word |\n|---|---|---|---|---|---|---|")
    for language in LANGUAGES:
        alone = train_pairs(language, seed, folder, passes)
        places = [place for place, pair in enumerate(everything.test) if pair.target_language == language]
        assert [everything.test[place].source for place in places] == [pair.source for pair in alone.test]
        ours = alone.task.measure(alone.model, alone.tokenizer, alone.test)
        _, baseline = alone.task.baseline(alone.train, alone.test)
        for name, back in ((f"en–{language}", ""), (f"{language}–en", BACK)):
            one, all_of_them, words = (_way(table, back) for table in (ours, {k: v[places] for k, v in together.items()}, baseline))
            for metric in (CHRF, BLEU):
                apart = paired_difference(metric, one, all_of_them, resamples=1000, confidence=0.95, seed=0)
                found = f"{apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]"
                scored = [shown(metric, one), shown(metric, all_of_them), found, shown(metric, words)]
                print("| " + " | ".join([name, f"{len(alone.train):,}", metric.name, *scored]) + " |", flush=True)
    print(f"BLEU: {everything.task.signatures()['bleu']}")


def _way(table: Mapping[str, np.ndarray], back: str) -> dict[str, np.ndarray]:
    """One way's columns of pairs that were translated both ways, as of one direction."""
    return {name: table[name + back] for name in ("bleu", "chrf")} | {"direction": np.zeros(len(table["bleu"]), np.int64)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=["default"])
    parser.add_argument("--minutes", type=float, default=58.0, help="of training, each")
    parser.add_argument("--pairs", action="store_true", help="Tatoeba in the place of Multi30k")
    parser.add_argument("--passes", type=float, default=6.0, help="over each of Tatoeba's sets")
    parser.add_argument("--model", choices=[ALL, *LANGUAGES], help="train this one of Tatoeba's into --out, and judge none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="where the work is kept; nowhere where absent")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if not DATA.is_dir():
        sys.exit(f"no data at {DATA}; set LODESTAR_DATA to the folder that holds it")
    print(
        f"{platform.processor() or platform.machine()}, {chosen.threads} threads; {versions('torch', 'numpy', 'tokenizers', 'sacrebleu')}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = chosen.out or Path(temporary)
        if chosen.model:
            train_pairs(chosen.model, chosen.seed, folder / "pairs", chosen.passes)
            return
        if chosen.pairs:
            judge_pairs(chosen.seed, folder / "pairs", chosen.passes)
            return
        for name in chosen.recipe:
            recipe = RECIPES[name]
            data = multi30k().model_copy(update={"vocabulary": recipe.vocabulary})
            judge_multi30k(name, chosen.seed, run(recipe, data, chosen.seed, folder / name, chosen.minutes), chosen.minutes)


if __name__ == "__main__":
    main()
