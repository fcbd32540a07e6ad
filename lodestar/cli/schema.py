"""Print the JSON Schema of venture.yaml, for editors.

输出 venture.yaml 的 JSON Schema，供编辑器使用。
"""

from __future__ import annotations

import json

from ._command import lodestar_command, show


@lodestar_command()
def command() -> None:
    from ..venture.vision import schema

    found = schema()
    show(found, json.dumps(found, ensure_ascii=False, indent=2))
