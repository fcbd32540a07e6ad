"""What an answer costs: latency, memory and speed, measured in a process of its own that does nothing but answer.

A fresh process, because the memory of the one that trained and read the data would say little about serving.
"""

from __future__ import annotations

import contextlib
import json
import math
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts.clock import seconds
from ..contracts.errors import UserError
from ..contracts.language import Words
from ..contracts.meter import forget_peak, peak_since_forgotten
from ..contracts.score import Columns, Metric
from ..contracts.task import Example, Task

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.tokenizer import Tokenizer

WARM_UP = 3
"""Requests answered before the clock counts."""
REQUESTS = 100
"""At most so many requests are timed;"""
SECONDS = 20.0
"""fewer where they take longer than this together,"""
REQUESTS_AT_LEAST = 20
"""but never fewer than these."""

# The path comes first: what follows in the file can only be read once its modules can be found.
PROGRAM = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from lodestar.evaluate.system import serve_job
serve_job()
"""


def measure_system(task: Task, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Answer `task.request` of the examples one after the other; the columns of `SYSTEM_METRICS`, one row a request.

    A task that a fresh process cannot import, because it was typed into a notebook or stands in the program itself, is measured in this
    process; its memory then includes whatever else is held here.

    Raises:
        RuntimeError: the measuring process failed; its own words are on standard error.
    """
    import torch

    if type(task).__module__ == "__main__":
        return _columns(answer_all(task, model.eval(), tokenizer, examples[: REQUESTS + WARM_UP]))
    with tempfile.TemporaryFile() as job, tempfile.TemporaryFile() as result:
        measured = list(examples[: REQUESTS + WARM_UP])
        pickle.dump(sys.path, job)
        pickle.dump((torch.get_num_threads(), task, model, tokenizer, measured), job)
        job.seek(0)
        finished = subprocess.run([sys.executable, "-P", "-c", PROGRAM], stdin=job, stdout=result, check=False)
        result.seek(0)
        answer = result.read().decode()
    if finished.returncode:
        raise RuntimeError(f"the process that measures latency and memory ended with {finished.returncode}")
    return _columns(json.loads(answer.splitlines()[-1]))


def _columns(rows: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in rows.items()}


def serve_job() -> None:
    """In the measuring process: read the job from standard input, answer, and write the rows as the last line of standard output."""
    import torch

    # Written a moment ago by the process that started this one, into a file that has no name.
    threads, task, model, tokenizer, examples = pickle.load(sys.stdin.buffer)
    torch.set_num_threads(threads)
    rows = answer_all(task, model.eval(), tokenizer, examples)
    sys.stdout.write("\n" + json.dumps(rows) + "\n")


def answer_all(task: Task, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Example]) -> dict[str, list[float]]:
    """Time each answer; memory is the peak of the process so far, from the first answer on (and of the GPU, on one).

    A record can hold what the task refuses, a text that a model cannot say: that is no answer, and is not timed.

    Raises:
        UserError: every request is refused.
    """
    forget_peak()
    requests = [task.request(example) for example in examples]
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    rows: dict[str, list[float]] = {"latency_ms": [], "tokens": [], "sound_ms": [], "memory_bytes": [], "model_bytes": []}
    for request in requests[:WARM_UP]:
        with contextlib.suppress(UserError):
            task.answer(model, tokenizer, request)
    refusal: UserError | None = None
    begin = seconds()
    timed = requests[WARM_UP:] or requests
    for number in range(max(len(timed), REQUESTS_AT_LEAST)):
        if number >= REQUESTS_AT_LEAST and seconds() - begin > SECONDS:
            break
        start = seconds()
        try:
            answer = task.answer(model, tokenizer, timed[number % len(timed)])
        except UserError as error:
            refusal = error
            continue
        rows["latency_ms"].append(1000 * (seconds() - start))
        rows["tokens"].append(_usage(answer, "completion_tokens"))
        rows["sound_ms"].append(1000 * _usage(answer, "seconds"))
        rows["memory_bytes"].append(peak_since_forgotten() + _gpu_memory_bytes(model))
        rows["model_bytes"].append(size)
    if refusal is not None and not rows["latency_ms"]:
        raise refusal
    return rows


def _usage(answer: Mapping[str, Any], name: str) -> float:
    """How many tokens an answer wrote, or how many seconds of sound it heard or made; NaN for answers that do not say."""
    return float(answer.get("usage", {}).get(name, math.nan))


def _gpu_memory_bytes(model: nn.Module) -> int:
    import torch

    device = next(model.parameters()).device
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0


def _percentile(percent: float) -> Any:
    def compute(columns: Columns) -> float:
        return float(np.percentile(columns["latency_ms"], percent))

    return compute


def _tokens_per_second(columns: Columns) -> float:
    time_ms = columns["latency_ms"].sum()
    return float(1000 * columns["tokens"].sum() / time_ms) if time_ms else math.nan


def _real_time_factor(columns: Columns) -> float:
    sound_ms = columns["sound_ms"].sum()
    return float(columns["latency_ms"].sum() / sound_ms) if sound_ms else math.nan


SYSTEM_METRICS = (
    Metric(
        "latency_ms_p50",
        Words("Half of the answers take no longer than this.", "一半的回答用时不超过此值。"),
        "ms",
        "lower",
        _percentile(50),
    ),
    Metric(
        "latency_ms_p95",
        Words("All but one answer in twenty take no longer than this.", "95% 的回答用时不超过此值。"),
        "ms",
        "lower",
        _percentile(95),
    ),
    Metric(
        "tokens_per_second",
        Words("How fast an answer is written, one request at a time.", "逐个请求时的生成速度。"),
        "tokens/s",
        "higher",
        _tokens_per_second,
    ),
    Metric(
        "real_time_factor",
        Words(
            "Seconds of work for each second of sound that is heard or made, one request at a time.",
            "逐个请求时，处理或合成一秒声音所需的秒数。",
        ),
        "",
        "lower",
        _real_time_factor,
    ),
    Metric(
        "memory_bytes",
        Words("The most memory that a process which only answers ever holds.", "仅用于回答的进程占用的内存峰值。"),
        "bytes",
        "lower",
        lambda columns: float(columns["memory_bytes"].max()),
    ),
    Metric(
        "model_bytes",
        Words("The size of the weights.", "权重的大小。"),
        "bytes",
        "lower",
        lambda columns: float(columns["model_bytes"].max()),
    ),
)
