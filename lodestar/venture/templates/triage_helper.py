"""Triage helper: puts messages to a practice into the order in which a nurse reads them. It orders a pile, and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from ...contracts.language import Words
from ..grammar import SPLIT_DATA, Split, labelled
from . import BUDGET, SAMPLE_LICENCE, Template

WORDS = Words(
    "Triage helper: puts a practice's messages in reading order for the nurse. No medical device, no diagnosis; a person reads each.",
    "分诊助手：为护士排出来信的阅读顺序。不是医疗器械，不作诊断，每封都由人读。",
)  # fmt: skip

COPIES: Mapping[Split, int] = {"train": 5, "validation": 2, "test": 2}


def files() -> dict[str, str]:
    """Each message with how soon it is to be read, filled in several ways."""
    return labelled("triage-helper", MESSAGES, FILLERS, COPIES)


TEMPLATE = Template(
    WORDS,
    {
        "task": "classification",
        "statement": Words(
            "The message that cannot wait is the first one that the nurse reads, and every message is read.",
            "等不得的那一封，护士最先读到；而且每一封都有人读。",
        ),
        "audience": Words("a practice whose nurses read two hundred messages a day", "护士每天要读两百封来信的诊所"),
        "north_star": "recall",
        "values": [
            Words(
                "To miss an emergency is the one mistake that counts: a false alarm costs a minute.",
                "漏掉急症才是大错，误报只费一分钟。",
            ),
            Words("A nurse overrules it at any time, and need not say why.", "护士随时可以否决，无须说明理由。"),
        ],
        "red_lines": [
            Words(
                "It is not a medical device: it orders a pile of messages for people who read all of them.",
                "不是医疗器械：只为会读完全部来信的人排序。",
            ),
            Words("It gives no diagnosis and no advice, and never answers a patient.", "不作诊断，不给建议，绝不答复患者。"),
            Words("A person reads every case, the last of the pile too, within the same day.", "每一例都由人读，排在最后的也在当日读到。"),
            Words("It is never offered in place of the emergency number.", "绝不用来替代急救电话。"),
            Words(
                "The sample was written by laymen and is of no real patient: nothing that was learnt from it alone is put to use.",
                "样本由外行编写，并无真实患者：仅凭样本训练的模型绝不投入使用。",
            ),
        ],
        "options": {"ngrams": True},
        "data": {**SPLIT_DATA, "vocabulary": 800},
        "model": {"size": "tiny", "context": 96, "overrides": {"depth": 2, "width": 128}},
        "train": {"tokens": 80_000, "batch_tokens": 1024},
        "targets": [
            {
                "metric": "recall",
                "at_least": 0.6,
                "why": Words(
                    "each urgency counts alike, in words of its own; before any use, a clinician sets a far higher bar for at-once",
                    "四个级别同等计分，测试来信另有说法；投入使用前，须由临床医生为 at-once（立即）一级定下高得多的门槛",
                ),
            },
            {"metric": "ece", "at_most": 0.3, "why": Words("how sure it is must mean something to a nurse", "它有多大把握，护士要信得过")},
            {"metric": "latency_ms_p95", "at_most": 500, "unit": "ms", "why": Words("ordered while it arrives", "来信到达即排好")},
            {
                "metric": "memory_bytes", "at_most": 2_000_000_000, "unit": "bytes",
                "why": Words("no message leaves the practice", "来信不出诊所"),
            },
        ],
        "budget": BUDGET,
        "licence": "Apache-2.0",
        "licences": SAMPLE_LICENCE,
    },
    files,
)  # fmt: skip

# How soon a person should read it, and what people write. Written by laymen, of no real case.
MESSAGES = """
# at-once
{who} has a crushing pain in the chest and is sweating. | {who}胸口像被压住一样疼，还出冷汗。
{who} has not been able to breathe properly for {minutes}. | {who}从{minutes}前起喘不上气。
{who} suddenly cannot move the left arm. | {who}的左胳膊突然不能动了。
The face of {who} hangs down on one side and the speech is slurred. | {who}半边脸歪了，说话不清。
{who} is bleeding heavily and it does not stop. | {who}大量出血，止不住。
{who} fainted and does not wake up. | {who}晕倒了，叫不醒。
The lips of {who} are turning blue. | {who}的嘴唇发紫。
{who} has chest pain that goes into the arm. | {who}胸痛，一直疼到胳膊。
{who} has been having a seizure for {minutes}. | {who}抽搐已经{minutes}了。
The throat of {who} is swelling after a wasp sting, breathing is hard. | {who}被马蜂蜇后喉咙肿了，呼吸困难。
{who} has not been able to speak for {minutes} and one arm is weak. | {who}{minutes}前起说不出话，胳膊没力气。
{who} took far too many tablets. | {who}吃了太多药片。
{who} hit the head, is confused and vomits. | {who}撞了头，意识不清，还在吐。
{who} is choking and turning blue. | {who}噎住了，脸色发紫。
{who} collapsed with pain in the chest. | {who}胸口剧痛，倒在地上。
{who} coughs up a lot of blood. | {who}咳出很多血。
{who} breathes very fast and cannot say a sentence. | {who}呼吸很急，一句话都说不完整。
{who} suddenly cannot see and the face is numb. | {who}突然看不见，脸发麻。
There is heavy bleeding from a deep cut on the leg of {who}. | {who}腿上伤口很深，大量出血。
{who} is unconscious and hardly breathing. | {who}昏迷，几乎没有呼吸。

