"""Code assistant: continues a function and fills gaps in one, offline. The sample is Python's own standard library."""

from __future__ import annotations

from ...contracts.language import Words
from . import BUDGET, Template

WORDS = Words(
    "Code assistant: continues Python in the editor, offline, in your own style.", "代码助手：在编辑器里离线续写 Python，文风随您的代码。"
)

TEMPLATE = Template(
    WORDS,
    {
        "task": "code-generation",
        "statement": Words(
            "The next lines of a function are there before they are typed, and no code leaves the machine.",
            "函数的下几行，键入之前已经就绪；代码不出本机。",
        ),
        "audience": Words("Python programmers whose code may not leave the house", "代码不得外传的 Python 程序员"),
        "north_star": "bits_per_byte",
        "values": [
            Words("Offline first: it works on a train.", "离线优先：在火车上也能用。"),
            Words("A short suggestion that is right beats a long one.", "短而对，胜过长而错。"),
        ],
        "red_lines": [
            Words("It never runs the code that it writes.", "绝不自行运行写出的代码。"),
            Words("No code of a customer is learnt from without their written leave.", "未经客户书面同意，绝不用其代码训练。"),
            Words("Nobody merges a suggestion unread.", "任何建议未经人读，不得合并。"),
        ],
        "data": {"sources": ["builtin:python-stdlib"], "deduplicate": "near", "test": 0.1, "vocabulary": 4096},
        "model": {"size": "tiny", "context": 256},
        "train": {"minutes": 6.0},
        "evaluate": {"examples": 100},
        "targets": [
            {
                "metric": "bits_per_byte",
                "at_most": 2.0,
                "unit": "bits/byte",
                "why": Words("above this, as measured, most completions did not parse", "实测表明，高于此值时多数续写无法解析"),
            },
            {
                "metric": "syntax_valid",
                "at_least": 0.2,
                "why": Words("a suggestion that does not parse wastes the programmer's time", "不能解析的建议只会浪费程序员的时间"),
            },
            {"metric": "latency_ms_p95", "at_most": 2000, "unit": "ms", "why": Words("a later suggestion interrupts", "再晚就成了打扰")},
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs beside an editor on a laptop", "能在笔记本电脑上与编辑器同时运行"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": {"builtin:python-stdlib": "PSF-2.0"},
    },
)  # fmt: skip
