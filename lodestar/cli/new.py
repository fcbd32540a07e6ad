"""Start a venture: a folder with a venture.yaml to make your own.

新建项目：生成一个目录，内有可供修改的 venture.yaml。
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
@click.argument("name", metavar=say("NAME", "名称"))
@click.option(
    "--template", metavar=say("TEMPLATE", "模板"),
    help=say(
        "What to start from: a product (`lodestar templates` lists them), a task, or a use of one as TASK:USE (`lodestar tasks`).",
        "从什么开始：某种产品（`lodestar templates` 列出全部）、某个任务，或写“任务:用途”（`lodestar tasks`）。",
    ),
)  # fmt: skip
@click.option(
    "--interview", is_flag=True,
    help=say(
        "Ask for what stands in the file, one question after another; from a pipe, an answer a line.",
        "逐题询问文件的内容；也可从管道读取，每行一个回答。",
    ),
)  # fmt: skip
@click.option(
    "--path", type=click.Path(path_type=Path), metavar=say("DIR", "目录"),
    help=say("The folder to make; named after the venture by default.", "要创建的目录，默认以项目名命名。"),
)  # fmt: skip
def command(name: str, template: str | None, interview: bool, path: Path | None) -> None:
    from ..venture.scaffold import check_place, create, folder_name
    from ._interview import hold_interview
    from ._starts import load_start

    folder = path or Path(folder_name(name))
    values: Mapping[str, Any]
    if interview:
        check_place(folder, name)
        held = hold_interview(name, template, folder)
        values, files, template = held.venture(), held.files(), held.begun_from
    elif template is not None:
        start = load_start(template)
        values, files = start.venture, start.files
    else:
        raise UserError(
            "nothing says what to begin from", fix="give --template TEMPLATE (`lodestar templates` lists them), or --interview"
        )  # fmt: skip
    file = create(folder, name, values, files)
    show(
        {"folder": str(folder), "file": str(file), "task": values["task"], "template": template},
        say(
            f"Made {file}. Make it your own, then: cd {folder} && lodestar vision",
            f"已创建 {file}。改成您自己的项目，然后：cd {folder} && lodestar vision",
        ),
    )
