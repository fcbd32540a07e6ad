"""Reading YAML that people write: every mistake has its line, and words mean what they look like.

YAML 1.1, which PyYAML reads, turns `no` into false and `2026-01-31` into a date. Here, as in YAML 1.2, only `true` and `false` are
booleans and a date stays the text that it is; a key given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ..contracts.config import LineOf
from ..contracts.errors import UserError


class _Loader(yaml.SafeLoader):
    """Scalars as in the core schema of YAML 1.2, and underscores in numbers."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise _DuplicateError(f"the field {key.value!r} is given twice, first on line {seen[key.value]}", line)
            seen[str(key.value)] = line
        return super().construct_mapping(node, deep)


class _DuplicateError(Exception):
    """A key given twice: the sentence, and the line of the second one."""


_KEPT = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> tuple[Any, LineOf]:
    """The value of a YAML file, and the function that finds the line of a path of fields in it.

    Raises:
        UserError: the file is missing, unreadable, not UTF-8, empty or not YAML; the sentence names the line where there is one.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 at byte {error.start}", where=path, fix="save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=path, fix="check the path and its permissions") from None
    try:
        root, value = _load(text)
    except _DuplicateError as error:
        sentence, line = error.args
        raise UserError(sentence, where=f"{path}:{line}", fix="keep one of them") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"the character {chr(error.character)!r} is not allowed", where=f"{path}:{line}", fix="remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        raise UserError(f"this is not YAML: {error.problem}", where=where, fix="check the indentation, colons and quotes there") from None
    if root is None or value is None:
        raise UserError("the file is empty", where=path, fix="fill it in; `lodestar new` writes one to start from")
    return value, lambda path_of_fields: _line(root, path_of_fields)


def compose(text: str) -> yaml.Node | None:
    """The tree of a text, whose nodes know their places; None where it is empty. Raises `yaml.YAMLError` where it is not YAML."""
    return _load(text)[0]


def parse(text: str) -> Any:
    """The value of a text. Raises `yaml.YAMLError` where it is not YAML."""
    return _load(text)[1]


def _load(text: str) -> tuple[yaml.Node | None, Any]:
    """The tree of the text, which has the lines, and its value."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _line(node: yaml.Node, path: tuple[int | str, ...]) -> int | None:
    """The line, from 1, of the field at `path`; of the last part that is there, where it is missing."""
    line = node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
