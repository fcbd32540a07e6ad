"""Gates and releases: the worse end counts, a failure writes nothing, a release never changes."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from lodestar.contracts.errors import UserError
from lodestar.contracts.record import Scorecard
from lodestar.contracts.score import Target
from lodestar.store.files import hash_folder, sha256_file
from lodestar.venture.product import Override, find_release, gates, release, releases, verify


def card(*scores, split: str = "test") -> Scorecard:
    return Scorecard(task="x", split=split, data="h", scores=list(scores), baseline=[], baseline_name="none")


@pytest.mark.parametrize(
    ("target", "low", "high", "kept", "words"),
    [
        ({"at_least": 0.8}, 0.81, 0.95, True, "keeps ≥ 0.8 even at its worse end"),
        ({"at_least": 0.8}, 0.80, 0.95, True, "keeps"),
        ({"at_least": 0.8}, 0.79, 0.95, False, "meets ≥ 0.8 on average, but its worse end, 0.79, does not"),
        ({"at_least": 0.95}, 0.81, 0.99, False, "does not keep ≥ 0.95"),
        ({"at_most": 1.0}, 0.5, 0.99, True, "keeps ≤ 1"),
        ({"at_most": 1.0}, 0.5, 1.01, False, "on average, but its worse end, 1.01"),
        ({"at_most": 0.5}, 0.5, 1.01, False, "does not keep"),
        ({"at_least": 0.8}, math.nan, math.nan, False, "does not"),
    ],
)
def test_the_worse_end_of_the_interval_decides(score, target, low, high, kept, words):
    better = "higher" if "at_least" in target else "lower"
    (gate,) = gates([Target(metric="x", **target)], card(score("x", 0.9, low, high, better=better)))
    assert gate.kept is kept
    assert words in gate.reason().en
    assert "x" in gate.reason().zh


def test_missing_evidence_fails(score):
    targets = [Target(metric="x", at_least=0), Target(metric="y", at_least=0), Target(metric="x", at_least=0, data="validation")]
    held = gates(targets, card(score("x", 1, 1, 1)))
    assert [gate.kept for gate in held] == [True, False, False]
    assert "never measured on the test split" in held[1].reason().en
    assert "never measured on the validation split" in held[2].reason().en


def test_one_example_is_no_evidence(score):
    (gate,) = gates([Target(metric="x", at_least=0)], card(score("x", 1, 1, 1, count=1)))
    assert not gate.kept
    assert "one example, which gives no interval" in gate.reason().en


def test_a_release_holds_the_model_the_evidence_and_the_card(venture, write_runs):
    write_runs(venture)
    made, new = release(venture)
    assert new
    folder = venture.releases / "v1"
    assert made == find_release(venture) == find_release(venture, "v1")
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "config.json", "tokenizer.json", "task.json", "scorecard.json", "measurements.npz", "scorecard.png",
        "loss.png", "data-card.json", "data-card.md", "gates.json", "card.md", "release.json",
    }  # fmt: skip
    assert (folder / "model.safetensors").read_text() == "model.safetensors a"
    assert {path.stat().st_mode & 0o222 for path in folder.iterdir()} == {0}, "read-only"
    assert made.runs == {"prepare": "data-a", "train": "model-a", "evaluate": "score-a"}
    assert made.files == {path.name: sha256_file(path) for path in folder.iterdir() if path.name not in ("card.md", "release.json")}
    assert hash_folder(venture.artefacts.path(made.artefact)) == made.artefact
    verify(venture, made)
    (row,) = venture.ledger.releases()
    assert (row.name, row.artefact, row.override_who) == ("v1", made.artefact, None)
    assert row.gates == json.loads((folder / "release.json").read_text())["gates"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_card_says_what_it_is_for_what_it_scores_and_how_to_run_it(venture, write_runs, monkeypatch, language):
    monkeypatch.setenv("LODESTAR_LANGUAGE", language)
    write_runs(venture)
    release(venture)
    text = (venture.releases / "v1" / "card.md").read_text()
    for words in [
        "# Listener v1", "Every shop hears its customers.", "owners of small shops", "- Never identify a person | or a household.",
        "| `accuracy` | ≥ 0.8 | 0.9 [0.87, 0.93] |", "0.7 [0.66, 0.74]", "character n-grams", "12,345", "3,000,000", "Apache-2.0",
        "lodestar serve v1", "`model-a`", "torch: 2.13.0", "2 GB", "61 s",
    ]:  # fmt: skip
        assert words in text
    assert ("## 用途" in text) == (language == "zh")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.endswith("|") for row in rows)


def test_the_same_content_is_the_same_release_and_other_content_the_next(venture, write_runs):
    write_runs(venture)
    first, _ = release(venture)
    before = hash_folder(venture.releases)
    again, new = release(venture)
    assert (again, new) == (first, False)
    assert hash_folder(venture.releases) == before
    write_runs(venture, "b", finished="2099-01-02T00:00:00Z")
    second, new = release(venture)
    assert (second.name, new) == ("v2", True)
    assert [made.name for made in releases(venture)] == ["v1", "v2"]
    assert [row.name for row in venture.ledger.releases()] == ["v1", "v2"]
    verify(venture, first)


def test_versions_count_on_past_nine(venture, write_runs):
    write_runs(venture)
    release(venture)
    shutil.copytree(venture.releases / "v1", venture.releases / "v9")
    entry = venture.releases / "v9" / "release.json"
    values = json.loads(entry.read_text()) | {"name": "v9"}
    entry.unlink()
    entry.write_text(json.dumps(values))
    write_runs(venture, "b", finished="2099-01-02T00:00:00Z")
    release(venture)
    assert [made.name for made in releases(venture)] == ["v1", "v9", "v10"]
    assert find_release(venture).name == "v10"


def test_a_failing_gate_writes_nothing_and_says_what_to_do(venture, write_runs, score):
    write_runs(venture, scores=(score("accuracy", 0.82, 0.78, 0.86),))
    with pytest.raises(UserError) as caught:
        release(venture)
    sentence = str(caught.value)
    assert "2 of 2 gates fail" in sentence
    assert "accuracy: 0.82 [0.78, 0.86] meets ≥ 0.8 on average, but its worse end, 0.78, does not (evaluate on more examples" in sentence
    assert "latency_ms_p95: never measured on the test split (evaluate again" in sentence
    assert "--override-by WHO --because WHY" in sentence
    assert not venture.releases.exists()
    assert not venture.state.exists()


def test_an_override_needs_a_name_and_a_reason_and_stays(venture, write_runs, score):
    write_runs(venture, scores=(score("accuracy", 0.7, 0.6, 0.8),))
    for override in [Override(who="", why="because"), Override(who="Ada", why=" ")]:
        with pytest.raises(UserError, match="both --override-by and --because"):
            release(venture, override)
    assert not venture.releases.exists()
    made, _ = release(venture, Override(who="Ada", why="a pilot, with their consent"))
    assert made.override == Override(who="Ada", why="a pilot, with their consent")
    assert "by decision of Ada: a pilot, with their consent" in (venture.releases / "v1" / "card.md").read_text()
    (row,) = venture.ledger.releases()
    assert (row.override_who, row.override_why) == ("Ada", "a pilot, with their consent")


def test_an_override_that_is_not_needed_is_not_kept(venture, write_runs):
    write_runs(venture)
    assert release(venture, Override(who="Ada", why="to be safe"))[0].override is None


def test_nothing_evaluated_is_one_sentence(venture, write_runs):
    with pytest.raises(UserError, match="nothing is evaluated yet; run `lodestar run`"):
        release(venture)
    with pytest.raises(UserError, match="nothing has been released yet; run `lodestar release`"):
        find_release(venture)
    write_runs(venture)
    release(venture)
    with pytest.raises(UserError, match=r"no release 'v7'; name one of v1"):
        find_release(venture, "v7")


def test_a_training_run_that_is_gone_is_one_sentence(venture, write_runs):
    write_runs(venture)
    (venture.latest("train").folder / "record.json").unlink()
    with pytest.raises(UserError, match="the run 'model-a' of the step 'train' is gone; run `lodestar train` again"):
        release(venture)


def test_a_changed_file_of_a_release_is_noticed(venture, write_runs):
    write_runs(venture)
    made, _ = release(venture)
    weights = venture.releases / "v1" / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match=r"model.safetensors: the release is damaged: this file is missing"):
        verify(venture, made)
    weights.write_bytes(content[:-1] + b"!")
    with pytest.raises(UserError, match="this file is not what was released"):
        verify(venture, made)


def test_a_release_whose_ledger_entry_was_lost_is_entered_again(venture, write_runs):
    """As when a process is killed between the two."""
    write_runs(venture)
    release(venture)
    venture.ledger_path.unlink()
    del venture.__dict__["ledger"]
    made, new = release(venture)
    assert not new
    assert [row.artefact for row in venture.ledger.releases()] == [made.artefact]


def test_evidence_of_other_settings_is_stale_and_releases_nothing(make_venture, write_runs):
    venture = make_venture()
    write_runs(venture)
    venture.remember_evaluation(venture.latest("evaluate").folder)
    for override in (None, Override(who="Ada", why="in a hurry")):
        with pytest.raises(UserError, match="the evidence is stale; run `lodestar run`, or take the change back"):
            release(make_venture(model={"size": "tiny"}), override)
    assert not venture.releases.exists()
    assert release(make_venture(statement="Another word."))[1]
