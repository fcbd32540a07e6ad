"""The second stage of training, where venture.yaml has `preference`: the trained model learns which of two replies is better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import UserError
from ..contracts.language import say
from ..contracts.progress import note
from ..contracts.record import RunRecord
from ..contracts.settings import PreferenceSettings, TrainSettings
from ..contracts.task import device_of
from ._stages import loop_settings, open_stage, stage_folder
from ._steps import Step, finished, finished_record, noted

if TYPE_CHECKING:
    from ..contracts.task import Batch, Task
    from ..contracts.tokenizer import Tokenizer
    from ..train.pairs import Pair, Records
    from ..venture.venture import Venture

LEARNING_RATE, LEARNING_RATE_OF_AN_ADAPTER = 5e-6, 5e-5
"""Where the settings name none. # assumed: as the recipes of Zephyr and of TRL for models of some billion parameters"""


def prefer(venture: Venture, first: Step, prepared: Path) -> Step:
    """The trained model and the preference pairs of its data → another runs/train-…/model.

    What the model finds likely before this stage is computed once, so that no second model is needed. An adapter of the first stage is
    merged by then; where the venture trains adapters, this stage trains another one.
    """
    from ..train.loop import train as run
    from ..train.pairs import PreferenceLoader, in_order, with_reference
    from ..train.preference import Preference, agreement

    settings, folder = venture.file.preference, preferred_folder(venture, first.record)
    assert settings is not None, "the caller looks"
    if (before := finished_record(folder)) is not None:
        return Step(folder, before, skipped=True)
    stage = open_stage(venture, first)
    task, model, pad, context = stage.task, stage.model, stage.pad, stage.context
    pairs = {split: pairs_of(task, stage.bundle.tokenizer, prepared, split, context) for split in ("train", "validation")}

    def batches(records: Records) -> list[Batch]:
        return in_order(with_reference(model, records, rows=settings.micro_batch, pad=pad), rows=settings.micro_batch, pad=pad)

    records = records_of(pairs["train"], settings, context, "train")
    if settings.kind != "orpo":
        records = with_reference(model, records, rows=settings.micro_batch, pad=pad)
    loader = PreferenceLoader(records, rows=settings.micro_batch, pad=pad, seed=stage.seed)
    held_out, judged_by = batches(records_of(pairs["validation"], settings, context, "validation")), batches(pairs["validation"])
    stage.add_adapter()

    def work() -> RunRecord:
        loop = stage_settings(settings, venture.file.train, context, len(records), adapted=stage.adapter is not None)
        inputs = {"data": finished(prepared, "prepare").id, "model": first.record.id}
        return run(Preference(settings), model, loader, lambda: held_out, loop, folder, save=stage.save, inputs=inputs)

    record = noted(venture, "train", folder, work)
    if judged_by:
        share = agreement(model, ({name: tensor.to(device_of(model)) for name, tensor in batch.items()} for batch in judged_by))
        count = len(pairs["validation"])
        note(
            say(
                f"of {count:,} held-out pairs, the model has come to find the better reply likelier in {share:.0%}.",
                f"在 {count:,} 个留出的偏好对中，模型更倾向较好回答的占 {share:.0%}。",
            )
        )
    return Step(folder, record, skipped=False)


def preferred_folder(venture: Venture, first: RunRecord) -> Path:
    """Where the model of this stage is, or will be."""
    settings = venture.file.preference
    assert settings is not None, "the caller looks"
    return stage_folder(venture, "preference", settings, first)


def pairs_of(task: Task, tokenizer: Tokenizer, prepared: Path, split: str, context: int) -> list[Pair]:
    """The preference pairs among a split's records, as far as they fit the context.

    Raises:
        UserError: the training split has none.
    """
    from ..prepare.shards import open_split
    from ..train.pairs import Pair, that_fit
    from ..train.scoring import Scored

    if split != "train" and not (prepared / split).exists():
        return []
    found = [task.preference(example, tokenizer) for example in open_split(prepared, split).examples(task)]
    pairs = [Pair(Scored(*pair[0]), Scored(*pair[1])) for pair in found if pair is not None]
    if not pairs and split == "train":
        raise UserError(
            f"none of the {len(found):,} training records is a preference pair",
            where="venture.yaml: preference", fix="add records with the fields prompt, chosen and rejected, or leave preference out",
        )  # fmt: skip
    note(
        say(
            f"{len(pairs):,} of {len(found):,} records of the {split} data are preference pairs.",
            f"{split} 数据的 {len(found):,} 条记录中有 {len(pairs):,} 条偏好对。",
        )
    )
    fitting: list[Pair] = that_fit(pairs, context, split) if pairs else []
    return fitting


def records_of(pairs: Records, settings: PreferenceSettings, context: int, split: str) -> Records:
    """What the loss takes: pairs, or for KTO each reply by itself."""
    from ..train.pairs import Pair, judged, that_fit

    if settings.kind != "kto" or not pairs:
        return pairs
    found = [pair for pair in pairs if isinstance(pair, Pair)]
    replies = judged([reply for pair in found for reply in ((pair.chosen, True), (pair.rejected, False))])
    fitting: Records = that_fit(replies, context, split)  # a prompt with the reply to another one may be longer than both
    return fitting


def stage_settings(given: PreferenceSettings, train: TrainSettings, context: int, records: int, *, adapted: bool) -> TrainSettings:
    """The loop's settings."""
    step = 2 * given.batch * context
    steps = max(1, round(given.epochs * records / given.batch))
    rate = given.learning_rate or (LEARNING_RATE_OF_AN_ADAPTER if adapted else LEARNING_RATE)
    return loop_settings(
        train, steps=steps, batch_tokens=step, micro_batch_tokens=2 * given.micro_batch * context, learning_rate=rate,
        schedule="cosine", warmup=0.1,
    )  # fmt: skip
