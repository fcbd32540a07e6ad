"""Document answers: answers a question with the very words of a handbook, or says that it does not stand there.

The sample is of a town hall's services. What judges is said in other sentences, of other sums, hours and people, than what is learnt from;
some of it lies in `documents/`, too, for `lodestar index` and `lodestar ask`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...contracts.language import Language, Words
from ...contracts.randomness import generator
from ..grammar import LANGUAGES, SPLIT_DATA, SPLITS, Split, blocks, dealt, filled, joined, one, written
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Document answers: answers with the very words of your documents, or says that they do not stand there.",
    "文档问答：用文档里的原话回答；文档没写，就如实说明。",
)

TEXTS: Mapping[Split, int] = {"train": 150, "validation": 20, "test": 30}
"""In each language."""


class Text(NamedTuple):
    """What is said of a service, and what may be asked about it."""

    service: Words
    said: str
    asked: Sequence[tuple[str, list[str]]]
    """Questions with their answers: three that the text has, and one that it has not."""


def files() -> dict[str, str]:
    """Questions on short texts, and of the test split's texts one of each service as a document."""
    records: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    documents: dict[str, str] = {}
    for split in SPLITS:
        for language in LANGUAGES:
            for text in texts(split, language):
                records[split] += [{"question": question, "context": text.said, "answers": answers} for question, answers in text.asked]
                if split == "test":
                    name = text.service.en.partition(" ")[2].replace(" ", "-")
                    documents.setdefault(f"documents/{name}-{language}.md", f"{text.said}\n")
    return written(records) | documents


def texts(split: Split, language: Language) -> Iterator[Text]:
    """Texts of three sentences: the price first, which names the service; then two of the three other facts."""
    random = generator(0, "template", "document-answers", split, language)
    names, sentences, questions = blocks(NAMES), blocks(SENTENCES), blocks(QUESTIONS)
    chinese = language == "zh"
    for _ in range(TEXTS[split]):
        service = one(names["service"], random)
        first, last = (one(dealt(names[name], split), random).in_language(language) for name in ("first", "last"))
        money, days, room = (one(dealt(numbers, split), random) for numbers in (range(3, 90), range(2, 20), range(101, 399)))
        values = {
            "money": f"{money}元" if chinese else f"{money} crowns",
            "person": f"{last}{first}" if chinese else f"{first} {last}",
            "time": f"{days}天" if chinese else f"{days} days",
            "room": str(room),
        }
        slots = {"service": service, **{name: Words(value, value) for name, value in values.items()}}
        present = ["money", *(("person", "time", "room")[place] for place in random.permutation(3)[:2])]
        asked = [
            (filled(one(questions[fact], random).in_language(language), slots, language), [values[fact]] if fact in present else [])
            for fact in values
        ]
        told = [filled(one(dealt(sentences[fact], split), random).in_language(language), slots, language) for fact in present]
        yield Text(service, joined(language, told), asked)


