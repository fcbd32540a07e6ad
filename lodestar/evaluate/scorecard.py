"""One evaluation: measure a model and its baseline on the same examples, and keep both the scores and what they were computed from."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..contracts.clock import timestamp
from ..contracts.errors import UserError
from ..contracts.findings import FINDINGS_FILE, MISTAKES_FILE, PICTURE_ENDING, Findings
from ..contracts.meter import Meter, versions
from ..contracts.randomness import generator
from ..contracts.record import RECORD_FILE, RunRecord, Scorecard, fingerprint
from ..contracts.score import Metric, Score
from ..contracts.settings import EvaluateSettings
from ..contracts.task import Example, Task
from ..store.files import atomic_folder, list_files, read_json, sha256_file, write_atomic, write_json
from .bootstrap import count, scores
from .picture import draw_scorecard
from .system import SYSTEM_METRICS, measure_system

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.tokenizer import Tokenizer

Baseline = Callable[[Sequence[Example]], tuple[str, dict[str, "np.ndarray"]]]
SCORECARD, MEASUREMENTS, PICTURE = "scorecard.json", "measurements.npz", "scorecard.png"
LEAST_CLUSTERS = 10


def evaluate(
    task: Task,
    model: nn.Module,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    train_examples: Sequence[Example],
    settings: EvaluateSettings,
    out: Path,
    *,
    inputs: Mapping[str, str] | None = None,
    baseline: Baseline | None = None,
) -> Scorecard:
    """Measure, and write the folder `out` whole or not at all: scorecard.json, measurements.npz, scorecard.png, what the task found beyond
    its scores (findings.json, mistakes.json, NAME.en.svg, NAME.zh.svg), record.json.

    Where `out` holds this very evaluation already, it is only read; where it holds another, that one gives way.

    Args:
        examples: of the split that the settings name.
        train_examples: what the baseline learns from.
        inputs: what the model was made from, name → hash. Without it no earlier result is known to be of the same model.
        baseline: what to compare with in place of the task's own baseline: the examples → its name and its columns.

    Raises:
        UserError: there is nothing to measure on; the disk is full.
    """
    if not examples:
        raise UserError(
            f"the {settings.split} split holds no examples", where="evaluate", fix="give it records, or measure on another split"
        )
    meter, started = Meter(), timestamp()
    chosen = choose(examples, settings)
    ids = np.array([example_id(example) for example in chosen])
    data = fingerprint(ids.tolist())
    described = {"task": task.describe(), "evaluate": settings.model_dump(mode="json")}
    run = fingerprint({**described, "inputs": dict(inputs or {}), "data": data})
    if inputs:
        finished = _finished(out, run)
        if finished is not None:
            return finished
    tables = {
        # First of all, and in its own process: nothing else runs beside it.
        "system": measure_system(task, model, tokenizer, chosen),
        "model": task.measure(model, tokenizer, chosen),
    }
    baseline_name, tables["baseline"] = baseline(chosen) if baseline else task.baseline(train_examples, chosen)
    clusters = clusters_of(chosen, ids)
    card = _score(task, settings, tables, data, baseline_name, clusters)
    found = task.findings(tables["model"], chosen, train_examples)
    with atomic_folder(out, replace=True) as folder:
        write_json(folder / SCORECARD, card.model_dump(mode="json"))
        _write_measurements(folder / MEASUREMENTS, ids, tables, clusters)
        draw_scorecard(folder / PICTURE, card)
        if found is not None:
            _write_findings(folder, found)
        record = RunRecord(
            step="evaluate", id=run, started=started, finished=timestamp(), config=described, inputs={**(inputs or {}), "examples": data},
            outputs={file.name: sha256_file(file) for file in list_files(folder)}, scores=card.scores,
            facts={"examples": len(chosen), "available": len(examples), "baseline": baseline_name},
            cost=meter.cost(), versions=versions("torch", "numpy", "scikit-learn", "scipy"), seed=settings.seed,
        )  # fmt: skip
        write_json(folder / RECORD_FILE, record.model_dump(mode="json"))
    return card


def choose(examples: Sequence[Example], settings: EvaluateSettings) -> list[Example]:
    """All examples, or as many as the settings ask for, drawn by the seed and in their own order."""
    if settings.examples is None or settings.examples >= len(examples):
        return list(examples)
    drawn = generator(settings.seed, "examples").choice(len(examples), settings.examples, replace=False)
    return [examples[index] for index in np.sort(drawn)]


def example_id(example: Example) -> str:
    """A name for a record that follows from its content, so that two evaluations know that they measured the same one."""
    return fingerprint(example.model_dump(mode="json"))


def clusters_of(examples: Sequence[Example], ids: np.ndarray) -> np.ndarray | None:
    """For each example the name (a hash) of those that share its luck, since they are of the same kin: questions on one text.

    None where each stands alone, and where there are fewer than `LEAST_CLUSTERS`: so few tell too little of how they differ (Cameron,
    Gelbach and Miller 2008).
    """
    kin = [example.kinship() for example in examples]
    names = np.array([id if name is None else fingerprint(name) for name, id in zip(kin, ids.tolist(), strict=True)])
    return names if LEAST_CLUSTERS <= len(np.unique(names)) < len(names) else None


def read_clusters(folder: Path) -> np.ndarray | None:
    """The clusters that an evaluation drew its intervals from, in the order of `read_measurements`; None where it drew single examples."""
    with np.load(folder / MEASUREMENTS, allow_pickle=False) as file:
        return file["examples/cluster"] if "examples/cluster" in file.files else None


def read_measurements(folder: Path) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """The ids of the examples, and the columns of each table (model, baseline, system), that `evaluate` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / MEASUREMENTS
    tables: dict[str, dict[str, np.ndarray]] = {}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            for key in file.files:
                table, _, column = key.partition("/")
                tables.setdefault(table, {})[column] = file[key]
    except FileNotFoundError:
        raise UserError(
            "no measurements here", where=folder, fix="run `lodestar evaluate` first, or name the folder that it wrote"
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"the file is damaged ({error})", where=path, fix="run `lodestar evaluate` again") from None
    return tables.pop("examples")["id"], tables


