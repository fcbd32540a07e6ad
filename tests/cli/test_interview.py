"""new --interview: as a founder types it into a terminal, and as a program pipes it."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lodestar.cli.main import main
from lodestar.venture.vision import load_venture_file

COMMAND = [sys.executable, "-m", "lodestar.cli.main", "new", "Listener", "--template", "classification", "--interview"]
ANSWERS = [
    "Every shop hears its customers.",
    "owners of small shops",
    "",
    "0.7",
    "2099-01-31",
    "",
    "-",
    "",
    "",
    "900 EUR",
    "1.5",
    "Ada: model",
    "",
]


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


def type_into_terminal(keys: Sequence[str]) -> tuple[int, str]:
    """Give each answer when it is asked for; the exit code, and what stood on the screen."""
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in the background may have inherited that it is ignored
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.execv(COMMAND[0], COMMAND)
    screen, waiting, end = "", list(keys), time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            if not waiting and keys[-1] == "\x03":  # an interrupt may meet a deaf moment: press again
                os.write(terminal, b"\x03")
            continue
        try:
            read = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # Linux: the other side has closed
            break
        if not read:
            break
        screen += read
        if waiting and screen.replace("\x1b[?2004h", "").endswith("\n> "):
            os.write(terminal, waiting.pop(0).encode())
    else:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert not waiting, screen
    return code, screen


def test_a_founder_asks_back_goes_back_errs_and_writes(tmp_path):
    typed = ["?", "Fast answers.", "<", *ANSWERS[:3], "90%", *ANSWERS[3:], "<", "", ""]
    code, screen = type_into_terminal([f"{answer}\n" for answer in typed])
    assert code == 0
    assert "what is different for the people it is for" in screen
    assert "✗ your answer: targets.0: the unit is '%', and 'accuracy' is measured without a unit" in screen
    assert screen.count("Where is your data?") == 2, "the last < went back to it"
    assert "All of it" in screen
    file = load_venture_file(Path("listener/venture.yaml"))
    assert (file.statement, file.audience) == tuple(ANSWERS[:2])
    assert [target.model_dump(include={"metric", "at_least", "by"}) for target in file.targets] == [
        {"metric": "accuracy", "at_least": 0.7, "by": "2099-01-31"}
    ]
    assert file.budget is not None
    assert (file.budget.amount, file.budget.currency, file.budget.per_hour) == (900.0, "EUR", 1.5)


def test_ctrl_c_leaves_nothing(tmp_path):
    code, screen = type_into_terminal(["A promise.\n", "\x03"])
    assert code == 130
    assert "interrupted" in screen
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_answers_a_line_each(tmp_path):
    lines = ["classification", *ANSWERS[:2], "f1", *ANSWERS[3:-1], "mine.csv"]
    Path("mine.csv").write_text("text,label\n")
    command = [*COMMAND[:4], "听风者", "--interview", "--json"]
    told = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["task"] == "classification"
    file = load_venture_file(Path("听风者/venture.yaml"))
    assert (file.name, file.north_star, file.data.sources) == ("听风者", "f1", ["../mine.csv"])
    assert sorted(path.name for path in Path("听风者").iterdir()) == [".gitignore", "venture.schema.json", "venture.yaml"]
    assert main(["vision", "--venture", "听风者"]) == 0


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (ANSWERS[:3], "line 4 of the answers: the answers end before the question 'targets.0.threshold': accuracy: at least how much?"),
        ([*ANSWERS[:3], "much"], "line 4 of the answers: targets.0.threshold: 'much' is no number; write one, as 0.9."),
        ([*ANSWERS, "", "more"], "line 14 of the answers: 'more' answers no question; remove it."),
    ],
)
def test_answers_that_do_not_fit_are_one_sentence_and_leave_nothing(capsys, monkeypatch, tmp_path, lines, sentence):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    assert main(COMMAND[3:]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told_before_the_first_question(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    Path("listener").mkdir()
    Path("listener/mine").touch()
    assert main(COMMAND[3:]) == 2
    assert "listener: the folder is not empty" in capsys.readouterr().err
    assert main(["new", "x" * 81, "--interview"]) == 2
    assert "should have at most 80 characters" in capsys.readouterr().err
    assert main(["new", "x", "--interview", "--template", "clasification"]) == 2
    assert "did you mean 'classification'" in capsys.readouterr().err
    assert main(["new", "x"]) == 2
    assert "nothing says what to begin from; give --template TEMPLATE" in capsys.readouterr().err
