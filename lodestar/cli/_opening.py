"""A model's folder, or an id on the hub, with the task that it is for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import UserError

if TYPE_CHECKING:
    from ..build.bundle import Bundle
    from ..contracts.task import Task


def task_for(folder: Path) -> Task:
    """The task of a model's folder: its own, or of an open checkpoint question answering where its head finds answers, chat where it has
    a chat template, else text generation.
    """
    from .. import tasks
    from ..build.chat_template import has_template
    from ..build.opening import finds_answers, is_open
    from ..store.files import read_json

    if not is_open(folder):
        return tasks.load(read_json(folder / "task.json"))
    name = "question-answering" if finds_answers(folder) else "chat" if has_template(folder) else "text-generation"
    task = tasks.find(name)()
    task.adopt(folder)
    return task


def open_chat(source: str) -> tuple[Task, Bundle]:
    """A model to talk to: a folder, a release, or an id on the hub.

    Raises:
        UserError: there is none, it is damaged, or no chat model.
    """
    from ..build.chat import Conversing
    from ..build.chat_template import ChatFormat
    from ..build.device import best_device
    from ..build.opening import find_folder, is_open, open_bundle

    folder = find_folder(source)
    if is_open(folder):
        ChatFormat.load(folder)  # says what is missing
    task = task_for(folder)
    if not isinstance(task, Conversing):
        raise UserError(
            f"the model was trained for the task {task.name}, not for chat", where=folder, fix="ask it with `lodestar serve`"
        )  # fmt: skip
    return task, open_bundle(folder, task, device=best_device())
