"""A ledger on a real PostgreSQL server that refuses, is not there, goes away midway and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from lodestar.contracts.errors import UserError
from lodestar.store import postgresql as module
from lodestar.store.database import BUSY_TIMEOUT_MS, open_database
from lodestar.store.ledger import Ledger
from tests.postgresql import PASSWORD, programs, running_server


@pytest.fixture
def address(postgresql, monkeypatch) -> str:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgresql.new_database()


def refusal(url: str) -> str:
    with pytest.raises(UserError) as caught:
        Ledger(url)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_that_cannot_be_used_is_one_sentence(postgresql, address, monkeypatch):
    place = address.rpartition("/")[0]
    assert refusal(f"{place}/nope") == (
        f"{place}/nope: the ledger cannot be reached: its server has no such database; create it with `createdb`, or check the name."
    )
    assert "its host is not known; check the name" in refusal("postgresql://ada@no-such-host.invalid/team")
    assert "nothing answers there; start PostgreSQL" in refusal("postgresql://ada@127.0.0.1:1/team")
    assert "no address of a ledger" in refusal(f"{place}/team?colour=blue")
    postgresql.execute("CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    assert "keeps text as LATIN1, which cannot hold every language" in refusal(f"{place}/latin")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert "its server refuses the user or the password; set PGPASSWORD" in refusal(address)
    monkeypatch.delenv("PGPASSWORD")
    assert "its server asks for a password; set PGPASSWORD" in refusal(address)


def test_a_user_without_rights_is_one_sentence_and_leaves_nothing(postgresql, address):
    postgresql.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    assert "the ledger's user may not do this" in refusal(address.replace("ada@", "guest@"))
    with open_database(address).transaction(write=False) as transaction:
        assert not transaction.has_table("migrations")


def test_a_server_that_says_nothing_is_given_up(postgresql, address, monkeypatch):
    """A stopped process still takes connections, in its kernel."""
    monkeypatch.setitem(module._CONNECTION, "connect_timeout", "2")  # libpq's least
    process = int((postgresql._data / "postmaster.pid").read_text().split()[0])
    os.kill(process, signal.SIGSTOP)
    try:
        assert "its server does not answer within" in refusal(address)
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_server_that_goes_away_midway_is_one_sentence_and_found_again(monkeypatch, postgresql):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    found = programs()
    assert found is not None
    with running_server(found) as server:
        ledger = Ledger(server.new_database())
        ledger.add_event("before", {})
        with pytest.raises(UserError, match="midway"), ledger._database.transaction(write=True) as transaction:
            transaction.execute("INSERT INTO migrations VALUES ('half', 'now')")
            server.stop("immediate")
            transaction.execute("SELECT 1")
        with pytest.raises(UserError, match="nothing answers there"):
            ledger.add_event("meanwhile", {})
        server.start()
        ledger.add_event("after", {})
        server.stop()
        server.start()
        ledger.add_event("later", {})  # the connection that was kept is dead, and nobody is told
        assert [event.kind for event in ledger.events()] == ["before", "after", "later"]
        with ledger._database.transaction(write=False) as transaction:
            assert transaction.execute("SELECT count(*) FROM migrations WHERE name = 'half'")[0][0] == 0


def test_who_waits_too_long_for_another_is_told(address, monkeypatch):
    Ledger(address)
    monkeypatch.setattr(module, "_BEGIN", module._BEGIN.replace(str(BUSY_TIMEOUT_MS), "100"))
    database = open_database(address)
    with database.transaction(write=True) as holder:
        holder.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        with pytest.raises(UserError, match="the ledger is busy; stop the process that holds it"):
            Ledger(address).add_event("x", {})


def test_a_commit_is_on_the_disk_whatever_the_server_is_set_to(postgresql, address):
    name = address.rpartition("/")[2]
    postgresql.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with open_database(address).transaction(write=True) as transaction:
        assert transaction.execute("SHOW synchronous_commit")[0][0] == "on"
    with open_database(address).transaction(write=False) as transaction, pytest.raises(Exception, match="read-only transaction"):
        transaction.execute("CREATE TABLE x (y INTEGER)")


def test_connections_are_kept_between_transactions_and_closed_with_the_ledger(postgresql, address):
    ledger = Ledger(address)
    for _ in range(5):
        ledger.add_event("x", {})
    seen = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    other = open_database(address)

    def connected() -> int:
        with other.transaction(write=False) as transaction:
            return int(transaction.execute(seen)[0][0])

    assert connected() == 1
    threads = [threading.Thread(target=ledger.add_event, args=("y", {})) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= connected() <= 4
    del ledger, threads, thread
    while connected():  # until their processes on the server have ended
        pass


FORKED = """
    import os, sys
    from lodestar.store.ledger import Ledger
    ledger = Ledger(sys.argv[1])
    ledger.add_event("parent", {})
    child = os.fork()
    if not child:
        ledger.add_event("child", {})
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ledger.add_event("parent", {})
    print([event.kind for event in ledger.events()])
"""


def test_a_forked_child_has_a_connection_of_its_own(address):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(FORKED), address], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("['parent', 'child', 'parent']", "")


def test_without_its_package_the_sentence_names_the_extra(address):
    code = f"""
        import sys
        sys.modules["psycopg"] = None
        from lodestar.store.ledger import Ledger
        Ledger({address!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert "a ledger on PostgreSQL needs the package 'psycopg'; install it with: pip install 'lodestar[postgresql]'" in done.stderr
