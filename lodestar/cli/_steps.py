"""The lifecycle's steps on a venture: each finds its inputs, derives its settings, skips what is done, and says what it does.

This is where a value's way through the house can be read from end to end: prepare → train → evaluate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.language import say
from ..contracts.progress import note
from ..contracts.record import RunRecord, fingerprint
from ..store.files import read_json
from ._budget import allow
from ._plan import (
    TrainingPlan,
    base_of,
    contexts_of,
    derive_shape,
    finished,
    finished_record,
    load_task,
    plan_training,
    prepare_folder,
    task_of,
)

if TYPE_CHECKING:
    from torch import nn

    from ..build.bundle import Bundle
    from ..contracts.task import Task
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig
    from ..train.preflight import Needs, States
    from ..venture.venture import Venture

VALIDATION_BATCHES = 16
"""Batches that each evaluation during training reads."""


@dataclass(frozen=True)
class Step:
    """A finished step: its folder, its record, and whether it had been done before."""

    folder: Path
    record: RunRecord
    skipped: bool

    def to_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "skipped": self.skipped, "record": self.record.model_dump(mode="json")}


def run_all(venture: Venture) -> dict[str, Step]:
    """Every step in order; what is done already is skipped."""
    return {"prepare": prepare(venture), "train": train(venture), "evaluate": evaluate(venture)}


def prepare(venture: Venture) -> Step:
    """Step 1: the venture's sources → runs/prepare-…"""
    from ..prepare.step import prepare as run

    task, folder = task_of(venture), prepare_folder(venture)
    before = finished_record(folder)

    base, seed, contexts = base_of(venture), venture.file.train.seed, contexts_of(venture, task)

    def work() -> RunRecord:
        tokenizer = None if base is None else base.tokenizer
        return run(task, venture.file.data, venture.folder, folder, seed=seed, **contexts, tokenizer=tokenizer)

    if before is None:
        allow(venture, "prepare", folder)
    # Whether the sources still hold what was prepared is only known by reading them.
    record = noted(venture, "prepare", folder, work)
    return Step(folder, record, skipped=record == before)


def train(venture: Venture, *, looked: bool = False) -> Step:
    """Steps 2 and 3: the prepared data → runs/train-…/model; then, where venture.yaml asks for it, what is preferred and what is right.

    Args:
        looked: whether what the training takes was looked at, which takes steps of its own, and held against a budget.
    """
    from ._prefer import check_opinions, prefer
    from ._reinforce import check_problems, reinforce

    if venture.file.preference is not None:
        check_opinions(venture, plan_training(venture))
    if venture.file.reward is not None:
        check_problems(venture, plan_training(venture))
    step = _train(venture, looked=looked)
    if venture.file.preference is not None:
        step = prefer(venture, step, prepare_folder(venture))
    if venture.file.reward is not None:
        step = reinforce(venture, step, prepare_folder(venture))
    return step


