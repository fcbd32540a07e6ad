"""Literature helper: finds the paper that answers a question, also where the question is in another language than the paper.

The sample's abstracts, in English, are of field studies that nobody made; questions come in English and in Chinese. The papers of the test
split lie in `papers/`, too, for `lodestar index` and `lodestar ask`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ...contracts.language import Words
from ...contracts.randomness import generator
from ..grammar import LANGUAGES, SPLIT_DATA, SPLITS, Split, blocks, dealt, filled, fillings, joined, one, written
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Literature helper: finds the papers that answer a question, whichever language it is asked in.",
    "文献助手：找出能回答问题的论文，用哪种语言提问都行。",
)

PAPERS: Mapping[Split, int] = {"train": 400, "validation": 40, "test": 60}


def files() -> dict[str, str]:
    """A question in each language with its abstract; and the test split's abstracts as papers."""
    random = generator(0, "template", "literature-helper")
    slots, abstracts, questions = blocks(FILLERS), blocks(ABSTRACTS), blocks(QUESTIONS)["question"]
    studies = [study for living in ("animal", "plant") for study in fillings(["factor", f"{living} trait", living], slots, 2000, random)]
    drawn = iter([studies[place] for place in random.permutation(len(studies))])
    records: dict[Split, list[dict[str, str]]] = {split: [] for split in SPLITS}
    papers: dict[str, str] = {}
    for split in SPLITS:
        for number, (factor, trait, living) in enumerate(islice((study.values() for study in drawn), PAPERS[split])):
            study = {"factor": factor, "trait": trait, "living": living}
            figures = {name: Words(*[str(random.integers(*bounds))] * 2) for name, bounds in FIGURES.items()}
            method, place, finding = (one(abstracts[part], random) for part in ("method", "place", "finding"))
            said = (filled(part.en, {**study, **figures, "place": place}, "en") for part in (method, finding))
            abstract = joined("en", said)
            for language in LANGUAGES:
                asked = one(dealt(questions, split), random).in_language(language)
                records[split].append({"question": filled(asked, study, language), "passage": abstract})
            if split == "test":
                title = filled("{factor} and the {trait} of {living}", study, "en")
                papers[f"papers/{number + 1:02d}.md"] = f"# {title}\n\n{abstract}\n"
    return written(records) | papers


FIGURES = {"count": (8, 60), "years": (2, 9), "share": (4, 60)}

TEMPLATE = Template(
    WORDS,
    {
        "task": "retrieval",
        "statement": Words(
            "A researcher finds the study that was already made, in a minute and not after the grant is written.",
            "研究者一分钟就找到已经有人做过的研究，不必等到基金写完才发现。",
        ),
        "audience": Words("small research groups that read in two languages", "用两种语言阅读的小课题组"),
        "north_star": "recall_at_1",
        "values": [
            Words("The paper is shown, so that everybody reads what it really says.", "直接给出论文，让人读到原文说了什么。"),
            Words("A study that found nothing counts as much as one that did.", "没有发现效应的研究，与有发现的同等重要。"),
        ],
        "red_lines": [
            Words("It never states a finding: it points at papers, and people read them.", "绝不代述结论：只指出论文，由人来读。"),
            Words("Nothing is cited that nobody has opened.", "没有人打开读过的，绝不引用。"),
            Words("It makes up no paper, author or number.", "绝不编造论文、作者或数字。"),
        ],
        "options": {"both": True},
        "data": {**SPLIT_DATA, "vocabulary": 900},
        "model": {"size": "tiny", "context": 96, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 200_000, "batch_tokens": 4096},
        "targets": [
            {
                "metric": "recall_at_1",
                "at_least": 0.7,
                "why": Words(
                    "of sixty papers that were never seen, asked for in other words and half the time in the other language",
                    "六十篇没见过的论文，提问另有说法，其中一半用另一种语言",
                ),
            },
            {"metric": "latency_ms_p95", "at_most": 300, "unit": "ms", "why": Words("found while one types", "边输入边找到")},
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("what is searched for before it is published stays on the desk", "发表之前在查什么，不外泄"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# The abstracts are in English alone.
ABSTRACTS = """
# method
We followed {count} plots for {years} years {place}.
Over {years} years, {count} sites {place} were compared with sites left alone.
{count} pairs of plots {place} were visited each week for {years} years.
The data come from {count} cameras {place}, read for {years} years.

# place
on two islands
in an old quarry
along a river
in a town park
on a salt marsh
in mountain meadows
on farmland

# finding
{factor} lowered the {trait} of {living} by {share} percent.
The {trait} of {living} rose by {share} percent under {factor}.
We found no change in the {trait} of {living} with {factor}, within {share} percent.
With {factor}, {living} differed in {trait} by {share} percent.
"""

QUESTIONS = """
# question
How does {factor} change the {trait} of {living}? | {factor}怎样影响{living}的{trait}？
What is known of {factor} and the {trait} of {living}? | 关于{factor}与{living}的{trait}，有哪些研究？
Is the {trait} of {living} harmed by {factor}? | {factor}会损害{living}的{trait}吗？
Which study measured the {trait} of {living} under {factor}? | 哪项研究测量了{factor}下{living}的{trait}？
{living}, {factor}: any effect on {trait}? | {living}的{trait}与{factor}有关吗？
Do {living} react to {factor} in their {trait}? | {living}的{trait}对{factor}有反应吗？
What does {factor} do to the {trait} of {living}? | {factor}对{living}的{trait}有什么作用？
Who has studied {living}, {factor} and {trait}? | 谁研究过{living}、{factor}和{trait}？
Are there data on the {trait} of {living} and {factor}? | 有没有{living}的{trait}与{factor}的数据？
Does {factor} go with another {trait} of {living}? | {factor}会不会改变{living}的{trait}？
"""

FILLERS = """
# factor
salt water | 盐水
street light | 路灯
noise of traffic | 交通噪声
grazing | 放牧
early mowing | 提早割草
drought | 干旱
copper | 铜
warm winters | 暖冬
dead wood | 枯木
hedge planting | 种植树篱

# animal
blackbirds | 乌鸫
bats | 蝙蝠
bumblebees | 熊蜂
earthworms | 蚯蚓
frogs | 蛙
hedgehogs | 刺猬
dragonflies | 蜻蜓
swifts | 雨燕

# animal trait
survival | 存活率
breeding | 繁殖
body weight | 体重
range | 分布范围
diversity | 多样性

# plant
moss | 苔藓
barley | 大麦
oaks | 橡树
ferns | 蕨类
clover | 三叶草
reeds | 芦苇

# plant trait
growth | 生长
spread | 蔓延
cover | 覆盖度
health | 健康
height | 高度
"""
