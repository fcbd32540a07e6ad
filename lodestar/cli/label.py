"""Rank texts that have no label by what to label next: those that the model is unsure of, and no two alike.

为未标注的文本排序，找出最值得标注的：模型拿不准、且互不相似的。
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click

from ..contracts.errors import UserError
from ..contracts.language import say
from ._command import lodestar_command, show, venture_option

FILE = Path("to-label.csv")


@lodestar_command()
@click.argument("sources", nargs=-1, required=True, metavar=say("FILE...", "文件..."))
@venture_option
@click.option(
    "--release", metavar=say("NAME", "名称"), help=say("The release to ask; the newest by default.", "用哪个版本；默认为最新版。")
)
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help=say("Texts on the list.", "列出多少条。"))
@click.option("--column", default="text", show_default=True, metavar=say("NAME", "列名"), help=say("The texts' column.", "文本所在的列。"))
@click.option("--seed", type=int, default=0, show_default=True, help=say("Equal seeds draw equally.", "相同的种子得到相同的结果。"))
@click.option(
    "--out", type=click.Path(path_type=Path), default=FILE, show_default=True, metavar=say("FILE", "文件"),
    help=say("The list, as CSV with an empty label to fill in.", "输出的 CSV 列表，标签留空待填。"),
)  # fmt: skip
def command(sources: Sequence[str], venture: Path, release: str | None, count: int, column: str, seed: int, out: Path) -> None:
    from ..store.files import write_atomic
    from ..tasks.classification import Classification
    from ..venture.product import find_release
    from ..venture.venture import Venture
    from . import _plan, _steps

    if out.is_dir() or not out.parent.is_dir():
        raise UserError("is a folder" if out.is_dir() else "its folder does not exist", where=out, fix="name a file with --out")
    opened = Venture.open(venture)
    made = find_release(opened, release)
    if made.task != "classification":
        raise UserError(f"the release is of the task {made.task}, which gives no labels", where=opened.path, fix="release a classifier")
    texts = read_texts(sources, column)
    bundle = _steps.load_model(opened.releases / made.name)
    task = _plan.load_task(bundle.task)
    assert isinstance(task, Classification)  # the release said so
    ranked = task.next_labels(bundle.model, bundle.tokenizer, texts, count, seed)
    label = "labels" if task.multi_label else "label"
    table = io.StringIO()
    writer = csv.DictWriter(table, ["text", label, "suggestion", "confidence", "reason"], lineterminator="\n")
    writer.writeheader()
    for row in ranked:
        writer.writerow({**row, label: "", "confidence": f"{row['confidence']:.3f}", "reason": str(row["reason"])})
    # Spreadsheets take a CSV without this mark for one in their own country's encoding.
    write_atomic(out, "\ufeff" + table.getvalue())
    value = {"file": str(out), "texts": len(texts), "ranked": [{**row, "reason": row["reason"]._asdict()} for row in ranked]}
    done = say(
        f"Ranked {len(ranked):,} of {len(texts):,} texts: {out}. Fill in its column {label!r}, and add it to data.sources.",
        f"已从 {len(texts):,} 条文本中排出 {len(ranked):,} 条：{out}。填好 {label!r} 列后，加入 data.sources。",
    )
    show(value, done)


def read_texts(sources: Sequence[str], column: str) -> list[str]:
    """The texts of the files, each once and blank ones left out.

    Raises:
        UserError: a file is at fault, or there is no text in any.
    """
    from ..contracts.settings import DataSettings
    from ..contracts.task import Example
    from ..prepare.readers import read
    from ..prepare.records import Validator
    from ..prepare.sources import find_sources

    class Text(Example):
        """A text without a label."""

        text: str

    columns = {} if column == "text" else {"text": column}
    found = find_sources(DataSettings(sources=list(sources)), Path())
    validator, texts = Validator(Text, columns), dict[str, None]()
    for file in found.files:
        for raw in read(file, columns, lone=False, advance=lambda _: None):
            if raw.path is None and column not in raw.fields:
                columns_found = ", ".join(map(str, raw.fields)) or "none"
                raise UserError(
                    f"no column {column!r}; the columns found are {columns_found}", where=raw.where, fix="name it with --column"
                )
            text = validator.example(raw).text
            if text.strip():
                texts[text] = None
    if not texts:
        raise UserError("the files hold no text", where=", ".join(sources), fix="give files with texts to label")
    return list(texts)
