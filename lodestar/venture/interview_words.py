"""The interview's questions as data: what is asked, in both languages, and how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..contracts.language import Words
from ..contracts.score import Metric

Kind = Literal["line", "list", "choice", "threshold", "date", "money", "price", "team", "sources"]
NONE = "-"
"""The answer that there is none."""


@dataclass(frozen=True)
class Question:
    """One question. The words of a terminal and those of a page are the same."""

    key: str
    """Where its answer belongs: a field of venture.yaml, or a part of one."""
    section: Words
    """The heading that it stands under."""
    words: Words
    help: Words
    """What is told to somebody who asks back."""
    kind: Kind = "line"
    """How the answer is read: a line; a list with semicolons between; a choice by name or number; a threshold with its unit; …"""
    default: str = ""
    """The answer that an empty one stands for, in the reader's language. Where it is empty, too: none if `optional`, else one is needed."""
    optional: bool = False
    """Whether there may be none (`-`)."""
    choices: Mapping[str, Words] = field(default_factory=dict)
    """What can be chosen → what it is."""

    def with_default(self, default: str) -> Question:
        return replace(self, default=default)

    def to_json(self) -> dict[str, Any]:
        """For a page."""
        return {
            "key": self.key, "section": self.section._asdict(), "words": self.words._asdict(), "help": self.help._asdict(),
            "kind": self.kind, "default": self.default, "optional": self.optional,
            "choices": [{"name": name, "words": words._asdict()} for name, words in self.choices.items()],
        }  # fmt: skip


BEGIN, VISION, TARGETS, LIMITS, MEANS = (
    Words("Where to begin", "从哪里开始"),
    Words("The vision", "愿景"),
    Words("The promises", "承诺"),
    Words("What you hold to", "坚持与红线"),
    Words("With whom and with what", "谁来做，用什么做"),
)

NAME = Question(
    "name", BEGIN,
    Words("What is the product called?", "产品叫什么名字？"),
    Words("Up to 80 characters, in any script. Its folder is named after it.", "最多 80 个字符，任何文字均可；目录以此命名。"),
)  # fmt: skip
START = Question(
    "start", BEGIN,
    Words("What does it learn to do? Choose what comes nearest.", "它要学会做什么？选最接近的一项。"),
    Words(
        "Each is a whole venture to begin from: its answers are the defaults of all later ones, and its sample runs before you have data.",
        "每一项都是完整的起点：之后的每个问题都以它的内容为默认值；您还没有数据时，可先用它的样例跑通。",
    ),
    "choice",
)  # fmt: skip
STATEMENT = Question(
    "statement", VISION,
    Words("What will be true when it works? Promise it in one sentence.", "做成之后，什么会成为现实？用一句话写下承诺。"),
    Words(
        "Not how it works: what is different for the people it is for. Whoever reads the brief reads this first.",
        "不写怎么做，只写对用户而言什么变了。读简报的人最先看到这句话。",
    ),
)  # fmt: skip
AUDIENCE = Question(
    "audience", VISION,
    Words("For whom?", "为谁而做？"),
    Words(
        'The people who use it, as narrowly as you know them: "owners of small hotels", not "everybody".',
        "会用它的人，知道多细就写多细：写“小旅馆的主人”，不写“所有人”。",
    ),
)  # fmt: skip
NORTH_STAR = Question(
    "north_star", TARGETS,
    Words("Which one measure do you steer by?", "以哪一个指标为北极星？"),
    Words(
        "It decides where two ways are otherwise alike. All of these can be measured; the other promises come after it.",
        "两种做法难分高下时，由它决定。列出的都能测量；其他承诺稍后再定。",
    ),
    "choice",
)  # fmt: skip
VALUES = Question(
    "values", LIMITS,
    Words("What do you hold to when a decision is close?", "难以取舍时，坚持什么？"),
    Words("One or several sentences, with a semicolon between two of them.", "一句或几句话，用分号隔开。"),
    "list",
    optional=True,
)  # fmt: skip
RED_LINES = Question(
    "red_lines", LIMITS,
    Words("What must it never do, or be used for?", "它绝不能做什么、绝不能用于什么？"),
    Words(
        "Privacy, fairness, harm: one or several sentences, with a semicolon between two of them. They stand in the card of every release.",
        "隐私、公平、伤害：一句或几句话，用分号隔开。每次发布的模型卡都会写明。",
    ),
    "list",
    optional=True,
)  # fmt: skip
BUDGET = Question(
    "budget", MEANS,
    Words("How much may be spent until it is released?", "发布之前最多花多少钱？"),
    Words(
        "An amount and its currency, as 5000 USD. No step is begun that would pass it.",
        "金额与货币，例如 5000 CNY。会超支的步骤不会开始。",
    ),
    "money",
    optional=True,
)  # fmt: skip
PER_HOUR = Question(
    "budget.per_hour", MEANS,
    Words("What does an hour of the machine cost?", "机器每小时多少钱？"),
    Words(
        "In the currency of the budget: its rent, or power and wear of your own. With it, training says beforehand what it will cost.",
        "与预算同一货币：租金，或自有机器的电费与折旧。有了它，训练之前就会说明要花多少钱。",
    ),
    "price",
    optional=True,
)  # fmt: skip
TEAM = Question(
    "team", MEANS,
    Words("Who builds it?", "谁来做？"),
    Words("Name and role, with a semicolon between two people: Ada: model; Lin: data", "姓名与职责，两人之间用分号：小林：数据；Ada：模型"),
    "team",
    optional=True,
)  # fmt: skip
SOURCES = Question(
    "data.sources", MEANS,
    Words("Where is your data?", "数据在哪里？"),
    Words(
        "A folder or a file on this computer (text, JSONL, CSV, Parquet, pictures, sound, by what is learnt), with a semicolon between two "
        "of them. The sample is there to begin with; change it later in venture.yaml.",
        "这台电脑上的目录或文件（视任务而定：文本、JSONL、CSV、Parquet、图片、声音），多个之间用分号。"
        "可先用样例，之后在 venture.yaml 里修改。",
    ),
    "sources",
)  # fmt: skip


