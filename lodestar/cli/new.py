"""Start a venture: a folder with a venture.yaml to make your own.

新建项目：生成一个目录，内有可供修改的 venture.yaml。
"""

from __future__ import annotations

from pathlib import Path

import click

from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
@click.argument("name", metavar=say("NAME", "名称"))
@click.option(
    "--template", required=True, metavar=say("TASK", "任务"),
    help=say(
        "The task to start from, or a use of it as TASK:USE; `lodestar tasks` lists them.",
        "以哪个任务为模板，或写“任务:用途”；`lodestar tasks` 列出全部。",
    ),
)  # fmt: skip
@click.option(
    "--path", type=click.Path(path_type=Path), metavar=say("DIR", "目录"),
    help=say("The folder to make; named after the venture by default.", "要创建的目录，默认以项目名命名。"),
)  # fmt: skip
def command(name: str, template: str, path: Path | None) -> None:
    from .. import tasks
    from ..contracts.errors import unknown
    from ..contracts.task import Variant
    from ..venture.scaffold import create, folder_name

    chosen, _, use = template.partition(":")
    task = tasks.find(chosen)
    if use and use not in task.variants:
        raise unknown("template", template, [chosen, *(f"{chosen}:{known}" for known in task.variants)])
    made = task.variants[use] if use else Variant(task.template)
    folder = path or Path(folder_name(name))
    file = create(folder, name, made.template, {name: path.read_text("utf-8") for name, path in made.files.items()})
    show(
        {"folder": str(folder), "file": str(file), "task": template},
        say(
            f"Made {file}. Make it your own, then: cd {folder} && lodestar vision",
            f"已创建 {file}。改成您自己的项目，然后：cd {folder} && lodestar vision",
        ),
    )
