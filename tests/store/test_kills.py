"""A small form of `python -m bench.decisions.store`: what was acknowledged stays, and a schema is old or new, whoever is killed."""

from __future__ import annotations

import pytest

from lodestar.store.database import SQLITE_URL
from lodestar.store.migrations import MIGRATIONS
from tests.store.kills import copies_of_database, copies_of_file, migrate_under_kills, write_under_kills


def test_what_was_acknowledged_is_there_once_whoever_is_killed(url, tmp_path):
    found = write_under_kills(url, tmp_path, workers=4, transactions=60, kills=12, seed=0)
    assert (found.errors, found.lost, found.doubled) == ([], [], [])
    assert found.acknowledged == 240
    assert found.kills > 6, "some may be done before their turn"
    assert 0 <= found.unacknowledged <= found.kills


@pytest.mark.parametrize("known", range(len(MIGRATIONS)))
def test_a_migration_that_is_killed_leaves_the_old_schema_or_the_new(url, tmp_path, request, known):
    file = url.startswith(SQLITE_URL)
    copy = copies_of_file(tmp_path, known) if file else copies_of_database(request.getfixturevalue("postgresql"), known)
    found = migrate_under_kills(copy, known, kills=5, seed=0)
    assert found.other == []
    assert (found.kills, found.old + found.new) == (5, 5)
