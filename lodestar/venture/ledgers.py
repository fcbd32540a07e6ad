"""Where a venture's ledger is, what it holds, and how it moves from its file to a team's database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..contracts.clock import now
from ..contracts.errors import UserError
from ..contracts.language import Words
from ..store.database import SQLITE_URL
from ..store.files import write_atomic
from .venture import Venture
from .yaml_edit import edit_fields

AFTERWARDS = ".moved"
"""What the file is called afterwards, so that nothing writes to it any more; it stays as a backup."""
PRESENCE = timedelta(seconds=60)
"""A server says every half minute that it is there."""

_TABLES = {
    "runs": Words("attempts at steps", "步骤运行"),
    "releases": Words("releases", "版本"),
    "requests": Words("requests", "请求"),
    "feedback": Words("opinions", "反馈"),
    "servers": Words("servers", "服务进程"),
    "forecasts": Words("forecasts", "预测"),
    "events": Words("events", "事件"),
    "users": Words("users", "用户"),
    "sessions": Words("sessions", "登录"),
}


@dataclass(frozen=True)
class LedgerState:
    """Where a ledger is, and whether it answers."""

    place: str
    exists: bool
    error: UserError | None
    """Why it does not answer."""
    counts: dict[str, int]
    """Table → rows."""

    def to_json(self) -> dict[str, Any]:
        return {"place": self.place, "exists": self.exists, "error": str(self.error) if self.error else None, "rows": self.counts}

    @property
    def words(self) -> Words:
        """For a person, in a line."""
        if self.error is not None:
            return Words(f"The ledger does not answer. {self.error}", f"账本无法使用。{self.error}")
        if not self.exists:
            return Words(f"The ledger will be {self.place}; nothing is in it yet.", f"账本将位于 {self.place}，目前尚无内容。")
        told = counts_words(self.counts)
        return Words(f"The ledger is {self.place}: {told.en}.", f"账本位于 {self.place}：{told.zh}。")


def counts_words(counts: dict[str, int]) -> Words:
    """What a ledger holds, tables without a row left out."""
    english = ", ".join(f"{count:,} {_TABLES[name].en}" for name, count in counts.items() if count)
    chinese = "，".join(f"{_TABLES[name].zh} {count:,}" for name, count in counts.items() if count)
    return Words(english or "empty", chinese or "空")


def look_at_ledger(venture: Venture) -> LedgerState:
    """Ask the ledger what it holds; one that is not there yet is not made."""
    place = venture.file.ledger or str(venture.ledger_path)
    if not venture.has_ledger:
        return LedgerState(place, False, None, {})
    try:
        return LedgerState(venture.ledger.place, True, None, venture.ledger.counts())
    except UserError as error:
        return LedgerState(place, True, error, {})


def move_ledger(venture: Venture, address: str) -> dict[str, int]:
    """Copy the ledger from its file into a database, compare every row, and let venture.yaml name the database.

    Returns:
        Table → rows that were moved.

    Raises:
        UserError: it is in a database already, something still writes to it, or the database cannot be used or is not empty.
            venture.yaml and the file are then as they were.
    """
    from ..store.moving import copy_ledger

    if venture.file.ledger is not None:
        raise UserError("the ledger is in a database already", where=venture.path, fix="move it there with the database's own tools")
    if address.startswith(SQLITE_URL):
        raise UserError("the ledger is in a file already", where="--to", fix="write postgresql://USER@HOST/DATABASE")
    text = edit_fields(venture.path.read_text("utf-8"), {"ledger": address}, where=venture.path)
    with venture.hold("move the ledger"):
        _refuse_servers(venture)
        counts = copy_ledger(f"{SQLITE_URL}{venture.ledger_path}", address)
        write_atomic(venture.path, text)
        venture.ledger_path.rename(venture.ledger_path.with_name(venture.ledger_path.name + AFTERWARDS))
    return counts


def _refuse_servers(venture: Venture) -> None:
    """A server holds no lock, and would go on writing to the file."""
    if not venture.has_ledger:
        return
    for server in venture.ledger.servers():
        if now() - datetime.fromisoformat(server.seen) < PRESENCE:
            raise UserError(
                f"a server of {server.release} wrote to the ledger at {server.seen}", where=venture.ledger.place,
                fix="stop it, and try again a minute later",
            )  # fmt: skip
