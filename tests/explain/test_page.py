"""What is drawn and said: read back from the markup, and held against the numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from lodestar.contracts.language import Language, Words
from lodestar.explain.explanation import METHODS, Explanation, explain
from lodestar.explain.faithfulness import Chance, Verdict
from lodestar.explain.gradients import Attribution
from lodestar.explain.page import attention_maps, document, highlights, part
from lodestar.explain.pictures import NAMED, SHADES, UNNAMED, deletion_curve, head_grid, heat_map, shade
from lodestar.explain.plain import BAR, plain
from lodestar.explain.sentences import completeness_words, summary_words, verdict_words
from lodestar.explain.steps import finish
from lodestar.explain.words import Word, width_of

LANGUAGES: list[Language] = ["en", "zh"]


def xml(markup: str) -> ElementTree.Element:
    """The markup as a tree: what is no well-formed XML fails."""
    return ElementTree.fromstring(f"<all>{markup}</all>")


def drawn_cells(picture: ElementTree.Element) -> dict[tuple[int, int], float]:
    """(row, column) → shade of a map's cells."""
    found = {}
    for path in picture.iter("path"):
        for column, row in re.findall(r"M(\d+) (\d+)h1v1h-1z", path.get("d", "")):
            found[int(row), int(column)] = float(path.get("fill-opacity", "1"))
    return found


def test_a_map_s_cells_are_as_dark_as_their_weights() -> None:
    weights = torch.tensor([[0.8, 0.2, 0.0], [0.04, 0.46, 0.5]])
    tree = xml(heat_map(weights, ["a", "<b>"], ["x", "y", "我"], name="A & B"))
    assert drawn_cells(tree) == {(0, 0): 1.0, (0, 1): 0.2, (1, 1): 0.6, (1, 2): 0.6}  # 0.04 of 0.8 rounds to none of ten shades
    assert [title.text for title in tree.iter("title")][:3] == ["a → x: 0.800", "a → y: 0.200", "a → 我: 0.000"]
    assert [text.text for text in tree.iter("text")] == ["a", "<b>", "x", "y", "我"]
    assert tree.find("svg").get("aria-label") == "A & B"  # type: ignore[union-attr] # is there


def test_a_large_map_has_no_names_and_is_averaged_down() -> None:
    size = 3 * UNNAMED
    weights = torch.zeros(size, size)
    weights[:3, :3] = 1.0
    tree = xml(heat_map(weights, ["w"] * size, ["w"] * size, name="large"))
    assert drawn_cells(tree) == {(0, 0): 1.0}
    assert list(tree.iter("text")) == []
    named = xml(heat_map(torch.eye(NAMED), ["w"] * NAMED, ["w"] * NAMED, name="named"))
    assert len(list(named.iter("text"))) == 2 * NAMED


def test_the_grid_has_a_map_for_each_head_and_frames_the_chosen_ones() -> None:
    maps = [torch.rand(3, 4, 4) for _ in range(2)]

    def framed(chosen: tuple[int | None, int | None]) -> int:
        tree = xml(head_grid(maps, layer_name="L{}", head_name="H{}", chosen=chosen, name="grid"))
        assert [text.text for text in tree.iter("text")] == ["H1", "H2", "H3", "L1", "L2"]
        places = [(rect.get("data-layer"), rect.get("data-head")) for rect in tree.iter("rect") if rect.get("data-layer")]
        assert places == [(str(layer), str(head)) for layer in (1, 2) for head in (1, 2, 3)]
        return sum(rect.get("class") == "frame" for rect in tree.iter("rect"))

    assert [framed(chosen) for chosen in ((None, None), (0, None), (None, 1), (1, 2))] == [0, 3, 2, 1]


def test_the_grid_of_a_large_model_stays_small() -> None:
    maps = [torch.rand(16, 256, 256) for _ in range(24)]
    assert len(head_grid(maps, layer_name="{}", head_name="{}", chosen=(None, None), name="grid")) < 3_000_000


def points(path: str) -> np.ndarray:
    return np.array([[float(number) for number in pair.split(" ")] for pair in re.split("[ML]", path.rstrip("Z"))[1:]])


