"""Support classifier: each message of a shop's customers to the desk that answers it."""

from __future__ import annotations

from collections.abc import Mapping

from ...contracts.language import Words
from ...contracts.randomness import generator
from ..grammar import SPLIT_DATA, SPLITS, Split, dealt, fillings, slots_of, written
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Support classifier: sends each customer's message to the desk that answers it.", "客服分类：把每条顾客消息送到该答复的那一组。"
)

# A desk → what is written to it, in English and in Chinese.
MESSAGES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "delivery": (
        (
            "Where is my parcel with the {item}?",
            "The {item} should have arrived on {day} and it has not.",
            "Has my order {number} been shipped yet?",
            "When will the parcel with the {item} arrive?",
            "The courier says the parcel was delivered, but nothing is here.",
            "Can you track order {number} for me?",
            "My parcel has been on its way since {day}.",
            "The tracking page of order {number} has not changed since {day}.",
            "Has the {item} left your warehouse?",
            "The courier did not find my door; when will he come again?",
            "How long does delivery of a {item} take?",
            "I am still waiting for the parcel with order {number}.",
            "Please deliver the {item} on {day} instead.",
            "The parcel went to the wrong address.",
            "Is order {number} shipped in one parcel or in two?",
        ),
        (
            "我的{item}的包裹到哪里了？",
            "{item}本该{day}送到，现在还没到。",
            "订单{number}发货了吗？",
            "装{item}的包裹什么时候能到？",
            "快递说已经送达，可我没收到包裹。",
            "请帮我查一下订单{number}的物流。",
            "我的包裹从{day}起就一直在路上。",
            "订单{number}的物流从{day}起就没更新过。",
            "{item}从仓库发货了吗？",
            "快递员没找到我家，什么时候再送？",
            "{item}的快递要几天送到？",
            "订单{number}的包裹我还没等到。",
            "请把{item}改到{day}送货。",
            "包裹送错地址了。",
            "订单{number}是分一个包裹还是两个包裹发货？",
        ),
    ),
    "refund": (
        (
            "I sent the {item} back and want my money.",
            "When do I get the refund for order {number}?",
            "Please refund the {item}.",
            "The refund you promised on {day} is not on my account.",
            "I would like my money back for the {item}.",
            "You refunded less than I paid for the {item}.",
            "How long does a refund take?",
            "I returned order {number} on {day}; where is my money?",
            "Can I have the money back rather than a voucher?",
            "The {item} was cancelled, but not refunded.",
            "I was told of a refund, and no money has come.",
            "Do you refund the postage as well?",
            "Please pay back what I paid for order {number}.",
            "My money for the returned {item} has not come back.",
            "Is the refund for the {item} paid to my card?",
        ),
        (
            "{item}我已经寄回，请退钱。",
            "订单{number}的退款什么时候到账？",
            "请给{item}退款。",
            "你们{day}答应的退款还没到账。",
            "我想要{item}的退款。",
            "{item}的退款比我付的钱少。",
            "退款要多久？",
            "订单{number}我{day}就退货了，钱呢？",
            "能退钱，不要代金券吗？",
            "{item}取消了，却没有退款。",
            "说好退款，钱一直没退。",
            "运费也能退款吗？",
            "请把订单{number}的钱退给我。",
            "退回的{item}，钱还没退回来。",
            "{item}的退款是退到我的卡上吗？",
        ),
    ),
    "exchange": (
        (
            "The {item} is too small; can I have a larger one?",
            "The {item} arrived broken, please send a new one.",
            "I got the wrong colour of {item}.",
            "Can I exchange the {item} for another size?",
            "You sent me the wrong {item}.",
            "The {item} has a crack; I would like another.",
            "Please exchange order {number} for the blue one.",
            "The {item} does not fit, I need it one size larger.",
            "A part of the {item} is missing.",
            "I ordered a red {item} and got a green one.",
            "The {item} broke on {day}; is there a replacement?",
            "Can you replace the damaged {item}?",
            "The wrong size came with order {number}.",
            "I want to swap the {item} for another colour.",
            "The {item} came with a scratch, please replace it.",
        ),
        (
            "{item}太小了，能换大一号吗？",
            "{item}送来就是坏的，请换一个新的。",
            "{item}的颜色发错了。",
            "{item}能换别的尺码吗？",
            "你们发错了{item}。",
            "{item}有裂缝，我想换一个。",
            "订单{number}请换成蓝色的。",
            "{item}不合适，要换大一号。",
            "{item}少了一个零件。",
            "我要的是红色{item}，发来的是绿色。",
            "{item}{day}坏了，能换新的吗？",
            "坏掉的{item}能换吗？",
            "订单{number}的尺码发错了。",
            "我想把{item}换个颜色。",
            "{item}上有划痕，请换一个。",
        ),
    ),
    "payment": (
        (
            "I was charged twice for the {item}.",
            "My card was refused when I paid for the {item}.",
            "Please send me the invoice for order {number}.",
            "Can I pay by bank transfer?",
            "The invoice for order {number} has the wrong name.",
            "The payment for the {item} failed on {day}.",
            "Why was my card charged on {day}?",
            "Which cards can I pay with?",
            "I paid, and the order still says unpaid.",
            "Can I pay for the {item} in instalments?",
            "There is a charge on my card that I do not know.",
            "The invoice for the {item} never came.",
            "My payment of order {number} was charged twice.",
            "Is it safe to pay by card?",
            "Please put our company on the invoice for the {item}.",
        ),
        (
            "买{item}扣了我两次钱。",
            "付{item}的钱时卡被拒了。",
            "请开订单{number}的发票。",
            "可以银行转账付款吗？",
            "订单{number}的发票抬头错了。",
            "{item}{day}付款失败。",
            "{day}为什么扣了我的卡？",
            "可以用哪些卡付款？",
            "我付款了，订单还显示未付款。",
            "{item}可以分期付款吗？",
            "我的卡上有一笔不明扣款。",
            "{item}的发票一直没收到。",
            "订单{number}重复扣款了。",
            "刷卡付款安全吗？",
            "{item}的发票请开公司抬头。",
        ),
    ),
    "account": (
        (
            "I forgot my password.",
            "I cannot log in since {day}.",
            "Please delete my account.",
            "How do I change the email address of my account?",
            "The link to reset my password does not work.",
            "My account is locked.",
            "I want to change my password.",
            "Somebody else has logged in to my account.",
            "The log-in page says my email is unknown.",
            "Why was my account locked on {day}?",
            "How do I change the name in my account?",
            "I never got the email to confirm my account.",
            "The password that you sent does not log me in.",
            "Can I have two accounts with one email address?",
            "Please unlock my account, I need to log in.",
        ),
        (
            "我忘了密码。",
            "从{day}起我就登录不了。",
            "请注销我的账号。",
            "账号的邮箱怎么改？",
            "重设密码的链接打不开。",
            "我的账号被锁了。",
            "我想改密码。",
            "有人登录了我的账号。",
            "登录页面说我的邮箱不存在。",
            "我的账号{day}为什么被锁？",
            "账号里的名字怎么改？",
            "确认账号的邮件一直没收到。",
            "用你们发的密码登录不了。",
            "一个邮箱能注册两个账号吗？",
            "请解锁我的账号，我要登录。",
        ),
    ),
    "product": (
        (
            "Is the {item} waterproof?",
            "Which size of {item} should I take?",
            "How heavy is the {item}?",
            "What is the {item} made of?",
            "Will the {item} be in stock again?",
            "Does the {item} come with a manual?",
            "How do I wash the {item}?",
            "Is the {item} suitable for children?",
            "How large is the {item}?",
            "Do you have the {item} in blue?",
            "What colours are there of the {item}?",
            "Is the {item} made of wool?",
            "How is the {item} used?",
            "Is there a larger {item} in stock?",
            "Is the {item} heavy to carry?",
        ),
        (
            "{item}防水吗？",
            "{item}我该选什么尺码？",
            "{item}有多重？",
            "{item}是什么材料做的？",
            "{item}还会有货吗？",
            "{item}带说明书吗？",
            "{item}怎么洗？",
            "{item}适合孩子用吗？",
            "{item}有多大？",
            "{item}有蓝色的吗？",
            "{item}有哪些颜色？",
            "{item}是羊毛做的吗？",
            "{item}怎么用？",
            "有大一点的{item}吗？还有货吗？",
            "{item}拿着重吗？",
        ),
    ),
}
ITEMS = Words(
    "jacket|tent|lamp|kettle|backpack|blanket|pair of boots|desk chair|radio|bicycle pump",
    "外套|帐篷|台灯|水壶|背包|毯子|靴子|办公椅|收音机|打气筒",
)
DAYS = Words("Monday|Tuesday|Wednesday|Thursday|Friday", "周一|周二|周三|周四|周五")
OPENINGS = Words("|Hello. |Hi, a question. |Good morning! |Dear team, once more: ", "|您好，|你好！|请问一下，|打扰了，")
COPIES: Mapping[Split, int] = {"train": 6, "validation": 2, "test": 2}