# today
{who} has had a fever of 39.5 for {days}. | {who}发烧39度5，已经{days}了。
{who} keeps nothing down since yesterday and hardly drinks. | {who}昨天起吃什么吐什么，几乎不喝水。
It burns when {who} passes water, and there is a fever. | {who}小便时灼痛，还发烧。
The wound of {who} is red, hot and full of pus. | {who}的伤口红肿发烫，有脓。
{who} has a strong ear ache and a fever. | {who}耳朵很疼，还发烧。
The baby has been ill for {days} and drinks less than half. | 宝宝病了{days}，奶量不到一半。
{who} twisted the ankle and cannot put weight on it. | {who}崴了脚，不敢着地。
{who} has had diarrhoea for {days} and is dizzy. | {who}拉肚子{days}了，头晕。
One eye of {who} is red and hurts very much. | {who}一只眼睛发红，很疼。
A fever and a stiff back have kept {who} in bed for {days}. | {who}发烧、背发僵，躺了{days}。
The burn on the hand of {who} has large blisters. | {who}手上烫伤，起了大水泡。
The cough of {who} is worse, with green phlegm and a fever. | {who}咳嗽加重，有绿痰，还发烧。
{who} has strong belly pain on the right since last night. | {who}昨晚起右下腹很疼。
The dog bit the hand of {who} yesterday, it is swollen. | {who}昨天被狗咬了手，现在肿了。
{who} has been vomiting for {days} and the tongue is dry. | {who}吐了{days}，舌头发干。
A tick bite of {who} has a red ring and there is a fever. | {who}被蜱虫叮咬处有红圈，还发烧。
{who} has had a high fever since this morning. | {who}今天早上起高烧。
The knee of {who} is hot, swollen and hurts since yesterday. | {who}的膝盖昨天起又热又肿又疼。
The wound that was stitched is swollen and smells. | {who}缝合的伤口肿了，有气味。
{who} has strong pain in the ear since last night. | {who}昨晚起耳朵很疼。

