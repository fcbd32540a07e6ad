"""The last stage of training, where venture.yaml has `reward`: replies are checked, the right ones become likelier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.errors import UserError
from ..contracts.language import say
from ..contracts.progress import note
from ..contracts.record import RunRecord
from ..contracts.settings import RewardSettings, TrainSettings
from ..store.files import write_json
from ._budget import allow
from ._plan import TrainingPlan, finished, finished_record
from ._preflight import run_seconds
from ._stages import Looked, Stage, look, loop_settings, open_stage, stage_folder
from ._steps import Step, noted

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.task import Problem, Task
    from ..contracts.tokenizer import Tokenizer
    from ..train.preference import Reference
    from ..train.preflight import Needs
    from ..venture.venture import Venture

LEARNING_RATE, LEARNING_RATE_OF_AN_ADAPTER = 1e-6, 1e-5
"""Where the settings name none: Shao et al. 2024 take the first. # assumed for models of other sizes, and for adapters"""
JUDGED, HELD_OUT = 100, 64
"""Records whose own solutions are checked before the training, and held-out problems that are answered before and after."""
ROUNDS = "rounds.json"


def check_problems(venture: Venture, plan: TrainingPlan) -> None:
    """Refuse data that the last stage could learn nothing from, before the first one begins; where that was trained, it has been asked.

    Raises:
        UserError: the task has no replies that can be checked, none of its records has what they are checked by, none fits the context, no
            record's own solution passes its check, or nothing here can judge them.
    """
    settings = venture.file.reward
    assert settings is not None, "the caller looks"
    if not plan.task.checked_by:
        raise UserError(
            f"the task {plan.task.name} has no replies that can be checked", where="venture.yaml: reward", fix="leave reward out"
        )  # fmt: skip
    if finished_record(plan.folder) is not None:
        return
    problems = problems_of(plan.task, plan.tokenizer, plan.prepared, "train", plan.derived.config.context, settings)
    some = problems[:: -(-len(problems) // JUDGED)]
    right = sum(plan.task.rewards([problem.solution for problem in some], [problem.expected for problem in some]))
    if not right:
        raise UserError(
            f"of {len(some):,} records, none holds a solution that passes its own check", where="venture.yaml: reward",
            fix=f"correct {plan.task.checked_by} in the records",
        )  # fmt: skip
    if right < len(some):
        note(
            say(
                f"of {len(some):,} records, {round(right):,} hold a solution that passes its own check; look at the others.",
                f"{len(some):,} 条记录中，{round(right):,} 条自带的解答能通过自己的检验；请查看其余的。",
            )
        )


def reinforce(venture: Venture, first: Step, prepared: Path) -> Step:
    """The trained model and the problems of its data → another runs/train-…/model, and rounds.json: what was rewarded in each round.

    With adapters, the model is its own reference while they are switched off; else a second copy of its weights is.
    """
    from ..train.grpo import Reinforcement, Rollouts, mean_reward
    from ..train.loop import train as run

    settings, folder = venture.file.reward, reinforced_folder(venture, first.record)
    assert settings is not None, "the caller looks"
    if (before := finished_record(folder)) is not None:
        return Step(folder, before, skipped=True)
    stage = open_stage(venture, first)
    task, tokenizer = stage.task, stage.bundle.tokenizer
    problems, held_out = (problems_of(task, tokenizer, prepared, name, stage.context, settings) for name in ("train", "validation"))
    loop = stage_settings(settings, venture.file.train, stage.context, adapted=stage.adapter is not None)
    allowance = allow(venture, "train", folder, run_seconds(loop, look_at_rewards(venture, stage.looked, problems)))
    stage.add_adapter()
    reading: dict[str, Any] = {"decode": tokenizer.decode, "stops": stops_of(task, tokenizer), "pad": stage.pad}
    rollouts = Rollouts(
        stage.model, problems, partial(task.rewards, partial=settings.partial), settings, **reading, rows=settings.rows, seed=stage.seed,
        reference=_reference(stage, settings),
    )  # fmt: skip

    def measured() -> float:
        # As judged in the end: a reply that is right in part is not right.
        return mean_reward(stage.model, held_out[:HELD_OUT], task.rewards, **reading, max_tokens=settings.max_tokens)

    def save(trained: nn.Module, place: Path) -> None:
        stage.save(trained, place)
        write_json(place.with_name(ROUNDS), rollouts.history)

    def work() -> RunRecord:
        inputs = {"data": finished(prepared, "prepare").id, "model": first.record.id}
        return run(Reinforcement(settings), stage.model, rollouts, list, loop, folder, save=save, inputs=inputs, allowance=allowance)

    right = measured() if held_out else 0.0
    record = noted(venture, "train", folder, work)
    first_round, last_round = rollouts.history[0]["reward"], rollouts.history[-1]["reward"]
    note(
        say(
            f"the mean reward was {first_round:.2f} in the first round and {last_round:.2f} in the last of {len(rollouts.history):,}.",
            f"平均奖励：第一轮 {first_round:.2f}，最后一轮（共 {len(rollouts.history):,} 轮）{last_round:.2f}。",
        )
    )
    if held_out:
        count, now = min(HELD_OUT, len(held_out)), measured()
        note(
            say(
                f"of {count:,} held-out problems, the model's likeliest reply is right in {now:.0%}; before this stage, in {right:.0%}.",
                f"在 {count:,} 道留出的题目上，模型最可能的回答正确率为 {now:.0%}；本阶段之前为 {right:.0%}。",
            )
        )
    return Step(folder, record, skipped=False)


def look_at_rewards(venture: Venture, model: Looked, problems: Sequence[Problem]) -> Needs:
    """Say what the stage will take, from its longest prompt and the longest replies; raises `UserError` where it does not fit."""
    from ..train.grpo import Reinforcement, longest_batch, sampling_bytes
    from ._preflight import StageNeeds

    settings, adapted = venture.file.reward, venture.file.adapter is not None
    assert settings is not None, "the caller looks"
    prompt = max((problem.prompt for problem in problems), key=len)
    needs = StageNeeds(
        Reinforcement(settings), settings.rows, settings.replies // settings.steps, "reward.micro_batch",
        otherwise="lower reward.prompts, reward.group or reward.max_tokens, or set reward.beta to 0",
        copies=bool(settings.beta) and not adapted,
        sampling_bytes=sampling_bytes(model.config, settings, len(prompt), model.stored),
    )  # fmt: skip
    batches = [longest_batch(prompt, settings, model.tokenizer.pad, rows) for rows in (1, 2)]
    return look(venture, model, needs, batches, stage_settings(settings, venture.file.train, model.config.context, adapted=adapted))


def foresee_rewards(venture: Venture, plan: TrainingPlan) -> Needs:
    """As `look_at_rewards`, before the first stage is done."""
    settings, model = venture.file.reward, Looked.planned(venture, plan)
    assert settings is not None, "the caller looks"
    problems = problems_of(plan.task, plan.tokenizer, plan.prepared, "train", model.config.context, settings)
    return look_at_rewards(venture, model, problems)


def reinforced_folder(venture: Venture, first: RunRecord) -> Path:
    """Where the model of this stage is, or will be."""
    settings = venture.file.reward
    assert settings is not None, "the caller looks"
    return stage_folder(venture, "reward", settings, first)


def problems_of(
    task: Task, tokenizer: Tokenizer, prepared: Path, split: str, context: int, settings: RewardSettings
) -> list[Problem]:  # fmt: skip
    """The problems among a split's records, as far as they fit the context beside the longest reply; how many do is told.

    Raises:
        UserError: the training split has none.
    """
    from ..prepare.shards import open_split

    if split != "train" and not (prepared / split).exists():
        return []
    records = open_split(prepared, split).examples(task)
    found = [problem for example in records if (problem := task.problem(example, tokenizer)) is not None]
    fitting = [problem for problem in found if len(problem.prompt) + settings.max_tokens <= context]
    if split == "train" and not fitting:
        if found:
            raise UserError(
                f"none of the {len(found):,} problems fits the context of {context} tokens beside a reply of {settings.max_tokens}",
                where="venture.yaml: reward.max_tokens", fix="lower it, or lengthen model.context",
            )  # fmt: skip
        raise UserError(
            f"none of the {len(records):,} training records can be checked",
            where="venture.yaml: reward", fix=f"add records with {task.checked_by}, or leave reward out",
        )  # fmt: skip
    left_out = len(found) - len(fitting)
    note(
        say(
            f"{len(fitting):,} of {len(records):,} records of the {split} data are problems"
            + (f"; {left_out:,} more leave no room for a reply." if left_out else "."),
            f"{split} 数据的 {len(records):,} 条记录中有 {len(fitting):,} 道题目"
            + (f"；另有 {left_out:,} 道没有为回答留下余地。" if left_out else "。"),
        )
    )
    return fitting


def stops_of(task: Task, tokenizer: Tokenizer) -> list[int]:
    """The tokens that end a reply."""
    from ..build.chat import Conversing

    return task.form.stop_ids(tokenizer) if isinstance(task, Conversing) else [tokenizer.end_of_text]


def _reference(stage: Stage, settings: RewardSettings) -> Reference | None:
    from ..build.adapters import use_adapter
    from ..train.preference import as_it_is

    if not settings.beta:
        return None
    return as_it_is(stage.model) if stage.adapter is None else lambda: use_adapter(stage.model, None)


def stage_settings(given: RewardSettings, train: TrainSettings, context: int, *, adapted: bool) -> TrainSettings:
    """The loop's settings."""
    rate = given.learning_rate or (LEARNING_RATE_OF_AN_ADAPTER if adapted else LEARNING_RATE)
    return loop_settings(
        train, steps=given.rounds * given.steps * given.epochs, batch_tokens=given.replies // given.steps * context,
        micro_batch_tokens=given.rows * context, learning_rate=rate, schedule="constant",
    )  # fmt: skip
