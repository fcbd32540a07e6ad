"""Support classifier: each message of a shop's customers to the desk that answers it."""

from __future__ import annotations

from collections.abc import Mapping

from ...contracts.language import Words
from ..grammar import SPLIT_DATA, Split, labelled
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Support classifier: sends each customer's message to the desk that answers it.", "客服分类：把每条顾客消息送到该答复的那一组。"
)

COPIES: Mapping[Split, int] = {"train": 6, "validation": 2, "test": 2}


def files() -> dict[str, str]:
    """Each message with its desk, filled in several ways."""
    return labelled("support-classifier", MESSAGES, FILLERS, COPIES)


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
        "train": {"tokens": 80_000, "batch_tokens": 1024},
        "targets": [
            {
                "metric": "f1",
                "at_least": 0.6,
                "why": Words("each desk counts alike, on messages in words of their own", "各组同等计分，且测试消息另有说法"),
            },
            {"metric": "latency_ms_p95", "at_most": 500, "unit": "ms", "why": Words("sorted while it arrives", "消息到达即分好")},
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

# What is written to each desk.
MESSAGES = """
# delivery
Where is my parcel with {item}? | 我的{item}的包裹到哪里了？
{item} should have arrived on {day} and it has not. | {item}本该{day}送到，现在还没到。
Has my order {number} been shipped yet? | 订单{number}发货了吗？
When will the parcel with {item} arrive? | 装{item}的包裹什么时候能到？
The courier says the parcel was delivered, but nothing is here. | 快递说已经送达，可我没收到包裹。
Can you track order {number} for me? | 请帮我查一下订单{number}的物流。
My parcel has been on its way since {day}. | 我的包裹从{day}起就一直在路上。
The tracking page of order {number} has not changed since {day}. | 订单{number}的物流从{day}起就没更新过。
Has {item} left your warehouse? | {item}从仓库发货了吗？
The courier did not find my door; when will he come again? | 快递员没找到我家，什么时候再送？
How long does delivery of {item} take? | {item}的快递要几天送到？
I am still waiting for the parcel with order {number}. | 订单{number}的包裹我还没等到。
Please deliver {item} on {day} instead. | 请把{item}改到{day}送货。
The parcel went to the wrong address. | 包裹送错地址了。
Is order {number} shipped in one parcel or in two? | 订单{number}是分一个包裹还是两个包裹发货？

# refund
I sent {item} back and want my money. | {item}我已经寄回，请退钱。
When do I get the refund for order {number}? | 订单{number}的退款什么时候到账？
Please refund {item}. | 请给{item}退款。
The refund you promised on {day} is not on my account. | 你们{day}答应的退款还没到账。
I would like my money back for {item}. | 我想要{item}的退款。
You refunded less than I paid for {item}. | {item}的退款比我付的钱少。
How long does a refund take? | 退款要多久？
I returned order {number} on {day}; where is my money? | 订单{number}我{day}就退货了，钱呢？
Can I have the money back rather than a voucher? | 能退钱，不要代金券吗？
{item} was cancelled, but not refunded. | {item}取消了，却没有退款。
I was told of a refund, and no money has come. | 说好退款，钱一直没退。
Do you refund the postage as well? | 运费也能退款吗？
Please pay back what I paid for order {number}. | 请把订单{number}的钱退给我。
My money for {item} that I returned has not come back. | 退回的{item}，钱还没退回来。
Is the refund for {item} paid to my card? | {item}的退款是退到我的卡上吗？

# exchange
{item} is too small; can I have a larger one? | {item}太小了，能换大一号吗？
{item} arrived broken, please send a new one. | {item}送来就是坏的，请换一个新的。
I got {item} in the wrong colour. | {item}的颜色发错了。
Can I exchange {item} for another size? | {item}能换别的尺码吗？
You sent me the wrong thing in place of {item}. | 你们发错了{item}。
{item} has a crack; I would like another. | {item}有裂缝，我想换一个。
Please exchange order {number} for the blue one. | 订单{number}请换成蓝色的。
{item} does not fit, I need it one size larger. | {item}不合适，要换大一号。
A part of {item} is missing. | {item}少了一个零件。
I ordered {item} in red and got a green one. | 我要的是红色{item}，发来的是绿色。
{item} broke on {day}; is there a replacement? | {item}{day}坏了，能换新的吗？
Can you replace {item}, which is damaged? | 坏掉的{item}能换吗？
The wrong size came with order {number}. | 订单{number}的尺码发错了。
I want to swap {item} for another colour. | 我想把{item}换个颜色。
{item} came with a scratch, please replace it. | {item}上有划痕，请换一个。

# payment
I was charged twice for {item}. | 买{item}扣了我两次钱。
My card was refused when I paid for {item}. | 付{item}的钱时卡被拒了。
Please send me the invoice for order {number}. | 请开订单{number}的发票。
Can I pay by bank transfer? | 可以银行转账付款吗？
The invoice for order {number} has the wrong name. | 订单{number}的发票抬头错了。
The payment for {item} failed on {day}. | {item}{day}付款失败。
Why was my card charged on {day}? | {day}为什么扣了我的卡？
Which cards can I pay with? | 可以用哪些卡付款？
I paid, and the order still says unpaid. | 我付款了，订单还显示未付款。
Can I pay for {item} in instalments? | {item}可以分期付款吗？
There is a charge on my card that I do not know. | 我的卡上有一笔不明扣款。
The invoice for {item} never came. | {item}的发票一直没收到。
My payment of order {number} was charged twice. | 订单{number}重复扣款了。
Is it safe to pay by card? | 刷卡付款安全吗？
Please put our company on the invoice for {item}. | {item}的发票请开公司抬头。

# account
I forgot my password. | 我忘了密码。
I cannot log in since {day}. | 从{day}起我就登录不了。
Please delete my account. | 请注销我的账号。
How do I change the email address of my account? | 账号的邮箱怎么改？
The link to reset my password does not work. | 重设密码的链接打不开。
My account is locked. | 我的账号被锁了。
I want to change my password. | 我想改密码。
Somebody else has logged in to my account. | 有人登录了我的账号。
The log-in page says my email is unknown. | 登录页面说我的邮箱不存在。
Why was my account locked on {day}? | 我的账号{day}为什么被锁？
How do I change the name in my account? | 账号里的名字怎么改？
I never got the email to confirm my account. | 确认账号的邮件一直没收到。
The password that you sent does not log me in. | 用你们发的密码登录不了。
Can I have two accounts with one email address? | 一个邮箱能注册两个账号吗？
Please unlock my account, I need to log in. | 请解锁我的账号，我要登录。

# product
Is {item} waterproof? | {item}防水吗？
In which size should I take {item}? | {item}我该选什么尺码？
How heavy is {item}? | {item}有多重？
What is {item} made of? | {item}是什么材料做的？
Will {item} be in stock again? | {item}还会有货吗？
Does {item} come with a manual? | {item}带说明书吗？
How do I wash {item}? | {item}怎么洗？
Is {item} suitable for children? | {item}适合孩子用吗？
How large is {item}? | {item}有多大？
Do you have {item} in blue? | {item}有蓝色的吗？
Which colours does {item} come in? | {item}有哪些颜色？
Is {item} made of wool? | {item}是羊毛做的吗？
How is {item} used? | {item}怎么用？
Is {item} in stock in a larger size? | 有大一点的{item}吗？还有货吗？
Is {item} heavy to carry? | {item}拿着重吗？
"""

FILLERS = """
# item
the jacket | 外套
the tent | 帐篷
the lamp | 台灯
the kettle | 水壶
the backpack | 背包
the blanket | 毯子
the desk chair | 办公椅
the radio | 收音机

# number
4120 | 4120
4157 | 4157
4306 | 4306
4491 | 4491
4583 | 4583
4702 | 4702
4815 | 4815

# day
Monday | 周一
Tuesday | 周二
Wednesday | 周三
Thursday | 周四
Friday | 周五

# opening
|
Hello. | 您好，
A question. | 请问一下，
Good morning! | 你好！
Once more. | 再问一次，
"""
