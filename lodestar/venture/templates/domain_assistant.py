"""Domain assistant: answers what is asked every day in one trade, in the house's own words. The sample is of a bicycle workshop.

An answer is right where it holds the words that its subject cannot do without: the rules of the validation and test records ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...contracts.language import Words
from ...contracts.randomness import generator
from ..grammar import SPLIT_DATA, SPLITS, Split, blocks, pair, said, written
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Domain assistant: answers what is asked every day in your trade, in your own words.",
    "领域助手：用您自己的话，回答行业里每天都被问到的问题。",
)

COPIES: Mapping[Split, int] = {"train": 4, "validation": 2, "test": 2}


def files() -> dict[str, str]:
    """Each question with the answer to it, filled in several ways."""
    random, slots = generator(0, "template", "domain-assistant"), blocks(FILLERS)
    records: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for heading, (answer, *questions) in blocks(SUBJECTS).items():
        for split, language, question in said(questions, slots, COPIES, random):
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer.in_language(language)},
            ]
            rules = [{"rule": "contains", "texts": [pair(heading).in_language(language)]}]
            records[split].append({"messages": messages, **({} if split == "train" else {"rules": rules})})
    return written(records)


TEMPLATE = Template(
    WORDS,
    {
        "task": "chat",
        "statement": Words(
            "Whoever asks our workshop at midnight gets the answer that our mechanic would have given at noon.",
            "半夜来问的人，也能得到师傅白天会给的答案。",
        ),
        "audience": Words("riders with a question, and the two mechanics who answer it all day", "有问题的骑车人，和整天在回答的两位师傅"),
        "north_star": "rules_kept",
        "values": [
            Words("It says that it does not know, and whom to ask.", "不知道就说不知道，并说该问谁。"),
            Words("One true sentence beats a long one.", "一句真话胜过长篇大论。"),
        ],
        "red_lines": [
            Words(
                "It never tells anybody to ride on with a fault of the brakes, the frame or the battery.",
                "刹车、车架或电池有故障时，绝不让人继续骑。",
            ),
            Words("It names no price that a person has not set.", "绝不报出未经人定的价格。"),
            Words("It never passes for a person.", "绝不冒充真人。"),
        ],
        "data": {**SPLIT_DATA, "vocabulary": 900},
        "model": {"size": "tiny", "context": 160, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 150_000, "batch_tokens": 1024, "dropout": 0.1},
        "targets": [
            {
                "metric": "rules_kept",
                "at_least": 0.5,
                "why": Words(
                    "the answer to a question in new words holds what it cannot do without", "问题换了说法，答案里仍有不可缺少的那句话"
                ),
            },
            {
                "metric": "latency_ms_p95", "at_most": 3000, "unit": "ms",
                "why": Words("answered before the phone is put away", "手机放下之前已有回答"),
            },
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("runs on the workshop's own machine", "在店里自己的机器上运行"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# What the answer to a subject cannot do without, the answer, and how it is asked for.
SUBJECTS = """
# patch | 补胎片
Take the tube out, find the hole in water, roughen it, glue a patch on. | 取出内胎，在水里找到漏点，打磨后贴上补胎片。
How do I mend a flat tyre on {bike}? | {bike}的车胎瘪了怎么修？
{bike} has a puncture. | {bike}扎胎了。
The tyre of {bike} is flat again. | {bike}的胎又瘪了。
There is a hole in the tube. | 内胎破了个洞。
I rode over glass and the tyre is flat. | 我轧到玻璃，胎瘪了。
What do I do about a puncture? | 扎胎了怎么办？
The tube of {bike} loses air. | {bike}的内胎漏气。
How is a hole in a tube mended? | 内胎的洞怎么补？
The back tyre is flat, what now? | 后胎瘪了，怎么办？
Can I mend the tube of {bike} myself? | {bike}的内胎能自己补吗？

# oil | 油
Wipe the chain dry, give each link one drop of oil, wipe again. | 把链条擦干，每节滴一滴油，再擦一遍。
How do I oil the chain? | 链条怎么上油？
The chain of {bike} squeaks. | {bike}的链条吱吱响。
The chain is rusty. | 链条生锈了。
How often does a chain need care? | 链条多久保养一次？
The chain of {bike} is dry and loud. | {bike}的链条又干又响。
What do I put on a rusty chain? | 链条生锈该抹什么？
My chain makes a noise. | 我的链条有响声。
How do I clean the chain of {bike}? | {bike}的链条怎么清洗？
The chain squeaks in the rain. | 下雨天链条吱吱响。
Which care does the chain of {bike} need? | {bike}的链条怎么保养？

# do not ride | 不要骑
If a brake fails, do not ride: bring it in, we look at brakes at once. | 刹车失灵就不要骑：推过来，我们马上检查刹车。
The brake of {bike} does not hold. | {bike}刹车刹不住。
My brakes fail in the rain. | 下雨天刹车失灵。
The brake lever goes down to the bar. | 刹车把能捏到底。
The front brake of {bike} is weak. | {bike}的前刹很软。
A brake cable is torn. | 刹车线断了。
The brakes of {bike} no longer stop me. | {bike}的刹车停不下来。
The brake cable of {bike} is fraying. | {bike}的刹车线起毛了。
May I ride with one brake? | 只有一个刹车能骑吗？
The back brake does not work. | 后刹不灵了。
{bike} does not brake well. | {bike}刹车不好。

