"""What the stages share that train a model further: they begin from the one before, train an adapter where the venture does, and save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.config import Config
from ..contracts.language import say
from ..contracts.progress import note
from ..contracts.record import RunRecord, fingerprint
from ..contracts.settings import TrainSettings
from ._plan import TrainingPlan, finished, load_task
from ._steps import Step, stored_bytes

if TYPE_CHECKING:
    from torch import nn

    from ..build.bundle import Bundle
    from ..contracts.adapter import AdapterSettings
    from ..contracts.task import Batch, Task
    from ..contracts.tokenizer import Tokenizer
    from ..model.config import ModelConfig
    from ..train.preflight import Needs
    from ..venture.venture import Venture
    from ._preflight import StageNeeds


@dataclass(frozen=True)
class Looked:
    """The model that a stage is to train, as far as its needs follow from it: before the first stage is done, from what is planned."""

    task: Task
    tokenizer: Tokenizer
    config: ModelConfig
    stored: int
    """Bytes of a number in its weights."""

    @classmethod
    def planned(cls, venture: Venture, plan: TrainingPlan) -> Looked:
        return cls(plan.task, plan.tokenizer, plan.derived.config, stored_bytes(venture))


@dataclass(frozen=True)
class Stage:
    """The model of the stage before, opened to be trained further."""

    task: Task
    bundle: Bundle
    adapter: AdapterSettings | None
    seed: int

    @property
    def model(self) -> nn.Module:
        return self.bundle.model

    @property
    def looked(self) -> Looked:
        stored = max(parameter.element_size() for parameter in self.model.parameters())
        return Looked(self.task, self.bundle.tokenizer, self.bundle.config, stored)

    @property
    def context(self) -> int:
        return self.bundle.config.context

    @property
    def pad(self) -> int:
        return self.bundle.tokenizer.pad

    def add_adapter(self) -> None:
        """Put a new adapter beside the weights, where the venture trains one; it alone is trained then."""
        import torch

        from ..build.adapters import add_adapter
        from ..contracts.randomness import derive_seed

        if self.adapter is not None:
            torch.manual_seed(derive_seed(self.seed, "adapter"))
            add_adapter(self.model, self.adapter)

    def save(self, trained: nn.Module, place: Path) -> None:
        """Write the model as it is served: plain, its adapter merged, and the adapter beside it."""
        from ..build.base import merge_adapter
        from ..build.bundle import Bundle, save_bundle

        if self.adapter is not None:
            merge_adapter(trained, place.with_name("adapter"))
        save_bundle(place, Bundle(trained, self.bundle.config, self.bundle.tokenizer, self.bundle.task))


def open_stage(venture: Venture, first: Step) -> Stage:
    """The model of the stage before. An adapter of that stage is merged by then."""
    from ..build.bundle import load_bundle
    from ..build.device import best_device
    from ..build.quantize import quantize

    # Without dropout: noise of its own would hide the small differences that are learnt here.
    bundle = load_bundle(
        first.folder / "model", lambda task, config: load_task(task).build(replace(config, dropout=0.0)), device=best_device()
    )
    adapter = venture.file.adapter
    if adapter is not None and adapter.base != "as-is":
        quantize(bundle.model, code=adapter.base)
    return Stage(load_task(bundle.task), bundle, adapter, venture.file.train.seed)


def look(venture: Venture, model: Looked, needs: StageNeeds, batches: Sequence[Batch], settings: TrainSettings) -> Needs:
    """Say what a stage will take, and refuse what cannot fit.

    Args:
        batches: one of a single record and one of two, the longest.

    Raises:
        UserError: it does not fit.
    """
    from ._preflight import Training, check_training

    config = replace(model.config, dropout=0.0)
    training = Training(model.task, config, settings, venture.file.adapter, venture.file.budget, model.stored, stage=needs)
    found, lines = check_training(training, batches)
    note(say(f"the stage {needs.setting.partition('.')[0]} will take:", f"{needs.setting.partition('.')[0]} 阶段将需要："))
    for line in lines:
        note(f"  {line}")
    return found


def last_stage(venture: Venture, plan: TrainingPlan) -> tuple[Path, RunRecord]:
    """The folder and the record of the last stage of training; raises `UserError` where it is not done."""
    from ._prefer import preferred_folder
    from ._reinforce import reinforced_folder

    folder, record = plan.folder, finished(plan.folder, "train")
    for settings, place in ((venture.file.preference, preferred_folder), (venture.file.reward, reinforced_folder)):
        if settings is not None:
            folder = place(venture, record)
            record = finished(folder, "train")
    return folder, record


def stage_folder(venture: Venture, name: str, settings: Config, first: RunRecord) -> Path:
    """Where the model of a stage is, or will be: it follows from the stage's settings and from the model that it begins from."""
    return venture.run_folder("train", fingerprint({name: settings.model_dump(mode="json"), "first": first.id}))


def loop_settings(
    train: TrainSettings, *, steps: int, batch_tokens: int, micro_batch_tokens: int, learning_rate: float, **fields: object
) -> TrainSettings:
    """The loop's settings for a stage that counts in its own units: its tokens are counted as if every text filled the context."""
    return TrainSettings.model_validate(
        {
            "tokens": steps * batch_tokens, "batch_tokens": batch_tokens, "micro_batch_tokens": micro_batch_tokens,
            "learning_rate": learning_rate, "optimizer": "adamw", "weight_decay": 0.0, "precision": train.precision,
            "compile": train.compile, "keep": train.keep, "on_spike": train.on_spike, "seed": train.seed, **fields,
        }
    )  # fmt: skip
