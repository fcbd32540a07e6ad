"""The second stage of training, where venture.yaml has `preference`: the trained model learns which of two replies is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import UserError
from ..contracts.language import say
from ..contracts.progress import note
from ..contracts.record import RunRecord
from ..contracts.settings import PreferenceSettings, TrainSettings
from ..contracts.task import device_of
from ._budget import allow
from ._plan import TrainingPlan, finished, finished_record
from ._preflight import run_seconds
from ._stages import Looked, look, loop_settings, open_stage, stage_folder
from ._steps import Step, noted

if TYPE_CHECKING:
    from ..contracts.task import Batch, Task
    from ..contracts.tokenizer import Tokenizer
    from ..train.pairs import Pair, Records
    from ..train.preflight import Needs
    from ..train.scoring import Scored
    from ..venture.venture import Venture

LEARNING_RATE, LEARNING_RATE_OF_AN_ADAPTER = 5e-6, 5e-5
"""Where the settings name none. # assumed: as the recipes of Zephyr and of TRL for models of some billion parameters"""


def prefer(venture: Venture, first: Step, prepared: Path) -> Step:
    """The trained model and the preference pairs of its data → another runs/train-…/model.

    What the model finds likely before this stage is computed once, so that no second model is needed. An adapter of the first stage is
    merged by then; where the venture trains adapters, this stage trains another one.
    """
    from ..train.loop import train as run
    from ..train.pairs import PreferenceLoader, in_order, that_fit, with_reference
    from ..train.preference import Preference, agreement, judged_agreement

    settings, folder = venture.file.preference, preferred_folder(venture, first.record)
    assert settings is not None, "the caller looks"
    if (before := finished_record(folder)) is not None:
        return Step(folder, before, skipped=True)
    stage = open_stage(venture, first)
    model, pad, context = stage.model, stage.pad, stage.context
    opinions = {split: opinions_of(stage.task, stage.bundle.tokenizer, prepared, split, settings) for split in ("train", "validation")}
    records, held_out_records = (records_of(opinions[split], settings, context, split) for split in ("train", "validation"))

    loop = stage_settings(settings, venture.file.train, context, len(records), adapted=stage.adapter is not None)
    allowance = allow(venture, "train", folder, run_seconds(loop, look_at_preference(venture, stage.looked, records)))

    def batches(records: Records) -> list[Batch]:
        return in_order(with_reference(model, records, rows=settings.micro_batch, pad=pad), rows=settings.micro_batch, pad=pad)

    if settings.kind != "orpo":
        records = with_reference(model, records, rows=settings.micro_batch, pad=pad)
    loader = PreferenceLoader(records, rows=settings.micro_batch, pad=pad, seed=stage.seed)
    pairs = that_fit(opinions["validation"].pairs, context, "validation") if opinions["validation"].pairs else []
    held_out, judged_by = batches(held_out_records), batches(pairs)
    stage.add_adapter()

    def work() -> RunRecord:
        inputs = {"data": finished(prepared, "prepare").id, "model": first.record.id}
        return run(Preference(settings), model, loader, lambda: held_out, loop, folder, save=stage.save, inputs=inputs, allowance=allowance)

    def placed(batches: Sequence[Batch]) -> Iterator[Batch]:
        return ({name: tensor.to(device_of(model)) for name, tensor in batch.items()} for batch in batches)

    record = noted(venture, "train", folder, work)
    if held_out and not judged_by:
        share, count = judged_agreement(model, placed(held_out)), len(held_out_records)
        note(
            say(
                f"of {count:,} held-out judged replies, wanted ones have become likelier and others less likely in {share:.0%}.",
                f"在 {count:,} 个留出的带评判回答中，模型更倾向想要的、更不倾向其余的，占 {share:.0%}。",
            )
        )
    if judged_by:
        share = agreement(model, placed(judged_by))
        count = len(pairs)
        note(
            say(
                f"of {count:,} held-out pairs, the model has come to find the better reply likelier in {share:.0%}.",
                f"在 {count:,} 个留出的偏好对中，模型更倾向较好回答的占 {share:.0%}。",
            )
        )
    return Step(folder, record, skipped=False)


def check_opinions(venture: Venture, plan: TrainingPlan) -> None:
    """Refuse data that this stage could learn nothing from, before the first one begins; where that was trained, it has been asked."""
    settings = venture.file.preference
    assert settings is not None, "the caller looks"
    if finished_record(plan.folder) is None:
        opinions_of(plan.task, plan.tokenizer, plan.prepared, "train", settings)


