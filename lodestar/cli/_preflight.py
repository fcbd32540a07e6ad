"""What a step will take, said before it begins; what cannot fit is refused, with the nearest setting that does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.settings import TrainSettings

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.adapter import AdapterSettings
    from ..contracts.task import Batch, Objective, Task
    from ..model.config import ModelConfig
    from ..train.preflight import Needs, States
    from ..venture.vision import Budget


@dataclass(frozen=True)
class StageNeeds:
    """What a stage after the first takes otherwise than the first."""

    objective: Objective
    rows: int
    """Records in a micro-batch, which may be several rows of tokens each."""
    divides: int
    """A divisor of this is the number of records in a micro-batch."""
    setting: str
    """The field of venture.yaml that sets it."""
    otherwise: str = "train an adapter, or take a smaller model.size, or a shorter model.context"
    """What to do where no such number fits."""
    copies: bool = False
    """Whether a second copy of the weights is kept."""
    sampling_bytes: int = 0


@dataclass(frozen=True)
class Training:
    """A run that is to be looked at."""

    task: Task
    config: ModelConfig
    settings: TrainSettings
    """With `batch_tokens`, `micro_batch_tokens`, `learning_rate`, and `tokens` or `minutes` filled in."""
    adapter: AdapterSettings | None = None
    budget: Budget | None = None
    stored: int = 4
    """Bytes of a number in the weights of the base of an adapter."""
    free: int | None = None
    """Bytes that the run may take, where it is not for the machine to tell."""
    stage: StageNeeds | None = None
    """What is different in a stage after the first."""

    @property
    def rows(self) -> int:
        """Rows in a micro-batch."""
        return self.stage.rows if self.stage is not None else max(1, (self.settings.micro_batch_tokens or 0) // self.config.context)

    def build(self, depth: int) -> nn.Module:
        """The module with fewer layers, on the device to train on; its weights are random, and of the base's size."""
        import torch

        from ..build.adapters import add_adapter, train_only
        from ..build.device import best_device
        from ..build.quantize import quantize

        model = self.task.build(with_depth(self.config, depth))
        if self.adapter is not None:
            model.to(torch.bfloat16 if self.stored == 2 else torch.float32)
            if self.adapter.base != "as-is":
                quantize(model, code=self.adapter.base)
            add_adapter(model, self.adapter)
            train_only(model, "default")
        return model.to(best_device())

    def with_ends(self, needs: Needs) -> Needs:
        """The needs with what a stage takes beside its steps, and with what an adapter's run takes when it begins and when it ends: the
        base's weights in full.
        """
        if self.stage is not None:
            reference = needs.states.weights_bytes if self.stage.copies else 0
            needs = dataclasses.replace(needs, reference_bytes=reference, sampling_bytes=self.stage.sampling_bytes)
        if self.adapter is None:
            return needs
        plain, states = self.config.parameter_count() * self.stored, needs.states
        return dataclasses.replace(
            needs,
            loading_bytes=plain + states.weights_bytes,
            merging_bytes=plain + states.gradients_bytes + states.optimizer_bytes,
        )


def with_depth(config: ModelConfig, depth: int) -> ModelConfig:
    """The config with fewer layers, and as great a share of them in the decoder."""
    windows = None if config.layer_windows is None else config.layer_windows[:depth]
    decoder = None if config.decoder_depth is None else max(1, round(config.decoder_depth * depth / config.depth))
    dense = tuple(layer for layer in config.dense_layers if layer < depth)
    return dataclasses.replace(config, depth=depth, layer_windows=windows, decoder_depth=decoder, dense_layers=dense)


def check_training(training: Training, batch: Batch | Sequence[Batch]) -> tuple[Needs, list[Words]]:
    """What a training run will take, as figures and as lines for a person.

    Args:
        batch: up to two rows of the data, the longest; or as `train.preflight.estimate` takes it.

    Raises:
        UserError: it does not fit; the sentence names the nearest setting that does.
    """
    from ..build.device import best_device
    from ..train.preflight import TooLittleMemoryError, estimate, free_bytes

    free = free_bytes(best_device()) if training.free is None else training.free
    check_states(training, free)
    depth, rows = training.config.depth, training.rows
    try:
        objective = training.task if training.stage is None else training.stage.objective
        needs = estimate(objective, training.build, depth, rows, batch, training.settings, free)
    except TooLittleMemoryError as error:
        raise refused(error.needed, free or 0, "take a smaller model.size, or a shorter model.context", least=True) from None
    found = training.with_ends(needs(depth, rows))
    if free is not None and found.new_bytes > free:
        raise refused(found.new_bytes, free, _nearest(lambda depth, rows: training.with_ends(needs(depth, rows)), training, free))
    return found, describe(training, found, free)


def check_states(training: Training, free: int | None) -> States:
    """What lasts through a run that trains every weight, from the module's shapes alone; an adapter's takes less, and only looks tell it.

    Raises:
        UserError: that alone does not fit.
    """
    from ..model.meta import without_storage
    from ..train.preflight import along_depth, most_that_fits, states_of

    depths = range(1, min(2, training.config.depth) + 1)
    with without_storage():
        models = {depth: training.task.build(with_depth(training.config, depth)) for depth in depths}
    states = {depth: states_of(model, training.settings) for depth, model in models.items()}
    lasting = along_depth(states, training.config.depth)
    if training.adapter is None and free is not None and lasting.memory_bytes > free:
        layers = most_that_fits(lambda depth: along_depth(states, depth).memory_bytes <= free, training.config.depth)
        fix = f"set model.overrides.depth to {layers} or less, or take a smaller model.size" if layers else "take a smaller model.size"
        raise refused(lasting.memory_bytes, free, fix, least=True)
    return lasting


