"""Say where the ledger is and what it holds, or move it into a database that the whole team shares.

查看账本的位置与内容，或把它迁入团队共用的数据库。
"""

from __future__ import annotations

from pathlib import Path

import click

from ..contracts.language import say
from ._command import lodestar_group, show, venture_option


@lodestar_group
@venture_option
@click.pass_context
def command(context: click.Context, venture: Path) -> None:
    if context.invoked_subcommand is not None:
        return
    from ..venture.ledgers import look_at_ledger
    from ..venture.venture import Venture

    found = look_at_ledger(Venture.open(venture))
    if found.error is not None:
        raise found.error
    show(found.to_json(), str(found.words))


@command.verb()
@venture_option
@click.option(
    "--to", "address", required=True, metavar=say("ADDRESS", "地址"),
    help=say(
        "An empty PostgreSQL database, postgresql://USER@HOST/DATABASE; its password stands in PGPASSWORD or ~/.pgpass.",
        "空的 PostgreSQL 数据库，postgresql://用户@主机/数据库；密码放在 PGPASSWORD 或 ~/.pgpass 中。",
    ),
)  # fmt: skip
def move(venture: Path, address: str) -> None:
    """Copy the ledger from its file into a PostgreSQL database, compare every row, and name it in venture.yaml.

    把账本从文件复制到 PostgreSQL 数据库，逐行核对，并写入 venture.yaml。
    """
    from ..venture.ledgers import AFTERWARDS, counts_words, move_ledger
    from ..venture.venture import Venture

    opened = Venture.open(venture)
    counts = move_ledger(opened, address)
    told, kept = counts_words(counts), opened.ledger_path.name + AFTERWARDS
    show(
        {"place": address, "rows": counts},
        say(
            f"Moved and compared: {told.en}. venture.yaml names the database now; the file stays as {kept}.",
            f"已迁移并逐行核对：{told.zh}。venture.yaml 现已指向该数据库；原文件保留为 {kept}。",
        ),
    )
