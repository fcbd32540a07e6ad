"""The loop on a small real training: it learns, resumes, rewinds, stops, and refuses."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lodestar.contracts.errors import Interrupted, UserError
from lodestar.contracts.record import RunRecord
from lodestar.contracts.settings import TrainSettings


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_and_leaves_its_result(toy: ModuleType, tmp_path: Path) -> None:
    record = toy.run(tmp_path, toy.make_settings(150, checkpoint_every=50, evaluate_every=50))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoints", "lock", "loss.png", "metrics.jsonl", "model", "record.json",
    ]  # fmt: skip
    assert RunRecord.parse(json.loads((tmp_path / "record.json").read_text()), where="record.json") == record
    assert (record.step, record.facts["steps"], record.facts["tokens"]) == ("train", 150, 150 * 4 * 24)
    assert record.facts["parameters"] == toy.make_model().parameter_count()
    assert record.inputs == {"data": "sums"}
    # Chance is ln 16 = 2.77; knowing the rule, 0.9 of the time, gives about 0.6.
    validation = [(row["step"], row["validation_loss"]) for row in rows(tmp_path) if "validation_loss" in row]
    assert [step for step, _ in validation] == [0, 50, 100, 150]
    assert validation[0][1] == pytest.approx(2.77, abs=0.1)
    assert validation[-1][1] < 2.4
    assert record.facts["validation_loss"] == validation[-1][1]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000100", "step-000150"]


def test_a_finished_run_is_not_run_again(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.make_settings(3)
    first = toy.run(tmp_path, settings)
    assert toy.run(tmp_path, settings) == first
    with pytest.raises(UserError, match="holds the result of another run"):
        toy.run(tmp_path, toy.make_settings(4))


def test_accumulation_equals_one_big_batch(toy: ModuleType, tmp_path: Path) -> None:
    # Rows of unequal numbers of targets: the mean must be over the step's terms, not over its batches.
    class Halves(toy.Sums):  # type: ignore[name-defined]
        """The rows of a batch of four, two at a time; the second pair has few targets."""

        waiting: dict[str, torch.Tensor] | None = None

        def next_batch(self) -> dict[str, torch.Tensor]:
            if self.waiting is not None:
                second, self.waiting = self.waiting, None
                return second
            whole = masked(super().next_batch())
            self.waiting = {name: tensor[2:] for name, tensor in whole.items()}
            return {name: tensor[:2] for name, tensor in whole.items()}

    class Wholes(toy.Sums):  # type: ignore[name-defined]
        def next_batch(self) -> dict[str, torch.Tensor]:
            return masked(super().next_batch())

    def masked(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        targets = batch["targets"].clone()
        targets[2:, 3:] = -100
        return {**batch, "targets": targets}

    common = {"tokens": 10 * 96, "batch_tokens": 96, "learning_rate": 0.01, "precision": "fp32", "optimizer": "adamw"}
    toy.run(tmp_path / "one", TrainSettings.model_validate(common), Wholes(), toy.make_model(dropout=0.0))
    toy.run(tmp_path / "two", TrainSettings.model_validate({**common, "micro_batch_tokens": 48}), Halves(), toy.make_model(dropout=0.0))
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in first:
        # The sums are taken in another order; AdamW turns rounding of a near-zero gradient into up to a step of 0.01.
        torch.testing.assert_close(first[name], second[name], atol=2e-4, rtol=0)
    losses = [[row["loss"] for row in rows(tmp_path / out) if "loss" in row] for out in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_bf16_learns_too(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.make_settings(120, precision="bf16", learning_rate=0.02, checkpoint_every=60)
    toy.run(tmp_path, settings, model=toy.make_model(qk_norm=False))
    losses = [row["loss"] for row in rows(tmp_path) if "loss" in row]
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10 - 0.1


def test_average_is_released_where_asked_for(toy: ModuleType, tmp_path: Path) -> None:
    model = toy.make_model()
    toy.run(tmp_path, toy.make_settings(20, ema=0.9), model=model)
    averaged = load_file(tmp_path / "checkpoints" / "step-000020" / "average.safetensors")
    trained = load_file(tmp_path / "checkpoints" / "step-000020" / "model.safetensors")
    for name, tensor in weights(tmp_path).items():
        assert torch.equal(tensor, averaged[name])
        assert not torch.equal(tensor, trained[name])
        assert torch.equal(dict(model.named_parameters())[name], trained[name])


def test_the_mean_of_the_last_evaluations_is_released(toy: ModuleType, tmp_path: Path) -> None:
    """Of 23 steps with an evaluation after every 4th: after 16, 20 and 23."""
    settings = toy.make_settings(23, evaluate_every=4, checkpoint_every=1, keep=30, average_last=3)
    record = toy.run(tmp_path, settings)
    steps = {step: tmp_path / "checkpoints" / f"step-{step:06d}" for step in range(24)}
    assert [step for step, folder in steps.items() if (folder / "average.safetensors").exists()] == list(range(16, 24))
    last = [load_file(steps[step] / "model.safetensors") for step in (16, 20, 23)]
    for name, tensor in weights(tmp_path).items():
        mean = sum(one[name].double() for one in last) / 3
        torch.testing.assert_close(tensor.double(), mean, rtol=0, atol=1e-7)
    assert record.facts["averaged"] == 3
    # What was validated is what is released.
    model = toy.make_model()
    model.load_state_dict(weights(tmp_path), strict=False)
    with torch.inference_mode():
        sums = [toy.Toy().loss(model.eval(), batch) for batch in toy.held_out()]
    expected = float(sum(loss for loss, _ in sums) / sum(terms for _, terms in sums))
    assert record.facts["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_run_with_fewer_evaluations_averages_those_it_has(
    toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    record = toy.run(tmp_path, toy.make_settings(4, evaluate_every=2, average_last=5))
    assert record.facts["averaged"] == 2
    assert "the mean of its weights at these, not at the last 5" in capsys.readouterr().err


def test_two_averages_are_one_too_many(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match="ema and average_last are two averages of the weights, and a run keeps one; leave one"):
        toy.make_settings(4, ema=0.9, average_last=3)


# Cut off and resumed


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"optimizer": "adamw", "schedule": "cosine"},
        {"ema": 0.95, "accumulate": True},
        {"precision": "bf16"},
        {"average_last": 2, "evaluate_every": 6},
    ],
    ids=str,
)
def test_a_run_cut_off_anywhere_gives_the_same_bits(toy: ModuleType, tmp_path: Path, fields: dict[str, Any]) -> None:
    class CutOff(Exception):  # noqa: N818 - not an error of the program
        pass

    class Cutting(toy.Sums):  # type: ignore[name-defined]
        def __init__(self, last: int) -> None:
            super().__init__()
            self.last = last

        def next_batch(self) -> dict[str, torch.Tensor]:
            if self.position == self.last:
                raise CutOff
            batch: dict[str, torch.Tensor] = super().next_batch()
            return batch

    settings = toy.make_settings(23, **fields)
    toy.run(tmp_path / "whole", settings)
    for last in (3, 7, 16, 20):
        with pytest.raises(CutOff):
            toy.run(tmp_path / "cut", settings, Cutting(last))
    # What was drawn before the call has no part in it.
    torch.rand(100)
    toy.run(tmp_path / "cut", settings, model=toy.make_model(seed=9))
    assert same(tmp_path / "whole", tmp_path / "cut")
    times = {"tokens_per_second"}
    logs = [[{key: row[key] for key in row if key not in times} for row in rows(tmp_path / out)] for out in ("whole", "cut")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_between_two_steps_and_keeps_the_work(toy: ModuleType, tmp_path: Path, number: int) -> None:
    class Signalling(toy.Sums):  # type: ignore[name-defined]
        def next_batch(self) -> dict[str, torch.Tensor]:
            if self.position == 7:
                os.kill(os.getpid(), number)
            batch: dict[str, torch.Tensor] = super().next_batch()
            return batch

    settings = toy.make_settings(12)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped at step 8 of 12, all work kept") as stopped:
        toy.run(tmp_path / "cut", settings, Signalling())
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before
    assert (tmp_path / "cut" / "checkpoints" / "step-000008").is_dir()
    toy.run(tmp_path / "cut", settings)
    toy.run(tmp_path / "whole", settings)
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_a_run_off_the_main_thread_takes_no_signals(toy: ModuleType, tmp_path: Path) -> None:
    worker = threading.Thread(target=toy.run, args=(tmp_path, toy.make_settings(2)))
    worker.start()
    worker.join()
    assert (tmp_path / "record.json").exists()


def test_a_damaged_checkpoint_falls_back_and_says_so(toy: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = toy.make_settings(12)
    toy.run(tmp_path / "whole", settings)
    toy.run(tmp_path / "cut", settings)
    (tmp_path / "cut" / "record.json").unlink()
    file = tmp_path / "cut" / "checkpoints" / "step-000012" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    capfd.readouterr()
    toy.run(tmp_path / "cut", settings)
    errors = capfd.readouterr().err
    assert "step-000012 is damaged (optimizer.safetensors is not what was written); going back to step-000010." in errors
    assert "going on from step 10 of 12." in errors
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_other_settings_do_not_resume_a_run(toy: ModuleType, tmp_path: Path) -> None:
    toy.run(tmp_path, toy.make_settings(6))
    (tmp_path / "record.json").unlink()
    with pytest.raises(UserError, match=r"holds a run with other settings \(train.learning_rate\)"):
        toy.run(tmp_path, toy.make_settings(6, learning_rate=0.02))
    toy.run(tmp_path, toy.make_settings(6, keep=5, on_spike="stop"))


def test_a_resumed_run_keeps_its_precision_and_tells_of_another_machine(
    toy: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What `auto` measures may differ from one day to the next.
    settings = toy.make_settings(6, precision="auto")
    monkeypatch.setattr("lodestar.train.precision.bf16_speed", lambda: 2.0)
    first = toy.run(tmp_path, settings, model=toy.make_model(qk_norm=False))
    assert first.config["machine"]["precision"] == "bf16"
    (tmp_path / "record.json").unlink()
    monkeypatch.setattr("lodestar.train.precision.bf16_speed", lambda: 0.5)
    torch.set_num_threads(2)
    try:
        again = toy.run(tmp_path, settings, model=toy.make_model(qk_norm=False))
    finally:
        torch.set_num_threads(1)
    assert again.config["machine"] == {"device": "cpu", "precision": "bf16", "threads": 2}
    assert "threads 1 before, 2 now: the last bits of the weights can differ." in capfd.readouterr().err


# Off the road


def test_a_nan_rewinds_and_skips_the_batch(toy: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = float("inf")
    record = toy.run(tmp_path, toy.make_settings(12), toy.Sums(weights={7: bad}))
    assert record.facts["rewinds"] == 1
    assert "the loss is inf in step 8: going back to step 5 and skipping the batches since." in capfd.readouterr().err
    log = rows(tmp_path)
    assert [row["step"] for row in log if "loss" in row] == [*range(1, 9), *range(6, 13)]
    assert [row["loss"] for row in log if row.get("loss", 0) is None] == [None]
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())
    # Equal to a run whose data never had batches 5 to 7, but for the schedule's steps: batch 8 follows batch 4.
    assert record.facts["tokens"] == (8 + 7) * 96


def test_a_rewound_run_resumes_to_the_same_bits(toy: ModuleType, tmp_path: Path) -> None:
    class CutOff(Exception):  # noqa: N818
        pass

    class Cutting(toy.Sums):  # type: ignore[name-defined]
        def next_batch(self) -> dict[str, torch.Tensor]:
            if self.position == self.last:
                raise CutOff
            batch: dict[str, torch.Tensor] = super().next_batch()
            return batch

    settings, bad = toy.make_settings(14, ema=0.9), {7: float("nan")}
    toy.run(tmp_path / "whole", settings, toy.Sums(weights=bad))
    for last in (9, 14):
        loader = Cutting(weights=bad)
        loader.last = last
        with pytest.raises(CutOff):
            toy.run(tmp_path / "cut", settings, loader)
    toy.run(tmp_path / "cut", settings, toy.Sums(weights=bad))
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_no_rewinding_without_end(toy: ModuleType, tmp_path: Path) -> None:
    weights = {number: float("nan") for number in range(7, 100)}
    with pytest.raises(UserError, match=r"the loss is nan in step 6, after 3 rewinds; .* the weights of step 5 are kept"):
        toy.run(tmp_path, toy.make_settings(12), toy.Sums(weights=weights))
    assert not (tmp_path / "record.json").exists()
    assert not (tmp_path / "model").exists()
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        assert all(torch.isfinite(tensor).all() for tensor in load_file(checkpoint / "model.safetensors").values())


def test_stopping_is_a_choice(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is nan in step 8; lower train\.learning_rate, or set train\.on_spike to rewind"):
        toy.run(tmp_path, toy.make_settings(12, on_spike="stop"), toy.Sums(weights={7: float("nan")}))


def test_a_spike_rewinds_past_what_caused_it(toy: ModuleType, tmp_path: Path) -> None:
    # Batches with losses of ten times the weight, until the loss counts as spiked; no checkpoint is made in the middle of it.
    spiking = dict.fromkeys(range(78, 200), 10.0)
    record = toy.run(tmp_path, toy.make_settings(90), toy.Sums(weights=dict(list(spiking.items())[:5])))
    assert record.facts["rewinds"] == 1
    rewind = next(row for row in rows(tmp_path) if "rewind" in row)
    assert rewind["step"] == 75
    assert "stayed there for 5 steps" in rewind["rewind"]


# Refusals, and minutes


def test_no_disk_space_is_refused_before_the_first_step(toy: ModuleType, tmp_path: Path) -> None:
    loader = toy.Sums()
    with pytest.raises(UserError, match=r"this needs .* on disk, and .* are free"):
        toy.run(tmp_path, toy.make_settings(6, keep=10**12), loader)
    assert loader.position == 0
    assert not (tmp_path / "checkpoints").exists()


def test_two_runs_do_not_share_a_folder(toy: ModuleType, tmp_path: Path) -> None:
    class Nested(toy.Sums):  # type: ignore[name-defined]
        def next_batch(self) -> dict[str, torch.Tensor]:
            with pytest.raises(UserError, match="in use by"):
                toy.run(tmp_path, toy.make_settings(2))
            batch: dict[str, torch.Tensor] = super().next_batch()
            return batch

    toy.run(tmp_path, toy.make_settings(2), Nested())


def test_minutes_fix_the_number_of_steps_once(toy: ModuleType, tmp_path: Path) -> None:
    # At a constant rate the weights depend on the number of steps alone, however often a busy machine has it planned anew.
    settings = TrainSettings(
        minutes=0.05, batch_tokens=96, learning_rate=0.01, schedule="constant", warmup=0.0, precision="fp32", ema=0.9
    )  # fmt: skip
    record = toy.run(tmp_path / "timed", settings)
    steps = record.facts["steps"]
    state = json.loads((tmp_path / "timed" / "checkpoints" / f"step-{steps:06d}" / "state.json").read_text())
    assert state["plan"]["totals"][-1][1] == steps
    assert [row["step"] for row in rows(tmp_path / "timed") if "loss" in row] == list(range(1, steps + 1))
    # The timing left no trace: the same steps without it give the same weights.
    toy.run(tmp_path / "counted", settings.model_copy(update={"minutes": None, "tokens": steps * 96}))
    assert same(tmp_path / "timed", tmp_path / "counted")


def test_no_validation_data_is_no_error(toy: ModuleType, tmp_path: Path) -> None:
    from lodestar.train.loop import train

    record = train(toy.Toy(), toy.make_model(), toy.Sums(), list, toy.make_settings(2), tmp_path, save=toy.save)
    assert record.facts["validation_loss"] is None
