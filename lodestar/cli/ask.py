"""Ask the documents of an index; the answer names the file, the page and the lines that it stands in.

向索引中的文档提问；答案会注明所在的文件、页码与行号。
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..contracts.language import say
from ._command import lodestar_command, show


@lodestar_command()
@click.argument("question", metavar=say("QUESTION", "问题"))
@click.option(
    "--index", "place", type=click.Path(path_type=Path), required=True, metavar=say("DIR", "目录"),
    help=say("What `lodestar index` made.", "`lodestar index` 生成的索引。"),
)  # fmt: skip
@click.option(
    "--reader", type=click.Path(path_type=Path), metavar=say("RELEASE", "版本目录"),
    help=say(
        "A release of the task question-answering, which finds the words that answer; without one, the nearest sentence is given.",
        "question-answering 任务的某次发布，用来找出作答的词句；不指定时给出最接近的句子。",
    ),
)  # fmt: skip
def command(question: str, place: Path, reader: Path | None) -> None:
    from ..deploy.documents.library import Library
    from ._documents import open_encoder, open_reader

    library = Library.open(place, open_encoder)
    answer = library.answer(question, None if reader is None else open_reader(reader))
    show(answer, "\n".join(_lines(answer)))


def _lines(answer: Mapping[str, Any]) -> list[str]:
    if answer["answer"] is None:
        lines = [say("Not in the documents.", "文档中没有答案。")]
        if answer["nearest"]:
            lines += ["", say("What comes nearest:", "最接近的内容：")]
    else:
        lines = [answer["answer"], ""]
    return lines + [line for cited in answer["citations"] or answer["nearest"] for line in _citation(cited)]


def _citation(cited: Mapping[str, Any]) -> list[str]:
    first, last = cited["line"], cited["last_line"]
    lines_en, lines_zh = (f"line {first}", f"第 {first} 行") if first == last else (f"lines {first}-{last}", f"第 {first}-{last} 行")
    page_en, page_zh = ("", "") if cited["page"] is None else (f"page {cited['page']}, ", f"第 {cited['page']} 页，")
    where = say(f"{cited['file']}, {page_en}{lines_en}", f"{cited['file']}，{page_zh}{lines_zh}")
    return [f"  {where}", *(f"    {line}" for line in cited["passage"].split("\n"))]
