"""The brief as PDF: one page of A4 with all of it, in fonts that travel with it; or one sentence that says what is missing."""

from __future__ import annotations

import io
import sys
from typing import Any

import pypdf
import pytest
from PIL import ImageFile

from lodestar import tasks
from lodestar.contracts.errors import UserError
from lodestar.evaluate.system import SYSTEM_METRICS
from lodestar.venture.brief import brief
from lodestar.venture.pdf import SCALES, one_page
from lodestar.venture.scaffold import filled
from lodestar.venture.vision import VentureFile

TASK = tasks.find("code-generation")
METRICS = {metric.name: metric for metric in (*TASK.metrics, *SYSTEM_METRICS)}


def page(**changes: Any) -> str:
    """The brief of a template, changed."""
    return brief(VentureFile.parse({**filled(TASK.template), "name": "听风者 Listener", **changes}, where="x"), METRICS, "version 7")


def read(printed: bytes) -> tuple[str, pypdf.PageObject]:
    """The text without its spaces, and the one page."""
    (only,) = pypdf.PdfReader(io.BytesIO(printed)).pages
    assert (round(only.mediabox.width), round(only.mediabox.height)) == (595, 842), "210 × 297 mm in points"
    return "".join(only.extract_text().split()), only


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_of_the_brief_stands_on_one_page_in_fonts_that_are_in_the_file(monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    text, sheet = read(one_page(page()))
    headings = ["OURNORTHSTAR", "WHATWEPROMISE", "Judgedon"] if language == "en" else ["我们的北极星", "我们的承诺", "为何是这个数"]
    statement = TASK.template["statement"].in_language(language)
    for words in ["听风者Listener", "".join(statement.split()), "version7", "≤2bits/byte", "≤2,000ms", "≤2GB", *headings]:
        assert words in text
    fonts: Any = sheet["/Resources"]["/Font"]  # type: ignore[index]
    assert len(fonts) >= 2
    for font in fonts.values():
        (described,) = font.get_object()["/DescendantFonts"]
        assert {"/FontFile2", "/FontFile3"} & described.get_object()["/FontDescriptor"].get_object().keys()


def test_a_long_brief_is_printed_smaller_and_one_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    lines = [f"Value {number}: we hold to it however close a decision is, and say so to whoever asks." for number in range(14)]
    text, sheet = read(one_page(page(values=lines, red_lines=lines)))
    assert all(f"Value{number}:" in text for number in range(14))
    heights = [abs(matrix[3] * size) for size, matrix in _sizes(sheet)]
    assert max(heights) < 30 * 0.75 * SCALES[0] * 0.95, "the title is smaller than it is at full size"
    with pytest.raises(UserError, match=r"venture\.yaml: the brief does not fit on one page.*; shorten the statement"):
        one_page(page(values=lines * 8))


def _sizes(sheet: pypdf.PageObject) -> list[tuple[float, list[float]]]:
    """Of each piece of text: its size, and how it is scaled on the page."""
    found: list[tuple[float, list[float]]] = []

    def visit(text: str, outer: list[float], inner: list[float], _font: Any, size: float) -> None:
        if text.strip():
            found.append((size, [a * b for a, b in zip(outer, inner, strict=True)]))

    sheet.extract_text(visitor_text=visit)
    return found


def test_pictures_that_are_cut_off_are_still_refused_after_printing():
    one_page(page())
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "WeasyPrint's import sets it"


def test_a_character_that_no_font_has_is_one_sentence(monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    with pytest.raises(UserError, match=r"no font on this computer has the characters .*U\+E123.*; install one"):
        one_page(page(audience="people of \ue123"))


def test_without_the_library_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(UserError, match=r"a brief as PDF needs the package 'weasyprint'; install it with: pip install 'lodestar\[brief\]'"):
        one_page(page())
