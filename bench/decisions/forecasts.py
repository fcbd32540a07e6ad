"""Do forecasts hold what comes? Real small runs, each foretold from a probe of 30 steps, then run to its end and held against it.

Of every run `lodestar decide` is asked before it begins, as a team would: a look at what it will take, two pilots of 15 and of 30 steps,
and from these the final quality, the time, the memory and the cost, each with an interval. Then the same settings are trained to the end in
a process of their own, and judged on the test split. Counted is how often the 80% intervals hold what came, and how far off the time and
the memory were. The data: the tasks' own samples, scikit-learn's tables and digits, texts made by rule, and tiny-shakespeare from
$LODESTAR_DATA where that is set. Shapes, budgets and seeds are drawn.

    python -m bench.decisions.forecasts --out FOLDER [--runs 100] [--minutes N] [--set judged|development]

Each run's result is kept in FOLDER/SET-NUMBER.json and not computed again, so that the command can be stopped and goes on. What is chosen
by looking at results is chosen on the runs of the set `development`, which are drawn apart from those of the set `judged`.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import binom, binomtest
from torch import Tensor

from bench.decisions.choice import DIGITS, TEXTS, write_digits, write_texts
from bench.rounds import machine
from lodestar import tasks
from lodestar.cli import _pilots, _steps
from lodestar.cli._metrics import metrics_of
from lodestar.cli._plan import load_task, prepare_folder
from lodestar.contracts.clock import seconds
from lodestar.contracts.evidence import Evidence
from lodestar.contracts.language import Words
from lodestar.contracts.randomness import generator
from lodestar.prepare.shards import open_split
from lodestar.store.files import read_json, write_json
from lodestar.train.trainer import Trainer
from lodestar.venture.decision import outcome
from lodestar.venture.pilots import save_pilot
from lodestar.venture.problem import build_problem
from lodestar.venture.simulate import draw, quantiles
from lodestar.venture.strategies import strategies_of
from lodestar.venture.venture import Venture

PROBES = (15, 30)
"""Steps of the pilots."""
HELD_OUT = 0.25
"""The share of the records that pilots are measured on, and the share that judges."""
QUANTITIES = ("quality", "time", "memory", "cost")
LEVEL = 0.8
HOUR = 0.36
"""What an hour costs, in USD: a run's cost in hundredths of a cent is its time in seconds."""
SAMPLES = ("text-generation", "translation", "question-answering", "recommendation", "retrieval", "chat", "image-classification")
SHAKESPEARE = Path(os.environ.get("LODESTAR_DATA", "no data")) / "text-generation" / "tinyshakespeare" / "input.txt"


@dataclass(frozen=True)
class Run:
    """What one run is."""

    data: str
    depth: int
    width: int
    batch_tokens: int
    steps: int
    seed: int

    @classmethod
    def drawn(cls, which: str, number: int) -> Run:
        """The run of that number of a set; the data takes turns, all else is drawn."""
        random = generator(0, "forecasts", which, number)
        named = [*TEXTS, *SAMPLES, *DIGITS, *(["shakespeare"] if SHAKESPEARE.exists() else [])]
        turn, place = divmod(number, len(named))
        data = named[int(generator(0, "forecasts", "turn", turn).permutation(len(named))[place])]
        depth, width = int(random.integers(1, 3)), int(random.choice([32, 64, 96]))
        steps = int(np.exp(random.uniform(np.log(100), np.log(300))))
        return cls(data, depth, width, int(random.choice([512, 1024])), steps, number)

    @property
    def task(self) -> str:
        if self.data in TEXTS:
            return "classification"
        return {"shakespeare": "text-generation"}.get(self.data, "image-classification" if self.data in DIGITS else self.data)


