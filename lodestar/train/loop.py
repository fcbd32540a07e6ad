"""The one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts.allowance import Allowance
from ..contracts.clock import seconds, timestamp
from ..contracts.errors import Interrupted, UserError
from ..contracts.meter import Meter, peak_memory_bytes, versions
from ..contracts.progress import Bar, bar, note
from ..contracts.record import RECORD_FILE, RunRecord, fingerprint
from ..contracts.score import Cost
from ..contracts.settings import TrainSettings
from ..contracts.task import Batch, Loader, Objective, device_of
from ..store.files import ensure_space, hash_folder, read_json, sha256_file, write_atomic, write_json
from ..store.lock import hold
from .checkpoint import Checkpoint, Checkpoints, model_tensors
from .compiled import loss_function
from .journal import Journal, draw_loss
from .memory import freed_memory_kept, give_back
from .plan import EVALUATION_SHARE, EVALUATIONS, Plan, steps_in_budget
from .precision import choose_precision
from .random_state import repeatable, seed_all
from .schedules import learning_rate_factor
from .signals import StopSignal
from .spikes import SpikeWatch
from .trainer import Trainer

MODEL, CHECKPOINTS, METRICS, PICTURE, PREVIEWS = "model", "checkpoints", "metrics.jsonl", "loss.png", "previews"
REWINDS = 3
"""Rewinds in one run: a loss that leaves the road more often does not do so because of a few bad batches."""
LOOK_EVERY_ON_GPU = 10
"""Steps between looks at the losses on a GPU, as each look waits for it. On a CPU there is nothing to wait for."""
CALIBRATION_SECONDS = 5.0
"""Steps are timed for about so long, where minutes are the budget."""

Validation = Callable[[], Iterable[Batch]]
Save = Callable[[nn.Module, Path], None]
Preview = Callable[[nn.Module], "bytes | None"]


def train(
    task: Objective,
    model: nn.Module,
    loader: Loader,
    validation: Validation,
    settings: TrainSettings,
    out: Path,
    *,
    save: Save,
    preview: Preview = lambda model: None,
    inputs: Mapping[str, str] | None = None,
    allowance: Allowance | None = None,
) -> RunRecord:
    """Train `model` in place and write the result to `out`, going on where an earlier call with the same arguments was cut off.

    A resumed run gives the same weights, to the last bit, as one that was not cut off, on the same machine with as many threads.
    In the end `out` holds model/, checkpoints/, metrics.jsonl, loss.png, previews/ where there are any and, written last, record.json.

    Args:
        task: gives the loss; a task, or another objective.
        model: initialised, on the device to train on. Its `config`, where it has one, is part of the record.
        loader: gives batches of `settings.micro_batch_tokens` (or `batch_tokens`) tokens each.
        validation: gives the batches to evaluate on, the same ones at each call.
        settings: with `batch_tokens`, `learning_rate`, and `tokens` or `minutes` filled in.
        save: writes a model as a folder, whole or not at all, in the place of one that may be there.
        preview: draws at each evaluation, of the weights that are evaluated, what is kept as previews/step-NUMBER.png; None where nothing.
        inputs: what the model and the batches were made from, name → hash; other inputs make another run.
        allowance: where the run stops, with a checkpoint, before it has taken longer; no part of what the run is.

    Raises:
        UserError: `out` holds another run, or another process holds it; no disk space; every checkpoint is damaged; the loss became
            NaN or spiked, and the settings say stop or rewinding did not help; the allowance is used up, and the work so far is in a
            checkpoint.
        Interrupted: a signal asked to stop; the work so far is in a checkpoint.
    """
    with hold(out, "train"), repeatable(device_of(model)):
        run = _Run(task, model, loader, validation, settings, out, dict(inputs or {}), preview, allowance)
        record = run.finished()
        if record is None:
            try:
                # What lasts was made before, so that it does not lie among what comes and goes.
                with freed_memory_kept():
                    run.begin()
                    run.go()
                record = run.finish(save)
            finally:
                run.journal.close()
        return record


class _Run:
    """One call of `train`: its plan, its checkpoints, its journal, and the watch over its loss."""

    plan: Plan

    def __init__(
        self,
        task: Objective,
        model: nn.Module,
        loader: Loader,
        validation: Validation,
        settings: TrainSettings,
        out: Path,
        inputs: dict[str, str],
        preview: Preview,
        allowance: Allowance | None,
    ) -> None:
        self.validation, self.settings, self.out, self.inputs = validation, settings, out, inputs
        self.preview, self.allowance = preview, allowance
        device = device_of(model)
        precision = choose_precision(settings.precision, device)
        config = getattr(model, "config", None)
        self.described: dict[str, Any] = {
            "task": task.describe(),
            "model": config.to_dict() if config is not None else {},
            "train": settings.model_dump(mode="json"),
            # What `auto` came to. A resumed run keeps the precision that it has: measuring it again may say something else.
            "machine": {"device": device.type, "precision": precision, "threads": torch.get_num_threads()},
        }
        # What to keep and what to do about a spike may change between two calls: they shape no weight of a run that goes well.
        shaping = {key: value for key, value in self.described["train"].items() if key not in ("keep", "on_spike")}
        self.id = fingerprint({"task": self.described["task"], "model": self.described["model"], "train": shaping, "inputs": inputs})
        self.trainer = Trainer(model, loader, loss_function(task, settings.compile, device), settings, precision)
        self.checkpoints = Checkpoints(out / CHECKPOINTS, settings.keep)
        self.journal, self.watch, self.meter = Journal(out / METRICS), SpikeWatch(), Meter()
        self.look_every = LOOK_EVERY_ON_GPU if device.type == "cuda" else 1
        self.step = self.rewinds = 0
        self.started, self.spent = timestamp(), Cost(seconds=0, cpu_seconds=0, peak_memory_bytes=0)
        self.validation_loss: float | None = None
        self.last_loss = math.nan
        self.pending: list[tuple[int, int, float, Tensor, Tensor]] = []
        """Steps whose losses nobody has looked at: step, tokens, learning rate, loss, gradient norm."""
        self.looked_at, self.looked_tokens = seconds(), 0
        self.longest_step = self.saving = 0.0
        """Seconds of the longest step so far, with what came between it and the next, and of the last checkpoint."""

    def finished(self) -> RunRecord | None:
        """The record of this run, where it is done already."""
        path = self.out / RECORD_FILE
        if not path.exists():
            return None
        record = RunRecord.parse(read_json(path), where=path)
        if record.id != self.id:
            raise UserError("holds the result of another run", where=self.out, fix="choose another folder, or remove this one")
        return record

    # Beginning and end

    def begin(self) -> None:
        """Go on from the newest whole checkpoint, or start anew."""
        self.trainer.model.train()
        checkpoint = self.checkpoints.newest(note)
        if checkpoint is not None:
            self._check_same_run(checkpoint)
            self._restore(checkpoint)
            note(f"going on from step {self.step:,} of {self.plan.total:,}.")
            return
        # At most weights, two moments and an average, in float32; one checkpoint more than are kept exists while the newest is written.
        weights = 4 * sum(tensor.numel() for tensor in model_tensors(self.trainer.model).values())
        ensure_space(self.out, weights * (4 * (self.settings.keep + 1) + 1))
        seed_all(self.settings.seed)
        self.journal.start(0)
        self.plan = self._make_plan()
        self._evaluate()
        self.plan = replace(self.plan, ahead=self._cost().seconds)
        self._save_checkpoint()  # there is always one to go back to

    def _check_same_run(self, checkpoint: Checkpoint) -> None:
        if checkpoint.state["run"] == self.id:
            return
        before, now = checkpoint.state["described"], self.described
        parts = ("task", "model", "train")
        differing = [f"{part}.{key}" for part in parts for key in now[part] if before[part].get(key) != now[part][key]]
        raise UserError(
            f"holds a run with other settings ({', '.join(differing) or 'the data differs'})",
            where=self.out, fix="set them back to go on with it, choose another folder, or remove this one",
        )  # fmt: skip

    def _make_plan(self) -> Plan:
        """Fix the number of steps; where minutes are the budget, by timing steps and an evaluation that are then undone."""
        if self.settings.minutes is None:
            return Plan.make(self.settings, steps_in_budget(self.settings))
        left = self.settings.minutes * 60
        with self.trainer.undone():
            begin = seconds()
            self.trainer.evaluate(self.validation())
            self._draw()
            evaluation = seconds() - begin
            self.trainer.update(1.0)[0].item()  # the first step allocates and compiles
            begin, timed = seconds(), 0
            while timed < 3 or seconds() - begin < min(CALIBRATION_SECONDS, left / 50):
                self.trainer.update(1.0)[0].item()
                timed += 1
            each = (seconds() - begin) / timed
        left -= self.meter.cost().seconds
        # One comes before the first step.
        evaluations = min(EVALUATIONS, max(1, int(EVALUATION_SHARE * left / evaluation) - 1))
        possible = int((left - (evaluations + 1) * evaluation) / each)
        return Plan.make(self.settings, steps_in_budget(self.settings, possible), evaluations)

    def finish(self, save: Save) -> RunRecord:
        """Write the model, the picture and, last, the record."""
        with self.trainer.averaged():
            save(self.trainer.model, self.out / MODEL)
        draw_loss(self.journal.rows(), self.out / PICTURE)
        files = {name: sha256_file(self.out / name) for name in (METRICS, PICTURE)}
        if (self.out / PREVIEWS).exists():
            files[PREVIEWS] = hash_folder(self.out / PREVIEWS)
        record = RunRecord(
            step="train",
            id=self.id,
            started=self.started,
            finished=timestamp(),
            config=self.described,
            inputs=self.inputs,
            outputs={MODEL: hash_folder(self.out / MODEL), **files},
            facts={
                "steps": self.step,
                "tokens": self.trainer.tokens,
                "parameters": sum(parameter.numel() for parameter in self.trainer.model.parameters()),
                "loss": self.last_loss,
                "validation_loss": self.validation_loss,
                "rewinds": self.rewinds,
                **self._averaged(),
            },
            cost=self._cost(),
            versions=versions("torch", "numpy", "safetensors"),
            seed=self.settings.seed,
        )
        write_json(self.out / RECORD_FILE, record.model_dump(mode="json"))
        return record

    def _averaged(self) -> dict[str, int]:
        """Of how many evaluations the weights are the mean, where `train.average_last` asks for it."""
        wanted, average = self.settings.average_last, self.trainer.average
        if wanted is None or average is None:
            return {}
        if average.updates < wanted:
            note(f"the run had {average.updates} evaluations: the model is the mean of its weights at these, not at the last {wanted}.")
        return {"averaged": average.updates}

    def _cost(self) -> Cost:
        """What this call and the cut-off ones before it used, as far as their checkpoints tell."""
        now = self.meter.cost()
        return Cost(
            seconds=self.spent.seconds + now.seconds,
            cpu_seconds=self.spent.cpu_seconds + now.cpu_seconds,
            peak_memory_bytes=max(self.spent.peak_memory_bytes, peak_memory_bytes()),
        )

    # The steps

    def go(self) -> None:
        """Take every step that is left, with looks, evaluations and checkpoints in between."""
        due = False
        with StopSignal() as stop, bar("train", self.plan.total, "step", initial=self.step) as shown:
            while self.step < self.plan.total:
                begun = seconds()
                self._take_step()
                shown.update()
                last = self.step == self.plan.total
                evaluate = last or self.step % self.plan.evaluate_every == 0
                due = due or last or self.step % self.plan.checkpoint_every == 0 or stop.received is not None or self._must_stop()
                if self.step % self.look_every == 0 or evaluate or due:
                    fault = self._look(shown, weights=due)
                    if fault is not None:
                        before, due = self.step, False
                        self._rewind(fault)
                        shown.update(self.step - before)
                        continue
                if evaluate:
                    if self.trainer.average is not None:
                        self.trainer.average.before_evaluation(among_last=self._is_among_last())
                    self._evaluate()
                    self._revise(shown)
                # In the middle of what may become a spike nothing is saved: it would be the place to go back to.
                if due and (last or not self.watch.high):
                    self._save_checkpoint()
                    due = False
                    self._stop_if(stop.received)
                self.longest_step = max(self.longest_step, seconds() - begun)

    def _take_step(self) -> None:
        factor = learning_rate_factor(self.step, self.plan.total_at(self.step), self.settings)
        loss, norm = self.trainer.update(factor)
        self.step += 1
        assert self.settings.learning_rate is not None
        self.pending.append((self.step, self.trainer.tokens, factor * self.settings.learning_rate, loss, norm))

    def _look(self, shown: Bar, *, weights: bool) -> str | None:
        """Write down the steps since the last look; return what is wrong with one of them (or with the weights), or None."""
        pending, self.pending = self.pending, []
        values = [(step, tokens, rate, float(loss), float(norm)) for step, tokens, rate, loss, norm in pending]
        now = seconds()
        tokens_per_second = round((self.trainer.tokens - self.looked_tokens) / max(now - self.looked_at, 1e-9))
        for step, tokens, rate, loss, norm in values:
            finite = {key: value if math.isfinite(value) else None for key, value in (("loss", loss), ("gradient_norm", norm))}
            self.journal.add({"step": step, "tokens": tokens, **finite, "learning_rate": rate, "tokens_per_second": tokens_per_second})
            fault = self.watch.see(loss, norm)
            if fault is not None:
                return f"{fault} in step {step:,}"
            self.last_loss = loss
        shown.set_postfix_str(f"loss {self.last_loss:.3f}, {tokens_per_second:,} tokens/s", refresh=False)
        self._reset_clock()
        return None if not weights or self.trainer.is_finite() else f"a weight is not a finite number in step {self.step:,}"

    def _evaluate(self) -> None:
        # An evaluation's tensors have other sizes than a step's: what one keeps would be of no use to the other.
        give_back()
        self.validation_loss = self.trainer.evaluate(self.validation())
        give_back()
        if self.validation_loss is not None and math.isfinite(self.validation_loss):
            self.journal.add({"step": self.step, "tokens": self.trainer.tokens, "validation_loss": self.validation_loss})
        if (drawn := self._draw()) is not None:
            write_atomic(self.out / PREVIEWS / f"step-{self.step:06d}.png", drawn)
        self._reset_clock()

    def _draw(self) -> bytes | None:
        with self.trainer.averaged():
            return self.preview(self.trainer.model)

    def _is_among_last(self) -> bool:
        """Whether the evaluation after this step is one of those that `train.average_last` asks for, as far as is known."""
        return self.plan.evaluations_after(self.step) < (self.settings.average_last or 0)

    def _revise(self, shown: Bar) -> None:
        """Where minutes are the budget and the machine is not as fast as measured, plan fewer steps, or more."""
        if self.settings.minutes is None or self.step >= self.plan.total:
            return
        revised = self.plan.revised(self.step, self._cost().seconds, self.settings)
        if revised is not None:
            pace = "slower" if revised.total < self.plan.total else "faster"
            note(f"the machine is {pace} than measured: {revised.total:,} steps instead of {self.plan.total:,}.")
            self.plan = revised
            shown.total = revised.total

    def _must_stop(self) -> bool:
        """Whether another step and the checkpoint after it could take longer than is allowed."""
        return self.allowance is not None and self.meter.cost().seconds + self.longest_step + 2 * self.saving >= self.allowance.seconds

    def _stop_if(self, signal_number: int | None) -> None:
        if self.step == self.plan.total:
            return
        stopped = f"stopped at step {self.step:,} of {self.plan.total:,}, all work kept in {self.out}"
        if signal_number is not None:
            raise Interrupted(f"{stopped}; run the same command again to go on.", signal_number=signal_number)
        if self.allowance is not None and self._must_stop():
            raise self.allowance.used_up(stopped)

    # State

    def _save_checkpoint(self) -> None:
        begun = seconds()
        self.journal.sync()
        state = {
            "run": self.id,
            "described": self.described,
            "plan": self.plan.to_json(),
            "trainer": self.trainer.state(),
            "watch": self.watch.state_dict(),
            "journal_lines": self.journal.lines,
            "rewinds": self.rewinds,
            "loss": None if math.isnan(self.last_loss) else self.last_loss,
            "validation_loss": self.validation_loss,
            "started": self.started,
            "spent": self._cost().model_dump(),
        }
        self.checkpoints.save(self.step, self.trainer.tensors(), state)
        self.saving = seconds() - begun
        self._reset_clock()

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        before, now = state["described"]["machine"], self.described["machine"]
        self.trainer.precision = now["precision"] = before["precision"]
        if before != now:
            told = [f"{key} {before[key]} before, {now[key]} now" for key in now if before[key] != now[key]]
            note(f"{', '.join(told)}: the last bits of the weights can differ.")
        self.trainer.restore(checkpoint)
        self.plan = Plan.from_json(state["plan"])
        self.watch.load_state_dict(state["watch"])
        self.journal.start(state["journal_lines"])
        self.step, self.rewinds, self.started = checkpoint.step, state["rewinds"], state["started"]
        self.last_loss = math.nan if state["loss"] is None else state["loss"]
        self.validation_loss, self.spent = state["validation_loss"], Cost.model_validate(state["spent"])
        self._reset_clock()

    def _rewind(self, fault: str) -> None:
        """Go back to the last checkpoint, but not in the data.

        Skipping the batches around a spike is what Chowdhery et al. 2022 (PaLM), https://arxiv.org/abs/2204.02311, section 5.1, found to
        help: the same batches did no harm to other weights.
        """
        checkpoint = self.checkpoints.newest(note)
        assert checkpoint is not None, "one is written before the first step"
        if self.settings.on_spike == "stop":
            fix = f"lower train.learning_rate, or set train.on_spike to rewind; the weights of step {checkpoint.step:,} are kept"
            raise UserError(fault, where="train", fix=fix)
        if self.rewinds == REWINDS:
            fix = f"lower train.learning_rate, or look at the data; the weights of step {checkpoint.step:,} are kept"
            raise UserError(f"{fault}, after {REWINDS} rewinds", where="train", fix=fix)
        note(f"{fault}: going back to step {checkpoint.step:,} and skipping the batches since.")
        self.trainer.restore(checkpoint, data=False)
        self.watch.load_state_dict(checkpoint.state["watch"])
        self.rewinds, self.step = self.rewinds + 1, checkpoint.step
        self.journal.add({"step": self.step, "rewind": fault})
        self._reset_clock()

    def _reset_clock(self) -> None:
        self.looked_at, self.looked_tokens = seconds(), self.trainer.tokens
