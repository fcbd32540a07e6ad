"""Start a venture: a folder with a venture.yaml to make your own.

新建项目：生成一个目录，内有可供修改的 venture.yaml。
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
@click.argument("name", metavar=say("NAME", "名称"))
@click.option(
    "--template", required=True, metavar=say("TEMPLATE", "模板"),
    help=say(
        "What to start from: a product (`lodestar templates` lists them), a task, or a use of one as TASK:USE (`lodestar tasks`).",
        "从什么开始：某种产品（`lodestar templates` 列出全部）、某个任务，或写“任务:用途”（`lodestar tasks`）。",
    ),
)  # fmt: skip
@click.option(
    "--path", type=click.Path(path_type=Path), metavar=say("DIR", "目录"),
    help=say("The folder to make; named after the venture by default.", "要创建的目录，默认以项目名命名。"),
)  # fmt: skip
def command(name: str, template: str, path: Path | None) -> None:
    from ..venture.scaffold import create, folder_name

    values, files = _begun_from(template)
    folder = path or Path(folder_name(name))
    file = create(folder, name, values, files)
    show(
        {"folder": str(folder), "file": str(file), "task": values["task"], "template": template},
        say(
            f"Made {file}. Make it your own, then: cd {folder} && lodestar vision",
            f"已创建 {file}。改成您自己的项目，然后：cd {folder} && lodestar vision",
        ),
    )


def _begun_from(template: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """venture.yaml less the name, and what else is put into the folder: name → content."""
    from .. import tasks
    from ..contracts.errors import unknown
    from ..contracts.task import Variant
    from ..venture import templates

    if template in templates.names():
        found = templates.find(template)
        return found.venture, found.files()
    chosen, _, use = template.partition(":")
    if chosen not in tasks.names():
        raise unknown("template", template, [*templates.names(), *tasks.names()])
    task = tasks.find(chosen)
    if use and use not in task.variants:
        raise unknown("template", template, [chosen, *(f"{chosen}:{known}" for known in task.variants)])
    made = task.variants[use] if use else Variant(task.template)
    return made.template, {name: path.read_text("utf-8") for name, path in made.files.items()}
