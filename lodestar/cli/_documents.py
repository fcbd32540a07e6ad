"""What questions over documents need of the tasks: the encoder of an index, and a reader of passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.errors import UserError

if TYPE_CHECKING:
    from ..build.bundle import Bundle
    from ..deploy.documents.library import Reader


def open_encoder(folder: Path) -> Bundle:
    """The model of the task retrieval in a folder.

    Raises:
        UserError: there is none, or it is of another task.
    """
    return _open(folder, "embeddings", "retrieval")[1]


def open_reader(folder: Path) -> Reader:
    """The model of the task question-answering in a folder, as what reads passages.

    Raises:
        UserError: there is none, or it is of another task.
    """
    task, bundle = _open(folder, "answer", "question-answering")

    def read(question: str, texts: list[str]) -> Sequence[Mapping[str, Any]]:
        results: Sequence[Mapping[str, Any]] = task.answer(bundle.model, bundle.tokenizer, {"question": question, "context": texts})[
            "results"
        ]
        return results

    return read


def _open(folder: Path, endpoint: str, wanted: str) -> tuple[Any, Bundle]:
    from ..build.device import best_device
    from ..build.opening import open_bundle
    from ._opening import task_for

    if not (folder / "config.json").is_file():
        raise UserError("there is no model here", where=folder, fix=f"give the folder of a release of the task {wanted}, as releases/v1")
    task = task_for(folder)
    if task.endpoint != endpoint:
        raise UserError(f"the model was trained for the task {task.name}, not for {wanted}", where=folder, fix="give another release")
    return task, open_bundle(folder, task, device=best_device())