def look_at_preference(venture: Venture, model: Looked, records: Records) -> Needs:
    """Say what the stage will take, from its longest records; raises `UserError` where it does not fit."""
    from ..train.pairs import batch_of
    from ..train.preference import Preference
    from ._preflight import StageNeeds

    settings, context = venture.file.preference, model.config.context
    assert settings is not None, "the caller looks"
    longest = sorted(records, key=lambda record: max(len(text.tokens) for text in record.texts))[-2:]
    known = [record if settings.kind == "orpo" else replace(record, reference=(0.0, 0.0)) for record in longest]
    needs = StageNeeds(Preference(settings), settings.micro_batch, settings.batch, "preference.micro_batch")
    loop = stage_settings(settings, venture.file.train, context, len(records), adapted=venture.file.adapter is not None)
    batches = [batch_of(known[-count:], model.tokenizer.pad) for count in range(1, len(known) + 1)]
    return look(venture, model, needs, batches, loop)


def foresee_preference(venture: Venture, plan: TrainingPlan) -> Needs:
    """As `look_at_preference`, before the first stage is done."""
    settings, model = venture.file.preference, Looked.planned(venture, plan)
    assert settings is not None, "the caller looks"
    opinions = opinions_of(plan.task, plan.tokenizer, plan.prepared, "train", settings)
    return look_at_preference(venture, model, records_of(opinions, settings, model.config.context, "train"))


def preferred_folder(venture: Venture, first: RunRecord) -> Path:
    """Where the model of this stage is, or will be."""
    settings = venture.file.preference
    assert settings is not None, "the caller looks"
    return stage_folder(venture, "preference", settings, first)


@dataclass(frozen=True)
class Opinions:
    """What a split's records prefer."""

    pairs: Sequence[Pair]
    judged: Sequence[tuple[Scored, bool]]
    """Single replies, and whether they are wanted."""


def opinions_of(task: Task, tokenizer: Tokenizer, prepared: Path, split: str, settings: PreferenceSettings) -> Opinions:
    """The preference pairs and the judged replies among a split's records; how many there are is told.

    Raises:
        UserError: the training split has none that the kind of the stage learns from.
    """
    from ..prepare.shards import open_split
    from ..train.pairs import Pair
    from ..train.scoring import Scored

    if split != "train" and not (prepared / split).exists():
        return Opinions([], [])
    records = open_split(prepared, split).examples(task)
    found = [(task.preference(example, tokenizer), task.judged(example, tokenizer)) for example in records]
    pairs = [Pair(Scored(*pair[0]), Scored(*pair[1])) for pair, _ in found if pair is not None]
    judged = [(Scored(*one[0]), one[1]) for _, one in found if one is not None]
    if split == "train" and not pairs and not (judged and settings.kind == "kto"):
        raise _nothing_to_learn_from(len(records), len(judged), settings)
    note(
        say(
            f"{len(pairs):,} of {len(records):,} records of the {split} data are preference pairs"
            + (f", and {len(judged):,} are judged replies." if judged else "."),
            f"{split} 数据的 {len(records):,} 条记录中有 {len(pairs):,} 条偏好对"
            + (f"，{len(judged):,} 条带评判的回答。" if judged else "。"),
        )
    )
    return Opinions(pairs, judged)


def _nothing_to_learn_from(records: int, judged: int, settings: PreferenceSettings) -> UserError:
    where = "venture.yaml: preference"
    if judged:
        what = f"{judged:,} of {records:,} training records are judged replies, which kind {settings.kind} does not learn from"
        return UserError(what, where=where, fix="set kind to kto, or add records with the fields prompt, chosen and rejected")
    either, fields = "a preference pair", "prompt, chosen and rejected"
    if settings.kind == "kto":
        either, fields = f"{either} or a judged reply", f"{fields}, or a label of true or false"
    fix = f"add records with the fields {fields}, or leave preference out"
    return UserError(f"none of the {records:,} training records is {either}", where=where, fix=fix)


def records_of(opinions: Opinions, settings: PreferenceSettings, context: int, split: str) -> Records:
    """What the loss takes, as far as it fits the context: pairs, or for KTO each reply by itself."""
    from ..train.pairs import judged, that_fit

    records: Records = opinions.pairs
    if settings.kind == "kto":
        apart = [reply for pair in opinions.pairs for reply in ((pair.chosen, True), (pair.rejected, False))]
        replies = [*apart, *opinions.judged]
        both = len({wanted for _, wanted in replies}) == len((True, False))
        records = judged(replies) if both or split == "train" else []  # a prompt with another's reply may be longer than both
    fitting: Records = that_fit(records, context, split) if records else []
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
