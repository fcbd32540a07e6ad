"""Forms with files: multipart/form-data, as RFC 7578 has browsers and clients send it."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import NamedTuple

from .errors import ApiError

PARTS_AT_MOST = 64
_BROKEN = "The body is no multipart form. Send its fields as multipart/form-data, the recording as the field `file`."


class Part(NamedTuple):
    """One field of a form."""

    name: str
    filename: str | None
    """Of a field that is a file."""
    content: bytes


def read_form(body: bytes, content_type: str) -> list[Part]:
    """The fields of a form, in their order.

    Raises:
        ApiError: the body is no form.
    """
    boundary = _parameters(f"content-type: {content_type}\r\n\r\n".encode(), "content-type").get("boundary")
    if not boundary:
        raise ApiError(400, _BROKEN, code="invalid_form")
    mark = b"--" + boundary.encode("latin-1", "replace")
    # Between the marks stand line end, headers, an empty line, content and line end; after the last mark stands `--`.
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise ApiError(400, _BROKEN, code="invalid_form")
    if len(pieces) - 2 > PARTS_AT_MOST:
        raise ApiError(
            400, f"The form has {len(pieces) - 2} fields, and at most {PARTS_AT_MOST} are read. Send fewer.", code="invalid_form"
        )
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, empty_line, content = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
    named = _parameters(head + b"\r\n\r\n", "content-disposition")
    if not empty_line or "name" not in named:
        raise ApiError(400, _BROKEN, code="invalid_form")
    return Part(named["name"], named.get("filename"), content)


def _parameters(head: bytes, name: str) -> dict[str, str]:
    """Of a header among others: its parameters, by the rules of MIME for quotes and encodings."""
    header = message_from_bytes(head, policy=policy.HTTP).get(name)
    return {} if header is None else {key.lower(): str(value) for key, value in header.params.items()}
