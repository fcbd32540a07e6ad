"""A ledger in each database, and a real small disk, so that a full one is tested and not imitated."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.postgresql import PASSWORD


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger in a file will be."""
    return tmp_path / "deep" / "ledger.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a ledger that does not exist yet, in each database."""
    if request.param == "sqlite":
        return f"sqlite:///{path}"
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return str(request.getfixturevalue("postgresql").new_database())


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    """A command prefix under which the folder `tmp_path / "disk"` is a disk of one megabyte; nobody else sees it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1M none "$0" && exec "$@"', str(disk)]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    return mount
