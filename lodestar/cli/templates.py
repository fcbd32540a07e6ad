"""List the products that a venture can begin as, one line each.

列出可作为起点的产品，每种一行。
"""

from __future__ import annotations

from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
def command() -> None:
    from ..venture import templates

    found = {name: templates.find(name) for name in templates.names()}
    value = [{"name": name, "task": each.venture["task"], "words": each.words._asdict()} for name, each in found.items()]
    lines = [f"{name:<24}{each.words}" for name, each in found.items()]
    lines += ["", say("Start one with: lodestar new NAME --template TEMPLATE", "新建项目：lodestar new 名称 --template 模板")]
    show(value, "\n".join(lines))
