"""Small changes to YAML that people write: only the changed fields move, so that order, comments and layout stay as they were."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..contracts.errors import UserError
from .yaml_file import compose, parse

_PLAIN = re.compile(r"[\dT:.-]+")
"""Dates and times need no quotes: yaml_file reads them as the text that they are."""


def edit_items(text: str, field: str, changes: Sequence[tuple[int | None, Mapping[str, Any]]], *, where: str | Path) -> str:
    """Change items of a list of mappings, one after another.

    Args:
        text: the file.
        field: the top-level field that the list is under.
        changes: an item's number and its fields' new values, None to take a field away; or None, and a new item for the end.

    Raises:
        UserError: the file is written in a way that cannot be changed in place (an alias, a list in brackets).
    """
    expected = parse(text)
    for number, given in changes:
        items = expected[field]
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        if number is None:
            items.append({name: value for name, value in fields.items() if value is not None})
            text = _appended(text, field, fields, where)
        else:
            items[number] = {name: value for name, value in {**items[number], **fields}.items() if name not in fields or value is not None}
            for name, value in fields.items():
                text = _changed(text, _items(text, field).value[number], name, value)
        if not _means(text, expected):
            raise UserError("it is written in a way that cannot be changed in place", where=where, fix="change it by hand")
    return text


def edit_fields(text: str, changes: Mapping[str, Any], *, where: str | Path) -> str:
    """Change top-level fields as a whole.

    Args:
        text: the file.
        changes: the fields' new values; None takes a field away, and one that is new is put at the end.

    Raises:
        UserError: the file is written in a way that cannot be changed in place.
    """
    expected = {name: value for name, value in {**parse(text), **changes}.items() if value is not None}
    for name, value in changes.items():
        root = compose(text)
        assert isinstance(root, yaml.MappingNode), "the file was read before"
        pair = next(((key, old) for key, old in root.value if key.value == name), None)
        block = "" if value is None else dump_yaml({name: value}) + "\n"
        if pair is not None:
            text = text[: pair[0].start_mark.index] + block + text[_line_end(text, _end(pair[1])) :]
        elif block:
            text = f"{text.rstrip()}\n\n{block}"
    if not _means(text, expected):
        raise UserError("it is written in a way that cannot be changed in place", where=where, fix="change it by hand")
    return text


def dump_yaml(value: Mapping[str, Any]) -> str:
    """Plain values as YAML in the order given, a field a line, without the last line's end."""
    return yaml.dump(dict(value), Dumper=_Blocks, allow_unicode=True, sort_keys=False, width=110).rstrip("\n")


def _means(text: str, expected: Any) -> bool:
    try:
        return bool(parse(text) == expected)
    except yaml.YAMLError:
        return False


def _items(text: str, field: str) -> yaml.SequenceNode:
    root = compose(text)
    assert isinstance(root, yaml.MappingNode), "the file was read before"
    found = next(value for key, value in root.value if key.value == field)
    assert isinstance(found, yaml.SequenceNode)
    return found


def _changed(text: str, item: yaml.MappingNode, name: str, value: Any) -> str:
    pair = next(((key, old) for key, old in item.value if key.value == name), None)
    if pair is None:
        return text if value is None else _inserted(text, item, name, value)
    key, old = pair
    start, end = old.start_mark.index, _end(old)
    if value is None:
        return _removed(text, item, key, end)
    lines_end = "\n" if text[start:end].endswith("\n") else ""
    space = " " if start == end else ""
    return text[:start] + space + flow(value) + lines_end + text[end:]


def _inserted(text: str, item: yaml.MappingNode, name: str, value: Any) -> str:
    end = _end(item)
    if item.flow_style:
        last = _end(item.value[-1][1])
        return f"{text[:last]}, {name}: {flow(value)}{text[last:]}"
    line = f"{' ' * item.value[0][0].start_mark.column}{name}: {flow(value)}\n"
    return _insert_line(text, end, line)


def _removed(text: str, item: yaml.MappingNode, key: yaml.Node, end: int) -> str:
    if item.flow_style:
        before = text.rfind(",", 0, key.start_mark.index)
        return text[:before] + text[end:]
    begin = text.rfind("\n", 0, key.start_mark.index) + 1
    return text[:begin] + text[_line_end(text, end) :]


def _appended(text: str, field: str, fields: Mapping[str, Any], where: str | Path) -> str:
    items = _items(text, field)
    if items.flow_style:
        raise UserError(
            f"the list {field!r} stands in brackets, where nothing can be added", where=where, fix="write an item a line, after a dash"
        )
    dash = " " * items.start_mark.column
    lines = [f"{name}: {flow(value)}" for name, value in fields.items() if value is not None]
    return _insert_line(text, _end(items), f"{dash}- " + f"\n{dash}  ".join(lines) + "\n")


def _insert_line(text: str, after: int, line: str) -> str:
    """Put whole lines below the one that a place is on."""
    at = _line_end(text, after)
    return text[:at] + ("" if not at or text[at - 1] == "\n" else "\n") + line + text[at:]


def _line_end(text: str, place: int) -> int:
    """The beginning of the line below a place; the place itself where it begins a line."""
    if place and text[place - 1] == "\n":
        return place
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1


def _end(node: yaml.Node) -> int:
    """Where a node ends; of one in blocks, where its last leaf does, as PyYAML counts the lines up to the next token to it."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and "-" in value:
        return value
    dumped = yaml.dump([value], Dumper=_OneLine, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf"))
    return dumped.strip()[1:-1]


class _Blocks(yaml.SafeDumper):
    """Lists stand indented under their field, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


class _OneLine(yaml.SafeDumper):
    """No anchors; whole numbers without a fraction."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_OneLine.add_representer(
    float, lambda dumper, data: dumper.represent_int(int(data)) if data.is_integer() else yaml.SafeDumper.represent_float(dumper, data)
)