def make_venture(folder: Path, run: Run) -> Venture:
    """The venture whose training the run is."""
    folder.mkdir(parents=True)
    fields = _plain(dict(tasks.find(run.task).template))
    if run.data in TEXTS:
        fields |= write_texts(folder, TEXTS[run.data]())
        fields["model"] = {"size": "tiny", "context": 96}
    elif run.data in DIGITS:
        fields |= write_digits(folder, *DIGITS[run.data])
    elif run.data == "shakespeare":
        (folder / "plays.txt").write_text(SHAKESPEARE.read_text("utf-8")[:200_000], "utf-8")
        fields["data"] = {"sources": ["plays.txt"], "vocabulary": 512}
    fields["data"] |= {"validation": HELD_OUT, "test": HELD_OUT}
    fields["model"] |= {"overrides": {"depth": run.depth, "width": run.width, "heads": max(1, run.width // 32)}}
    fields["train"] |= {"tokens": run.steps * run.batch_tokens, "batch_tokens": run.batch_tokens, "seed": run.seed}
    north = next(target for target in fields["targets"] if target["metric"] == fields["north_star"])
    venture = {
        **fields, "name": run.data, "targets": [north], "budget": {"amount": 100, "currency": "USD", "per_hour": HOUR},
        "decision": {"strategies": [{"name": "none", "kind": "baseline"}, {"name": "run", "kind": "scratch"}], "months": 0},
    }  # fmt: skip
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture, allow_unicode=True), "utf-8")
    return Venture.open(folder)


def _plain(value: Any) -> Any:
    """A template as YAML has it, its words in English."""
    if isinstance(value, Words):
        return value.en
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


# Before the run, and the run


class StepClock:
    """Counts each step's seconds of the processor, from its creation on in this process: what other work on the machine does not change."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        update = Trainer.update

        def timed(trainer: Trainer, factor: float) -> tuple[Tensor, Tensor]:
            begin = time.process_time()
            found = update(trainer, factor)
            self.steps.append(time.process_time() - begin)
            return found

        Trainer.update = timed  # type: ignore[method-assign, assignment]

    def foretell(self, runs: Sequence[float], steps: float) -> float:
        """As `Pilot.whole_seconds` has it, in seconds of the processor: of the pilots' costs, and of so many steps."""
        parts = np.split(np.array(self.steps), np.cumsum(PROBES)[:-1])
        means = [float(part[_pilots.WARM_UP :].mean()) for part in parts]
        beside = max(np.array(runs) - np.multiply(PROBES, means))
        return float(beside + steps * np.dot(PROBES, means) / sum(PROBES))


def foretell(folder: Path, run: Run, answer: Connection) -> None:
    """Prepare, look, make both pilots; answers with low, middle and high of each quantity, and what the pilots measured."""
    venture = make_venture(folder, run)
    strategy = next(each for each in strategies_of(venture.file) if each.kind != "baseline")
    made = _pilots.make_ready(venture, strategy, {}, [])
    assert made is not None
    clock = StepClock()
    for steps in PROBES:
        _pilots.try_share(venture, made, min(1.0, steps * run.batch_tokens / made.full_tokens))
        save_pilot(venture, made.pilot)
    problem = build_problem(venture, metrics_of(venture.file))
    option = next(each for each in problem.options if each.name == strategy.name)
    assert option.train_hours is not None
    span = made.pilot.peak_range
    assert span is not None
    worlds = draw(problem.quantities, 10_000, seed=0)
    found = {
        "quality": _interval(problem.quantities[option.metrics[problem.north_star]]),
        "time": [3600 * each for each in _interval(problem.quantities[option.train_hours])],
        "memory": [span[0], made.pilot.peak_bytes, span[1]],
        "cost": [float(each) for each in np.quantile(outcome(problem, option, worlds).making, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])],
    }
    runs = [each.record["cost"]["cpu_seconds"] for each in venture.ledger.runs() if each.step == "pilot" and each.record]
    processor = clock.foretell(runs, made.pilot.runs[-1].steps / made.pilot.runs[-1].share)
    answer.send({"forecast": found, "processor_forecast": processor, "pilot": made.pilot.model_dump(mode="json")})


