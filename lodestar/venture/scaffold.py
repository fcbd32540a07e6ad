"""A new venture: a folder with a venture.yaml that explains itself, made from a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..contracts.clock import now
from ..contracts.errors import UserError
from ..contracts.language import Words, say
from ..store.files import write_atomic, write_json
from .vision import SCHEMA_FILE, VENTURE_FILE, VentureFile, schema
from .yaml_edit import dump_yaml

_SECTIONS: tuple[tuple[Words, tuple[str, ...]], ...] = (
    (Words("The vision: what will be true, and for whom", "愿景：要成就什么，为谁而做"), ("name", "statement", "audience")),
    (
        Words("The promises: a release is made only when each of them holds", "承诺：全部兑现，才会发布"),
        ("north_star", "targets", "values", "red_lines"),
    ),
    (Words("The data", "数据"), ("task", "options", "data")),
    (Words("The model: how it is made and judged", "模型：如何训练与评判"), ("model", "train", "evaluate")),
    (Words("The team", "团队"), ("team", "budget", "economics", "licence", "licences")),
)

_COMMENTS: Mapping[str, Words] = {
    "statement": Words("The promise in one sentence; make it yours.", "用一句话写下承诺，换成您自己的话。"),
    "north_star": Words("The one metric, among the targets, that you steer by.", "在下列目标中选一个作为北极星指标。"),
    "targets": Words(
        "Each has exactly one of at_least and at_most, its metric's unit, and the day it is due. `lodestar tasks` lists the metrics.",
        "每个目标只写 at_least 或 at_most 之一，并写明指标的单位与兑现期限 by。`lodestar tasks` 列出可用指标。",
    ),
    "values": Words("What you hold to when a decision is close.", "难以取舍时，坚持什么。"),
    "red_lines": Words("What it must never do; these stand in the model card.", "绝不可做之事；会写入模型卡。"),
    "task": Words("`lodestar tasks` lists them.", "`lodestar tasks` 列出全部任务。"),
    "data": Words(
        "Your own files here: paths, folders or globs (text, JSONL, CSV, Parquet).",
        "换成您自己的数据：文件、目录或通配符（文本、JSONL、CSV、Parquet）。",
    ),
    "model": Words("size is the one dial: tiny, small, medium or large.", "size 是唯一的旋钮：tiny、small、medium、large。"),
    "licences": Words("What the model is made of, and under which licence.", "模型由什么做成，各用何种许可。"),
    "train": Words("Every field has a default that follows from the size.", "每项都有随规模而定的默认值。"),
}

_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "team": {"team": [{"name": "Ada", "role": "model"}]},
    "budget": {"budget": {"amount": 5000, "currency": "USD", "per_hour": 2, "hours": 500}},
    "economics": {
        "economics": {
            "currency": "USD",
            "machine_hour": {"amount": 1.2, "currency": "USD"},
            "price": {"per_request": {"amount": 0.002, "currency": "USD"}},
        }
    },
    "licence": {"licence": "Apache-2.0"},
}
"""What a template leaves out, shown as a comment to be taken over."""
DAYS_GIVEN = 90
"""Until a template's targets are to hold, where it gives them no date: a beginning, to be changed."""

_STARTERS: Mapping[str, tuple[Words, ...]] = {
    "values": (Words("Measure before we believe.", "先测量，再相信。"),),
    "red_lines": (Words("Never claim more than the scorecard shows.", "绝不宣称超出得分卡的能力。"),),
}


def create(folder: Path, name: str, template: Mapping[str, Any], files: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Write venture.yaml, its schema and the files of the template into a new or empty folder.

    Args:
        folder: where; made where missing.
        name: the product's.
        template: venture.yaml less the name, its words in both languages.
        files: what else the template brings: name → content.

    Returns:
        The path of venture.yaml.

    Raises:
        UserError: the folder holds something, or the name is blank.
    """
    check_place(folder, name)
    text = venture_yaml({**filled(template), "name": name})
    write_json(folder / SCHEMA_FILE, schema())
    write_atomic(folder / ".gitignore", "/runs/\n/releases/\n/.lodestar/\n")
    for file, content in files.items():
        write_atomic(folder / file, content)
    write_atomic(folder / VENTURE_FILE, text)
    return folder / VENTURE_FILE


def check_place(folder: Path, name: str) -> None:
    """Refuse a blank name, and a folder that holds something.

    Raises:
        UserError: one of them is so.
    """
    if not name.strip():
        raise UserError("a venture needs a name", fix="name it: lodestar new NAME")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("the folder is not empty", where=folder, fix="name a new one with --path, or empty it")


def filled(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template as plain values in the reader's language, with what every venture begins with where it says nothing."""
    due = (now().date() + timedelta(days=DAYS_GIVEN)).isoformat()
    made = plain({**_STARTERS, **template})
    return {**made, "targets": [{**target, "by": target.get("by", due)} for target in made["targets"]]}


def venture_yaml(values: Mapping[str, Any]) -> str:
    """A venture.yaml that explains itself, in the reader's language."""
    VentureFile.parse(values, where=VENTURE_FILE)
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        say(
            "# This file is the venture. `lodestar vision` checks it; every field it may have stands in the schema beside it.",
            "# 本文件即项目本身。`lodestar vision` 会检查它；所有可用字段见同目录的 schema。",
        ),
    ]
    for heading, fields in _SECTIONS:
        lines += ["", f"# ── {heading}"]
        for field in fields:
            comment = [f"# {_COMMENTS[field]}"] if field in _COMMENTS else []
            if field in values:
                lines += ["", *comment, _dump({field: values[field]})]
            elif field in _EXAMPLES:
                lines += ["", *comment, *(f"# {line}" for line in _dump(_EXAMPLES[field]).splitlines())]
    return "\n".join(lines) + "\n"


def folder_name(name: str) -> str:
    """A folder's name for a product: its letters (of any script) and digits, hyphens between."""
    return re.sub(r"[\W_]+", "-", name.strip().lower()).strip("-") or "venture"


def _dump(value: Mapping[str, Any]) -> str:
    return dump_yaml(plain(value))


def plain(value: Any) -> Any:
    """Mappings and sequences of any kind as dicts and lists; words in the reader's language; whole floats as integers."""
    if isinstance(value, Words):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
