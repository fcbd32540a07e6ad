"""Tutor: answers a pupil with the question that leads on, and keeps the solution for the pupil to find. The sample is of school science.

A hint is right where it holds the word that it is about, ends with a question, and lacks the word that would give the solution away: the
rules of the validation and test records ask for these three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...contracts.language import Words
from ...contracts.randomness import generator
from ..grammar import SPLIT_DATA, SPLITS, Split, blocks, pair, said, written
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Tutor: leads a pupil on with the next question, and keeps the solution for them to find.",
    "辅导老师：用下一个问题引导学生，把答案留给学生自己发现。",
)

COPIES: Mapping[Split, int] = {"train": 6, "validation": 2, "test": 2}


def files() -> dict[str, str]:
    """What a pupil says, begun in several ways, with the question that leads on."""
    random, slots = generator(0, "template", "tutor"), blocks(FILLERS)
    records: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for heading, (solution, hint, *sentences) in blocks(LESSONS).items():
        for split, language, sentence in said(sentences, slots, COPIES, random):
            messages = [{"role": "user", "content": sentence}, {"role": "assistant", "content": hint.in_language(language)}]
            rules = [
                {"rule": "contains", "texts": [pair(heading).in_language(language)]},
                {"rule": "lacks", "texts": [solution.in_language(language)]},
                {"rule": "ends", "with": "?" if language == "en" else "？"},
            ]
            records[split].append({"messages": messages, **({} if split == "train" else {"rules": rules})})
    return written(records)


TEMPLATE = Template(
    WORDS,
    {
        "task": "chat",
        "statement": Words(
            "A pupil who is stuck gets the question that leads on, and has found the answer alone.",
            "卡住的学生得到下一个问题，答案由自己找到。",
        ),
        "audience": Words("pupils of ten to thirteen, and the teachers who see what was asked", "十到十三岁的学生，以及能看到提问的老师"),
        "north_star": "rules_kept",
        "values": [
            Words("The joy of finding it is the pupil's.", "发现的快乐属于学生。"),
            Words("A mistake is where a lesson begins, and is never shamed.", "错误是学习的起点，绝不取笑。"),
        ],
        "red_lines": [
            Words("It gives no marks, and nothing that a pupil says to it counts towards one.", "不打分，学生对它说的话绝不计入成绩。"),
            Words(
                "What children write is not kept, sold or learnt from without their parents' leave.",
                "未经家长同意，绝不保存、出售孩子写的内容，也不用于训练。",
            ),
            Words(
                "It speaks of school, and sends every other trouble to a person whom the child trusts.",
                "只谈功课，其他难处请孩子去找信任的大人。",
            ),
            Words("It is checked by a teacher before a class uses it: hints can be wrong.", "提示可能出错：班级使用前先由老师检查。"),
        ],
        "data": {**SPLIT_DATA, "vocabulary": 900},
        "model": {"size": "tiny", "context": 160, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 250_000, "batch_tokens": 1024, "dropout": 0.1},
        "targets": [
            {
                "metric": "rules_kept",
                "at_least": 0.5,
                "why": Words(
                    "the hint is about what the pupil said in new words, asks, and does not give the solution away",
                    "学生换了说法，提示仍然对题、以提问结尾，而且不泄露答案",
                ),
            },
            {
                "metric": "latency_ms_p95", "at_most": 3000, "unit": "ms",
                "why": Words("a child waits no longer", "孩子不会等更久"),
            },
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs in the school, on an old computer", "在学校的旧电脑上运行"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# What the hint must speak of, what it must not give away, the hint, and what pupils say.
LESSONS = """
# feather | 羽毛
air resistance | 空气阻力
Drop a sheet of paper and the same sheet as a ball: what slows a feather down? | 扔一张纸，再把它团成球扔下：羽毛是被什么拖慢的？
Heavy things fall faster. | 重的东西落得快。
Why does a stone fall faster than a leaf? | 石头为什么比树叶落得快？
A hammer falls before a leaf, so weight counts. | 锤子比树叶先落地，所以跟重量有关。
Do heavy things always fall first? | 重的东西总是先落地吗？
Which falls faster, a stone or paper? | 石头和纸哪个落得快？
Light things fall slowly. | 轻的东西落得慢。
I think a heavy ball falls faster than a light one. | 我觉得重球比轻球落得快。
Does a stone fall faster because it is heavy? | 石头落得快是因为重吗？
Everything heavy falls fast. | 凡是重的都落得快。
Why do leaves fall slowly? | 树叶为什么落得慢？

# water | 水
density | 密度
How much water would a solid ball of the ship's size push away, and how much does the ship? | 和船一样大的实心球会排开多少水？船又排开多少？
Why does a ship of iron float? | 铁做的船为什么会浮？
Iron sinks, so ships must be made of wood. | 铁会沉，所以船一定是木头做的。
Heavy things sink and light things float. | 重的沉，轻的浮。
Why does a nail sink and a ship float? | 为什么钉子沉、船浮？
A ship floats because it moves. | 船会浮是因为它在动。
How can a heavy ship float? | 那么重的船怎么会浮？
Ships float because the sea is deep. | 船会浮是因为海很深。
Why does iron swim as a ship? | 铁做成船为什么能浮？
I think big things float. | 我觉得大的东西会浮。
Why do ships not sink? | 船为什么不沉？

