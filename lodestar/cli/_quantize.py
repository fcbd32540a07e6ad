"""A step beside the lifecycle: the evaluated model with its weights as codes, and what that costs it, on the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..contracts.clock import timestamp
from ..contracts.errors import UserError
from ..contracts.meter import Meter, versions
from ..contracts.record import RECORD_FILE, RunRecord, fingerprint
from ..store.files import atomic_folder, hash_folder, write_json
from ._plan import finished, finished_record, load_task
from ._steps import Step, load_model, noted

if TYPE_CHECKING:
    import numpy as np

    from ..contracts.task import Example
    from ..venture.venture import FinishedRun, Venture


def quantize(venture: Venture, settings: dict[str, Any]) -> tuple[Step, Step]:
    """The model that the current evaluation judged → runs/train-…/model with its weights as codes, and its own evaluation, whose baseline
    is the model before. That evaluation is then the current one, so that `lodestar release` is of the codes.

    Args:
        settings: the arguments of `build.quantize.quantize`.

    Raises:
        UserError: nothing is evaluated, the model has codes already, or a setting is none.
    """
    from ..venture.product import evaluated_runs

    runs = evaluated_runs(venture)
    plain = runs["train"]
    if "quantization" in plain.record.facts:
        raise UserError(
            f"the evaluated model has codes already ({plain.record.facts['quantization']['code']})",
            where=venture.path, fix="run `lodestar run` to go back to the plain one",
        )  # fmt: skip
    made = _code(venture, plain, settings)
    return made, _evaluate(venture, plain, runs["prepare"], made)


def _code(venture: Venture, plain: FinishedRun, settings: dict[str, Any]) -> Step:
    described = {"quantize": settings, "model": plain.record.id}
    folder = venture.run_folder("train", fingerprint(described))
    if (record := finished_record(folder)) is not None:
        return Step(folder, record, skipped=True)

    def work() -> RunRecord:
        from ..build.bundle import save_bundle
        from ..build.quantize import quantize as to_codes

        meter, started = Meter(), timestamp()
        bundle = load_model(plain.folder / "model")
        savings = to_codes(bundle.model, **settings)
        with atomic_folder(folder, replace=True) as partial:
            save_bundle(partial / "model", bundle)
            facts = {"quantization": bundle.model.quantization.to_dict(), "savings": asdict(savings)}  # type: ignore[operator, union-attr]
            record = RunRecord(
                step="train", id=fingerprint(described), started=started, finished=timestamp(), config={**plain.record.config, **described},
                inputs={"model": plain.record.id}, outputs={"model": hash_folder(partial / "model")},
                facts={**plain.record.facts, **facts}, cost=meter.cost(), versions=versions("torch", "numpy", "safetensors"),
                seed=plain.record.seed,
            )  # fmt: skip
            write_json(partial / RECORD_FILE, record.model_dump(mode="json"))
        return record

    return Step(folder, noted(venture, "train", folder, work), skipped=False)


def _evaluate(venture: Venture, plain: FinishedRun, prepared: FinishedRun, made: Step) -> Step:
    from ..evaluate.scorecard import evaluate as run
    from ..prepare.shards import open_split

    settings = venture.file.evaluate
    inputs = {"model": made.record.id, "data": prepared.record.id, "plain": plain.record.id}
    folder = venture.run_folder("evaluate", fingerprint({"evaluate": settings.model_dump(mode="json"), **inputs}))
    if (record := finished_record(folder)) is not None:
        venture.remember_evaluation(folder)
        return Step(folder, record, skipped=True)
    bundle = load_model(made.folder / "model")
    task = load_task(bundle.task)
    examples = open_split(prepared.folder, settings.split).examples(task)

    def before(chosen: Sequence[Example]) -> tuple[str, dict[str, np.ndarray]]:
        other = load_model(plain.folder / "model")
        return "before quantisation", task.measure(other.model, other.tokenizer, chosen)

    def work() -> RunRecord:
        run(task, bundle.model, bundle.tokenizer, examples, (), settings, folder, inputs=inputs, baseline=before)
        return finished(folder, "evaluate")

    record = noted(venture, "evaluate", folder, work)
    venture.remember_evaluation(folder)
    return Step(folder, record, skipped=False)