def made_verdict(curve: np.ndarray, **fields: Any) -> Verdict:
    told: dict[str, Any] = {
        "area": 0.31, "chance_area": 0.5, "chance_low": 0.4, "chance_high": 0.6, "p_value": 0.025, "orders": 39, "as_good": 0,
        "exhaustive": False, "possible": True, "comprehensiveness": 0.4, "sufficiency": 0.1,
    }  # fmt: skip
    return Verdict(curve=curve, **told | fields)


def test_a_curve_is_drawn_to_scale_beside_the_band_of_the_random_ones() -> None:
    shares = np.array([0, 0.5, 1])
    chance = Chance(shares, np.array([[0.8, 0.6, 0.2], [0.8, 0.4, 0.2]]), False)
    tree = xml(deletion_curve(made_verdict(np.array([0.8, 0.1, 0.2])), chance, across="removed", up="probability", name="curve"))
    paths = {path.get("class"): points(path.get("d", "")) for path in tree.iter("path")}
    x, y = paths["curve"].T
    assert np.diff(x) == pytest.approx([(x[2] - x[0]) / 2] * 2)
    # Down is less, in proportion: 0.8 to 0.1 is seven times 0.1 to 0.2.
    assert y[1] - y[0] == pytest.approx(7 * (y[1] - y[2]), abs=0.5)
    assert paths["mean"][1, 1] == pytest.approx((paths["band"][1, 1] + paths["band"][4, 1]) / 2, abs=0.2)


def test_shades_are_ten_steps() -> None:
    assert [shade(share) for share in (-1, 0, 0.049, 0.051, 0.5, 1, 2)] == [0, 0, 0, 1, 5, SHADES, SHADES]


@pytest.fixture(scope="module")
def stormy(weather: Any) -> Explanation:
    return finish(explain(weather.model, weather.tokenizer, weather.read(weather.text(1)), orders=39))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_holds_every_picture_and_says_which_to_believe(stormy: Explanation, language: Language) -> None:
    page = document(stormy, model="<weather>", language=language)
    assert page.startswith("<!doctype html>")
    assert "&lt;weather&gt;" in page
    tree = xml(page[page.index("<main>") : page.index("</body>")])
    sections = [section.get("class") for section in tree.iter("section")]
    assert sections == ["head", *METHODS, "caution"]
    for section, method in zip(list(tree.iter("section"))[1:], METHODS, strict=False):
        verdict = next(one for one in section.iter("p") if (one.get("class") or "").startswith("verdict"))
        assert verdict.text == verdict_words(stormy.verdicts[method]).in_language(language)
        assert verdict.get("class") == ("verdict kept" if stormy.verdicts[method].wins else "verdict missed")
        text = next(one for one in section.iter("p") if one.get("class") == "text")
        assert "".join(text.itertext()) == "".join(word.text for word in stormy.words if not word.special)
    chinese = any(character > "\u4e00" for character in "".join(tree.itertext()))
    assert chinese == (language == "zh")
    assert "<script" not in page
    assert not re.search(r"https?://", page)
    assert " style=" not in page


def test_within_another_page_its_headings_begin_lower(stormy: Explanation) -> None:
    tree = xml(part(stormy, language="en", level=3))
    assert {element.tag for element in tree.iter() if re.fullmatch("h[1-6]", element.tag)} == {"h3", "h4"}
    assert sum(element.tag == "h3" for element in tree.iter()) == 1


def test_the_attention_s_part_names_what_is_shown(stormy: Explanation) -> None:
    for layer, head, said in [
        (None, None, "The mean of all layers and heads."), (1, None, "Layer 2, the mean of its heads."),
        (None, 0, "Head 1, the mean of all layers."), (0, 1, "Layer 1, head 2."),
    ]:  # fmt: skip
        markup = attention_maps(replace(stormy, layer=layer, head=head), language="en")
        assert said in markup
        titles = [title.text for title in xml(markup).iter("title")]
        shown = stormy.maps if layer is None else [stormy.maps[layer]]
        wanted = torch.stack([one if head is None else one[head : head + 1] for one in shown]).mean((0, 1))
        assert titles[0] == f"{stormy.rows[0].label} → {stormy.words[0].label}: {float(wanted[0, 0]):.3f}"


