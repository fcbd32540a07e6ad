"""The explanation of an answer about a picture, drawn over the picture: as a part of a page, as a page of its own, and for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from ..contracts.language import Language, Words
from ..contracts.media import Picture
from .explanation import METHODS, Method
from .page import framed, test_figure, title
from .patches import PictureAttended, PictureExplanation
from .pictures import seen_grid, seen_picture
from .sentences import NAMES, verdict_words

HOW: Mapping[Method, Words] = {
    "gradients": Words(
        "What each patch adds to the answer's log-probability, on the way from a grey picture to this one "
        "(Sundararajan, Taly and Yan 2017). Blue patches speak for the answer, red ones against it.",
        "从一张灰色图片走到这张图片，每个图块为答案的对数概率增加多少（Sundararajan、Taly 与 Yan，2017）。"
        "蓝色的图块支持该答案，红色的反对。",
    ),
    "rollout": Words(
        "How much of each patch reaches the states that answer, if nothing flowed but attention and the residual stream, half by half "
        "(Abnar and Zuidema 2020).",
        "假定只有注意力与残差各占一半地传递信息，每个图块有多少到达给出答案的状态（Abnar 与 Zuidema，2020）。",
    ),
    "attention": Words(
        "softmax(QKᵀ/√d_k): which patches the states that answer take their values from.",
        "softmax(QKᵀ/√d_k)：给出答案的状态从哪些图块取值。",
    ),
}
CAUTION = Words(
    "Attention says what a layer read, not why the model answered as it did. So every picture stands beside a test: its patches are made "
    "grey, most important first, and the answer must go sooner than under random orders. What the test believes carries the answer; "
    "how it does, no picture here says.",
    "注意力说明某一层读了什么，而不是模型为何这样回答。因此每张图旁都有一项检验：按重要性从高到低把图块抹成灰色，"
    "答案必须比随机顺序消失得更快。通过检验的图块确实支撑着答案；至于如何支撑，这里的图都没有说明。",
)
BLOCKS = " ·░▒▓█"
"""For a terminal, from nothing to the most."""


def picture_part(explanation: PictureExplanation, *, language: Language, level: int = 1) -> str:
    """What stands between the page's head and its foot, as HTML.

    Args:
        level: of its first heading, where it becomes a part of another page.
    """
    sections = [_head(explanation, language, level), *(_section(explanation, method, language, level + 1) for method in METHODS)]
    heading = title(_say("What this does not show", "这些图没有说明什么", language), level + 1)
    return "\n".join([*sections, f'<section class="caution">{heading}<p>{escape(CAUTION.in_language(language))}</p></section>'])


def picture_document(explanation: PictureExplanation, *, model: str, language: Language) -> str:
    """The whole page.

    Args:
        model: what was asked, as it is called.
    """
    return framed(picture_part(explanation, language=language), model=model, language=language)


def picture_maps(attended: PictureAttended, *, language: Language) -> str:
    """The layer and head that were asked for over the picture, and a small map of each, as HTML."""
    name = NAMES["attention"].in_language(language)
    large = _over(attended, attended.chosen, name, language)
    layers, heads = len(attended.maps), len(attended.maps[0])
    grids = [[attended.in_grid(row) for row in heads_HN.numpy()] for heads_HN in attended.maps]
    small = seen_grid(
        grids, layer_name=_say("layer {}", "第 {} 层", language), head_name=_say("head {}", "头 {}", language),
        chosen=(attended.layer, attended.head),
        name=_say(f"Attention of {layers} layers and {heads} heads", f"{layers} 层 {heads} 头的注意力", language),
    )  # fmt: skip
    caption = _say("Every layer and head, each in its own shades.", "各层各头，深浅各自为准。", language)
    return f'{large}<figure class="wide grid" tabindex="0">{small}<figcaption>{caption}</figcaption></figure>'


def picture_summary(explanation: PictureExplanation) -> Words:
    """One sentence: how far all of it may be believed."""
    won = [NAMES[method] for method in METHODS if explanation.verdicts[method].wins]
    if not won:
        return Words(
            "None of the three beats a random order on this picture: do not take any of them as the reason for the answer.",
            "在这张图片上，三种方法都没有胜过随机顺序：都不要当作给出该答案的理由。",
        )
    en, zh = ", ".join(name.en for name in won), "、".join(name.zh for name in won)
    return Words(
        f"On this picture believe: {en}. The patches marked so do carry the answer.",
        f"在这张图片上可以相信：{zh}。所标出的图块确实支撑着该答案。",
    )


def picture_plain(explanation: PictureExplanation, method: Method, language: Language) -> str:
    """The answer, the patches as a drawing in characters (those that speak for it), and what the tests of all three methods say."""
    values = explanation.in_grid(explanation.importance[method])
    steps = np.clip(values / (values.max() or 1.0), 0, 1) * (len(BLOCKS) - 1)
    drawn = ["  " + "".join(2 * BLOCKS[round(float(step))] for step in row).rstrip() for row in steps]
    lines = [
        f"{_say('Answer: ', '答案：', language)}{explanation.answer}  ({explanation.probability:.1%})", "",
        NAMES[method].in_language(language), *drawn, "", _say("How far each may be believed", "各自可信到什么程度", language),
    ]  # fmt: skip
    colon = _say(": ", "：", language)
    lines += [
        f"  {NAMES[one].in_language(language)}{colon}{verdict_words(explanation.verdicts[one]).in_language(language)}" for one in METHODS
    ]
    return "\n".join([*lines, "", picture_summary(explanation).in_language(language)])


def _head(explanation: PictureExplanation, language: Language, level: int) -> str:
    kind, summary = _say("The answer", "答案", language), picture_summary(explanation).in_language(language)
    said = f'<h{level} class="said">{escape(explanation.answer)} <small>{explanation.probability:.1%}</small></h{level}>'
    return f'<section class="head"><p class="kind">{kind}</p>{said}<p class="summary">{escape(summary)}</p></section>'


def _section(explanation: PictureExplanation, method: Method, language: Language, level: int) -> str:
    name = NAMES[method].in_language(language)
    across = _say("patches made grey, most important first", "已抹去的图块（从最重要开始）", language)
    test = test_figure(explanation.verdicts[method], explanation.chance, name=name, across=across, language=language)
    if method == "attention":
        shown = f'<div class="maps">{picture_maps(explanation, language=language)}</div>'
    else:
        shown = _over(explanation, explanation.importance[method], name, language)
    if method == "gradients":
        shown += f'<p class="note">{escape(_completeness(explanation).in_language(language))}</p>'
    heading = f'{title(name, level)}<p class="how">{escape(HOW[method].in_language(language))}</p>'
    return f'<section class="{method}">{heading}<div class="beside"><div>{shown}</div>{test}</div></section>'


def _completeness(explanation: PictureExplanation) -> Words:
    """Whether the gradients' values add up."""
    found = explanation.attribution
    if found.complete:
        return Words(
            f"The values add up to {found.difference:+.3f} nats over a grey picture (off by {abs(found.gap):.1g}, {found.points} points).",
            f"各值之和为 {found.difference:+.3f} 奈特（相对于灰色图片；误差 {abs(found.gap):.1g}，积分点 {found.points} 个）。",
        )
    return Words(
        f"The values do not add up: they miss {found.difference:+.3f} nats by {abs(found.gap):.3f}. Do not compare their sizes.",
        f"各值加不起来：与 {found.difference:+.3f} 奈特相差 {abs(found.gap):.3f}。请勿比较其大小。",
    )


def _over(attended: PictureAttended, values_N: np.ndarray, name: str, language: Language) -> str:
    """The picture, and over it what each patch counts: signed values as they are, shares from the least to the most."""
    url = Picture.of_pixels(attended.picture).data_url("image/png")
    caption = _say("Strongest where it counts most, clear where nothing is added.", "颜色最深处最重要，无色处没有增减。", language)
    if values_N.min() >= 0:
        values_N = values_N - values_N.min()
        caption = _say("From the least of the patches (clear) to the most.", "从最少的图块（无色）到最多的图块。", language)
    picture = seen_picture(url, attended.picture.shape[1:], attended.in_grid(values_N), name=name, box=attended.box)
    return f'<figure class="over">{picture}<figcaption>{caption}</figcaption></figure>'


def _say(en: str, zh: str, language: Language) -> str:
    return Words(en, zh).in_language(language)
