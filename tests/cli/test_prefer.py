"""The second stage of training on a small venture, as a user runs it: pairs in, another model out, evaluated and released as any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lodestar.cli._prefer import Opinions, records_of
from lodestar.cli.main import main
from lodestar.contracts.settings import PreferenceSettings
from lodestar.train.pairs import Judged, Pair
from lodestar.train.scoring import Scored


def make_venture(folder: Path, *, pairs: int = 60, **changes: Any) -> Path:
    """A chat venture on pairs of answers: the better one says yes."""
    folder.mkdir()
    records = [{"prompt": f"Is {n} a number?", "chosen": f"Yes, {n} is.", "rejected": f"No, not {n}."} for n in range(pairs)]
    records += [{"prompt": f"What is {n}?", "completion": f"{n} is a number."} for n in range(60 - pairs)]
    (folder / "talk.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    venture = {
        "name": "talk",
        "statement": "Answers.",
        "audience": "testers",
        "north_star": "bits_per_byte",
        "task": "chat",
        "data": {"sources": ["talk.jsonl"], "validation": 0.2, "test": 0.2, "vocabulary": 300},
        "model": {"size": "tiny", "context": 128, "overrides": {"depth": 1, "width": 32, "heads": 1}},
        "train": {"tokens": 6_000},
        "evaluate": {"resamples": 100},
        "preference": {"learning_rate": 0.001, "epochs": 4, "batch": 8, "micro_batch": 4},
        "targets": [{"metric": "bits_per_byte", "at_most": 20}],
    }
    (folder / "venture.yaml").write_text(yaml.safe_dump(venture | changes), "utf-8")
    return folder


def lodestar(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lodestar.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "LODESTAR_LANGUAGE": "en"})


@pytest.mark.slow
def test_the_preferred_model_is_the_one_that_is_judged(tmp_path: Path) -> None:
    venture = make_venture(tmp_path / "talk")
    done = lodestar("run", "--venture", venture, "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    records = {path.parent.name: json.loads(path.read_text()) for path in venture.glob("runs/train-*/record.json")}
    assert len(records) == 2  # both stages
    final = steps["train"]["record"]
    assert final["config"]["task"]["preference"]["kind"] == "dpo"
    first = next(record for record in records.values() if record["id"] != final["id"])
    assert final["inputs"]["model"] == first["id"]
    assert steps["evaluate"]["record"]["inputs"]["model"] == final["id"]
    assert "records of the train data are preference pairs." in done.stderr
    learnt = next(line for line in done.stderr.splitlines() if "has come to find the better reply likelier" in line)
    assert int(learnt.rsplit(" ", 1)[1].rstrip("%.")) >= 80
    assert all(step["skipped"] for step in json.loads(lodestar("run", "--venture", venture, "--json").stdout).values())
    fine_tuned = make_venture(
        tmp_path / "fine", train={"tokens": 512}, model={"base": str(Path(steps["train"]["folder"]) / "model")}, adapter={"rank": 2},
        preference={"kind": "ipo", "learning_rate": 0.003, "epochs": 4, "batch": 8, "micro_batch": 4},
    )  # fmt: skip
    assert lodestar("prepare", "--venture", fine_tuned).returncode == 0
    done = lodestar("train", "--venture", fine_tuned, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["record"]["config"]["task"]["preference"]["kind"] == "ipo"


@pytest.mark.slow
def test_records_without_pairs_are_refused(tmp_path: Path) -> None:
    done = lodestar("run", "--venture", make_venture(tmp_path / "talk", pairs=0, train={"tokens": 512}))
    assert done.returncode == 2
    assert "training records is a preference pair; add records with the fields prompt, chosen and rejected" in done.stderr
    assert not list((tmp_path / "talk" / "runs").glob("train-*"))  # it is known before the first stage


def test_kto_takes_each_reply_of_a_pair_by_itself() -> None:
    pairs = [Pair(Scored.reply([1] * size, [2]), Scored.reply([1] * size, [3] * size)) for size in (2, 5)]
    opinions = Opinions(pairs, [(Scored.reply([7], [8]), False)])
    records = records_of(opinions, PreferenceSettings(kind="kto"), 10, "train")
    assert [(list(record.reply.tokens), record.desirable) for record in records if isinstance(record, Judged)] == [
        ([1, 1, 2], True), ([1, 1, 3, 3], False), ([1] * 5 + [2], True), ([1] * 5 + [3] * 5, False), ([7, 8], False)
    ]  # fmt: skip
    # The others are longer, by themselves or mismatched.
    assert len(records_of(opinions, PreferenceSettings(kind="kto"), 6, "train")) == 3
    assert records_of(opinions, PreferenceSettings(), 10, "train") == pairs
    assert records_of(Opinions([], opinions.judged), PreferenceSettings(kind="kto"), 10, "validation") == []


@pytest.mark.slow
def test_replies_that_are_labelled_are_learnt_from_by_kto_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    venture = make_venture(tmp_path / "talk", preference={"kind": "kto", "learning_rate": 0.001, "batch": 8, "micro_batch": 4})
    records = [{"prompt": f"Is {n} a number?", "completion": f"Yes, {n}." if n % 2 else "No.", "label": bool(n % 2)} for n in range(60)]
    (venture / "talk.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    assert main(["run", "--venture", str(venture)]) == 0
    told = capsys.readouterr().err
    assert "0 of 37 records of the train data are preference pairs, and 37 are judged replies." in told
    assert "of 15 held-out judged replies, wanted ones have become likelier and others less likely in" in told
    other = venture / "venture.yaml"
    other.write_text(other.read_text().replace("kind: kto", "kind: dpo"))
    assert main(["run", "--venture", str(venture)]) == 2
    assert "37 of 37 training records are judged replies, which kind dpo does not learn from; set kind to kto" in capsys.readouterr().err


def test_settings_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    done = lodestar("run", "--venture", make_venture(tmp_path / "talk", preference={"kind": "dop"}))
    assert done.returncode == 2
    assert "preference.kind" in done.stderr
    assert not (tmp_path / "talk" / "runs").exists()
