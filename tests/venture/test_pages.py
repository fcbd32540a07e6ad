"""The brief and the report: the facts are in them, hostile text stays text, and the brief prints on one sheet of A4."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from lodestar import tasks
from lodestar.contracts.errors import UserError
from lodestar.contracts.score import Target
from lodestar.evaluate.system import SYSTEM_METRICS
from lodestar.store.files import write_atomic
from lodestar.store.ledger import Request
from lodestar.venture.brief import brief
from lodestar.venture.plot import interval_plot
from lodestar.venture.product import Override, release
from lodestar.venture.scaffold import create
from lodestar.venture.success import report
from lodestar.venture.vision import load_venture_file

HOSTILE = """<script>alert(1)</script>'"&amp;"""
VOID = {"meta", "img", "br", "path", "circle", "line", "rect"}


class Page(HTMLParser):
    """The visible text; fails on tags that are not closed in order, on scripts and on anything loaded from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "iframe"}
        for name, value in attrs:
            assert not name.startswith("on")
            if name in {"src", "href"}:
                assert (value or "").startswith("data:image/png;base64,")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack and data.strip():
            self.text.append(data.strip())

    def __contains__(self, words: str) -> bool:
        return words in " ".join(self.text)


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch) -> str:
    monkeypatch.setenv("LODESTAR_LANGUAGE", request.param)
    return request.param


def test_the_brief_says_what_the_founder_wrote_in_the_readers_headings(venture, metrics, language):
    page = Page(brief(venture.file, metrics))
    for words in [
        "Listener",
        "Every shop hears its customers.",
        "owners of small shops",
        "≥ 0.8",
        "≤ 100 ms",
        "better than the intern",
        "Measure first.",
    ]:
        assert words in page
    assert (("我们的北极星" if language == "zh" else "Our north star") in page) is True
    assert (metrics["accuracy"].words.in_language("zh") in page) == (language == "zh")
    assert "url(" not in brief(venture.file, metrics), "nothing is loaded from elsewhere"


def test_hostile_text_stays_text(make_venture, metrics, write_runs):
    venture = make_venture(
        name=HOSTILE, statement=HOSTILE, audience=HOSTILE, values=[HOSTILE], red_lines=[HOSTILE], licence=HOSTILE,
        team=[{"name": HOSTILE, "role": HOSTILE}], data={"sources": [HOSTILE]}, options={},
        targets=[{"metric": "accuracy", "at_least": 0.99, "why": HOSTILE, "by": HOSTILE}],
    )  # fmt: skip
    assert Page(brief(venture.file, metrics)).text.count(HOSTILE) >= 6
    write_runs(venture)
    release(venture, Override(who=HOSTILE, why=HOSTILE))
    assert HOSTILE in Page(report(venture, metrics).html)


def test_the_brief_of_the_longest_template_prints_on_one_sheet_of_a4(tmp_path, language):
    if not shutil.which("chromium"):
        pytest.skip("no chromium on this machine")
    found = max((tasks.find(name) for name in tasks.names()), key=lambda task: len(str(task.template)))
    file = load_venture_file(create(tmp_path / "new", "A product with a name", found.template))
    html, pdf = tmp_path / "brief.html", tmp_path / "brief.pdf"
    html.write_text(brief(file, {metric.name: metric for metric in (*found.metrics, *SYSTEM_METRICS)}))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer", f"--print-to-pdf={pdf}", html.as_uri()]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    content = pdf.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) == 1
    boxes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", content)
    assert [(round(float(x)), round(float(y))) for x, y in boxes] == [(595, 842)], "210 × 297 mm in points"


def test_the_report_before_anything_is_evaluated_says_what_to_run(venture, metrics):
    with pytest.raises(UserError, match="nothing to report on yet; run `lodestar run`"):
        report(venture, metrics)


def test_the_report_before_a_release_is_on_the_evaluation(venture, metrics, write_runs, language):
    write_runs(venture)
    made = report(venture, metrics)
    assert made.value["release"] is None
    assert [gate["kept"] for gate in made.value["gates"]] == [True, True]
    assert [path.rsplit("/", 1)[1] for path in made.value["pictures"]] == ["scorecard.png", "loss.png"]
    assert made.value["next"]["command"] == "lodestar release"
    assert ("尚未发布" if language == "zh" else "not released yet") in Page(made.html)


def test_the_report_shows_what_was_made_in_the_course_of_the_training(venture, metrics, write_runs, language):
    write_runs(venture)
    train = venture.run_folder("train", "folder-of-model-a")
    for step in (0, 40, 80, 120, 160):
        write_atomic(train / "previews" / f"step-{step:06d}.png", f"a picture of step {step}")
    made = report(venture, metrics)
    shown = ["step-000000.png", "step-000040.png", "step-000120.png", "step-000160.png"]
    assert [path.rsplit("/", 1)[1] for path in made.value["pictures"]] == ["scorecard.png", "loss.png", *shown]
    assert ("第 160 步之后" if language == "zh" else "after 160 steps") in Page(made.html)
    release(venture)
    assert (venture.releases / "v1" / "preview.png").read_text() == "a picture of step 160"
    assert report(venture, metrics).value["pictures"][2:] == made.value["pictures"][2:]
    shutil.rmtree(train / "previews")
    after = report(venture, metrics)
    assert after.value["pictures"][2:] == [str(venture.releases / "v1" / "preview.png")]
    assert ("训练结束时" if language == "zh" else "at the end") in Page(after.html)


def test_the_report_holds_the_release_and_what_was_served_against_the_targets(venture, metrics, write_runs, language):
    write_runs(venture)
    release(venture)
    for latency in [10.0, 20.0, 30.0]:
        venture.ledger.add_request(
            Request(time="2026-01-01", release="v1", route="/v1/classify", tokens_in=7, tokens_out=1, latency_ms=latency, status=200)
        )
    made = report(venture, metrics)
    assert made.value["usage"]["latency_ms_p50"] == 20.0
    assert made.value["usage"]["tokens_in"] == 21
    page = Page(made.html)
    for words in ["0.9", "[0.87, 0.93]", "≥ 0.8", "40 ms", "[35, 52]", "20 ms", "30 ms", "character n-grams", "v1"]:
        assert words in page
        assert words in made.text or words == "v1"
    assert made.html.count("data:image/png;base64,") == 2
    assert page.text.count("兑现" if language == "zh" else "kept") >= 2


def test_a_target_raised_after_the_release_is_reported_as_missed(make_venture, metrics, write_runs):
    venture = make_venture()
    write_runs(venture)
    release(venture)
    raised = make_venture(targets=[{"metric": "accuracy", "at_least": 0.88}])
    made = report(raised, metrics)
    assert made.value["gates"][0]["kept"] is False
    assert "but its worse end, 0.87, does not" in made.text


def test_an_override_stands_in_every_report(venture, metrics, write_runs, score, language):
    write_runs(venture, scores=(score("accuracy", 0.7, 0.6, 0.8),))
    release(venture, Override(who="Ada", why="a pilot"))
    made = report(venture, metrics)
    assert made.value["override"] == {"who": "Ada", "why": "a pilot"}
    for where in [made.text, made.html]:
        assert "Ada" in where
        assert "a pilot" in where


def test_the_plot_puts_everything_inside_and_in_order(score):
    svg = interval_plot(Target(metric="accuracy", at_least=0.8), score("accuracy", 0.9, 0.87, 0.93), score("accuracy", 0.7, 0.6, 0.8))
    line = float(re.search(r'<line x1="([\d.]+)" x2="\1"', svg)[1])  # type: ignore[index]
    low, high = (float(value) for value in re.search(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="18.0" y2="18.0" stroke="#1d', svg).groups())  # type: ignore[union-attr]
    dot = float(re.search(r'<circle cx="([\d.]+)"', svg)[1])  # type: ignore[index]
    assert 0 < line < low < dot < high < 200


def test_a_score_equal_to_its_threshold_and_interval_can_be_drawn(score):
    assert "nan" not in interval_plot(Target(metric="x", at_most=0), score("x", 0, 0, 0), None).lower()
