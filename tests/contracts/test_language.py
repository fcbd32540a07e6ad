"""The language that words are said in."""

from __future__ import annotations

import threading

import pytest

from lodestar.contracts.language import language, read_in, say


def test_a_server_speaks_to_each_reader_in_their_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    heard: dict[str, str] = {}
    both = threading.Barrier(2)

    def read(which: str) -> None:
        with read_in("zh" if which == "zh" else "en"):
            both.wait()  # each has begun before either reads
            heard[which] = say("star", "星")

    readers = [threading.Thread(target=read, args=(which,)) for which in ("en", "zh")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert heard == {"en": "star", "zh": "星"}
    assert language() == "en"


def test_the_reader_goes_before_the_environment_and_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    with read_in("en"):
        assert language() == "en"
    assert language() == "zh"
