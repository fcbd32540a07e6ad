"""Typed settings: declared once, read from YAML or the command line, unknown keys refused with the nearest known one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

from .errors import LONGEST_QUOTED, UserError, nearest, quoted

LineOf = Callable[[tuple[int | str, ...]], int | None]


class Config(BaseModel):
    """Base of every settings class: immutable, no unknown keys, field docstrings are the help.

    A class is made at its first use, and its docstrings are read where somebody asks for its JSON Schema: done for every class as it is
    imported, as pydantic would, the two take longer than all that `lodestar status` does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, protected_namespaces=())

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(core_schema)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        for name, words in _docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", words)
        return found

    @classmethod
    def parse(cls, data: Any, *, where: str | Path, line_of: LineOf | None = None) -> Self:
        """Validate `data` read from `where`; the first mistake becomes one `UserError` naming the field.

        Where `line_of` knows the line that a path of fields stands on, the error names it, too.
        """
        if not isinstance(data, Mapping):
            raise UserError(f"expected a mapping of fields, found {type(data).__name__}", where=where, fix="write `field: value` lines")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = _first(error)
            line = line_of(first["loc"]) if line_of else None
            raise _as_user_error(first, cls, f"{where}:{line}" if line else where) from None


def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """Each field of the class → the docstring below it, where there is one."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, Config) or base is Config:
            continue
        try:
            source = inspect.getsource(base)
        except OSError:  # where only the compiled code is installed
            continue
        (parsed,) = ast.parse(textwrap.dedent(source)).body
        assert isinstance(parsed, ast.ClassDef)
        for field, below in pairwise(parsed.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[name] = inspect.cleandoc(words)
    return found


def _first(error: ValidationError) -> ErrorDetails:
    """The mistake to tell of: an unknown field before a missing one, since a misspelt name is both."""
    found = error.errors()
    return next((one for one in found if one["type"] == "extra_forbidden"), found[0])


def _as_user_error(first: ErrorDetails, root: type[BaseModel], where: str | Path) -> UserError:
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(root, first["loc"][:-1])
        guess = nearest(str(first["loc"][-1]), known)
        fix = f"did you mean {guess!r}" if guess else f"the known fields here are {', '.join(known)}" if known else "remove it"
        return UserError(f"unknown field {quoted(path)}", where=where, fix=fix)
    if first["type"] == "missing":
        return UserError(f"the field {path!r} is missing", where=where, fix="add it")
    if first["type"] == "value_error":
        # A check across fields wrote the sentence itself, remedy included.
        prefix = f"in {path!r}: " if path else ""
        return UserError(prefix + _shortened(str(first["ctx"]["error"]), first["input"]), where=where)
    message = first["msg"][0].lower() + first["msg"][1:]
    return UserError(f"the field {path!r} is {quoted(first['input'])}: {message}", where=where, fix="correct the value")


def _shortened(sentence: str, given: Any) -> str:
    """The sentence with the long texts that it names, of those given, cut as `quoted` cuts them."""
    for text in _texts(given):
        if len(text) > LONGEST_QUOTED:
            sentence = sentence.replace(repr(text), quoted(text)).replace(text, quoted(text))
    return sentence


def _texts(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _texts(value)


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The field names of the settings class found by walking `path` from `model`; [] where the walk ends elsewhere."""
    from typing import get_args

    current: type[BaseModel] = model
    for part in path:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part)
        if field is None:
            continue  # a union's tag is part of the path, too
        candidates: list[Any] = [field.annotation]
        found = None
        while candidates:
            candidate = candidates.pop()
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found = candidate
            candidates.extend(get_args(candidate))
        if found is None:
            return []
        current = found
    return list(current.model_fields)
