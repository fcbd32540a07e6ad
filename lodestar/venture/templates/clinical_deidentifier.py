"""Clinical notes de-identifier: points at names, dates, telephone numbers, places and numbers in a note, for a person to take out.

It is a task of finding words, not of writing them: what a note says of the patient's health is never touched. A kind of identifier is
asked for by its name, what is found is masked, and the same is asked again, until there is no more; so the records are notes with the
earlier finds masked. In test there is always one to find: there `exact_match` is recall.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...contracts.language import Language, Words
from ...contracts.randomness import generator
from ..grammar import LANGUAGES, SPLIT_DATA, SPLITS, Split, blocks, dealt, joined, one, slots_of, written
from . import BUDGET, SAMPLE_LICENCE, Template

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

WORDS = Words(
    "Clinical notes de-identifier: points at names, dates, numbers and places for a person to take out. No medical device; it misses some.",
    "病历去标识：指出姓名、日期、号码与地点，由人删去。不是医疗器械，会有遗漏。",
)

KINDS: Mapping[str, Words] = {
    "name": Words("name", "姓名"),
    "date": Words("date", "日期"),
    "phone": Words("telephone", "电话"),
    "place": Words("place", "地点"),
    "number": Words("number", "编号"),
}
"""What can be asked for, in this order; a found one is masked by its word in brackets."""
NOTES: Mapping[Split, int] = {"train": 400, "validation": 40, "test": 40}
"""In each language."""
IN_VAIN: Mapping[Split, float] = {"train": 0.3, "validation": 0.3, "test": 0.0}
"""How often a kind is asked for once more when there is none left. The more often, the sooner the model says that there is none."""
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")


class Note(NamedTuple):
    """A note, with its identifiers from left to right: the kind's word, and the identifier as it stands there."""

    text: str
    identifiers: Sequence[tuple[str, str]]
    clean: str
    """The sentence of it that points at nobody."""


def files() -> dict[str, str]:
    """The records of each split; its names, places, dates and numbers stand in no other, and neither does any sentence."""
    records: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    random = generator(0, "template", "clinical-deidentifier")
    for split in SPLITS:
        for language in LANGUAGES:
            for note in notes(split, language):
                records[split] += questions(note, language, random.random(len(KINDS)) < IN_VAIN[split])
    return written(records)


def notes(split: Split, language: Language) -> Iterator[Note]:
    """Notes of three sentences, of which the one in the middle points at nobody."""
    random = generator(0, "template", "clinical-deidentifier", split, language)
    sentences, parts = blocks(SENTENCES), blocks(PARTS)
    clean = dealt(sentences["clean"], split)
    for _ in range(NOTES[split]):
        first, last = (sentences["identifying"][place] for place in random.permutation(len(sentences["identifying"]))[:2])
        told, found = [], []
        middle = one(clean, random)
        for words in (first, middle, last):
            pattern = words.in_language(language)
            values = {slot: _identifier(slot.partition("_")[0], language, split, parts, random) for slot in slots_of(pattern)}
            told.append(pattern.format(**values))
            found += [(KINDS[slot.partition("_")[0]].in_language(language), value) for slot, value in values.items()]
        yield Note(joined(language, told), found, middle.in_language(language))


def questions(note: Note, language: Language, vain: Iterable[bool]) -> Iterator[dict[str, Any]]:
    """What is asked of a note: each kind until there is none left, what was found before masked; and where `vain`, once more."""
    text = note.text
    for words, once_more in zip(KINDS.values(), vain, strict=True):
        kind = words.in_language(language)
        left = [value for of, value in note.identifiers if of == kind]
        while left:
            yield {"question": kind, "context": text, "answers": left[:]}
            text = text.replace(left[0], f"[{kind}]", 1)
            left.pop(0)
        if once_more:
            yield {"question": kind, "context": text, "answers": []}


def _identifier(kind: str, language: Language, split: Split, parts: Mapping[str, list[Words]], random: np.random.Generator) -> str:
    """One of the split's own."""

    def own(choices: Sequence[T]) -> T:
        return one(dealt(choices, split), random)

    def made(*names: str) -> str:
        """Of so many parts, in a combination that is the split's own."""
        gap = " " if language == "en" and names[0] == "quarter" else ""
        return gap.join(own(list(product(*([words.in_language(language) for words in parts[name]] for name in names)))))

    chinese = language == "zh"
    if kind == "name":
        surname = one(parts["surname"], random).zh
        return surname + made("given", "given end") if chinese else f"{made('given', 'given end')} {made('family', 'family end')}"
    if kind == "date":
        day, month, year = own(range(1, 29)), random.integers(1, 13), random.integers(2019, 2027)
        if chinese:
            return f"{year}年{month}月{day}日" if random.random() < 0.5 else f"{month}月{day}日"
        return f"{day} {MONTHS[month - 1]} {year}" if random.random() < 0.5 else f"{day}/{month}/{year}"
    if kind == "phone":
        last = own(range(10, 100))
        return f"0571-5550{last}{random.integers(10, 100)}" if chinese else f"0{random.integers(120, 199)} 555 01{last}"
    if kind == "place":
        if random.random() < 0.3:
            return made("quarter", "house")
        street, number = made("quarter", "street"), random.integers(2, 90)
        return f"{street}{number}号" if chinese else f"{number} {street}"
    return f"{own(range(100, 999))}{random.integers(1000, 9999)}" if chinese else f"{own(range(100, 999))}-{random.integers(100, 999)}"


