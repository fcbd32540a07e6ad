"""Translator: between English and Chinese, in the words of one house. The sample is of a guest house and the town around it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ...contracts.language import Words
from ...contracts.randomness import generator
from ..grammar import SPLIT_DATA, SPLITS, Split, blocks, filled, fillings, pair, slots_of, written
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Translator: between two languages in the words of your house, on your own machine.",
    "翻译：用您自家的词语互译两种语言，在自己的机器上。",
)

SENTENCES: Mapping[Split, int] = {"train": 160, "validation": 10, "test": 15}
"""Of each pattern. What judges is made of words that were learnt, and is no sentence that was."""


def files() -> dict[str, str]:
    """Pairs of sentences."""
    random, slots = generator(0, "template", "translator"), blocks(FILLERS)
    records: dict[Split, list[dict[str, str]]] = {split: [] for split in SPLITS}
    for pattern in map(pair, PATTERNS.strip().split("\n")):
        drawn = iter(fillings(slots_of(pattern.en), slots, sum(SENTENCES.values()), random))
        # What judges comes first: a pattern of few fillings has fewer to learn from.
        for split in reversed(SPLITS):
            for values in islice(drawn, SENTENCES[split]):
                records[split].append({"source": filled(pattern.en, values, "en"), "target": filled(pattern.zh, values, "zh")})
    return written(records)


TEMPLATE = Template(
    WORDS,
    {
        "task": "translation",
        "statement": Words(
            "A guest and a host who share no language settle the small things of a day.", "语言不通的客人与主人，也能说定一天里的小事。"
        ),
        "audience": Words("small hotels, ferries and town halls without an interpreter", "没有口译的小旅馆、渡船与镇公所"),
        "north_star": "chrf",
        "values": [
            Words("Plain and complete beats elegant.", "平实完整，胜过文采。"),
            Words("Our own words for our own things, always the same.", "自家的东西用自家的叫法，始终一致。"),
        ],
        "red_lines": [
            Words("It translates no contract, no medicine and nothing said to the police.", "不翻译合同、用药说明，以及对警方的陈述。"),
            Words("What people say to each other is not kept.", "绝不保存人们的对话。"),
            Words("It is never presented as a person's translation.", "绝不把译文说成出自人手。"),
        ],
        "options": {"source": "en", "target": "zh", "both_directions": True, "beams": 2},
        "data": {**SPLIT_DATA, "vocabulary": 700, "too_long": "drop"},
        "model": {"size": "tiny", "context": 96, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 200_000, "batch_tokens": 1024},
        "targets": [
            {
                "metric": "chrf",
                "at_least": 45.0,
                "why": Words(
                    "both ways, on new sentences of known words; what lies outside of them is not translated well",
                    "中英互译，句子是新的、词是学过的；超出这些词就译不好",
                ),
            },
            {
                "metric": "latency_ms_p95", "at_most": 2000, "unit": "ms",
                "why": Words("read before the guest has turned away", "客人转身之前已能读到"),
            },
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs on the computer at the desk", "在前台的电脑上运行"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

PATTERNS = """
{who} {did} {thing} {when}. | {who}{when}{did}{thing}。
{who} came to {place} {when}. | {who}{when}来到{place}。
{place} is {where}. | {place}在{where}。
The {vehicle} to {town} leaves at {hour}. | 去{town}的{vehicle}{hour}出发。
The {vehicle} to {town} is full {day}. | {day}去{town}的{vehicle}满员了。
Please bring {thing} to {place}. | 请把{thing}拿到{place}。
Is there a {vehicle} from {place} to {town} {day}? | {day}有从{place}到{town}的{vehicle}吗？
Have you seen {thing}? It was {where}. | 您看见{thing}了吗？它本来在{where}。
{place} opens at {hour} {day}. | {place}{day}{hour}开门。
Could you keep {thing} for me until {hour}? | 您能替我保管{thing}到{hour}吗？
"""

FILLERS = """
# who
I | 我
we | 我们
my sister | 我姐姐
the teacher | 老师
our neighbour | 我们的邻居
the doctor | 医生
two friends | 两个朋友
the cook | 厨师

# did
bought | 买了
lost | 丢了
found | 找到了
borrowed | 借了
sold | 卖了
brought | 带来了
wanted | 想要
saw | 看见了

# thing
the key | 钥匙
a ticket | 一张票
the red umbrella | 那把红雨伞
the bread | 面包
the map | 地图
a letter | 一封信
the old bicycle | 那辆旧自行车
a blue coat | 一件蓝外套
the newspaper | 报纸
the lamp | 台灯
my suitcase | 我的箱子
a warm blanket | 一条厚毯子

# when
yesterday | 昨天
this morning | 今天早上
on Monday | 周一
last week | 上周
an hour ago | 一小时前
in winter | 冬天

# place
the station | 车站
the library | 图书馆
the market | 市场
the school | 学校
the post office | 邮局
the harbour | 港口
the museum | 博物馆
the bakery | 面包店

# where
behind the church | 教堂后面
next to the bridge | 桥旁边
below the stairs | 楼梯下面
in front of the tower | 塔楼前面
near the river | 河边
on the left | 左边

# vehicle
train | 火车
bus | 公交车
ferry | 渡船

# town
Alder | 桤镇
Wick | 灯芯镇
Port Lee | 李港
Dove Hill | 鸽岭
Low Fen | 低田

# hour
six | 六点
half past seven | 七点半
nine | 九点
noon | 中午
four | 四点
midnight | 半夜

# day
today | 今天
tomorrow | 明天
on Sunday | 周日
on Friday | 周五
"""
