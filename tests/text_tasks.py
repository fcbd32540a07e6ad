"""The tasks that are asked about texts, not about files or items."""

from __future__ import annotations

from lodestar import tasks

TEXT_TASKS = [name for name in tasks.names() if tasks.find(name).tokenized and not tasks.find(name).example.media_fields()]
