"""The view of the product: scorecards side by side, the best marked only where it is told from chance, and what a release stands on."""

from __future__ import annotations

import re
import sys
from datetime import date

import pytest

from lodestar.contracts.language import Words
from lodestar.store.files import write_atomic
from lodestar.studio.markdown import markdown_html
from lodestar.studio.views.product import VIEW
from lodestar.venture.measures import keep_words
from lodestar.venture.pairs import Pair, PairedDifference, evaluation_id, read_pair, save_pair
from lodestar.venture.product import Override, release
from tests.studio.views.conftest import HOSTILE, View


def difference(value: float, low: float, high: float, metric: str = "accuracy", better: str = "higher") -> PairedDifference:
    return PairedDifference.model_validate(
        {"metric": metric, "unit": "", "better": better, "value": value, "low": low, "high": high, "confidence": 0.95, "examples": 500}
    )


@pytest.fixture
def released(venture, write_runs, score):
    """Two releases: v1 with an accuracy of 0.9, v2 with one of 0.95."""
    write_runs(venture)
    release(venture)
    scores = (score("accuracy", 0.95, 0.93, 0.97), score("latency_ms_p95", 140, 135, 152, better="lower", unit="ms"))
    write_runs(venture, tag="b", scores=scores, finished="2099-02-01T01:00:00Z")
    release(venture, Override(who=HOSTILE, why="the fair is on Monday"))
    return venture


def row(page: View, metric: str) -> str:
    return next(each for each in page.html.split("<tr>") if f"<code>{metric}</code>" in each)


def test_before_an_evaluation_it_says_what_to_run(venture, language):
    assert "lodestar run" in View(VIEW.body(venture, {}))


def test_scores_stand_side_by_side_with_intervals_and_promises(released, metrics, language):
    keep_words(released, metrics)
    page = View(VIEW.body(released, {}))
    accuracy, latency = row(page, "accuracy"), row(page, "latency_ms_p95")
    assert [words in accuracy for words in ("0.9<small>[0.87, 0.93]", "0.95<small>[0.93, 0.97]", "≥ 0.8")] == [True] * 3
    assert metrics["accuracy"].words.in_language("zh" if language == "zh" else "en") in accuracy
    kept, missed = ("兑现", "未兑现") if language == "zh" else ("kept", "not kept")
    assert re.findall(r'class="(?:kept|missed)"[^>]*>(.*?)</span>', latency) == [kept, missed]
    assert "★" not in accuracy, "nothing has told the difference from chance"
    assert "lodestar compare v1 v2" in page
    assert HOSTILE in page, "who decided to release v2 all the same"


def test_the_best_is_marked_only_where_it_is_told_from_chance(released, language):
    chance = "无法与随机波动区分" if language == "zh" else "not told from chance"
    save_pair(released, Pair(a="score-a", b="score-b", date=date(2026, 12, 1), differences=[difference(0.05, -0.01, 0.11)]))
    accuracy = row(View(VIEW.body(released, {})), "accuracy")
    assert "+0.05 [−0.01, +0.11]" in accuracy
    assert (chance in accuracy, "★" in accuracy) == (True, False)
    save_pair(released, Pair(a="score-a", b="score-b", date=date(2026, 12, 1), differences=[difference(0.05, 0.01, 0.09)]))
    page = View(VIEW.body(released, {}))
    accuracy = row(page, "accuracy")
    assert (chance in accuracy, accuracy.count("★")) == (False, 1)
    assert accuracy.index("★") > accuracy.index("0.95<small>"), "it stands with v2"
    assert "lodestar compare" not in page
    assert "2026-12-01" in page


def test_an_evaluation_that_was_not_released_can_be_chosen(venture, write_runs, language):
    write_runs(venture)
    page = View(VIEW.body(venture, {}))
    assert 'name="with.folder-of-score-a"' in page.html
    assert "0.9<small>[0.87, 0.93]" in row(page, "accuracy")
    assert "lodestar release" in page


def test_two_that_answered_alike_are_told_so(released, language):
    save_pair(released, Pair(a="score-a", b="score-b", date=date(2026, 12, 1), differences=[difference(0.0, 0.0, 0.0)]))
    assert ("逐例相同" if language == "zh" else "alike on every example") in row(View(VIEW.body(released, {})), "accuracy")


def test_one_alone_is_shown_where_one_alone_is_chosen(released):
    page = View(VIEW.body(released, {"with.v1": "on", "with.nobody": "on"}))
    assert "0.9<small>" in row(page, "accuracy")
    assert "0.95<small>" not in row(page, "accuracy")


def test_a_pair_is_found_in_either_order_and_a_lower_loss_is_better(venture):
    save_pair(venture, Pair(a="x", b="y", date=date(2026, 12, 1), differences=[difference(-0.2, -0.3, -0.1, "loss", "lower")]))
    told = [read_pair(venture, *ids) for ids in (("x", "y"), ("y", "x"))]
    found = [pair.of("loss") for pair in told if pair]
    assert [(each.value, each.low, each.high, each.told) for each in found if each] == [(-0.2, -0.3, -0.1, "b"), (0.2, 0.1, 0.3, "a")]
    assert read_pair(venture, "x", "z") is None


def test_what_stands_behind_a_release_is_shown(released, language):
    page = View(VIEW.body(released, {"release": "v1"}))
    card = (released.releases / "v1" / "card.md").read_text()
    assert card.splitlines()[0].removeprefix("# ") in page, "the model card"
    newest = View(VIEW.body(released, {}))
    change = Words("accuracy: 0.9 [0.87, 0.93] → 0.95 [0.93, 0.97]", "accuracy：0.9 [0.87, 0.93] → 0.95 [0.93, 0.97]")
    assert (change.in_language("zh" if language == "zh" else "en") in newest, "→" in page) == (True, False)
    assert "lodestar serve v1 --canary v2" in newest


def test_an_evaluation_is_known_by_its_run_and_by_its_release(released):
    assert evaluation_id(released.releases / "v1") == "score-a"
    assert evaluation_id(released.run_folder("evaluate", "folder-of-score-a")) == "score-a"
    assert evaluation_id(released.folder) is None


def test_a_cards_markdown_is_laid_out_and_brings_no_markup_of_its_own(released):
    shown = View(markdown_html(f"# Card\n\n| a | b |\n|---|---|\n| 1 | {HOSTILE} |\n\n[x](javascript:alert(1))\n\n<b>bold</b>\n"))
    assert "<h3>Card</h3>" in shown.html
    assert "<td>1</td>" in shown.html
    assert "alert(1)" in shown
    assert "<b>" not in shown.html
    write_atomic(released.releases / "v3" / "nothing", "")
    assert "<script" not in VIEW.body(released, {})


def test_without_the_library_a_card_is_shown_as_it_was_written(monkeypatch, language):
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    shown = View(markdown_html(f"# {HOSTILE}\n"))
    assert f"# {HOSTILE}" in shown
    assert "pip install 'lodestar[studio]'" in shown
