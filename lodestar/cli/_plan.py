"""What a run of a venture is made from: its task, the model to begin from, shape and settings, and the folder that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.errors import UserError
from ..contracts.record import RECORD_FILE, RunRecord, fingerprint
from ..contracts.settings import TrainSettings
from ..store.files import read_json

if TYPE_CHECKING:
    from ..build.base import Base
    from ..build.sizes import Derived
    from ..contracts.task import Task
    from ..contracts.tokenizer import Tokenizer
    from ..venture.venture import Venture

MICRO_BATCH_TOKENS = 8_192
"""Tokens in one forward pass where the settings name none: enough for full speed, little enough for a laptop's memory."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a training run is made from; its folder follows from all of it, so another setting is another run."""

    prepared: Path
    task: Task
    tokenizer: Tokenizer
    derived: Derived
    settings: TrainSettings
    inputs: dict[str, str]
    folder: Path


def plan_training(venture: Venture) -> TrainingPlan:
    """What the venture's training is made from; raises `UserError` where its data is not prepared."""
    from ..contracts.tokenizer import Tokenizer
    from ..prepare.shards import open_split

    prepared = prepare_folder(venture)
    inputs = {"data": finished(prepared, "prepare").id}
    if (base := base_of(venture)) is not None:
        inputs["base"] = base.identity
    task, tokenizer = load_task(read_json(prepared / "task.json")), Tokenizer.load(prepared)
    derived = derive_shape(venture, task, tokenizer.vocabulary_size, tokenizer.source_vocabulary_size)
    settings = train_settings(venture.file.train, derived, open_split(prepared, "train").all_tokens)
    described = {"task": task.describe(), "model": derived.config.to_dict(), "train": settings.model_dump(mode="json"), **inputs}
    if venture.file.adapter is not None:
        described["adapter"] = venture.file.adapter.model_dump(mode="json")
    return TrainingPlan(prepared, task, tokenizer, derived, settings, inputs, venture.run_folder("train", fingerprint(described)))


def plan_if_prepared(venture: Venture) -> TrainingPlan | None:
    """The plan of the venture's training; None where its data is not prepared."""
    return None if finished_record(prepare_folder(venture)) is None else plan_training(venture)


def prepare_folder(venture: Venture) -> Path:
    """Where the data for the venture's settings is; whether the sources still hold the same is checked by the step itself."""
    task = task_of(venture)
    described = {"task": task.describe(), "data": venture.file.data.model_dump(mode="json"), **contexts_of(venture, task)}
    if (base := base_of(venture)) is not None:
        described["tokenizer"] = fingerprint(base.tokenizer.files())
    return venture.run_folder("prepare", fingerprint(described))


def task_of(venture: Venture) -> Task:
    """The venture's task, with its options, and no state but what it takes from the model to begin from."""
    from .. import tasks

    task = tasks.find(venture.file.task)(venture.file.options)
    if (base := base_of(venture)) is not None:
        task.adopt(base.folder)
    return task


def base_of(venture: Venture) -> Base | None:
    """The model to begin from, where venture.yaml names one."""
    source = venture.file.model.base
    if source is None:
        return None
    from ..build.base import find_base  # which imports torch

    return find_base(source, venture.folder)


def load_task(description: Mapping[str, Any]) -> Task:
    from .. import tasks

    return tasks.load(description)


def contexts_of(venture: Venture, task: Task) -> dict[str, int]:
    """The model's context, and its encoder's where that is another: the size decides them before there is a tokenizer."""
    config = derive_shape(venture, task, venture.file.data.vocabulary).config
    return {"context": config.context} | ({} if config.source_context is None else {"source_context": config.source_context})


def check_shape(venture: Venture) -> None:
    """Refuse a model or a batch that no run of the venture could have, before anything is read.

    Raises:
        UserError: the sentence names the field.
    """
    from ..prepare.step import check_vocabularies

    task = task_of(venture)
    check_vocabularies(task, venture.file.data, fine_tunes=venture.file.model.base is not None)
    contexts_of(venture, task)


def derive_shape(venture: Venture, task: Task, vocabulary_size: int, source_vocabulary_size: int | None = None) -> Derived:
    from ..build.sizes import derive

    train = venture.file.train
    decided = dict(task.architecture()) | ({} if train.dropout is None else {"dropout": train.dropout})
    base = base_of(venture)
    if base is None:
        derived = derive(venture.file.model, decided, vocabulary_size, source_vocabulary_size)
    else:
        from ..build.base import derive_from  # which imports torch

        derived = derive_from(base, venture.file.model, decided, venture.file.adapter)
    if task.passes is not None:
        derived = replace(derived, passes=task.passes)
    context, batch = derived.config.context, step_tokens(train, derived)
    for name in ("batch_tokens", "micro_batch_tokens"):
        given = getattr(train, name)
        if given is not None and given < context:
            raise UserError(
                f"train.{name} is {given}, less than one row of the context {context}",
                where=venture.path, fix=f"give at least {context}, or a shorter model.context",
            )  # fmt: skip
    if (train.micro_batch_tokens or 0) > batch:
        raise UserError(
            f"train.micro_batch_tokens is {train.micro_batch_tokens}, more than a whole step of {batch} tokens",
            where=venture.path, fix=f"give at most {batch}, or a larger train.batch_tokens",
        )  # fmt: skip
    return derived


def step_tokens(given: TrainSettings, derived: Derived) -> int:
    """Tokens in one optimiser step: as given, else as the size derives, but at least one row."""
    return given.batch_tokens or max(derived.batch_tokens, derived.config.context)


def train_settings(given: TrainSettings, derived: Derived, data_tokens: int) -> TrainSettings:
    """The settings with what the size derives filled in where the user named nothing."""
    from ..build.sizes import token_budget

    batch = step_tokens(given, derived)
    values: dict[str, Any] = {
        "batch_tokens": batch,
        "micro_batch_tokens": given.micro_batch_tokens or micro_batch(batch, derived.config.context),
        "learning_rate": given.learning_rate or derived.learning_rate,
    }
    if given.tokens is None and given.minutes is None:
        values["tokens"] = derived.passes * data_tokens if derived.passes else token_budget(derived.config, data_tokens)[0]
    return TrainSettings.model_validate(given.model_dump() | values)


def micro_batch(batch_tokens: int, context: int) -> int:
    """The largest equal part of a step that is at most MICRO_BATCH_TOKENS, and at least one row."""
    parts = -(-batch_tokens // max(MICRO_BATCH_TOKENS, context))
    return batch_tokens // parts


def finished_record(folder: Path) -> RunRecord | None:
    """The record of a finished step; None where there is none."""
    path = folder / RECORD_FILE
    return RunRecord.parse(read_json(path), where=path) if path.is_file() else None


def finished(folder: Path, step: str) -> RunRecord:
    """The record of a step that must have been done.

    Raises:
        UserError: it has not, with the settings that venture.yaml has now.
    """
    record = finished_record(folder)
    if record is None:
        raise UserError(
            f"the step {step!r} is not done with these settings", where="venture.yaml", fix=f"run `lodestar {step}`, or `lodestar run`"
        )
    return record
