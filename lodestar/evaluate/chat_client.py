"""Asking a chat model behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from ..contracts.clock import wait
from ..contracts.errors import UserError

Complete = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""The body of a chat completion → the server's answer to it, which has `choices`, and `usage` where the server counts."""
_PATIENCE_S = 120.0
_BUSY = (429, 500, 502, 503, 504)
"""Statuses of a server that may answer when it is asked again."""
_ATTEMPTS, _LONGEST_WAIT_S = 5, 60.0


def chat_client(url: str, key: str | None, *, who: str) -> Complete:
    """A client of the server; one that is busy is asked again.

    Args:
        url: up to and without `/chat/completions`, such as https://api.openai.com/v1.
        key: its bearer token.
        who: what errors call the one that is asked.
    """
    address = url.rstrip("/") + "/chat/completions"
    if not re.match(r"https?://", address):
        raise UserError(f"{url!r} is no address of a server", where=who, fix="write http://… or https://…")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def complete(body: Mapping[str, Any]) -> Mapping[str, Any]:
        request = urllib.request.Request(address, json.dumps(body, ensure_ascii=False).encode(), headers)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:
                    answer: Mapping[str, Any] = json.load(response)
                    content(answer)
                    return answer
            except urllib.error.HTTPError as error:
                if error.code not in _BUSY or attempt == _ATTEMPTS:
                    raise UserError(
                        f"the {who}'s server answered {error.code}: {error.read(500).decode(errors='replace')}", where=address,
                        fix="check the model's name and the key" if error.code not in _BUSY else "try again later",
                    ) from None  # fmt: skip
                wait(_wait_s(error.headers.get("Retry-After"), attempt))
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                raise UserError(
                    f"the {who} cannot be asked ({type(error).__name__}: {error})", where=address, fix="check the address"
                ) from None
        raise AssertionError("the last attempt returns or raises")

    return complete


def content(answer: Mapping[str, Any]) -> str:
    """What the model said."""
    return str(answer["choices"][0]["message"]["content"])


def _wait_s(asked: str | None, attempt: int) -> float:
    """Seconds until a busy server is asked again: as many as it asked for, else 1, 2, 4, …"""
    wanted = float(asked) if asked is not None and asked.strip().isdigit() else 2.0 ** (attempt - 1)
    return min(wanted, _LONGEST_WAIT_S)
