"""The product: a release exists only if the vision's targets, which are its gates, hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..contracts.clock import timestamp
from ..contracts.config import Config
from ..contracts.errors import UserError
from ..contracts.findings import MISTAKES_FILE
from ..contracts.language import Words
from ..contracts.record import RECORD_FILE, RunRecord, Scorecard
from ..contracts.score import Score, Target
from ..store.files import atomic_folder, link_or_copy, list_files, read_json, scratch_folder, sha256_file, write_atomic, write_json
from .card import model_card
from .changelog import changes
from .licences import Reading, read_licences
from .venture import FinishedRun, Venture
from .words import figure, interval, threshold

RELEASE_FILE = "release.json"
CARD_FILE = "card.md"
BUNDLE_FOLDER = "model"
SCORECARD_FILE = "scorecard.json"
PREVIEWS_FOLDER, LAST_PREVIEW = "previews", "preview.png"
"""Of a training's run, and of a release, which has the last."""


class Gate(Config):
    """A target, held against the evidence."""

    target: Target
    score: Score | None
    """What was measured; absent where nothing was."""
    kept: bool

    def reason(self) -> Words:
        """Why it is kept or not, with the value, the interval and the threshold."""
        metric, score = self.target.metric, self.score
        if score is None:
            return Words(f"{metric}: never measured on the {self.target.data} split", f"{metric}：没有在 {self.target.data} 部分测量过")
        if score.count < 2:
            return Words(f"{metric}: measured on one example, which gives no interval", f"{metric}：只有一个样本，无从给出区间")
        wanted = threshold(self.target, score.unit)
        found = f"{figure(score.value, score.unit)} {interval(score)}"
        worse = figure(score.worse_end(), score.unit)
        if self.kept:
            return Words(f"{metric}: {found} keeps {wanted} even at its worse end", f"{metric}：{found}，连较差的一端也满足 {wanted}")
        if self.target.kept_by(score.value):
            return Words(
                f"{metric}: {found} meets {wanted} on average, but its worse end, {worse}, does not",
                f"{metric}：{found}，平均满足 {wanted}，但较差的一端 {worse} 不满足",
            )
        return Words(f"{metric}: {found} does not keep {wanted}", f"{metric}：{found}，不满足 {wanted}")

    def fix(self) -> Words:
        """What brings it nearer to being kept."""
        if self.score is None:
            return Words("evaluate again with this version", "用当前版本重新评测")
        if self.score.count < 2:
            return Words(f"give the {self.target.data} split more records", f"给 {self.target.data} 部分更多记录")
        if self.target.kept_by(self.score.value):
            return Words("evaluate on more examples, or improve the model a little", "用更多样本评测，或再改进一点模型")
        return Words(
            "improve the data, the size or the training, or revise the target in the open", "改进数据、规模或训练，或公开地修订目标"
        )


class Override(Config):
    """A release in spite of a gate: somebody's decision, with their name on it."""

    who: str
    why: str


class Release(Config):
    """release.json: what a release is, and what it was let out on."""

    name: str
    """v1, v2, …"""
    venture: str
    task: str
    created: str
    artefact: str
    """The hash of its content: all its files but release.json and card.md."""
    files: dict[str, str]
    """Each file → its SHA-256."""
    runs: dict[str, str]
    """Each step → the id of the run that it came from."""
    versions: dict[str, str]
    scorecard: Scorecard
    gates: list[Gate]
    override: Override | None = None


def gates(targets: Sequence[Target], scorecard: Scorecard) -> list[Gate]:
    """Hold each target at the worse end of its score's interval; a target without evidence, or with one example's, fails."""
    held = []
    for target in targets:
        score = scorecard.score(target.metric) if target.data == scorecard.split else None
        held.append(Gate(target=target, score=score, kept=score is not None and score.count >= 2 and target.kept_by(score.worse_end())))
    return held


