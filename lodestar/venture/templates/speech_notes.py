"""Speech notes: writes down what is said into a recorder. The sample is the task's own: a robot's few words, in English and Chinese."""

from __future__ import annotations

from ...contracts.language import Words
from . import BUDGET, Template

WORDS = Words(
    "Speech notes: writes down spoken notes, and the recording stays where it was made.", "语音笔记：把口述记成文字，录音留在原处。"
)

TEMPLATE = Template(
    WORDS,
    {
        "task": "speech-recognition",
        "statement": Words(
            "Whoever has no hand free speaks a note, and it is written down on their own machine.",
            "腾不出手的人说一句，自己的机器就记下一条笔记。",
        ),
        "audience": Words("fitters, gardeners and nurses on their round", "双手忙碌的安装工、园丁与查房护士"),
        "north_star": "wer",
        "values": [
            Words("A gap that is shown is better than a guess that looks like a note.", "宁可留出空白，也不把猜测写成笔记。"),
            Words("Every accent of the team counts: who is heard worst is heard next.", "团队里每种口音都算数：谁被听错最多，先改进谁。"),
        ],
        "red_lines": [
            Words("It never records anybody who does not know of it.", "绝不在他人不知情时录音。"),
            Words("No recording leaves the machine that it was made on.", "录音绝不离开录制它的机器。"),
            Words("It is never used to judge how somebody speaks or feels.", "绝不用于评判一个人的说话方式或情绪。"),
        ],
        "options": {"rate": 8000, "slowest": 0.9, "fastest": 1.1, "masks": 1},
        "data": {"sources": ["builtin:sample"], "validation": 0.1, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 256, "overrides": {"depth": 2, "width": 96, "heads": 3}},
        "train": {"tokens": 2_000_000, "batch_tokens": 4096},
        "targets": [
            {
                "metric": "wer",
                "at_most": 0.5,
                "why": Words(
                    "a robot's few words; with recordings of people, say what a note may miss",
                    "样本只是机器人的几个词；换成真人录音后，请写明一条笔记容许多少错",
                ),
            },
            {
                "metric": "latency_ms_p95", "at_most": 1000, "unit": "ms",
                "why": Words("written before the next note is spoken", "下一条出口之前已经写好"),
            },
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs on a small computer in the van", "能在车上的小电脑上运行"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": {"builtin:sample": "CC0-1.0"},
    },
)  # fmt: skip
