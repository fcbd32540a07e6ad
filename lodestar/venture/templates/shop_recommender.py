"""Shop recommender: what a customer is likely to need next, by what they bought before. The sample is of a small shop for life outdoors.

Customers are drawn from a few interests; what they buy leads to what goes with it, with some chance. So there is something to learn, and
something that nobody could know.
"""

from __future__ import annotations

from datetime import date, timedelta

from ...contracts.language import Words
from ...contracts.randomness import generator
from ..grammar import as_lines, blocks, pair
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Shop recommender: shows what a customer is likely to need next, and because of what.",
    "商店推荐：指出顾客接下来可能需要什么，并说明缘由。",
)

CUSTOMERS = 260
BOUGHT = (4, 11)
"""Purchases of a customer, at least and less than."""
LEADS_ON = 0.75
"""How often a purchase is of the next thing on the shelf of the last one, rather than of any on one of the customer's shelves."""


def files() -> dict[str, str]:
    """Who bought what and when, and what is known of each item."""
    random = generator(0, "template", "shop-recommender")
    shelves = list(blocks(SHELVES).values())
    items = [
        {"item": _name(item), "title": f"{item.en} / {item.zh}", "text": f"{pair(interest).en} {pair(interest).zh}"}
        for interest, shelf in blocks(SHELVES).items()
        for item in shelf
    ]
    bought = []
    for customer in range(CUSTOMERS):
        own = random.permutation(len(shelves))[: 1 + int(random.random() < 0.4)]
        day = date(2025, 1, 2) + timedelta(days=int(random.integers(200)))
        shelf, place = shelves[own[0]], int(random.integers(3))
        for _ in range(random.integers(*BOUGHT)):
            bought.append({"user": f"c{customer:03d}", "item": _name(shelf[place]), "time": day.isoformat()})
            day += timedelta(days=int(random.integers(1, 30)))
            if random.random() < LEADS_ON:
                place = (place + 1) % len(shelf)
            else:
                shelf = shelves[own[random.integers(len(own))]]
                place = int(random.integers(len(shelf)))
    return {"data/choices.jsonl": as_lines(bought), "data/items.jsonl": as_lines(items)}


def _name(item: Words) -> str:
    return item.en.replace(" ", "-")


TEMPLATE = Template(
    WORDS,
    {
        "task": "recommendation",
        "statement": Words(
            "Whoever bought the tent is reminded of the pegs before the trip, and not of another tent.",
            "买了帐篷的人，出发前会被提醒带上地钉，而不是再买一顶帐篷。",
        ),
        "audience": Words("a small shop whose customers come back", "有回头客的小店"),
        "north_star": "hit_rate_at_1",
        "values": [
            Words("Useful to the customer first, and what sells follows.", "先对顾客有用，销量随后自来。"),
            Words("Each suggestion says because of what.", "每条推荐都说明缘由。"),
        ],
        "red_lines": [
            Words("It never guesses at health, faith, love or money of a customer.", "绝不猜测顾客的健康、信仰、感情或财务。"),
            Words("Nobody sees another price because of it.", "绝不因它而看人定价。"),
            Words("Whoever does not want to be remembered is not.", "不愿被记住的人，绝不记录。"),
        ],
        "data": {"sources": ["data/choices.jsonl", "data/items.jsonl"], "validation": 0.1, "test": 0.1},
        "model": {"size": "tiny", "context": 32, "overrides": {"depth": 2, "width": 64}},
        "train": {"tokens": 40_000, "batch_tokens": 512, "learning_rate": 0.005, "dropout": 0.3},
        "targets": [
            {
                "metric": "hit_rate_at_1",
                "at_least": 0.6,
                "why": Words(
                    "the last purchase of each customer, of forty-eight items, is the first one shown; its neighbours alone do worse",
                    "四十八件商品中，排在第一的正是顾客的最后一次购买；只看相邻商品做不到",
                ),
            },
            {"metric": "latency_ms_p95", "at_most": 500, "unit": "ms", "why": Words("asked while a page loads", "在页面加载时询问")},
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs on the shop's own machine", "在商店自己的机器上运行"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# An interest, and what it takes in the order in which it is mostly bought.
SHELVES = """
# camping | 露营
two-person tent | 双人帐篷
sleeping bag | 睡袋
sleeping mat | 防潮垫
camping lamp | 营地灯
tent pegs | 地钉
camping pillow | 充气枕
ground sheet | 地布
repair tape | 修补胶带

# cooking outdoors | 野炊
gas stove | 气炉
gas cartridge | 气罐
pot set | 套锅
folding cup | 折叠杯
spork | 叉勺
water bag | 水袋
wind shield | 挡风板
coffee filter | 咖啡滤杯

# hiking | 徒步
hiking boots | 徒步靴
wool socks | 羊毛袜
walking poles | 登山杖
day pack | 小背包
rain cover | 防雨罩
trail map | 步道地图
blister plasters | 水泡贴
gaiters | 雪套

# cycling | 骑行
bicycle bag | 车包
tyre levers | 撬胎棒
spare tube | 备用内胎
hand pump | 打气筒
rear light | 尾灯
rain cape | 雨披
chain oil | 链条油
bottle cage | 水壶架

# paddling | 划船
paddle | 桨
dry bag | 防水袋
life jacket | 救生衣
boat sponge | 吸水海绵
spray deck | 防浪裙
float rope | 浮绳
water shoes | 溯溪鞋
bilge pump | 手动排水泵

# watching nature | 观察自然
binoculars | 望远镜
bird guide | 鸟类图鉴
notebook | 防水笔记本
folding stool | 折叠凳
magnifier | 放大镜
nest box | 巢箱
seed mix | 鸟食
rain hat | 雨帽
"""
