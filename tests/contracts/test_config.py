"""Settings: made at their first use, described where a schema is asked for, refused in sentences that are short."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import Field, model_validator

from lodestar.contracts.config import Config
from lodestar.contracts.errors import UserError


class Port(Config):
    """Where ships go."""

    name: str = Field(pattern=r"^[a-z]+$")
    """As sailors call it."""
    depth: float = 3.0
    """In metres;
    at low tide."""
    silent: int = 0

    @model_validator(mode="after")
    def _is_known(self) -> Port:
        if self.name.startswith("x"):
            raise ValueError(f"no chart has {self.name!r}, or {self.name}; name another port")
        return self


class Harbour(Port):
    """A port with walls."""

    depth: float = Field(5.0, description="said by hand")
    """Not this."""
    north: Port
    """The next one."""


def test_a_schema_has_each_field_s_docstring():
    fields = Port.model_json_schema()["properties"]
    assert fields["name"]["description"] == "As sailors call it."
    assert fields["depth"]["description"] == "In metres;\nat low tide."
    assert "description" not in fields["silent"]


def test_a_schema_has_what_is_inherited_and_what_is_said_by_hand():
    schema = Harbour.model_json_schema()
    assert schema["properties"]["name"]["description"] == "As sailors call it."
    assert schema["properties"]["depth"]["description"] == "said by hand"
    assert schema["properties"]["north"]["description"] == "The next one."
    assert schema["$defs"]["Port"]["properties"]["name"]["description"] == "As sailors call it."


def test_without_the_source_there_is_a_schema_without_docstrings():
    code = "from lodestar.contracts.config import Config\nclass A(Config):\n    x: int\n    'Said.'\n"
    code += "print(A.model_json_schema()['properties'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'x': {'title': 'X', 'type': 'integer'}}\n"


@pytest.mark.parametrize(
    "fields", [{"name": "N" * 10_000}, {"name": "a", "n" * 10_000: 1}, {"name": "x" * 10_000}, {"name": ["a" * 10_000]}]
)
def test_a_long_value_is_shortened_and_said_to_be(fields):
    with pytest.raises(UserError, match=r"shortened from 10,00\d characters") as refused:
        Port.parse(fields, where="a file")
    assert len(str(refused.value)) < 400


def test_a_short_value_is_told_whole():
    with pytest.raises(UserError, match="a file: no chart has 'xanadu', or xanadu; name another port"):
        Port.parse({"name": "xanadu"}, where="a file")