# this-week
{who} has had a back ache for {weeks}. | {who}腰疼已经{weeks}了。
The knee of {who} has hurt on the stairs for {weeks}. | {who}上下楼膝盖疼，有{weeks}了。
{who} has slept badly for {weeks} and is always tired. | {who}睡不好{weeks}了，总是累。
{who} has had an itchy rash for {weeks}. | {who}身上有疹子，痒了{weeks}。
A mole on the shoulder of {who} has grown over {weeks}. | {who}肩上的痣{weeks}来变大了。
{who} has lost weight over {weeks} without wanting to. | {who}{weeks}来体重莫名下降。
The shoulder of {who} has been stiff for {weeks}. | {who}肩膀僵硬{weeks}了。
{who} has had heartburn for {weeks}. | {who}烧心{weeks}了。
{who} has had a cough for {weeks}, without a fever. | {who}咳嗽{weeks}，不发烧。
The blood pressure of {who} at home is often 150 over 95. | {who}在家量血压常常是150/95。
{who} has felt low for {weeks} and enjoys nothing. | {who}{weeks}来情绪低落，对什么都没兴趣。
The hands of {who} have been numb at night for {weeks}. | {who}夜里手麻，有{weeks}了。
{who} has heard less with one ear for {weeks}. | {who}一只耳朵听力变差{weeks}了。
{who} has had headaches in the evening for {weeks}. | {who}晚上头疼，有{weeks}了。
The new tablets have made {who} tired and dizzy for {weeks}. | {who}吃新药后又累又晕，有{weeks}了。
The elbow of {who} has hurt when lifting for {weeks}. | {who}提东西时胳膊肘疼，有{weeks}了。
{who} has had an itch on the arms for {weeks}. | {who}胳膊皮肤发痒{weeks}了。
{who} has been tired and pale for {weeks}. | {who}脸色发白、很累，有{weeks}了。
The feet of {who} have been swollen in the evening for {weeks}. | {who}晚上脚肿，有{weeks}了。
{who} has had a stiff neck and a back ache for {weeks}, no fever. | {who}脖子僵、腰疼{weeks}了，不发烧。

# no-visit
Please send the repeat prescription of {who}. | 请给{who}开续方。
{who} needs a sick note for the employer. | {who}需要一张给单位的病假条。
When is the practice open on {day}? | {day}门诊几点开门？
Can I move the appointment of {who} to {day}? | {who}的预约能改到{day}吗？
{who} needs the vaccination record for school. | {who}上学要接种证明。
Has the letter from the hospital about {who} arrived? | 医院关于{who}的信寄到了吗？
Which vaccinations does {who} need for a journey? | {who}出国要打哪些疫苗？
Please cancel the appointment on {day}. | 请取消{day}的预约。
The prescription for {who} is used up, please send a new one. | {who}的处方药用完了，请再开一份。
Does {who} have to come without breakfast for the blood test? | {who}验血要空腹来吗？
Our address has changed, please note it for {who}. | 我们搬家了，请更新{who}的地址。
Are the results of the blood test of {who} there? | {who}的验血结果出来了吗？
Can {who} get a flu vaccination on {day}? | {who}{day}能打流感疫苗吗？
I need a copy of the results for the insurance. | 我要一份结果复印件给保险公司。
Is there an appointment for a check-up on {day}? | {day}有体检的预约吗？
Who stands in for the doctor on {day}? | {day}由哪位医生代诊？
Please send the sick note of {who} by post. | 请把{who}的病假条寄来。
{who} needs a referral letter to the eye clinic. | {who}需要一张去眼科的转诊单。
Is the practice closed on {day}? | {day}门诊休息吗？
Please renew the prescription of {who} for the drops. | 请续开{who}的眼药水处方。
"""

FILLERS = """
# who
my father | 我父亲
my mother | 我母亲
my wife | 我爱人
my son | 我儿子
my daughter | 我女儿
my brother | 我弟弟
my neighbour | 我邻居
my grandmother | 我奶奶

# minutes
five minutes | 五分钟
ten minutes | 十分钟
half an hour | 半小时
an hour | 一小时

# days
two days | 两天
three days | 三天
four days | 四天

# weeks
two weeks | 两周
three weeks | 三周
six weeks | 六周
a month | 一个月

# day
Monday | 周一
Tuesday | 周二
Wednesday | 周三
Thursday | 周四
Friday | 周五
"""
