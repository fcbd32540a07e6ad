"""Show the five stages at a glance, and what to do next.

一眼看清五个阶段，以及下一步做什么。
"""

from __future__ import annotations

from pathlib import Path

from ._command import lodestar_command, show, venture_option


@lodestar_command()
@venture_option
def command(venture: Path) -> None:
    from ..venture.status import status
    from ..venture.venture import Venture

    found = status(Venture.open(venture))
    show(found.to_json(), found.text())