def test_texts_with_a_mark_between_them_stand_on_lines_of_their_own(stormy: Explanation) -> None:
    first, *others = (word for word in stormy.words if not word.special)
    mark = Word("<mark>", 0, 1, special=True)
    words = [mark, first, mark, mark, *others, mark]
    apart = replace(stormy, words=words, tried=[], importance={"gradients": np.zeros(len(words))})
    text = "".join(xml(highlights(apart, "gradients")).itertext())
    assert text == first.text + "\n" + "".join(word.text for word in others)


def test_markup_in_a_text_stays_text(stormy: Explanation) -> None:
    words = [Word('<img src=x onerror="alert(1)">', 0, 1), *stormy.words[1:]]
    forged = replace(stormy, words=words, rows=words, answer="<script>alert(2)</script>")
    page = document(forged, model="m", language="en")
    assert "<img" not in page
    assert "<script" not in page
    assert "&lt;img src=x" in highlights(forged, "gradients")


def test_the_terminal_s_bars_are_as_long_as_the_values(stormy: Explanation) -> None:
    lines = plain(stormy, "gradients", "en").split("\n")
    assert lines[0].startswith("Answer: storm  (")
    values = [float(stormy.importance["gradients"][number]) for number in stormy.tried]
    labels = [stormy.words[number].label for number in stormy.tried]
    widest, largest = max(map(width_of, labels)), max(map(abs, values))
    for line, label, value in zip(lines[3:], labels, values, strict=False):
        bar = ("█" if value >= 0 else "░") * round(BAR * abs(value) / largest)
        assert line == f"  {label:<{widest}}  {value:+.3f}  {bar}".rstrip()
    assert lines[-1] == summary_words(stormy).en
    chinese = plain(stormy, "rollout", "zh")
    assert chinese.startswith("答案：storm")
    assert "奈特" not in chinese  # only the gradients' values are in nats


def test_a_verdict_is_told_with_its_figures() -> None:
    curve = np.array([1.0, 0.0])
    won, lost = made_verdict(curve), made_verdict(curve, p_value=0.3, as_good=11)
    assert verdict_words(won).en == (
        "Faithful here: the answer goes sooner than under 39 of 39 random orders (area 0.310; random 0.500, 95% of them 0.400 to 0.600)."
    )
    assert verdict_words(lost).en.startswith("Not shown to be faithful: 11 of 39 random orders take the answer away as soon (")
    assert verdict_words(lost).zh.startswith("未能证明可信：39 种随机顺序中有 11 种同样快地使答案消失（")
    few = made_verdict(curve, possible=False, p_value=0.5)
    assert "stays open" in verdict_words(few).en
    every = made_verdict(curve, exhaustive=True, orders=24, as_good=1, p_value=1 / 24)
    assert "23 of 24 orders there are, its own among them" in verdict_words(every).en


@pytest.mark.parametrize(
    ("won", "sentence"),
    [
        ([], "None of the three beats a random order"),
        (
            ["gradients"],
            "believe integrated gradients: the words marked so do carry the answer. Attention roll-out and attention did no",
        ),
        (
            ["rollout", "attention"],
            "believe attention roll-out and attention: the words marked so do carry the answer. Integrated",
        ),
        (list(METHODS), "All three beat random orders"),
    ],
)
def test_the_summary_names_what_may_be_believed(stormy: Explanation, won: list[str], sentence: str) -> None:
    curve = np.array([1.0, 0.0])
    verdicts = {method: made_verdict(curve, p_value=0.025 if method in won else 0.5) for method in METHODS}
    assert sentence in summary_words(replace(stormy, verdicts=verdicts)).en
    none = {method: made_verdict(curve, possible=False, p_value=0.5) for method in METHODS}
    assert "too few words" in summary_words(replace(stormy, verdicts=none)).en


def test_values_that_do_not_add_up_are_said_to(stormy: Explanation) -> None:
    def said(difference: float, gap: float, points: int) -> Words:
        return completeness_words(replace(stormy, attribution=Attribution(torch.zeros(1), difference, gap, points)))

    assert said(2.0, 0.001, 32).en.startswith("The values add up to +2.000 nats")
    assert said(2.0, -0.5, 1024).en == (
        "The values do not add up: they miss +2.000 nats by 0.500, even with 1024 points. Do not compare their sizes."
    )
    assert "加不起来" in said(2.0, -0.5, 1024).zh