def files() -> dict[str, str]:
    """Each message with its desk, filled in several ways."""
    random = generator(0, "template", "support-classifier")
    records: dict[Split, list[dict[str, str]]] = {split: [] for split in SPLITS}
    for label, both in MESSAGES.items():
        for language, messages in zip(("en", "zh"), both, strict=True):
            words = {"item": ITEMS, "day": DAYS, "opening": OPENINGS}
            slots = {name: getattr(each, language).split("|") for name, each in words.items()}
            slots["number"] = [str(number) for number in range(4120, 4990, 37)]
            for split, message in dealt(messages):
                pattern = "{opening}" + message
                for values in fillings(slots_of(pattern), slots, COPIES[split], random):
                    records[split].append({"text": pattern.format(**values), "label": label})
    return written(records)


TEMPLATE = Template(
    WORDS,
    {
        "task": "classification",
        "statement": Words(
            "Every message of a customer, in English or Chinese, is on the right desk before anybody has read it.",
            "每条顾客消息，不论中文英文，无需有人先读，就已送到对的那一组。",
        ),
        "audience": Words("a shop whose support shares one inbox", "全体客服共用一个收件箱的商店"),
        "north_star": "f1",
        "values": [
            Words("A customer is never sent in circles: in doubt a person reads the message.", "不让顾客来回转：拿不准就由人来读。"),
            Words("The rare desk counts as much as the busy one.", "冷门的组与繁忙的组同等重要。"),
        ],
        "red_lines": [
            Words("It never answers a customer: it sorts, and people answer.", "绝不代人答复顾客：它只分拣，由人来答。"),
            Words("It is never used to rank customers or staff.", "绝不用于给顾客或员工排名。"),
        ],
        "options": {"ngrams": True},
        "data": {**SPLIT_DATA, "vocabulary": 800},
        "model": {"size": "tiny", "context": 96, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 150_000, "batch_tokens": 2048},
        "targets": [
            {
                "metric": "f1",
                "at_least": 0.6,
                "why": Words("each desk counts alike, on messages in words of their own", "各组同等计分，且测试消息另有说法"),
            },
            {"metric": "latency_ms_p95", "at_most": 200, "unit": "ms", "why": Words("sorted while it arrives", "消息到达即分好")},
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