# south | 南半球
tilt | 倾斜
When it is winter here, what season is it in the south? | 我们过冬的时候，南半球是什么季节？
Summer is when the earth is near the sun. | 夏天是因为地球离太阳近。
Why is it cold in winter? | 冬天为什么冷？
In winter the sun is further away. | 冬天太阳离得更远。
Why are there seasons? | 为什么有四季？
Is the sun hotter in summer? | 夏天太阳更热吗？
Winter comes because of the distance to the sun. | 冬天是离太阳远造成的。
Why is summer warm and winter cold? | 为什么夏天热、冬天冷？
Where do the seasons come from? | 四季是怎么来的？
The sun is far away in winter. | 冬天太阳离得远。
Why does summer come? | 夏天为什么会来？

# lamp | 台灯
sunlight | 阳光
Hold a ball beside a lamp and walk around it: which part of it is bright? | 在台灯旁举一个球，绕着它走：哪一部分是亮的？
The shadow of the earth makes the half moon. | 半月是地球的影子造成的。
Why is the moon sometimes half? | 月亮为什么有时只有一半？
Clouds hide a part of the moon. | 云遮住了一部分月亮。
Why does the moon change its shape? | 月亮为什么会变形？
Where does the rest of the moon go? | 月亮的另一部分去哪了？
The moon gets smaller every day. | 月亮每天都在变小。
Why is there a new moon? | 为什么有新月？
Does the earth shade the moon each month? | 地球每个月都挡住月亮吗？
Why is the moon round and then thin? | 月亮为什么先圆后弯？
A half moon is half in the shadow of the earth. | 半个月亮在地球的影子里。

# weigh | 称
carbon | 碳
If you weigh the earth in the pot before and after, what does that tell you? | 把花盆里的土在种树前后都称一称，你会看出什么？
Plants eat earth. | 植物吃土。
Where does the wood of a tree come from? | 树的木头是从哪来的？
A tree takes its weight out of the soil. | 树的重量来自土壤。
What do plants live on? | 植物靠什么生活？
Plants grow because they eat soil. | 植物吃土才长大。
How does a seed become a heavy tree? | 种子怎么长成大树？
The roots suck the tree out of the earth. | 树是根从土里吸出来的。
Do plants eat the soil? | 植物吃土吗？
What is a tree made from? | 树是用什么长成的？
Trees are made of soil. | 树是土变的。

# same size | 一样大
common denominator | 公分母
A pie in halves and a pie in thirds: how do you cut both into the same size? | 一个饼切两块，一个切三块：怎样都切成一样大？
A half plus a third is two fifths. | 二分之一加三分之一等于五分之二。
How do I add fractions? | 分数怎么加？
I add the tops and I add the bottoms. | 我把上面相加，下面也相加。
What is one half plus one third? | 二分之一加三分之一是多少？
Can I add the lower numbers of fractions? | 分数下面的数能相加吗？
One third and one half make two fifths. | 三分之一和二分之一加起来是五分之二。
Why can I not add the bottoms of fractions? | 为什么分数的下面不能相加？
How are a half and a third added? | 一半和三分之一怎么加？
I added the fractions top and bottom. | 我把分数上下都加了。
Fractions are added like numbers. | 分数像整数一样相加。

# bulb | 灯泡
closed circuit | 闭合回路
Trace the way with your finger from the battery to the bulb: where does it come back? | 用手指从电池走到灯泡：这条路从哪里回来？
One wire is enough for a lamp. | 一根电线就够点灯了。
Why does my lamp not light with one wire? | 一根电线为什么灯不亮？
The battery is used up by the lamp. | 电池的电被灯用光了。
The lamp stays dark although the wire touches it. | 电线碰到了，灯还是不亮。
Why are two wires needed? | 为什么要两根电线？
Electricity flows into the lamp and stays there. | 电流进灯里就留在那里了。
My lamp does not light at the battery. | 我的灯接上电池不亮。
Is one wire to the lamp not enough? | 灯接一根电线还不够吗？
The wire touches the battery, and it is dark. | 电线碰着电池，可还是暗的。
Why must the wire go back to the battery? | 电线为什么要接回电池？

# cold glass | 冷玻璃杯
condens | 凝结
Could a cold glass get wet on its outside in a bag without air? | 冷玻璃杯放在没有空气的袋子里，外面还会湿吗？
The glass sweats because water comes through it. | 杯子出汗是因为水渗出来了。
Why is my cold bottle wet outside? | 冰瓶子外面为什么是湿的？
Water leaks through the bottle. | 水从瓶子里漏出来了。
Where do the drops on the cold can come from? | 冰罐上的水珠是哪来的？
The drops come out of the bottle. | 水珠是从瓶子里出来的。
Why is the window wet in the morning? | 早上窗户为什么是湿的？
My glass of ice is leaking. | 我的冰水杯漏水。
Why do drops sit on a cold can? | 冰罐外面为什么有水珠？
The ice goes through the glass. | 冰穿过了杯子。
Why do cold bottles get wet? | 冰瓶子为什么会湿？
"""

FILLERS = """
# opening
|
I think: | 我想，
Hm. | 嗯，
Please help! | 请帮帮我！
We had this in school. | 这是学校学的，
My homework says: | 作业里说，
"""