def releases(venture: Venture) -> list[Release]:
    """Every release of a venture, in the order of their versions."""
    found = [Release.parse(read_json(path), where=path) for path in venture.releases.glob(f"v*/{RELEASE_FILE}")]
    return sorted(found, key=_number)


def find_release(venture: Venture, name: str | None = None) -> Release:
    """The release of that name, the newest where none is given; raises `UserError` where there is none."""
    known = releases(venture)
    if name is None and known:
        return known[-1]
    for release in known:
        if release.name == name:
            return release
    if not known:
        raise UserError("nothing has been released yet", where=venture.path, fix="run `lodestar release`")
    raise UserError(f"no release {name!r}", where=venture.releases, fix=f"name one of {', '.join(release.name for release in known)}")


def release(venture: Venture, override: Override | None = None) -> tuple[Release, bool]:
    """Make a release of what the current evaluation judged, and write it into `releases/vN` and the ledger.

    Returns:
        The release, and whether it is new: the same content is the same release.

    Raises:
        UserError: nothing is evaluated, or not what venture.yaml asks for now; a gate fails or a licence forbids it (without `override`);
            the override has no name or reason. Nothing is written.
    """
    runs = evaluated_runs(venture)
    if venture.settings_changed():
        raise UserError(
            "venture.yaml asks for other work than what was evaluated last, so that the evidence is stale", where=venture.path,
            fix="run `lodestar run`, or take the change back",
        )  # fmt: skip
    scorecard = read_scorecard(runs["evaluate"].folder)
    held = gates(venture.file.targets, scorecard)
    failed = [gate for gate in held if not gate.kept]
    licences = read_licences(venture.file, _data_card(runs["prepare"].folder), venture.folder)
    conflicts = [reading for reading in licences if reading.verdict == "conflict"]
    if failed and override is None:
        raise _gates_fail(failed, len(held))
    if conflicts and override is None:
        raise _licences_conflict(conflicts)
    if override is not None and not (override.who.strip() and override.why.strip()):
        raise UserError("an override needs the name of who decides, and the reason", fix="give both --override-by and --because")
    override = override if failed or conflicts else None  # what holds needs no excuse
    with scratch_folder(venture.state / "release") as staging:
        _collect(staging, runs, held, override)
        artefact = venture.artefacts.put(staging)
    known = next((made for made in releases(venture) if made.artefact == artefact), None)
    made = known or _write(venture, artefact, runs, scorecard, held, override, licences)
    # Also for a known one: a process that was killed between its folder and its ledger entry left only the folder.
    excuse = (made.override.who, made.override.why) if made.override else None
    venture.ledger.add_release(made.name, artefact, _json(made.scorecard), [_json(gate) for gate in made.gates], excuse)
    return made, known is None


def evaluated_runs(venture: Venture) -> dict[str, FinishedRun]:
    """The current evaluation, and the training and the data that it judged; raises `UserError` where there is none."""
    evaluate = venture.evaluation()
    if evaluate is None:
        raise UserError("nothing is evaluated yet", where=venture.path, fix="run `lodestar run`")
    train = venture.finished_run("train", evaluate.record.inputs["model"])
    prepare = venture.finished_run("prepare", evaluate.record.inputs["data"])
    return {"prepare": prepare, "train": train, "evaluate": evaluate}


def previews(training: Path) -> list[Path]:
    """What the model made in the course of a training, from first to last; nothing of a model that makes nothing to look at."""
    return sorted((training / PREVIEWS_FOLDER).glob("step-*.png"))


def read_scorecard(folder: Path) -> Scorecard:
    """What an evaluation found, from its run's folder or from a release that carries it."""
    path = folder / SCORECARD_FILE
    return Scorecard.parse(read_json(path), where=path)


def _gates_fail(failed: Sequence[Gate], count: int) -> UserError:
    reasons = "; ".join(f"{gate.reason().en} ({gate.fix().en})" for gate in failed)
    return UserError(
        f"not released: {len(failed)} of {count} gates fail: {reasons}",
        fix="or decide otherwise in your name with --override-by WHO --because WHY",
    )


