"""Take a whole venture from vision to served model on embedded data: a code assistant, trained on Python's own library.

用内置数据走完整个流程：以 Python 标准库训练一个编程助手，从愿景直到上线。
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..contracts.language import say
from ._command import lodestar_command, show

if TYPE_CHECKING:
    from ..venture.venture import Venture

PROMPT = "def read_lines(path):\n    "
"""What the served assistant is asked."""


@lodestar_command()
@click.option(
    "--path", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, metavar=say("DIR", "目录"),
    help=say("The venture's folder; made where there is none yet.", "项目目录；不存在则创建。"),
)  # fmt: skip
@click.option("--template", default="code-generation", show_default=True, metavar=say("TASK", "任务"), help=say("The task.", "任务。"))
def command(path: Path, template: str) -> None:
    from .. import tasks
    from ..store.files import write_atomic
    from ..venture.brief import brief
    from ..venture.product import read_scorecard, release
    from ..venture.scaffold import create
    from ..venture.status import BRIEF_FILE
    from ..venture.success import REPORT_FILE, report
    from ..venture.venture import Venture
    from ..venture.vision import VENTURE_FILE, check
    from . import _steps
    from ._metrics import metrics_of
    from ._show import scorecard_table

    _say(1, "vision", "愿景")
    if not (path / VENTURE_FILE).exists():
        create(path, say("Lodestar demo", "北极星演示"), tasks.find(template).template)
    venture = Venture.open(path)
    metrics = metrics_of(venture.file)
    check(venture.file, metrics, where=venture.path)
    write_atomic(path / BRIEF_FILE, brief(venture.file, metrics))
    _note(
        say(
            f"{len(venture.file.targets)} targets, all measurable; brief: {path / BRIEF_FILE}",
            f"{len(venture.file.targets)} 个目标，均可测量；简报：{path / BRIEF_FILE}",
        )
    )
    with venture.hold("demo"):
        steps = {}
        for number, (name, zh, step) in enumerate(
            (("prepare", "准备", _steps.prepare), ("train", "训练", _steps.train), ("evaluate", "评估", _steps.evaluate)), 2
        ):
            _say(number, name, zh)
            steps[name] = step(venture)
            _note(say("done before, skipped", "此前已完成，跳过") if steps[name].skipped else str(steps[name].folder))
        _note("\n" + scorecard_table(read_scorecard(steps["evaluate"].folder)))
        _say(5, "release", "发布")
        made, new = release(venture)
        for gate in made.gates:
            _note(f"{'✓' if gate.kept else '✗'} {gate.reason()}")
        _note(str(path / "releases" / made.name) if new else say(f"{made.name}, made before", f"{made.name}，此前已发布"))
    _say(6, "serve", "服务")
    answer = _ask_once(venture, made.name)
    _say(7, "report", "报告")
    written = report(venture, metrics)
    write_atomic(path / REPORT_FILE, written.html)
    pictures = {"loss": steps["train"].folder / "loss.png", "scorecard": steps["evaluate"].folder / "scorecard.png"}
    lines = [
        written.text,
        say(f"Report:      {path / REPORT_FILE}", f"报告：    {path / REPORT_FILE}"),
        say(f"Loss curve:  {pictures['loss']}", f"损失曲线：{pictures['loss']}"),
        say(f"Scorecard:   {pictures['scorecard']}", f"评分卡：  {pictures['scorecard']}"),
        say(f"Try it:      {_program()} serve --venture {path}", f"试用：    {_program()} serve --venture {path}"),
    ]
    value = written.value | {
        "answer": answer,
        "report": str(path / REPORT_FILE),
        "pictures": {name: str(place) for name, place in pictures.items()},
    }
    show(value, "\n".join(lines))


def _ask_once(venture: Venture, release: str) -> str:
    """Serve the release on a free port, ask it one completion over HTTP, and shut it down."""
    import json
    from urllib.request import Request, urlopen

    from ..deploy.serve import background
    from ._serving import on_record, task_of

    folder = venture.releases / release
    task = task_of(folder)
    body = {"prompt": PROMPT, "max_tokens": 48, "temperature": 0.0} if task.endpoint == "completions" else task.request(task.sample()[0])
    with on_record(venture, release) as record, background(folder, task, on_request=record.note, answered=record.answered) as url:
        request = Request(f"{url}/v1/{task.endpoint}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=120) as response:
            answer = json.load(response)
    _note(f"POST {url}/v1/{task.endpoint}")
    text = answer["choices"][0]["text"] if task.endpoint == "completions" else json.dumps(answer, ensure_ascii=False)
    _note("\n".join(f"  | {line}" for line in (str(body.get("prompt", "")) + text).splitlines()))
    _note(say("the server is shut down", "服务已关闭"))
    return str(text)


def _say(number: int, en: str, zh: str) -> None:
    click.secho(say(f"\n[{number}/7] {en}", f"\n[{number}/7] {zh}"), bold=True, err=True)


def _note(text: str) -> None:
    click.echo(text, err=True)


def _program() -> str:
    """How this command was called, so that the line printed can be copied as it is."""
    import sys

    return sys.argv[0] if "/" in sys.argv[0] else "lodestar"
