"""What every test shares: the place of the real data sets, one thread a process, and no test that fails for being slow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import Server, programs, running_server

# Tests assert behaviour, never time: a loaded machine is no failure.
settings.register_profile("lodestar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lodestar")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; its absence skips a test, but fails it in CI."""
    folder = Path(os.environ.get("LODESTAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        message = f"no data sets at {folder}; set LODESTAR_DATA to the folder that holds them"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server; the absence of its programs skips a test, but fails it in CI."""
    found = programs()
    if found is None:
        message = "no PostgreSQL here; install Debian's package postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with running_server(found, "fsync=off") as server:  # what is killed here is processes, never the machine
        yield server


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Test processes share the cores: one torch thread each."""
    import torch

    torch.set_num_threads(1)