def metric_question(number: int, choices: Mapping[str, Words]) -> Question:
    """Which measure a further promise is on."""
    return Question(
        f"targets.{number}.metric", TARGETS,
        Words("What else do you promise? None is an answer, too.", "还承诺什么？也可以没有。"),
        Words(
            f"Each promise is held against what was measured before anything is released. {NONE} ends the list.",
            f"发布之前，每项承诺都要用测量结果来检验。输入 {NONE} 结束。",
        ),
        "choice",
        optional=True,
        choices=choices,
    )  # fmt: skip


def threshold_question(number: int, metric: Metric) -> Question:
    """How much of a measure is promised."""
    unit = Words(f" in {metric.unit}" if metric.unit else "", f"（{metric.unit}）" if metric.unit else "")
    share = (
        Words("", "") if metric.unit else Words("It has no unit; a share is written as 0.9, not 90%. ", "没有单位；比例写 0.9，不写 90%。")
    )
    if metric.better == "higher":
        words = Words(f"{metric.name}: at least how much{unit.en}?", f"{metric.name}：至少多少{unit.zh}？")
    else:
        words = Words(f"{metric.name}: at most how much{unit.en}?", f"{metric.name}：至多多少{unit.zh}？")
    better = Words(f"{metric.better.capitalize()} is better.", "越高越好。" if metric.better == "higher" else "越低越好。")
    help = Words(f"{metric.words.en} {share.en}{better.en}", f"{metric.words.zh}{share.zh}{better.zh}")
    return Question(f"targets.{number}.threshold", TARGETS, words, help, "threshold")


def date_question(number: int, metric: Metric) -> Question:
    """Until when."""
    return Question(
        f"targets.{number}.by", TARGETS,
        Words(f"{metric.name}: by when?", f"{metric.name}：何时之前？"),
        Words("The day on which it is to hold, as 2027-03-01.", "应当兑现的日期，例如 2027-03-01。"),
        "date",
    )  # fmt: skip


def why_question(number: int, metric: Metric) -> Question:
    """What the number means."""
    return Question(
        f"targets.{number}.why", TARGETS,
        Words(f"{metric.name}: why this number?", f"{metric.name}：为什么是这个数？"),
        Words("What it means for the people it is for. It stands in the brief.", "对用户意味着什么；会写进简报。"),
        optional=True,
    )  # fmt: skip