def _train(venture: Venture, *, looked: bool) -> Step:
    import torch

    from ..build.base import begin_from, merge_adapter
    from ..build.bundle import Bundle, save_bundle
    from ..build.device import best_device
    from ..contracts.randomness import derive_seed
    from ..prepare.loader import Sequential, make_loader
    from ..prepare.shards import open_split
    from ..train.loop import train as run

    plan = plan_training(venture)
    if (record := finished_record(plan.folder)) is not None:
        return Step(plan.folder, record, skipped=True)
    task, config, settings, tokenizer = plan.task, plan.derived.config, plan.settings, plan.tokenizer
    _explain(plan)
    assert settings.micro_batch_tokens is not None
    shape: dict[str, Any] = {
        "rows": max(1, settings.micro_batch_tokens // config.context), "context": config.context, "pad": tokenizer.pad,
        "source_context": config.source_context,
    }  # fmt: skip
    loader = make_loader(open_split(plan.prepared, "train"), task.batching, seed=settings.seed, **shape)
    validation: Sequential | tuple[()] = ()
    seen = open_split(plan.prepared, "train").examples(task)
    if (plan.prepared / "validation").exists():
        held_out = open_split(plan.prepared, "validation")
        validation, seen = Sequential(held_out, task.batching, limit=VALIDATION_BATCHES, **shape), held_out.examples(task)
    allowance = None if looked else allow(venture, "train", plan.folder, predicted_seconds(venture, plan))
    torch.manual_seed(derive_seed(settings.seed, "model"))
    base, adapter = base_of(venture), venture.file.adapter
    model = (task.build(config) if base is None else begin_from(base, task, config, adapter)).to(best_device())
    task.begin(model, tokenizer, open_split(plan.prepared, "train").examples(task))
    made: ModelConfig = getattr(model, "config", config)

    def save(trained: nn.Module, place: Path) -> None:
        if adapter is not None:
            merge_adapter(trained, place.with_name("adapter"))
        save_bundle(place, Bundle(trained, made, tokenizer, _calibrated(task, trained, tokenizer, plan.prepared).describe()))

    def preview(trained: nn.Module) -> bytes | None:
        return task.preview(trained, tokenizer, seen)

    def work() -> RunRecord:
        return run(
            task, model, loader, lambda: validation, settings, plan.folder, save=save, preview=preview, inputs=plan.inputs,
            allowance=allowance,
        )  # fmt: skip

    return Step(plan.folder, noted(venture, "train", plan.folder, work), skipped=False)


def _calibrated(task: Task, model: nn.Module, tokenizer: Tokenizer, prepared: Path) -> Task:
    """The task as it is kept beside the trained model; the one that shaped the training, and so names it, stays as it was."""
    from ..prepare.shards import open_split

    kept = load_task(task.describe())
    if (prepared / "validation").exists():
        kept.calibrate(model, tokenizer, open_split(prepared, "validation").examples(kept))
    return kept


def preflight(venture: Venture, plan: TrainingPlan | None = None) -> Needs:
    """Say what training will take, and refuse what cannot fit.

    Raises:
        UserError: it does not fit, or the data is not prepared.
    """
    from ..prepare.loader import longest_rows
    from ..prepare.shards import open_split
    from ._preflight import Training, check_training

    plan = plan or plan_training(venture)
    config, file = plan.derived.config, venture.file
    training = Training(plan.task, config, plan.settings, file.adapter, file.budget, stored_bytes(venture))
    split = open_split(plan.prepared, "train")
    shape: dict[str, Any] = {"context": config.context, "source_context": config.source_context, "pad": plan.tokenizer.pad}
    batch = longest_rows(split, plan.task.batching, rows=2, **shape)
    needs, lines = check_training(training, batch)
    note(say("training will take:", "训练将需要："))
    for line in lines:
        note(f"  {line}")
    return needs


def predicted_seconds(venture: Venture, plan: TrainingPlan) -> float:
    """What the first stage of training will take; raises `UserError` where it does not fit the memory."""
    from ._preflight import run_seconds

    return run_seconds(plan.settings, preflight(venture, plan))


def stored_bytes(venture: Venture) -> int:
    """Bytes of a number in the weights that are trained, or that an adapter is trained over."""
    from ..build.formats.folder import find_weights
    from ._preflight import element_bytes

    base = base_of(venture)
    return 4 if base is None or venture.file.adapter is None else element_bytes(find_weights(base.folder)[0])


def lasting(venture: Venture) -> States:
    """What lasts through the venture's training, from its shapes alone, with as many tokens as the vocabulary may have.

    Raises:
        UserError: that alone does not fit.
    """
    from ..build.device import best_device
    from ..train.preflight import free_bytes
    from ._preflight import Training, check_states

    task, file = task_of(venture), venture.file
    base = base_of(venture)
    vocabulary = file.data.vocabulary if base is None else base.tokenizer.vocabulary_size
    training = Training(task, derive_shape(venture, task, vocabulary, file.data.source_vocabulary).config, file.train, file.adapter)
    return check_states(training, free_bytes(best_device()))


def evaluate(venture: Venture) -> Step:
    """Step 4: the trained model → runs/evaluate-…/scorecard.json."""
    from ..evaluate.scorecard import evaluate as run
    from ..prepare.shards import open_split
    from ..venture.measures import keep_words
    from ._metrics import metrics_of
    from ._stages import last_stage

    plan = plan_training(venture)
    model, trained = last_stage(venture, plan)
    settings = venture.file.evaluate
    inputs = {"model": trained.id, **plan.inputs}
    folder = venture.run_folder("evaluate", fingerprint({"evaluate": settings.model_dump(mode="json"), **inputs}))
    if (record := finished_record(folder)) is not None:
        venture.remember_evaluation(folder)
        return Step(folder, record, skipped=True)
    allow(venture, "evaluate", folder)
    keep_words(venture, metrics_of(venture.file))
    bundle = load_model(model / "model")
    task = load_task(bundle.task)
    held_out, learnt_from = (open_split(plan.prepared, name).examples(task) for name in (settings.split, "train"))

    def work() -> RunRecord:
        run(task, bundle.model, bundle.tokenizer, held_out, learnt_from, settings, folder, inputs=inputs)
        return finished(folder, "evaluate")

    record = noted(venture, "evaluate", folder, work)
    venture.remember_evaluation(folder)
    return Step(folder, record, skipped=False)


def noted(venture: Venture, step: str, folder: Path, work: Callable[[], RunRecord]) -> RunRecord:
    """Do the work of a step with the ledger told when it begins and how it ends."""
    attempt = venture.ledger.start_run(step, folder.name.removeprefix(f"{step}-"))
    try:
        record = work()
    except BaseException as error:
        venture.ledger.fail_run(attempt, str(error) or type(error).__name__)
        raise
    venture.ledger.finish_run(attempt, record)
    return record


def load_model(folder: Path) -> Bundle:
    """A bundle, built by the task that it names, where it runs fastest."""
    from ..build.bundle import load_bundle
    from ..build.device import best_device

    return load_bundle(folder, lambda task, config: load_task(task).build(config), device=best_device())


def _explain(plan: TrainingPlan) -> None:
    """Say what the size was made into, and what of the data is too long for it, before the expensive part."""
    from ..prepare.card import too_long

    note(say("the model:", "模型："))
    for line in plan.derived.lines:
        note(f"  {line}")
    card = read_json(plan.prepared / "card.json")
    for name, split in card["splits"].items():
        if split["truncated"]:
            note(str(too_long(card, name)))