TEMPLATE = Template(
    WORDS,
    {
        "task": "question-answering",
        "statement": Words(
            "What points at a patient in a note is marked for the person who releases it, and nothing else in the note is touched.",
            "病历中指向患者的内容，都标给放行的人看；其余一字不动。",
        ),
        "audience": Words(
            "a hospital's research office, which reads every note before it leaves the house", "医院科研办公室：每份病历外发前都由人读过"
        ),
        "north_star": "exact_match",
        "values": [
            Words(
                "A word that is masked in vain costs a little, and a name that is missed costs a patient.",
                "多遮一个词代价不大，漏掉一个名字却会伤及患者。",
            ),
            Words("The note is copied, never rewritten.", "只标记，不改写病历。"),
        ],
        "red_lines": [
            Words("It is not a medical device, and is never used to diagnose or to treat.", "不是医疗器械，绝不用于诊断或治疗。"),
            Words(
                "It misses identifiers. No note is released that a person has not read from the first word to the last.",
                "它会漏掉标识。未经人从头到尾读过的病历，绝不放行。",
            ),
            Words(
                "A note without names is not anonymous: rare illnesses, jobs and families still point at people.",
                "去掉姓名不等于匿名：罕见病、职业与家庭仍能指认一个人。",
            ),
            Words(
                "The sample's patients are invented. Real notes are learnt from with the leave that the law asks for, in the house.",
                "样本患者纯属虚构。真实病历须依法获准，且只在医院自己的机器上使用。",
            ),
        ],
        "data": {**SPLIT_DATA, "vocabulary": 400},
        "model": {"size": "tiny", "context": 160, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 900_000, "batch_tokens": 1024},
        "targets": [
            {
                "metric": "exact_match",
                "at_least": 0.7,
                "why": Words(
                    "recall: the share of identifiers of unknown people that are found whole, in notes of known forms; what is masked "
                    "in vain is not counted",
                    "即召回率：在已知写法的病历中，陌生人的标识被完整找到的比例；多遮的不计",
                ),
            },
            {
                "metric": "latency_ms_p95", "at_most": 500, "unit": "ms",
                "why": Words("a note is asked some ten times before it is shown", "一份病历显示前约要问十次"),
            },
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs inside the hospital, with no line out", "在院内运行，不连外网"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# Every slot is an identifier of the kind that it is named by; `name_2` is another name.
SENTENCES = """
# identifying
Mrs {name} came in on {date} with a cough that will not go away. | 患者{name}，{date}因久咳不止就诊。
{name} was seen by Dr {name_2} at {place}. | {name}在{place}由{name_2}医生接诊。
The daughter, {name}, can be reached at {phone}. | 可联系其女儿{name}，电话{phone}。
Lives alone at {place} and manages the stairs. | 独居于{place}，可自行上下楼。
Record {number}: seen on {date}, and again on {date_2}. | 病历号{number}：{date}来诊，{date_2}复诊。
Discussed with Mr {name}, who agrees to the plan. | 已与{name}先生沟通，同意该方案。
Please send the letter to Dr {name} at {place}. | 请将信件寄至{place}，{name}医生收。
Call {phone} to confirm the visit on {date}. | 请致电{phone}确认{date}的复诊。
The patient, {name}, has had a fever since {date}. | 患者{name}自{date}起发热。
Sample {number} was taken by nurse {name}. | 样本{number}由护士{name}采集。
Moved here from {place} on {date}. | {date}从{place}迁来。
Dr {name} reviewed the pictures on {date}. | {name}医生于{date}复阅影像。
Next of kin: {name}, telephone {phone}. | 家属：{name}，电话{phone}。
Insurance number {number}, address {place}. | 医保号{number}，住址{place}。
{name} asks us to ring {phone} in the evening. | {name}请我们晚上拨打{phone}。
On {date} the wound was clean, as nurse {name} noted. | {date}伤口清洁，护士{name}记录。
Was first treated at {place} under number {number}. | 最初在{place}治疗，编号{number}。
Mr {name} works at {place} and sits all day. | {name}女士在{place}上班，整日久坐。
The pharmacy at {place} has the prescription {number}. | 处方{number}已送{place}的药房。
Accompanied by a neighbour, {name}, who speaks for the patient. | 由邻居{name}陪同，代为陈述。

# clean
Blood pressure 140 over 90, pulse regular. | 血压140/90，脉搏规整。
No known allergies. | 无已知过敏。
The lungs are clear on both sides. | 双肺呼吸音清。
Takes metformin 500 mg twice a day. | 服用二甲双胍500毫克，每日两次。
Sleeps badly and wakes early. | 睡眠差，早醒。
The left knee is swollen and warm. | 左膝肿胀，皮温高。
Advised to drink more and to rest. | 嘱多饮水，多休息。
Appetite is good, weight is stable. | 食欲好，体重稳定。
The rash has faded since the last visit. | 皮疹较上次消退。
Temperature 37.8, throat red. | 体温37.8度，咽红。
Walks with a stick, no falls. | 拄杖行走，无跌倒。
Pain 4 of 10 on movement, none at rest. | 活动时疼痛4分，静息无痛。
Stop ibuprofen, go on with the drops. | 停用布洛芬，继续滴眼。
The stitches come out in ten days. | 十天后拆线。
Hearing is worse on the right. | 右耳听力下降。
The abdomen is soft and does not hurt. | 腹软，无压痛。
Continue with 20 drops in the evening. | 继续每晚服二十滴。
No fever, no cough, no shortness of breath. | 无发热，无咳嗽，无气促。
The pain is worse when climbing stairs. | 上楼时疼痛加重。
Sugar before breakfast 6.4, after it 8.1. | 空腹血糖6.4，餐后8.1。
The scar is pale and has healed. | 疤痕色淡，已愈合。
Both feet are warm, the pulses can be felt. | 双足温暖，可触及脉搏。
The tablets are taken with food. | 药片随餐服用。
Sees blurred with the left eye. | 左眼视物模糊。
Weight 71 kg, a loss of 2 kg. | 体重71公斤，下降2公斤。
The swelling goes down at night. | 夜间肿胀消退。
Smokes ten cigarettes a day. | 每天吸烟十支。
The heart sounds are normal. | 心音正常。
Reflexes are equal on both sides. | 双侧反射对称。
To come again if the fever returns. | 若再发热请复诊。
"""

# What names of people and places that do not exist are made of. A combination stands in one split alone.
# measured: from a list of 225 names in each language, the model learnt the list; of 116 names of strangers in validation it found 12.
# Of names that are made of parts, and so hardly one twice, it found 64 of 103.
PARTS = """
# given
An | 丽
Ber | 建
Cla | 小
Dor | 志
El | 秀
Fen | 文
Gre | 雨
Hal | 海
Ir | 淑
Jo | 俊
Ka | 晓
Lin | 玉
Mar | 天
Ned | 思
Ol | 美
Pe | 立
Ros | 春
Ste | 佳
Tam | 国
Vi | 桂

# given end
na | 华
to | 国
ra | 芳
dan | 强
sie | 英
vin | 博
len | 欣
mar | 涛
lyn | 珍
rik | 杰
bel | 明
do | 兰

# family
Ab |
Bran |
Cas |
Dor |
Ek |
Far |
Gell |
Hob |
Im |
Jar |
Kel |
Lind |
Mad |
Nov |
Os |
Pick |
Quis |
Row |
San |
Tol |

# family end
bott |
der |
ner |
ley |
holm |
row |
gren |
ak |
ett |
man |

# surname
| 王
| 李
| 张
| 刘
| 陈
| 杨
| 赵
| 黄
| 周
| 吴
| 徐
| 孙
| 胡
| 朱
| 高
| 林
| 何
| 郭
| 马
| 罗

# quarter
Mill | 磨坊
Crab | 蟹湾
Elm | 榆树
Dove | 鸽岭
Quay | 码头
Ash | 白蜡
Bell | 钟楼
Fern | 蕨谷
Gull | 海鸥
Heron | 苍鹭
Ivy | 常春
Kiln | 砖窑
Lark | 云雀
Moss | 苔原
Oak | 橡树
Pond | 池塘
Reed | 芦苇
Salt | 盐场
Tower | 高塔
Well | 泉水

# street
Lane | 路
Street | 街
Road | 巷
Hill | 里
Grove | 道
Yard | 坊

# house
Hospital | 医院
Clinic | 诊所
Surgery | 卫生院
House | 疗养院
Ward | 康复院
"""
