"""The view of the runs: every attempt is reached page by page, curves are what the journal says, and thinning loses no spike."""

from __future__ import annotations

import json
import re
from html import unescape
from urllib.parse import parse_qsl

from lodestar.contracts.record import RunRecord
from lodestar.contracts.score import Cost
from lodestar.store.files import write_atomic
from lodestar.store.lock import hold
from lodestar.studio.views.runs import PAGE, VIEW, data
from lodestar.venture.training import MOST_POINTS, axis, read_course, thinned
from tests.studio.views.conftest import HOSTILE, View


def journal(venture, id: str, rows) -> None:
    folder = venture.run_folder("train", id)
    write_atomic(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def step(number: int, loss: float | None, *, tokens: int | None = None, rate: float = 0.01, speed: int = 50):
    return {"step": number, "tokens": tokens or number * 100, "loss": loss, "learning_rate": rate, "tokens_per_second": speed}


def addresses(page: View) -> list[dict[str, str]]:
    return [dict(parse_qsl(unescape(link))) for link in re.findall(r'<p class="pages">.*?href="\?([^"]*)"', page.html)]


def test_before_the_first_run_it_says_what_to_run(venture, language):
    assert "lodestar run" in View(VIEW.body(venture, {}))


def test_ten_thousand_attempts_are_reached_page_by_page(venture, language):
    columns = "INSERT INTO runs (step, id, status, started, finished, why) VALUES (?, ?, ?, ?, ?, ?)"
    with venture.ledger._database.transaction(write=True) as transaction:
        for n in range(10_000):
            moment = f"2026-11-{1 + n // 500:02d}T10:00:00Z"
            transaction.execute(columns, ("prepare", "train")[n % 2], f"id{n}", "failed", moment, moment, HOSTILE)
    first = View(VIEW.body(venture, {}))
    assert "10,000" in first
    assert len(re.findall("<tr>", first.html)) == 1 + PAGE
    assert "id9999" in first
    assert HOSTILE in first
    assert addresses(first) == [{"before": "9951"}, {"before": "9951"}], "above the list and below it"
    trained = View(VIEW.body(venture, {"step": "train", "before": "4", "x": "time"}))
    assert ("共 5,000 项，此处 1 项" if language == "zh" else "1 of 5,000") in trained
    assert addresses(trained)[0] == {"step": "train", "x": "time"}, "the newest, what else was asked for kept"
    assert View(VIEW.body(venture, {"before": "no number", "step": "no step"})).html == first.html


def test_a_course_leaves_out_what_was_undone_and_a_line_that_is_half_written(venture):
    rows = [
        {"step": 0, "tokens": 0, "validation_loss": 9.0}, step(1, 5.0), step(2, 4.0), {"step": 2, "tokens": 200, "validation_loss": 4.5},
        step(3, 80.0), {"step": 1, "rewind": "a spike"}, step(2, 3.0, tokens=400), step(3, None, tokens=500),
    ]  # fmt: skip
    journal(venture, "a", rows)
    path = venture.run_folder("train", "a") / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "tok')
    course = read_course(venture.run_folder("train", "a"))
    assert course is not None
    assert [(each.step, each.tokens, each.value) for each in course.loss] == [(1, 100, 5.0), (2, 400, 3.0)]
    assert [each.step for each in course.rate] == [1, 2, 3]
    assert [each.value for each in course.validation] == [9.0], "what was measured on undone steps is undone"
    assert course.rewinds == 1
    assert course.rate[-1].seconds == 10.0, "500 tokens at 50 a second: what was undone took its time, too"
    assert axis("time", [course]).points(course.rate)[-1] == (10.0, 0.01)
    assert read_course(venture.run_folder("train", "b")) is None


def test_thinning_keeps_the_ends_and_every_spike_and_says_how_many_points_it_shows(venture, language):
    points = [(float(n), 1.0) for n in range(20_000)]
    points[7_321], points[15_000] = (7_321.0, 9.0), (15_000.0, -9.0)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert kept == sorted(set(kept) & set(points)), "some of them, in their order"
    assert {points[0], points[-1], points[7_321], points[15_000]} <= set(kept)
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]
    venture.ledger.start_run("train", "long")
    # All alike but for one: of 199 stretches each gives one point, one of them two, and there are the two ends.
    journal(venture, "long", [step(n, 2.0 + (n == 7_321)) for n in range(1, 20_001)])
    assert ("共 20,000 步，图中 202 点" if language == "zh" else "202 of 20,000 steps drawn") in View(VIEW.body(venture, {}))
    curve = data(venture, {})["curves"]["long"]
    assert (len(curve["loss"]), curve["shown"], curve["of"]) == (202, 202, 20_000)
    assert (732_100, 3.0) in curve["loss"]


def test_chosen_trainings_are_drawn_over_each_other_and_no_path_is_followed(venture, language):
    for id in ("one", "two"):
        venture.ledger.start_run("train", id)
        journal(venture, id, [step(1, 2.5), step(2, 2.0), {"step": 2, "tokens": 200, "validation_loss": 2.25}])
    write_atomic(venture.folder / "outside" / "metrics.jsonl", json.dumps(step(1, 1.0)))
    page = View(VIEW.body(venture, {"show.one": "on", "show.two": "on", "show.x/../../outside": "on"}))
    told = re.findall(r"<desc>(.*?)</desc>", page.html)
    training, validation = ("训练", "验证") if language == "zh" else ("training", "validation")
    assert all(f"{id}: {training} 2, {validation} 2.25" in told[0] for id in ("one", "two"))
    assert len(page.pictures) >= 2, "loss and learning rate"
    assert "outside" not in page.html
    assert [f'name="show.{id}" value="on"' in page.html for id in ("one", "two")] == [True, True]
    assert page.html.count(" checked") == 2


def test_what_goes_on_is_told_from_what_was_cut_off(venture, language):
    venture.ledger.start_run("train", "old")
    venture.ledger.start_run("train", "new")
    going_on, cut_off = ("进行中", "已中断") if language == "zh" else ("going on", "cut off")
    with hold(venture.state, "run"):
        states = re.findall(r'<span class="waits">(.*?)</span>', VIEW.body(venture, {}))
        assert states == [going_on, cut_off]
        assert data(venture, {})["going_on"] == 2
    assert re.findall(r'<span class="waits">(.*?)</span>', VIEW.body(venture, {})) == [cut_off, cut_off]


def test_a_finished_attempt_tells_what_came_of_it(venture, score, language):
    attempt = venture.ledger.start_run("train", "a")
    cost = Cost(seconds=61, cpu_seconds=120, peak_memory_bytes=2_000_000_000)
    facts = {"steps": 10, "tokens": 12_345, "loss": 2.34567, "validation_loss": None}
    common = {
        "started": "2026-12-01T00:00:00Z", "finished": "2026-12-01T00:01:01Z", "config": {}, "inputs": {}, "outputs": {}, "cost": cost,
        "versions": {}, "seed": 0,
    }  # fmt: skip
    venture.ledger.finish_run(attempt, RunRecord(step="train", id="r", facts=facts, **common))
    attempt = venture.ledger.start_run("evaluate", "b")
    venture.ledger.finish_run(attempt, RunRecord(step="evaluate", id="s", scores=[score("accuracy", 0.9, 0.87, 0.93)], **common))
    page = View(VIEW.body(venture, {}))
    for words in ("12,345", "2.346", "2 GB", "accuracy 0.9 [0.87, 0.93]"):
        assert words in page
