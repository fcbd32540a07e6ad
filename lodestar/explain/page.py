"""An explanation as a page of its own: HTML without scripts, nothing loaded from elsewhere; and the part of it that another page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import numpy as np
from torch import Tensor

from ..contracts.language import Language, Words
from .explanation import METHODS, Attended, Explanation, Method
from .faithfulness import Chance, Verdict
from .pictures import deletion_curve, head_grid, heat_map, shade
from .sentences import NAMES, completeness_words, summary_words, verdict_words

STYLE = Path(__file__).with_name("page.css")
LONG = 200
"""Characters of an answer or a text that stand in a heading."""

Say = Callable[[str, str], str]

HOW: Mapping[Method, Words] = {
    "gradients": Words(
        "What each word adds to the answer's log-probability, on the way from a text of average words to this one "
        "(Sundararajan, Taly and Yan 2017). Blue words speak for the answer, red ones against it.",
        "从全由平均词构成的文本走到这段文本，每个词为答案的对数概率增加多少（Sundararajan、Taly 与 Yan，2017）。"
        "蓝色的词支持答案，红色的词反对答案。",
    ),
    "rollout": Words(
        "How much of each word reaches the state that answers, if nothing flowed but attention and the residual stream, half by half "
        "(Abnar and Zuidema 2020).",
        "假定只有注意力与残差各占一半地传递信息，每个词有多少到达给出答案的状态（Abnar 与 Zuidema，2020）。",
    ),
    "attention": Words(
        "softmax(QKᵀ/√d_k): what each row takes its values from. A row sums to one.",
        "softmax(QKᵀ/√d_k)：每一行从哪些词取值。每行之和为一。",
    ),
}
CAUTION = Words(
    "Attention weights say what a layer read, not why the model answered as it did. Other weights can give the same answer "
    "(Jain and Wallace 2019), and whether that makes them no explanation depends on what is asked of one (Wiegreffe and Pinter 2019). "
    "So every picture stands beside a test: its words are removed, most important first, and the answer must go sooner than under random "
    "orders.",
    "注意力权重说明某一层读了什么，而不是模型为何这样回答。换一组权重也可能得到同样的答案（Jain 与 Wallace，2019）；"
    "这是否意味着它不算解释，取决于对解释的要求（Wiegreffe 与 Pinter，2019）。"
    "因此每张图旁都有一项检验：按重要性从高到低移除各词，答案必须比随机顺序消失得更快。",
)


def style() -> str:
    """The sheet of the page, and of the part alone."""
    return STYLE.read_text("utf-8")


def document(explanation: Explanation, *, model: str, language: Language) -> str:
    """The whole page.

    Args:
        model: what was asked, as it is called.
    """
    return framed(part(explanation, language=language), model=model, language=language)


def framed(inner: str, *, model: str, language: Language) -> str:
    """A part as a page of its own."""
    say = _in(language)
    heading = say("What the model looked at", "模型看了什么")
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if language == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(heading)}</title>\n<style>\n{style()}</style>\n</head>\n<body>\n<main>\n"
        f'<header><span class="star" aria-hidden="true">✦</span> {escape(heading)} <span class="model">{escape(model)}</span></header>\n'
        f"{inner}\n"
        f"<footer>{say('Made with Lodestar', '由北极星 Lodestar 生成')}</footer>\n</main>\n</body>\n</html>\n"
    )


def part(explanation: Explanation, *, language: Language, level: int = 1) -> str:
    """What stands between the page's head and its foot, as HTML.

    Args:
        level: of its first heading, where it becomes a part of another page.
    """
    say = _in(language)
    sections = [_head(explanation, language, level), *(_section(explanation, method, language, level + 1) for method in METHODS)]
    if explanation.aligned is not None:
        sections.append(_alignment(explanation, say, level + 1))
    heading = title(say("What this does not show", "这些图没有说明什么"), level + 1)
    sections.append(f'<section class="caution">{heading}<p>{_text(CAUTION, language)}</p></section>')
    return "\n".join(sections)


def attention_maps(attended: Attended, *, language: Language) -> str:
    """The map of the layer and head that were asked for, and a small one of each, as HTML."""
    say = _in(language)
    name = str(NAMES["attention"].in_language(language))
    return _map(attended, attended.chosen, name, _chosen_words(attended, say)) + _grid(attended, say)


def title(text: str, level: int) -> str:
    """A heading."""
    return f'<h{level} class="title">{escape(text)}</h{level}>'


def _head(explanation: Explanation, language: Language, level: int) -> str:
    say = _in(language)
    answer = escape(_shorter(explanation.answer.strip() or repr(explanation.answer)))
    return (
        f'<section class="head"><p class="kind">{say("The answer", "答案")}</p>'
        f'<h{level} class="said">{answer} <small>{explanation.probability:.1%}</small></h{level}>'
        f'<p class="summary">{_text(summary_words(explanation), language)}</p></section>'
    )


def _section(explanation: Explanation, method: Method, language: Language, level: int) -> str:
    say, verdict = _in(language), explanation.verdicts[method]
    name = str(NAMES[method].in_language(language))
    pictures = [highlights(explanation, method)]
    if method == "gradients":
        pictures.append(_bars(explanation, say))
        pictures.append(f'<p class="note">{_text(completeness_words(explanation), language)}</p>')
    elif method == "rollout":
        caption = say("A row: where what reached this word’s last state came from.", "一行：到达该词最后状态的内容来自哪里。")
        pictures.append(_map(explanation, explanation.flow, name, caption))
    across = say("words removed, most important first", "已移除的词（从最重要开始）")
    test = test_figure(verdict, explanation.chance, name=name, across=across, language=language)
    maps = f'<div class="maps">{attention_maps(explanation, language=language)}</div>' if method == "attention" else ""
    return (
        f'<section class="{method}">{title(name, level)}<p class="how">{_text(HOW[method], language)}</p>'
        f'<div class="beside"><div>{"".join(pictures)}</div>{test}</div>{maps}</section>'
    )


def test_figure(verdict: Verdict, chance: Chance, *, name: str, across: str, language: Language) -> str:
    """The test of a method: its deletion curve beside those of random orders, and what follows from it.

    Args:
        across: what is removed, in words.
    """
    say = _in(language)
    curve = deletion_curve(
        verdict, chance, name=say(f"Deletion curve: {name}", f"删除曲线：{name}"),
        across=across, up=say("probability of the answer", "答案的概率"),
    )  # fmt: skip
    kind = "open" if not verdict.possible else "kept" if verdict.wins else "missed"
    return (
        f'<figure class="test">{curve}<figcaption><span class="key curve-key">{say("this order", "此顺序")}</span> '
        f'<span class="key band-key">{say("random orders, 95%", "随机顺序，95%")}</span></figcaption>'
        f'<p class="verdict {kind}">{_text(verdict_words(verdict), language)}</p>'
        f'<p class="figures">{say("comprehensiveness", "全面性")} {verdict.comprehensiveness:+.3f} · '
        f"{say('sufficiency', '充分性')} {verdict.sufficiency:+.3f}</p></figure>"
    )


def _map(attended: Attended, weights: Tensor, name: str, caption: str) -> str:
    picture = heat_map(weights, [word.label for word in attended.rows], [word.label for word in attended.words], name=name)
    return f'<figure class="wide" tabindex="0">{picture}<figcaption>{caption}</figcaption></figure>'


def highlights(explanation: Explanation, method: Method) -> str:
    """The text, each word shaded by what it counts: p0 to p10, or n0 to n10 where it counts against the answer.

    A line begins where a mark of the tokenizer stands between words.
    """
    values = explanation.importance[method]
    shown = values[explanation.tried] if explanation.tried else values
    largest = float(np.abs(shown).max(initial=0)) or 1.0
    tried = set(explanation.tried)
    pieces: list[str] = []
    apart = False  # a mark stood between: two texts, or two turns of a conversation
    for number, word in enumerate(explanation.words):
        if word.special:
            apart = bool(pieces)
            continue
        if apart and not word.text.startswith("\n"):
            pieces.append("\n")
        apart = False
        text = escape(word.text).replace("\n", "⏎\n")
        value = float(values[number])
        step = shade(abs(value) / largest)
        if number not in tried or step == 0:
            pieces.append(f'<span class="asked">{text}</span>' if number not in tried else text)
            continue
        before, inner = text[: len(text) - len(text.lstrip(" "))], text.lstrip(" ")
        pieces.append(f'{before}<mark class="{"p" if value > 0 else "n"}{step}" title="{value:+.3f}">{inner}</mark>')
    return f'<p class="text" dir="auto">{"".join(pieces)}</p>'


def _bars(explanation: Explanation, say: Say) -> str:
    """The words that count most, and what each adds, in nats."""
    values = explanation.importance["gradients"]
    order = sorted(explanation.tried, key=lambda number: -abs(values[number]))[:12]
    largest = max((abs(float(values[number])) for number in order), default=0.0) or 1.0
    rows = []
    for number in order:
        value = float(values[number])
        rows.append(
            f'<li><span class="word" dir="auto">{escape(_shorter(explanation.words[number].label, 24))}</span>'
            '<svg viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true"><line x1="100" x2="100" y1="0" y2="12"/>'
            f'{_bar(value / largest)}</svg><span class="value">{value:+.3f}</span></li>'
        )
    return f'<ul class="bars" aria-label="{say("What each word adds, in nats", "每个词增加多少奈特")}">{"".join(rows)}</ul>'


def _bar(share: float) -> str:
    width = abs(share) * 98
    side, x = ("for", 100.0) if share >= 0 else ("against", 100 - width)
    return f'<rect class="{side}" x="{x:.1f}" y="2" width="{width:.1f}" height="8"/>'


def _chosen_words(attended: Attended, say: Say) -> str:
    row = say("A row: what this word looks at. ", "一行：该词看向哪些词。")
    layer, head = attended.layer, attended.head
    if layer is None and head is None:
        return row + say("The mean of all layers and heads.", "各层各头的平均。")
    if head is None:
        return row + say(f"Layer {layer + 1}, the mean of its heads.", f"第 {layer + 1} 层各头的平均。")  # type: ignore[operator] # is given
    if layer is None:
        return row + say(f"Head {head + 1}, the mean of all layers.", f"各层第 {head + 1} 头的平均。")
    return row + say(f"Layer {layer + 1}, head {head + 1}.", f"第 {layer + 1} 层第 {head + 1} 头。")


def _grid(attended: Attended, say: Say) -> str:
    layers, heads = len(attended.maps), len(attended.maps[0])
    picture = head_grid(
        attended.maps, layer_name=say("layer {}", "第 {} 层"), head_name=say("head {}", "头 {}"),
        chosen=(attended.layer, attended.head),
        name=say(f"Attention of {layers} layers and {heads} heads", f"{layers} 层 {heads} 头的注意力"),
    )  # fmt: skip
    caption = say("Every layer and head, each in its own shades.", "各层各头，深浅各自为准。")
    return f'<figure class="wide grid" tabindex="0">{picture}<figcaption>{caption}</figcaption></figure>'


def _alignment(explanation: Explanation, say: Say, level: int) -> str:
    assert explanation.aligned is not None
    picture = heat_map(
        explanation.aligned, [word.label for word in explanation.output], [word.label for word in explanation.words],
        name=say("Alignment of output and source", "输出与原文的对齐"),
    )  # fmt: skip
    how = say(
        "Which words of the source each word of the output was written from: cross-attention of the last layer but one, mean of its heads "
        "(Garg et al. 2019). It was trained to write, not to align.",
        "输出的每个词由原文的哪些词写成：倒数第二层交叉注意力各头的平均（Garg 等，2019）。它为写作而训练，并非为对齐而训练。",
    )
    return (
        f'<section class="alignment">{title(say("Alignment", "对齐"), level)}<p class="how">{how}</p>'
        f'<figure class="wide" tabindex="0">{picture}</figure></section>'
    )


def _text(words: Words, language: Language) -> str:
    return escape(words.in_language(language))


def _in(language: Language) -> Say:
    return lambda en, zh: Words(en, zh).in_language(language)


def _shorter(text: str, most: int = LONG) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