def _interval(evidence: Evidence) -> list[float]:
    """Low, middle and high of an 80% interval, as the simulation draws it."""
    return [float(each) for each in quantiles(evidence, np.array([(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]))]


def train(folder: Path, answer: Connection) -> None:
    """Train to the end, and judge on the test split."""
    venture = Venture.open(folder)
    begin = seconds()
    step = _steps.train(venture, looked=True)
    took = seconds() - begin
    bundle = _steps.load_model(step.folder / "model")
    task = load_task(bundle.task)
    examples = open_split(prepare_folder(venture), "test").examples(task)
    scores = _pilots.scored(task, task.measure(bundle.model, bundle.tokenizer, examples))
    north = next(score for score in scores if score.metric == venture.file.north_star)
    came = {
        "quality": north.value,
        "time": took, "memory": step.record.cost.peak_memory_bytes, "cost": took / 3600 * HOUR,
    }  # fmt: skip
    answer.send(
        {
            "came": came,
            "processor_seconds": step.record.cost.cpu_seconds,
            "pace": _pilots.pace(step.folder),
            "count": north.count,
            "is_share": not north.unit and 0 <= north.value <= 1,
        }
    )


def import_all() -> None:
    """What the steps import when they are first used: of a training of hours it is nothing, and of these it would be a part."""
    for module in ("cli._stages", "prepare.step", "prepare.loader", "build.bundle", "build.sizes", "build.device", "evaluate.bootstrap",
                   "evaluate.linear", "store.ledger", "train.loop", "train.preflight", "train.journal"):  # fmt: skip
        importlib.import_module(f"lodestar.{module}")
    for module in ("torch._dynamo", "sqlalchemy.dialects.sqlite", "matplotlib.backends.backend_agg", "matplotlib.figure",
                   "sklearn.linear_model", "tokenizers"):  # fmt: skip
        importlib.import_module(module)


def _apart(work: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    """What a piece of work answers from a process of its own: forked, so that the imports are done once and none of their time counts."""
    processes = multiprocessing.get_context("fork")
    receiving, sending = processes.Pipe(duplex=False)
    process = processes.Process(target=work, args=(*arguments, sending))
    process.start()
    sending.close()
    try:
        found: dict[str, Any] = receiving.recv()
        return found
    finally:
        process.join()


def solve(out: Path, which: str, number: int) -> dict[str, Any]:
    path = out / f"{which}-{number:03d}.json"
    if path.exists():
        known: dict[str, Any] = read_json(path)
        return known
    run, folder = Run.drawn(which, number), out / f"venture-{which}"
    shutil.rmtree(folder, ignore_errors=True)
    begin = seconds()
    result = {"run": asdict(run), "task": run.task, **_apart(foretell, folder, run)}
    result |= {**_apart(train, folder), "seconds": seconds() - begin}
    write_json(path, result)
    shutil.rmtree(folder)
    return result


# What comes of it


def error(result: Mapping[str, Any], quantity: str) -> float:
    """How far what came is from the middle of the forecast, as a share of what came."""
    came = result["came"][quantity]
    return float(result["forecast"][quantity][1] / came - 1) if came else 0.0


def processor_error(result: Mapping[str, Any]) -> float:
    """The same of the time, in seconds of the processor: what is left where other work on the machine is taken out."""
    return float(result["processor_forecast"] / result["processor_seconds"] - 1)


def held(result: Mapping[str, Any], quantity: str) -> bool:
    """Whether the interval holds what came. A share of n records comes in steps of 1/n, and counts as the half step about it."""
    low, _, high = result["forecast"][quantity]
    grain = 0.5 / result["count"] if quantity == "quality" and result["is_share"] else 0.0
    return bool(low - grain <= result["came"][quantity] <= high + grain)


def share(count: int, of: int) -> str:
    """A share with Wilson's interval."""
    interval = binomtest(count, of).proportion_ci(method="wilson")
    return f"{count / of:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def ninetieth(errors: Sequence[float]) -> str:
    """The 90th percentile of the errors' sizes, with a 95% interval by order statistics."""
    sizes = np.sort(np.abs(errors))
    places = binom.ppf([0.025, 0.975], len(sizes), 0.9).astype(int) - (1, 0)
    low, high = sizes[places.clip(0, len(sizes) - 1)]
    return f"{np.quantile(sizes, 0.9):.1%} [{low:.1%}, {high:.1%}]"


def report(results: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| | runs | 80% interval held: " + " | ".join(QUANTITIES) + " | time, 90th percentile of errors | in processor time | memory |"
    ]
    lines.append("|---" * (len(QUANTITIES) + 5) + "|")
    by_task = {name: [each for each in results if each["task"] == name] for name in sorted({each["task"] for each in results})}
    for name, some in {"all": list(results), **by_task}.items():
        shares = " | ".join(share(sum(held(each, quantity) for each in some), len(some)) for quantity in QUANTITIES)
        errors = " | ".join(
            ninetieth(each)
            for each in (
                [error(one, "time") for one in some],
                [processor_error(one) for one in some],
                [error(one, "memory") for one in some],
            )
        )
        lines.append(f"| {name} | {len(some)} | {shares} | {errors} |")
    below = {quantity: sum(each["came"][quantity] < each["forecast"][quantity][0] for each in results) for quantity in QUANTITIES}
    above = {quantity: sum(each["came"][quantity] > each["forecast"][quantity][2] for each in results) for quantity in QUANTITIES}
    lines.append("\nOutside, below and above: " + ", ".join(f"{name} {below[name]} and {above[name]}" for name in QUANTITIES) + ".")
    probed = [sum(run["steps"] for run in each["pilot"]["runs"]) / each["run"]["steps"] for each in results]
    lasted = [each["came"]["time"] for each in results]
    lines.append(
        f"Runs of {min(lasted):.1f} to {max(lasted):.1f} seconds, {np.median(lasted):.1f} in the middle; the pilots took "
        f"{np.median(probed):.0%} of a run's steps in the middle. Targets: 75 to 85% held; time within 15%, memory within 10%, at the 90th "
        "percentile."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than this")
    parser.add_argument("--set", dest="which", choices=("judged", "development"), default="judged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    import_all()
    begin, results = seconds(), []
    for number in range(options.runs):
        if seconds() - begin > 60 * options.minutes and not (options.out / f"{options.which}-{number:03d}.json").exists():
            break
        results.append(solve(options.out, options.which, number))
        told = ", ".join(f"{quantity} {'held' if held(results[-1], quantity) else 'missed'}" for quantity in QUANTITIES)
        print(f"{number} {results[-1]['run']['data']}: {told}; {results[-1]['seconds']:.1f} s", flush=True)
    print(machine({"torch": torch.__version__}, seed=0))
    print(report(results))


if __name__ == "__main__":
    main()
