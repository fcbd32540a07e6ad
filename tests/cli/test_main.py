"""The command line as its user meets it: real processes, exit codes, one sentence, two languages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lodestar.cli.main import FOLDER, cli, command_files, command_words, main

NAMES = sorted(command_files())


def run(*arguments: str | Path, language: str = "en", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LODESTAR_LANGUAGE": language}
    command = [sys.executable, "-m", "lodestar.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=120, check=False)


def test_the_commands_are_the_files_of_the_folder():
    files = {path.stem.rstrip("_").replace("_", "-") for path in FOLDER.glob("*.py") if not path.stem.startswith("_")} - {"main"}
    assert set(NAMES) == files >= {"new", "vision", "release", "report", "status", "tasks", "schema"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_lists_every_command_with_its_line_and_imports_none(language):
    code = """
        import sys
        from lodestar.cli.main import main
        code = main(["--help"])
        loaded = {name for name in sys.modules if name.startswith("lodestar.") and name.count(".") == 2}
        heavy = {"torch", "numpy", "pydantic", "psycopg", "yaml", "pyarrow", "fastapi", "sklearn"} & set(sys.modules)
        print(sorted(loaded), sorted(heavy), code, file=sys.stderr)
    """
    environment = {**os.environ, "LODESTAR_LANGUAGE": language, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment, check=True)
    expected = ["lodestar.cli._command", "lodestar.cli.main", "lodestar.contracts.errors", "lodestar.contracts.language"]
    assert done.stderr.strip() == f"{expected} [] 0"
    shown = "".join(done.stdout.split())  # lines are wrapped
    for name in NAMES:
        line = getattr(command_words(name), language).split("\n")[0]
        assert "".join(f"{name}{line}".split()) in shown
    assert ("命令" in done.stdout) == (language == "zh")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_and_speaks_json(name):
    words = command_words(name)
    assert any(character > "\u4e00" for character in words.zh)
    assert not any(character > "\u4e00" for character in words.en)
    done = CliRunner().invoke(cli, [name, "--help"], terminal_width=300)
    assert done.exit_code == 0
    assert "--json" in done.output


def test_the_help_of_a_command_is_in_the_readers_language():
    shown = run("status", "--help", language="zh").stdout
    assert shown.startswith("用法：lodestar status [选项]")
    assert command_words("status").zh in shown
    assert "显示本帮助并退出" in shown
    assert run("status", "--help").stdout.startswith("Usage: lodestar status [OPTIONS]")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_the_help_is_shown(arguments, capsys):
    assert main(arguments) == 0
    assert "lodestar new NAME --template TASK" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["statsu"], "unknown command 'statsu'; did you mean 'status'?"),
        (["xyzzy"], "unknown command 'xyzzy'; use one of "),
        (["status", "--ventur", "x"], "unknown option '--ventur'; did you mean '--venture'?"),
        (["status", "extra"], "got unexpected extra argument (extra); see `lodestar status --help`."),
        (["status", "--venture"], "option '--venture' requires an argument; see `lodestar status --help`."),
        (["new"], "missing argument 'NAME'; see `lodestar new --help`."),
        (["new", "x"], "nothing says what to begin from; give --template TEMPLATE (`lodestar templates` lists them), or --interview."),
        (["new", "x", "--template", "text-generatoin"], "unknown template 'text-generatoin'; did you mean 'text-generation'?"),
        (["status"], "no venture.yaml here; run `lodestar new NAME --template TASK`, or name the folder with --venture."),
        (["release", "--venture", "nowhere"], "nowhere: no venture.yaml here"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("lodestar: ")
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_with_json_a_mistake_is_json_too(tmp_path, capsys):
    assert main(["status", "--json", "--venture", str(tmp_path)]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["what"] == "no venture.yaml here"
    assert error["where"] == str(tmp_path)
    assert error["fix"].startswith("run `lodestar new")


def test_exit_codes_of_the_real_process(tmp_path):
    assert run("--version").stdout.startswith("lodestar ")
    done = run("status", "--venture", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lodestar: ")


def test_a_bug_of_ours_shows_its_traceback(tmp_path):
    code = """
        import sys
        from lodestar.cli import main as module
        module.command_files = lambda: 1 / 0
        sys.exit(module.main(["status"]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_an_interrupt_ends_with_130(tmp_path):
    """The interrupt meets a command that waits: reading a named pipe that nobody writes."""
    os.mkfifo(tmp_path / "venture.yaml")
    command = [sys.executable, "-m", "lodestar.cli.main", "status", "--venture", str(tmp_path)]
    # A process that a shell began in the background ignores interrupts, and so would the command that it begins.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "LODESTAR_LANGUAGE": "en"})
    signal.signal(signal.SIGINT, before)
    with process:
        with (tmp_path / "venture.yaml").open("w"):  # opens once the command has opened it, too
            # An interrupt between the two calls, within a finalizer, say, is one that Python reports and forgets.
            while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
                time.sleep(0.01)
            time.sleep(0.05)
            for _ in range(15):  # on a busy machine it may yet meet such a moment: it is pressed again, as a person would
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(2)
                    break
            assert process.returncode == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == "lodestar: interrupted."