def _collect(staging: Path, runs: dict[str, FinishedRun], held: Sequence[Gate], override: Override | None) -> None:
    """The content of a release, which its hash is taken of: the model, the evidence, and what was decided on it."""
    model, evaluation, data = runs["train"].folder / BUNDLE_FOLDER, runs["evaluate"].folder, runs["prepare"].folder
    sources = {file.relative_to(model).as_posix(): file for file in list_files(model)}
    sources |= {file.name: file for file in list_files(evaluation) if file.name not in (RECORD_FILE, MISTAKES_FILE)}
    sources |= {f"data-{name}": data / name for name in ("card.json", "card.md")}
    if (loss := runs["train"].folder / "loss.png").exists():
        sources[loss.name] = loss
    if course := previews(runs["train"].folder):
        sources[LAST_PREVIEW] = course[-1]
    for name, file in sources.items():
        link_or_copy(file, staging / name)
    write_json(staging / "gates.json", {"gates": [_json(gate) for gate in held], "override": _json(override) if override else None})


def _write(
    venture: Venture, artefact: str, runs: dict[str, FinishedRun], scorecard: Scorecard, held: list[Gate], override: Override | None,
    licences: Sequence[Reading],
) -> Release:  # fmt: skip
    earlier = releases(venture)
    name = f"v{1 + max((_number(made) for made in earlier), default=0)}"
    records = {step: run.record for step, run in runs.items()}
    with atomic_folder(venture.releases / name) as folder:
        venture.artefacts.checkout(artefact, folder)
        made = Release(
            name=name, venture=venture.file.name, task=venture.file.task, created=timestamp(), artefact=artefact,
            files={file.relative_to(folder).as_posix(): sha256_file(file) for file in list_files(folder)},
            runs={step: run.record.id for step, run in runs.items()}, versions=runs["train"].record.versions,
            scorecard=scorecard, gates=held, override=override,
        )  # fmt: skip
        changed = changes(earlier[-1], made, _records(venture, earlier[-1]), records) if earlier else None
        write_atomic(folder / CARD_FILE, model_card(venture.file, made, records, licences, changed))
        write_json(folder / RELEASE_FILE, _json(made))
        for file in (CARD_FILE, RELEASE_FILE):
            (folder / file).chmod(0o444)
    return made


def verify(venture: Venture, made: Release) -> None:
    """Read a release back whole; raises `UserError` for the first file that is missing or not what it was."""
    folder = venture.releases / made.name
    for name, expected in made.files.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != expected:
            what = "is not what was released" if path.is_file() else "is missing"
            raise UserError(f"the release is damaged: this file {what}", where=path, fix="restore it from a backup, or release again")


def changes_of(venture: Venture, made: Release) -> list[Words]:
    """What a release changes against the one before it; nothing for the first."""
    earlier = [each for each in releases(venture) if _number(each) < _number(made)]
    return changes(earlier[-1], made, _records(venture, earlier[-1]), _records(venture, made)) if earlier else []


def _records(venture: Venture, made: Release) -> dict[str, RunRecord]:
    """What the steps of a release did, as far as their runs still stand."""
    return {run.record.step: run.record for step, id in made.runs.items() for run in venture.finished(step) if run.record.id == id}


def _data_card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = read_json(folder / "card.json")
    return card


def _licences_conflict(conflicts: Sequence[Reading]) -> UserError:
    reasons = "; ".join(f"{reading.subject} ({reading.licence}) {reading.words.en}" for reading in conflicts)
    return UserError(
        f"not released: {reasons}", where="licences",
        fix="leave it out, get leave, or decide otherwise in your name with --override-by WHO --because WHY",
    )  # fmt: skip


def _number(made: Release) -> int:
    return int(made.name.removeprefix("v"))


def _json(value: Config) -> dict[str, Any]:
    return value.model_dump(mode="json")