TEMPLATE = Template(
    WORDS,
    {
        "task": "question-answering",
        "statement": Words(
            "A question to our handbook is answered in its own words, with the place where they stand, or not at all.",
            "问我们的手册，得到的是手册原话和出处；没有就不答。",
        ),
        "audience": Words("a front office that looks up the same things all day", "整天翻查同样内容的前台"),
        "north_star": "answer_f1",
        "values": [
            Words("No answer is better than a wrong one.", "宁可不答，不可答错。"),
            Words("Every answer can be looked up where it stands.", "每个回答都能查到出处。"),
        ],
        "red_lines": [
            Words("It never answers from anything but the documents.", "除文档之外，绝不据他物作答。"),
            Words("It decides on nobody's application.", "绝不裁定任何人的申请。"),
            Words("It reads no document that the person who asks may not read.", "提问者无权阅读的文档，它也不读。"),
        ],
        "data": {**SPLIT_DATA, "vocabulary": 600},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 400_000, "batch_tokens": 1024},
        "targets": [
            {
                "metric": "answer_f1",
                "at_least": 0.5,
                "why": Words(
                    "on texts whose sentences, sums and names are new; a quarter of the questions have no answer",
                    "文本的句式、金额与人名都是新的；四分之一的问题没有答案",
                ),
            },
            {
                "metric": "no_answer_accuracy",
                "at_least": 0.3,
                "why": Words("an invented answer costs more trust than none", "编造的回答比没有回答更失信"),
            },
            {"metric": "latency_ms_p95", "at_most": 500, "unit": "ms", "why": Words("asked while somebody waits", "有人等着时询问")},
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("the documents stay in the house", "文档不出门"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# How each fact may be told, of which a fifth judges; how it may be asked for; and what of.
SENTENCES = """
# money
{service} costs {money}. | {service}收费{money}。
The fee for {service} is {money}. | 办理{service}的费用是{money}。
For {service} you pay {money}. | {service}需付{money}。
We charge {money} for {service}. | {service}我们收{money}。
The price of {service} is {money}. | {service}的价格为{money}。
{service} is to be had for {money}. | {service}只需{money}。
Bring {money} for {service}. | 办{service}请带{money}。
The cost of {service} is {money}. | {service}工本费{money}。
{money} is the fee for {service}. | {service}要交{money}。
{service} comes at a price of {money}. | {service}定价{money}。

# person
It is issued by {person}. | 由{person}负责办理。
{person} is in charge of it. | 负责人是{person}。
Please turn to {person}. | 请找{person}。
The person to ask is {person}. | 经办人为{person}。
It is handled by {person}. | 此事由{person}处理。
Ask for {person}. | 请联系{person}。
Your contact is {person}. | 联系人：{person}。
{person} issues it. | 由{person}签发。
The clerk is {person}. | 办事员是{person}。
{person} will help you. | {person}会为您办理。

# time
It takes {time}. | 需要{time}。
You have it after {time}. | {time}后可取。
We need {time} for it. | 办理时间为{time}。
Allow {time}. | 请预留{time}。
It is ready within {time}. | {time}内办好。
Count on {time}. | 约需{time}。
It is done in {time}. | {time}即可办妥。
You wait {time}. | 要等{time}。
It takes us {time} to make it. | 制作需{time}。
After {time} it is ready. | {time}之后办好。

# room
The counter is in room {room}. | 柜台在{room}室。
Come to room {room}. | 请到{room}室。
You find us in room {room}. | 办公地点是{room}室。
It is given out in room {room}. | 在{room}室领取。
Go to room {room}. | 请前往{room}室。
Please knock at room {room}. | 请敲{room}室的门。
Room {room} is the place. | 地点：{room}室。
It is kept in room {room}. | 存放在{room}室。
We sit in room {room}. | 我们在{room}室。
The office is room {room}. | 办公室是{room}室。
"""

QUESTIONS = """
# money
How much does {service} cost? | {service}多少钱？
What is the fee for {service}? | {service}的费用是多少？
What do I pay for {service}? | {service}要付多少钱？
What is the price of {service}? | {service}的价格是多少？

# person
Who is in charge of {service}? | {service}由谁负责？
Who handles {service}? | {service}找谁办？
Whom do I ask about {service}? | {service}的负责人是谁？
Who issues {service}? | 谁办理{service}？

# time
How long does {service} take? | {service}要多久？
How long do I wait for {service}? | {service}要等多长时间？
When is {service} ready? | {service}多久办好？
How long is needed for {service}? | {service}需要多长时间？

# room
Which room is it for {service}? | {service}在几室办？
In which room do I get {service}? | 办{service}去几室？
Which room gives out {service}? | {service}是哪个室？
What room do I go to for {service}? | {service}在哪个室领？
"""

NAMES = """
# service
a parking permit | 停车证
a library card | 借书证
a fishing licence | 钓鱼证
a dog tag | 犬牌
a passport | 护照
a market stall | 市场摊位
a garden plot | 菜园地块
a birth certificate | 出生证明
a bus pass | 公交卡
a boat mooring | 泊船位

# first
Nora | 海
Tom | 青
Ida | 宁
Jan | 山
Ruth | 云
Otto | 明
Amy | 雨
Paul | 林
Kate | 安
Leo | 乐
Mona | 岚
Finn | 峰
Gwen | 雯
Hugo | 昊
Iris | 晴

# last
Finch | 林
Reed | 陈
Moss | 王
Boer | 李
Hale | 赵
Lang | 孙
Stone | 周
Grey | 吴
Marsh | 郑
Park | 冯
Dale | 褚
Frost | 卫
Holt | 蒋
Ives | 沈
Jute | 韩
"""
