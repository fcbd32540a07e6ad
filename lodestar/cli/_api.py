"""Asking a bought API about a venture's own records: what it answers, how long it takes, how many tokens it counts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..contracts.clock import seconds
from ..contracts.errors import UserError
from ..contracts.progress import track

if TYPE_CHECKING:
    from ..contracts.score import Score
    from ..contracts.task import Task
    from ..venture.strategies import BoughtApi

LONGEST_ANSWER = 512
"""Tokens."""


@dataclass(frozen=True)
class Answered:
    """What came of asking."""

    texts: Sequence[str]
    system: list[Score]
    """Its latency, as it is met from here."""
    usage: dict[str, float]
    """Mean tokens of a request, where the server counts them."""


def ask_api(api: BoughtApi, task: Task, examples: Sequence[Any]) -> Answered:
    """Ask about each record, one after the other.

    Raises:
        UserError: its key is missing, it cannot be asked, or the task cannot measure answers in words.
    """
    import numpy as np

    from ..evaluate.bootstrap import scores
    from ..evaluate.chat_client import chat_client, content
    from ..evaluate.system import SYSTEM_METRICS

    assert api.url is not None
    key = os.environ.get(api.key_env) if api.key_env else None
    if api.key_env and not key:
        raise UserError(f"the environment variable {api.key_env} is not set", where=api.url, fix="put the API's key there")
    complete = chat_client(api.url, key, who="API")
    texts, times, usages = [], [], []
    for example in track(examples, api.model, "record"):
        words = "\n\n".join(part for part in (api.instruction, task.instruction(example)) if part)
        messages = [{"role": "user", "content": words}]
        begin = seconds()
        answer = complete({"model": api.model, "temperature": 0, "max_tokens": LONGEST_ANSWER, "messages": messages})
        times.append(1000 * (seconds() - begin))
        texts.append(content(answer))
        usages.append(answer.get("usage"))
    timed = [metric for metric in SYSTEM_METRICS if metric.name.startswith("latency_ms")]
    return Answered(texts, scores(timed, {"latency_ms": np.array(times)}, resamples=500, confidence=0.95, seed=0), _mean_usage(usages))


def _mean_usage(usages: Sequence[Any]) -> dict[str, float]:
    counted = [usage for usage in usages if usage]
    if not counted:
        return {}
    names = {"tokens_in": "prompt_tokens", "tokens_out": "completion_tokens"}
    return {name: sum(float(usage.get(key, 0)) for usage in counted) / len(counted) for name, key in names.items()}
