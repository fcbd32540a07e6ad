"""List the tasks that a venture can be made of, with their metrics.

列出可用的任务及其指标。
"""

from __future__ import annotations

from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
def command() -> None:
    from .. import tasks

    found = [tasks.find(name) for name in tasks.names()]
    value = [
        {
            "name": task.name,
            "words": task.words._asdict(),
            "endpoint": task.endpoint,
            "templates": [task.name, *(f"{task.name}:{use}" for use in task.variants)],
            "metrics": [
                {"name": metric.name, "unit": metric.unit, "better": metric.better, "words": metric.words._asdict()}
                for metric in task.metrics
            ],
        }
        for task in found
    ]
    lines = []
    for task in found:
        lines += [task.name, f"    {task.words}"]
        if task.variants:
            uses = ", ".join(f"{task.name}:{use}" for use in task.variants)
            lines.append(say(f"    templates: {task.name}, {uses}", f"    模板：{task.name}、{uses}"))
        lines += [f"    - {metric.name}{f' [{metric.unit}]' if metric.unit else ''}: {metric.words}" for metric in task.metrics]
    lines += ["", say("Start one with: lodestar new NAME --template TASK", "新建项目：lodestar new 名称 --template 任务")]
    show(value, "\n".join(lines))