# away from | 远离
A swollen or hot battery: switch off, lay it away from all that burns, call us. | 电池鼓包或发烫：断电，放到远离可燃物处，给我们打电话。
The battery of {bike} is swollen. | {bike}的电池鼓包了。
My battery gets hot when charging. | 充电时电池发烫。
The battery smells burnt. | 电池有焦味。
The battery case of {bike} has a bulge. | {bike}的电池外壳鼓起来了。
Can I charge a battery that fell down? | 摔过的电池能充电吗？
The battery is hot to the touch. | 电池摸着很烫。
The battery of {bike} hisses. | {bike}的电池嘶嘶响。
Is a swollen battery dangerous? | 电池鼓包危险吗？
My battery smokes! | 我的电池冒烟了！
The battery of {bike} is hot and swollen. | {bike}的电池又烫又鼓。

# barrel | 微调
Turn the barrel at the end of the gear cable by half a turn, and shift again. | 把变速线末端的微调拧半圈，再试变速。
The gears of {bike} jump. | {bike}变速会跳挡。
My gears do not shift well. | 我的变速不顺。
It shifts two gears at once. | 一次跳两个挡。
The gear cable of {bike} is loose. | {bike}的变速线松了。
The highest gear will not go in. | 最高挡挂不上。
How do I set the gears? | 变速怎么调？
The gears of {bike} rattle. | {bike}变速咔咔响。
How are gears adjusted? | 怎样调整变速？
The gears slip uphill. | 上坡时变速打滑。
Can I set the gears of {bike} at home? | {bike}的变速能在家调吗？

# heel | 脚跟
Sit up, put your heel on the pedal at its lowest: the knee should be just straight. | 坐好，脚跟踩在最低处的踏板上：膝盖刚好伸直。
How high should the saddle be? | 车座该多高？
The saddle of {bike} is too low. | {bike}的车座太低。
How do I set the saddle? | 车座怎么调？
My knees hurt, is the saddle wrong? | 膝盖疼，是车座不对吗？
Which height of saddle is right for me? | 我该用多高的车座？
The seat post of {bike} is too long. | {bike}的座杆太长。
How high is the seat of {bike} set? | {bike}的座位调多高？
The saddle feels too high. | 车座好像太高了。
Where do I put the saddle? | 车座放在哪里合适？
What is the right saddle height for {bike}? | {bike}的车座多高才对？

# side wall | 胎侧
The range stands on the side wall of the tyre; take the middle of it. | 胎压范围写在胎侧，取中间值。
How much air does {bike} need? | {bike}要打多少气？
What pressure do the tyres want? | 车胎要多大气压？
How hard should I pump the tyres? | 胎打多硬合适？
Which tyre pressure is right? | 胎压多少才对？
How many bar for {bike}? | {bike}打几巴？
Do I pump the tyres of {bike} harder in winter? | 冬天{bike}的胎要打得更硬吗？
How much air goes into a tyre? | 车胎打多少气？
What is the tyre pressure of {bike}? | {bike}的胎压是多少？
Is three bar enough air? | 三巴气够吗？
How hard must {bike} be pumped? | {bike}要打多硬？

# nine | 九点
We are open from nine to six, Tuesday to Saturday. | 周二到周六，九点到六点营业。
When are you open? | 你们几点开门？
Are you open on {day}? | {day}营业吗？
What are your hours? | 营业时间是几点？
Until when are you open on {day}? | {day}开到几点？
When can I come by? | 我什么时候可以来？
What time do you open on {day}? | {day}几点开门？
Do you close at noon? | 中午关门吗？
Is the workshop open on {day}? | {day}店里开门吗？
When do you close? | 你们几点关门？
Can I come on {day} in the morning, are you open? | {day}上午营业吗，我想过来？

# three days | 三天
A service takes three days; bring it in the morning, no appointment needed. | 保养要三天；早上送来即可，不用预约。
How long does a service take? | 保养要多久？
When do I get {bike} back from the service? | {bike}保养完几天能取？
Can I have {bike} serviced? | 能给{bike}做保养吗？
Do I need an appointment for a service? | 保养要预约吗？
How many days is {bike} with you? | {bike}要在你们那儿放几天？
I want a service for {bike}. | 我想给{bike}做保养。
How soon is a service done? | 保养多快能做好？
Must I book a service of {bike}? | {bike}保养要先约吗？
How long do you keep {bike} for a service? | {bike}做保养要放多久？
Can I bring {bike} for a service on {day}? | {day}能把{bike}送来保养吗？

# counter | 柜台
I do not know that; please ask a person at the counter. | 这个我不知道，请问柜台的同事。
What is the capital of France? | 法国的首都是哪里？
Will it rain on {day}? | {day}会下雨吗？
Who won the match on {day}? | {day}的比赛谁赢了？
Write me a poem. | 给我写首诗。
Which shares should I buy? | 我该买哪只股票？
Do I have a fever? | 我发烧了吗？
What is seven times eight? | 七乘八等于几？
Can you book a train for {day}? | 能帮我订{day}的火车票吗？
Who is the president? | 总统是谁？
How do I cook rice? | 米饭怎么煮？
"""

FILLERS = """
# bike
my bike | 我的车
my old bike | 我的旧车
my road bike | 我的公路车
my e-bike | 我的电动车
the child's bike | 孩子的车
the cargo bike | 货运车

# day
Monday | 周一
Tuesday | 周二
Wednesday | 周三
Thursday | 周四
Friday | 周五
Saturday | 周六

# opening
|
Hello! | 您好！
Hi! | 你好，
One question. | 请问，
"""
