"""`lodestar decide` from a new venture to a record: real pilots of real trainings, a bought API of our own, and the choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.cli._pilots import chosen, pace
from lodestar.cli._plan import load_task, prepare_folder
from lodestar.cli.main import main
from lodestar.deploy.serve import background
from lodestar.store.files import read_json
from lodestar.venture.venture import Venture

SMALL = {"size": "tiny", "context": 64, "overrides": {"depth": 1, "width": 64}}
SMALLER = {"size": "tiny", "context": 64, "overrides": {"depth": 1, "width": 32, "heads": 1}}
STRATEGIES: list[dict[str, Any]] = [
    {"name": "none", "kind": "baseline"},
    {"name": "wide", "kind": "scratch", "model": SMALL},
    {"name": "thin", "kind": "scratch", "model": SMALLER},
]


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


def said(capsys, *arguments: str) -> str:
    code = main(["decide", *arguments, "--venture", "x"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out


def refused(capsys, *arguments: str) -> str:
    before = {path: path.read_bytes() for path in Path("x").rglob("*") if path.is_file() and ".lodestar" not in path.parts}
    assert main(["decide", *arguments, "--venture", "x"]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in Path("x").rglob("*") if path.is_file() and ".lodestar" not in path.parts} == before
    return shown.err


def new(capsys, **changes: Any) -> None:
    assert main(["new", "x", "--template", "classification"]) == 0
    path = Path("x/venture.yaml")
    value = yaml.safe_load(path.read_text("utf-8"))
    value["data"]["vocabulary"] = 300
    for target in value["targets"]:
        del target["by"]  # it would be the day of a forecast, too
    value["train"] = {"tokens": 8_000, "batch_tokens": 256}
    value["decision"] = {"strategies": STRATEGIES}
    path.write_text(yaml.safe_dump({**value, **changes}, allow_unicode=True), "utf-8")
    capsys.readouterr()


CHOICE = ("--by", "Ada", "--because", "it is enough", "--forecast", "accuracy", "--resolve-by", "2030-01-01")


def test_a_fresh_venture_is_compared_at_once_and_nothing_is_trained(capsys):
    assert main(["new", "x", "--template", "text-generation"]) == 0
    capsys.readouterr()
    told = said(capsys)
    assert "Of 26 numbers, 0 are measured, 0 quoted, 26 assumed." in told
    assert "Cheapest pilot worth making: no-model" in told
    assert not Path("x/runs").exists()
    value = json.loads(said(capsys, "--json"))
    assert value["comparison"]["draws"] == 50_000
    assert Path(value["page"]).read_text("utf-8").count("<svg") >= 5


def test_pilots_measure_each_strategy_within_their_budget_and_are_not_made_twice(capsys):
    new(capsys)
    value = json.loads(said(capsys, "--pilot", "--minutes", "2", "--json"))
    quantities = value["problem"]["quantities"]
    for name in ("none", "wide", "thin"):
        assert quantities[f"{name}: accuracy"]["source"] == "measured"
        path = Path("x", quantities[f"{name}: accuracy"]["reference"])
        assert read_json(path)["split"] == "validation"
        assert read_json(path)["runs"][-1]["share"] == 1.0, "there was time for the end"
    assert quantities["wide: latency_ms_p95"]["source"] == quantities["wide: training hours"]["source"] == "measured"
    # The venture's own runs and ledger know nothing of it, but for the data, which is the same.
    assert {path.name.partition("-")[0] for path in Path("x/runs").iterdir()} == {"prepare"}
    assert Venture.open(Path("x")).latest("train") is None
    before = sorted(path.name for path in Path("x/decisions/evidence").iterdir())
    again = json.loads(said(capsys, "--pilot", "--minutes", "2", "--json"))
    assert sorted(path.name for path in Path("x/decisions/evidence").iterdir()) == before
    assert again["comparison"] == value["comparison"]


def test_the_pace_of_a_run_is_that_of_its_settled_steps(tmp_path):
    """Three slow steps, then five pairs of 0.1, 0.1, 0.2, 0.2 and 0.1 seconds, of 100 tokens each."""
    times = [2.0, 1.0, 0.5, *(each for part in (0.1, 0.1, 0.2, 0.2, 0.1) for each in (part, part))]
    rows: list[dict[str, Any]] = [{"step": 0, "tokens": 0, "validation_loss": 3.0}]
    rows += [{"step": number, "tokens": 100 * number, "tokens_per_second": round(100 / each)} for number, each in enumerate(times, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = pace(tmp_path)
    assert found["steps"] == 13
    assert found["step_seconds"] == pytest.approx(0.14)
    assert found["step_scatter"] == pytest.approx(0.3797, abs=1e-4), "ln 2 times the deviation of 0, 0, 1, 1, 0: the root of 0.3"


def test_the_end_of_the_budget_cuts_off_what_is_under_way(capsys):
    new(capsys, train={"tokens": 50_000_000, "batch_tokens": 256})
    assert main(["decide", "--pilot", "--minutes", "0.05", "--venture", "x"]) == 0
    shown = capsys.readouterr()
    assert "pilots: at most 0.1 minutes" in shown.err
    spent = sum(
        run["seconds"] + run["measuring_seconds"]
        for path in Path("x/decisions/evidence").glob("*.json") for run in read_json(path)["runs"]
    )  # fmt: skip
    assert spent <= 3.0 + 1.0
    assert not list(Path("x/.lodestar/pilots").rglob("record.json"))


def test_a_bought_api_is_asked_about_the_ventures_own_records(capsys, save_llama, tmp_path):
    """The server is ours, with a model of random weights: its answers are nonsense, and measured as that."""
    from lodestar.cli._opening import task_for

    price = {"value": 1.0, "low": 1.0, "high": 1.0, "unit": "USD/1M tokens", "source": "quoted", "date": "2026-11-01", "reference": "ours"}
    llama = save_llama(tmp_path / "llama", context=1024)
    with background(llama, task_for(llama), name="tiny") as url:
        api = {"model": "tiny", "url": f"{url}/v1", "price_in": price, "price_out": price}
        new(capsys, decision={"strategies": [STRATEGIES[0], {"name": "bought", "kind": "api", "api": api}]})
        value = json.loads(said(capsys, "--pilot", "--minutes", "2", "--json"))
    quantities = value["problem"]["quantities"]
    assert quantities["bought: accuracy"]["source"] == "measured"
    assert quantities["bought: accuracy"]["value"] <= 0.5
    assert quantities["bought: latency_ms_p95"]["source"] == "measured"
    assert quantities["bought: price of a request"]["source"] == "quoted", "measured tokens at a quoted price"


def test_an_api_that_cannot_be_reached_is_said_and_the_rest_is_measured(capsys):
    price = {"value": 1.0, "low": 1.0, "high": 1.0, "unit": "USD/1M tokens", "source": "quoted", "date": "2026-11-01", "reference": "ours"}
    api = {"model": "m", "url": "http://127.0.0.1:1/v1", "price_in": price, "price_out": price}
    new(capsys, decision={"strategies": [STRATEGIES[0], {"name": "bought", "kind": "api", "api": api}]})
    assert main(["decide", "--pilot", "--minutes", "1", "--venture", "x", "--json"]) == 0
    shown = capsys.readouterr()
    assert "bought is not measured: http://127.0.0.1:1/v1/chat/completions: the API cannot be asked" in shown.err
    quantities = json.loads(shown.out)["problem"]["quantities"]
    assert (quantities["none: accuracy"]["source"], quantities["bought: accuracy"]["source"]) == ("measured", "assumed")


RULES = "rules:\n  - {words: [great, excellent, happy, love, loved, 满意, 喜欢, 推荐], answer: positive}\notherwise: negative\n"


def test_rules_are_measured_on_the_ventures_own_records_and_other_rules_anew(capsys):
    new(capsys, decision={"strategies": [STRATEGIES[0], {"name": "ours", "kind": "rules", "rules": "rules.yaml"}]})
    assert "decision.strategies: ours: rules: no file x/rules.yaml; write the rules there" in refused(capsys)
    Path("x/rules.yaml").write_text(RULES, "utf-8")
    value = json.loads(said(capsys, "--pilot", "--json"))
    quantities = value["problem"]["quantities"]
    assert quantities["ours: accuracy"]["source"] == quantities["ours: latency_ms_p95"]["source"] == "measured"
    assert quantities["ours: hours of a request"]["source"] == "measured"
    assert "ours: training hours" not in quantities
    # By hand, on the very records.
    venture = Venture.open(Path("x"))
    prepared = prepare_folder(venture)
    examples = chosen(prepared, load_task(read_json(prepared / "task.json")), "validation")
    words = yaml.safe_load(RULES)["rules"][0]["words"]
    right = [(any(word in example.text.lower() for word in words)) == (example.label == "positive") for example in examples]
    assert quantities["ours: accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    Path("x/rules.yaml").write_text(RULES.replace("otherwise: negative", "otherwise: positive"), "utf-8")
    assert json.loads(said(capsys, "--json"))["problem"]["quantities"]["ours: accuracy"]["source"] == "assumed", "these are other rules"
    Path("x/rules.yaml").write_text(RULES.replace("answer: positive", "answer: praise"), "utf-8")
    assert main(["decide", "--pilot", "--venture", "x"]) == 2
    assert "x/rules.yaml:2: the answer 'praise' is no label of the data; answer one of negative, positive." in capsys.readouterr().err
    told = said(capsys, "--choose", "ours", *CHOICE)
    assert "Chosen: ours" in told
    assert "lodestar run" not in told, "there is nothing to train"


def test_a_choice_is_recorded_applied_forecast_and_verified(capsys):
    new(capsys)
    told = said(capsys, "--choose", "thin", *CHOICE, "--forecast", "Three pilot customers sign=0.4")
    assert "Chosen: thin. Record: x/decisions/0001-thin.md" in told
    venture = Venture.open(Path("x"))
    assert venture.file.model.overrides == {"depth": 1, "width": 32, "heads": 1}
    forecasts = venture.ledger.forecasts()
    assert [(each.metric, each.probability) for each in forecasts] == [("accuracy", 0.5), ("", 0.4)]
    assert main(["status", "--venture", "x"]) == 0
    assert "thin" in capsys.readouterr().out
    assert "1 decisions, each as it was made." in said(capsys, "--verify")
    said(capsys, "--choose", "wide", *CHOICE)
    assert [each["choice"] for each in json.loads(said(capsys, "--verify", "--json"))["decisions"]] == ["thin", "wide"]
    page = Path("x/decisions/0002-wide.md")
    page.write_text(page.read_text("utf-8").replace("it is enough", "it is perfect"), "utf-8")
    assert "this page was changed after it was written; restore it" in refused(capsys, "--verify")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--choose", "thinn", *CHOICE), "unknown option 'thinn'; did you mean 'thin'?"),
        (("--choose", "thin", *CHOICE[:2], *CHOICE[4:]), "a decision needs the name of who decides, and the reason"),
        (("--choose", "thin", *CHOICE[:4]), "a decision needs a forecast that it can be held to later"),
        (("--choose", "thin", *CHOICE[:6]), "the forecast 'accuracy' has no day on which it is to be known"),
        (("--choose", "thin", *CHOICE[:4], "--forecast", "accuracy=1", *CHOICE[6:]), "a probability of 1 is none"),
        (("--choose", "thin", *CHOICE[:4], "--forecast", "it works=0", *CHOICE[6:]), "a probability of 0 is none"),
        (("--choose", "thin", *CHOICE[:4], "--forecast", "it works", *CHOICE[6:]), "unknown target 'it works'"),
        (("--choose", "thin", *CHOICE[:6], "--resolve-by", "soon"), "'soon' is no date; write it as YYYY-MM-DD"),
        (("--by", "Ada"), "belong to a choice; give --choose OPTION, too"),
    ],
)  # fmt: skip
def test_a_choice_that_lacks_something_is_refused_and_changes_nothing(capsys, arguments, sentence):
    new(capsys)
    assert sentence in refused(capsys, *arguments)
    assert not Path("x/decisions").exists()


def test_the_same_question_gives_the_same_page(capsys):
    new(capsys)
    said(capsys)
    first = Path("x/decision.html").read_bytes()
    said(capsys)
    assert Path("x/decision.html").read_bytes() == first
    said(capsys, "--seed", "1")
    assert Path("x/decision.html").read_bytes() != first