def refused(needed: int, free: int, fix: str, *, least: bool = False) -> UserError:
    """The error for a run that does not fit."""
    at_least = "at least " if least else ""
    return UserError(f"the training needs {at_least}{size(needed)} of memory, and {size(free)} are free", where="train", fix=fix)


def _nearest(needs: object, training: Training, free: int) -> str:
    """The nearest setting that fits."""
    from ..train.preflight import most_that_fits

    assert callable(needs)
    depth, context = training.config.depth, training.config.context
    rows = most_that_fits(lambda rows: needs(depth, rows).new_bytes <= free, training.rows - 1)
    if rows and training.stage is None:
        return f"set train.micro_batch_tokens to {rows * context}"
    if training.stage is not None:
        stage = training.stage
        fitting = max((part for part in range(1, rows + 1) if stage.divides % part == 0), default=0)
        return f"set {stage.setting} to {fitting}" if fitting else stage.otherwise
    layers = most_that_fits(lambda layers: needs(layers, 1).new_bytes <= free, depth - 1)
    if layers:
        return f"set model.overrides.depth to {layers} and train.micro_batch_tokens to {context}, or take a smaller model.size"
    return "take a smaller model.size, or a shorter model.context"


def describe(training: Training, needs: Needs, free: int | None) -> list[Words]:
    """The figures, a line each."""
    states, settings = needs.states, training.settings
    least, most = map(size, needs.memory_range)
    seconds = run_seconds(settings, needs)
    trained = f" ({states.trainable:,} trained)" if states.trainable != states.parameters else ""
    trained_zh = f"（训练其中 {states.trainable:,} 个）" if states.trainable != states.parameters else ""
    lines = [Words(f"parameters {states.parameters:,}{trained}", f"参数 {states.parameters:,} 个{trained_zh}")]
    lines.append(
        Words(
            f"memory {size(needs.memory_bytes)}: weights {size(states.weights_bytes)}, gradients {size(states.gradients_bytes)}, "
            f"optimiser {size(states.optimizer_bytes)}, activations {size(needs.activations_bytes)}, "
            f"overhead {size(needs.overhead_bytes + needs.held_bytes)}; four times in five from {least} to {most}",
            f"内存 {size(needs.memory_bytes)}：权重 {size(states.weights_bytes)}，梯度 {size(states.gradients_bytes)}，"
            f"优化器 {size(states.optimizer_bytes)}，激活 {size(needs.activations_bytes)}，"
            f"其他 {size(needs.overhead_bytes + needs.held_bytes)}；八成情况下在 {least} 至 {most} 之间",
        )
    )
    if needs.reference_bytes or needs.sampling_bytes:
        reference, sampling = size(needs.reference_bytes), size(needs.sampling_bytes)
        lines.append(
            Words(f"beside it: reference {reference}; while sampling {sampling}", f"另需：参考模型 {reference}；采样时 {sampling}")
        )
    if free is not None:
        lines.append(Words(f"free now {size(free)}", f"当前可用 {size(free)}"))
    besides = Words(", and the sampling", "，另加采样") if needs.sampling_bytes else Words("", "")
    lines.append(Words(f"time about {span(seconds)[0]}{besides.en}", f"时间约 {span(seconds)[1]}{besides.zh}"))
    if training.budget is not None and training.budget.per_hour is not None:
        cost, currency = training.budget.per_hour * seconds / 3600, training.budget.currency
        share = f", of a budget of {training.budget.amount:,.0f}" if training.budget.amount else ""
        share_zh = f"，预算 {training.budget.amount:,.0f}" if training.budget.amount else ""
        lines.append(Words(f"cost about {cost:,.2f} {currency}{share}", f"费用约 {cost:,.2f} {currency}{share_zh}"))
    return lines


def run_seconds(settings: TrainSettings, needs: Needs) -> float:
    """The time of a whole run: its budget of minutes, or its steps."""
    if settings.minutes is not None:
        return settings.minutes * 60
    return needs.step_seconds * -(-(settings.tokens or 0) // (settings.batch_tokens or 1))


def serving_bytes(weights: Sequence[Path], config: ModelConfig, turns: int, element: int) -> tuple[int, int]:
    """What serving takes: the weights as they are stored, and the caches of so many conversations at the whole context.

    Args:
        element: bytes of a number in the cache.
    """
    decoder = config.of_decoder()
    cache = 2 * decoder.decoder_layers * decoder.kv_heads * decoder.head_size * config.context * element
    return sum(file.stat().st_size for file in weights), cache * turns


def element_bytes(weights: Path) -> int:
    """Bytes of a number in the cache of a served model: those of its widest weights, from the file's header."""
    from safetensors import safe_open

    sizes = {"F64": 8, "F32": 4}
    with safe_open(weights, framework="pt") as file:
        return max(sizes.get(file.get_slice(name).get_dtype(), 2) for name in file.keys())  # noqa: SIM118 - not a mapping


def size(count: float) -> str:
    """Bytes for a person."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}" if count < 10 * scale else f"{count / scale:,.0f} {unit}"
    return f"{count:.0f} B"


def span(seconds: float) -> tuple[str, str]:
    """A time for a person, in both languages."""
    for least, scale, en, zh in ((7200, 3600, "hours", "小时"), (120, 60, "minutes", "分钟")):
        if seconds >= least:
            return f"{seconds / scale:.1f} {en}", f"{seconds / scale:.1f} {zh}"
    return f"{max(1, round(seconds))} seconds", f"{max(1, round(seconds))} 秒"
