"""Founders' templates, each run the whole way as it stands: what it reaches on its sample, beside what it promises and the simplest method.

    python -m bench.templates                            # all of them
    python -m bench.templates shop-recommender tutor     # some

Each target is judged at the worse end of its interval, as `lodestar release` does. Time is the processor's, of all steps together. Of the
de-identifier, its notes are masked as a client would do it, kind by kind until it finds no more, and what is left is counted: beside
`exact_match`, which is asked with every earlier find already masked, an error here makes others.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import torch

from bench.rounds import machine
from lodestar import tasks
from lodestar.build.bundle import Bundle
from lodestar.cli._steps import load_model
from lodestar.cli.main import main
from lodestar.contracts.language import Language
from lodestar.contracts.score import Score
from lodestar.contracts.task import Task
from lodestar.venture import templates
from lodestar.venture.grammar import LANGUAGES
from lodestar.venture.product import BUNDLE_FOLDER, evaluated_runs, read_scorecard
from lodestar.venture.templates import clinical_deidentifier as clinical
from lodestar.venture.venture import Venture

FINDS_AT_MOST = 20
"""Of one kind in a note; a model that finds one for ever is stopped."""


def run(name: str, folder: Path) -> Venture:
    """The template's venture, run and, where its promises hold, released."""
    for command in (["new", "It", "--template", name, "--path", str(folder)], ["run", "--venture", str(folder)]):
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(command) == 0, f"{name}: {' '.join(command)}"
    with contextlib.redirect_stdout(io.StringIO()):
        main(["release", "--venture", str(folder)])
    return Venture.open(folder)


def row(name: str, venture: Venture) -> str:
    runs = evaluated_runs(venture)
    card = read_scorecard(runs["evaluate"].folder)
    target = next(target for target in venture.file.targets if target.metric == venture.file.north_star)
    promise = f"≥ {target.at_least:g}" if target.at_least is not None else f"≤ {target.at_most:g}"
    measured, baseline = card.score(target.metric), next((score for score in card.baseline if score.metric == target.metric), None)
    seconds = sum(each.record.cost.cpu_seconds for each in runs.values())
    released = "yes" if (venture.releases / "v1").is_dir() else "no"
    return f"| {name} | `{target.metric}` | {promise} | {_told(measured)} | {_told(baseline)} | {released} | {seconds:.0f} s |"


def _told(score: Score | None) -> str:
    return "" if score is None else f"{score.value:.3g} [{score.low:.3g}, {score.high:.3g}] of {score.count}"


def mask(task: Task, bundle: Bundle, note: str, language: Language) -> str:
    """The note with all that is found in it masked."""
    for words in clinical.KINDS.values():
        kind = words.in_language(language)
        for _ in range(FINDS_AT_MOST):
            found = task.answer(bundle.model, bundle.tokenizer, {"question": kind, "context": note})
            if found["answer"] is None:
                break
            note = f"{note[: found['start']]}[{kind}]{note[found['end'] :]}"
    return note


def deidentified(venture: Venture) -> str:
    """How much of what points at a patient is gone, and how much else is."""
    bundle = load_model(evaluated_runs(venture)["train"].folder / BUNDLE_FOLDER)
    task = tasks.load(bundle.task)
    lines = []
    for language in LANGUAGES:
        gone = told = clean = kept = 0
        notes = list(clinical.notes("test", language))
        for note in notes:
            masked = mask(task, bundle, note.text, language)
            gone += sum(identifier not in masked for _, identifier in note.identifiers)
            told += len(note.identifiers)
            clean += all(identifier not in masked for _, identifier in note.identifiers)
            kept += note.clean in masked
        lines.append(
            f"{language}: {gone} of {told} identifiers gone, nothing left in {clean} of {len(notes)} notes, "
            f"the sentence that points at nobody untouched in {kept}"
        )
    return "\n".join(lines)


def bench() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=templates.names(), metavar="NAME")
    names = parser.parse_args().names
    print(machine({"torch": torch.__version__}, seed=0))
    print("\n| template | north star | promise | measured | simplest method | released | processor time |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        ventures = {}
        for name in names:
            ventures[name] = run(name, Path(place) / name)
            print(row(name, ventures[name]), flush=True)
        if "clinical-deidentifier" in ventures:
            print(f"\n{deidentified(ventures['clinical-deidentifier'])}")


if __name__ == "__main__":
    bench()