def _write_measurements(path: Path, ids: np.ndarray, tables: Mapping[str, Mapping[str, np.ndarray]], clusters: np.ndarray | None) -> None:
    examples = {"examples/id": ids} | ({} if clusters is None else {"examples/cluster": clusters})
    arrays = examples | {f"{table}/{name}": column for table, columns in tables.items() for name, column in columns.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def _write_findings(folder: Path, found: Findings) -> None:
    for name, drawn in found.pictures.items():
        for language, picture in drawn._asdict().items():
            write_atomic(folder / f"{name}.{language}{PICTURE_ENDING}", picture)
    titles = {name: words._asdict() for name, words in found.titles.items()}
    write_json(folder / FINDINGS_FILE, {"pictures": titles, "sentences": [words._asdict() for words in found.sentences]})
    write_json(folder / MISTAKES_FILE, {"mistakes": [each.model_dump(mode="json") for each in found.mistakes]})


def _score(
    task: Task, settings: EvaluateSettings, tables: Mapping[str, Mapping[str, np.ndarray]], data: str, baseline_name: str,
    clusters: np.ndarray | None,
) -> Scorecard:  # fmt: skip
    def of(table: str, metrics: Sequence[Metric]) -> list[Score]:
        # Times are of a few requests, and not of each example.
        drawn = clusters if clusters is not None and count(tables[table]) == len(clusters) else None
        return scores(
            metrics, tables[table], resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed, clusters=drawn
        )

    return Scorecard(
        task=task.name, split=settings.split, data=data, baseline_name=baseline_name,
        scores=of("model", task.metrics) + of("system", SYSTEM_METRICS), baseline=of("baseline", task.metrics),
        signatures=task.signatures(),
    )  # fmt: skip


def _finished(out: Path, run: str) -> Scorecard | None:
    path = out / RECORD_FILE
    if not path.exists() or RunRecord.parse(read_json(path), where=path).id != run:
        return None
    return Scorecard.parse(read_json(out / SCORECARD), where=out / SCORECARD)
