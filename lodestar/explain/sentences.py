"""What an explanation's tests say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from ..contracts.language import Words
from .explanation import METHODS, Explanation, Method
from .faithfulness import Verdict

NAMES: Mapping[Method, Words] = {
    "gradients": Words("Integrated gradients", "积分梯度"),
    "rollout": Words("Attention roll-out", "注意力展开"),
    "attention": Words("Attention", "注意力"),
}

_RANDOM = Words("random orders", "随机顺序")
_ALL = Words("orders there are, its own among them", "可能的顺序（含其自身）")


def verdict_words(verdict: Verdict) -> Words:
    """How one method did, with its figures."""
    own, mean, low, high = (f"{x:.3f}" for x in (verdict.area, verdict.chance_area, verdict.chance_low, verdict.chance_high))
    if not verdict.possible:
        return Words(
            "Too few words: among so few orders, none can be told from chance. Whether it explains anything stays open.",
            "词太少：顺序只有寥寥几种，无法与随机区分。它是否说明了什么，仍无定论。",
        )
    figures_en = f"area {own}; random {mean}, 95% of them {low} to {high}"
    figures_zh = f"面积 {own}；随机顺序 {mean}，其中 95% 在 {low} 至 {high} 之间"
    orders, as_good, beaten = verdict.orders, verdict.as_good, verdict.orders - verdict.as_good
    kind = _ALL if verdict.exhaustive else _RANDOM
    if verdict.wins:
        return Words(
            f"Faithful here: the answer goes sooner than under {beaten} of {orders} {kind.en} ({figures_en}).",
            f"此处可信：答案消失得比 {orders} 种{kind.zh}中的 {beaten} 种更快（{figures_zh}）。",
        )
    return Words(
        f"Not shown to be faithful: {as_good} of {orders} {kind.en} take the answer away as soon ({figures_en}).",
        f"未能证明可信：{orders} 种{kind.zh}中有 {as_good} 种同样快地使答案消失（{figures_zh}）。",
    )


def summary_words(explanation: Explanation) -> Words:
    """One sentence: how far all of it may be believed."""
    verdicts = explanation.verdicts
    if not any(verdict.possible for verdict in verdicts.values()):
        return Words(
            "The text has too few words to test any of this; take it as a drawing of the computation, not as the reason for the answer.",
            "文本的词太少，以下各图都无法检验；请只当作计算过程的示意，不要当作答案的理由。",
        )
    won = [method for method in METHODS if verdicts[method].wins]
    lost = [method for method in METHODS if not verdicts[method].wins]
    if not won:
        return Words(
            "None of the three beats a random order on this text: do not take any of them as the reason for the answer.",
            "在这段文本上，三种方法都没有胜过随机顺序：都不要当作答案的理由。",
        )
    names = {language: _listed([NAMES[method].in_language(language) for method in won], language) for language in ("en", "zh")}
    if not lost:
        return Words(
            "All three beat random orders on this text: the words that they mark do carry the answer. "
            "How they are combined, none of them says.",
            "在这段文本上，三种方法都胜过随机顺序：所标出的词确实支撑着答案。至于这些词如何被组合，它们都没有说明。",
        )
    others = {language: _listed([NAMES[method].in_language(language) for method in lost], language) for language in ("en", "zh")}
    return Words(
        f"On this text believe {_lower(names['en'])}: the words marked so do carry the answer. "
        f"{others['en']} did no better than a random order.",
        f"在这段文本上可以相信{names['zh']}：所标出的词确实支撑着答案；{others['zh']}并不比随机顺序更好。",
    )


def completeness_words(explanation: Explanation) -> Words:
    """Whether the gradients' values add up."""
    found = explanation.attribution
    if found.complete:
        return Words(
            f"The values add up to {found.difference:+.3f} nats, what it adds to the answer's log-probability over a text of average words "
            f"(off by {abs(found.gap):.1g}, {found.points} points).",
            f"各值之和为 {found.difference:+.3f} 奈特，即这段文本相对于平均词文本为答案的对数概率所增加的量"
            f"（误差 {abs(found.gap):.1g}，积分点 {found.points} 个）。",
        )
    return Words(
        f"The values do not add up: they miss {found.difference:+.3f} nats by {abs(found.gap):.3f}, even with {found.points} points. "
        "Do not compare their sizes.",
        f"各值加不起来：即使取 {found.points} 个积分点，与 {found.difference:+.3f} 奈特仍差 {abs(found.gap):.3f}。请勿比较其大小。",
    )


def _listed(names: list[str], language: str) -> str:
    if language == "zh":
        return "和".join(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {_lower(names[-1])}"


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
