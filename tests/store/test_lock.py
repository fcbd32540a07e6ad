"""The lock, between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store.lock import hold
from lodestar.store.lock import holder as who_holds

HOLDER = """
    import os, sys, time
    from lodestar.store.lock import hold
    with hold(sys.argv[1], "train"):
        if sys.argv[2] == "fork" and os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        print("held", flush=True)
        sys.stdin.readline()
"""


def start(folder: Path, mode: str = "plain") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder), mode]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    started = start(tmp_path)
    with started:
        yield started
        started.kill()


def test_the_second_holder_is_told_who_holds_it(tmp_path, holder):
    with pytest.raises(UserError) as caught, hold(tmp_path, "prepare"):
        pytest.fail("the body must not run")
    sentence = str(caught.value)
    assert f"process {holder.pid} on" in sentence
    assert "'train' (`-c " in sentence
    assert time.strftime("since %Y-", time.gmtime()) in sentence
    assert str(tmp_path) in sentence


def test_anyone_may_look_who_holds_it(tmp_path, holder):
    found = who_holds(tmp_path)
    assert found is not None
    assert found.process == holder.pid
    holder.kill()
    holder.wait()
    assert who_holds(tmp_path) is None
    assert who_holds(tmp_path / "nowhere") is None


def test_it_is_free_again_after_a_normal_end(tmp_path, holder):
    holder.communicate("\n", timeout=30)
    with hold(tmp_path, "prepare"):
        pass
    with hold(tmp_path, "evaluate"), pytest.raises(UserError, match=f"'evaluate' .*process {os.getpid()} "), hold(tmp_path, "again"):
        pytest.fail("the body must not run")


def test_a_killed_holder_lets_go(tmp_path, holder):
    holder.kill()
    holder.wait()
    with hold(tmp_path, "prepare"):
        pass


def test_the_workers_of_a_killed_holder_do_not_keep_it(tmp_path):
    with start(tmp_path, "fork") as holder:
        holder.kill()
        holder.wait()
        try:
            with hold(tmp_path, "prepare"):
                pass
        finally:
            os.killpg(holder.pid, 9)


def test_an_error_in_the_body_lets_go(tmp_path):
    with pytest.raises(RuntimeError), hold(tmp_path, "train"):
        raise RuntimeError
    with hold(tmp_path, "train"):
        pass
