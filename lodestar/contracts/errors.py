"""The errors a caller can meet. A `UserError` carries what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class LodestarError(Exception):
    """Base of every error that Lodestar raises on purpose."""


class UserError(LodestarError):
    """A user's mistake. The command line prints it as one sentence and exits with 2.

    Args:
        what: what is wrong, in lower case and without a full stop ("no column named 'label'").
        where: the file (and line), the field or the address that it was found in.
        fix: what to do, as an imperative ("add the column, or name another one with data.columns").
    """

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, None if where is None else str(where), fix
        sentence = what if where is None else f"{where}: {what}"
        between, stop = ("；", "。") if _is_chinese(what[-1:]) else ("; ", ".")
        # A question mark ends its own sentence.
        super().__init__(f"{sentence}{between}{fix}{'' if fix.endswith('?') else stop}" if fix else f"{sentence}{stop}")


class Interrupted(LodestarError):  # noqa: N818 - a wish that was granted
    """The user or the system asked to stop, and the work so far is kept. The command line prints it and exits with `exit_code`.

    Args:
        sentence: where the work stands and how to go on.
        signal_number: what asked: SIGINT (Ctrl-C) or SIGTERM.
    """

    def __init__(self, sentence: str, *, signal_number: int) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(sentence)


def _is_chinese(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"


LONGEST_QUOTED = 60


def quoted(value: Any) -> str:
    """A value as an error names it: its repr, or the beginning of one that is long, which says so."""
    shown = repr(value)
    return shown if len(shown) <= LONGEST_QUOTED else f"{shown[:40]}… (shortened from {len(shown):,} characters)"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None when none is close enough to be meant."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(kind: str, word: str, known: Iterable[str], *, where: str | Path | None = None) -> UserError:
    """The error for a name that is not one of `known`, with the nearest one suggested."""
    names = sorted(known)
    guess = nearest(word, names)
    fix = f"did you mean {guess!r}?" if guess else f"use one of {', '.join(names)}"
    return UserError(f"unknown {kind} {quoted(word)}", where=where, fix=fix)


def missing_extra(package: str, extra: str, *, why: str) -> UserError:
    """The error for an optional package that is not installed: one sentence with the install command."""
    return UserError(f"{why} needs the package {package!r}", fix=f"install it with: pip install 'lodestar[{extra}]'")
