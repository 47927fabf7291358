"""Sessions of PostgreSQL that stand still, are cut or wait too long: a clear error, nothing is kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError
from orchestrator.store import postgresql
from orchestrator.store.database import Database
from orchestrator.store.postgresql import open_postgresql
from tests.support.postgres import Cluster

STOPPED = """
import os, signal, sys
from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError
from orchestrator.store import postgresql
postgresql._IDLE = 200
store = postgresql.open_postgresql(sys.argv[1], clock=SystemClock(), create=False, lease=30)
try:
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE pools SET slots = 1")
        print("inside", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
except StoreError as error:
    print(error.hint)
"""
CUT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def url(postgres: Cluster, template: str) -> Iterator[str]:
    """A store on PostgreSQL."""
    name = postgres.create(template)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """The store as another process has it."""
    opened = open_postgresql(url, clock=SystemClock(), create=False, lease=0.05)
    yield opened
    opened.close()


def slots(store: Database) -> int:
    with store.read() as connection:
        return int(connection.execute(text("SELECT slots FROM pools")).scalar_one())


def test_a_process_stopped_inside_a_transaction_is_ended_by_the_server(url: str, database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", STOPPED, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    with database.transaction() as connection:  # waits for the server to end that one
        connection.execute(text("UPDATE pools SET slots = slots + 1"))
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    assert "stood still inside a transaction" in said
    assert slots(database) == 129


def test_a_transaction_that_stands_still_after_a_pipeline_is_ended_from_outside(
    url: str, database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own timer may not run then; here it never does."""
    monkeypatch.setattr(postgresql, "_IDLE", 500)
    waiting = threading.Event()

    def stand_still() -> None:
        fresh = open_postgresql(url, clock=SystemClock(), create=False, lease=30)
        try:
            with fresh.transaction() as connection:
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                connection.execute(text("UPDATE pools SET slots = :n"), [{"n": 1}, {"n": 2}])
                ended = any(other.end_stalled() or waiting.wait(0.05) for _ in range(200))
                assert ended, "it was not found"
        finally:
            fresh.close()

    with pytest.raises(StoreError, match="terminating connection"):
        stand_still()
    assert other.end_stalled() == 0
    assert slots(database) == 128


def test_a_session_that_was_cut_between_transactions_is_not_missed(
    database: Database, other: Database
) -> None:
    assert slots(database) == 128
    with other.transaction() as connection:
        assert connection.execute(CUT).scalars().all() == [True]
    assert slots(database) == 128


def test_a_session_that_a_network_dropped_is_not_missed(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing on the socket tells of it: a session that was not used for a while is asked."""
    monkeypatch.setattr(postgresql, "_LONG", 0.0)
    assert slots(other) == 128
    with other.glance() as connection:
        session = connection.connection.driver_connection
        assert session is not None
    with socket.socket(fileno=os.dup(session.fileno())) as line:
        line.shutdown(socket.SHUT_WR)
    assert slots(other) == 128


def test_a_session_that_is_cut_inside_a_transaction_keeps_nothing_of_it(
    database: Database, other: Database
) -> None:
    def cut_inside() -> None:
        with database.transaction() as connection:
            connection.execute(text("UPDATE pools SET slots = 1"))
            with other.transaction() as cutting:
                cutting.execute(CUT)
            connection.execute(text("UPDATE pools SET slots = 2"))

    with pytest.raises(StoreError, match="terminating connection"):
        cut_inside()
    assert slots(database) == 128


def test_who_waits_for_a_lock_longer_than_a_lease_is_told_where_to_look(
    database: Database, other: Database
) -> None:
    def wait() -> None:
        with other.transaction() as connection:
            connection.execute(text("UPDATE pools SET slots = 2"))

    with database.transaction() as connection:
        connection.execute(text("UPDATE pools SET slots = 1"))
        with pytest.raises(StoreError, match="lock timeout") as caught:
            wait()
    assert "pg_stat_activity" in caught.value.hint
    assert slots(database) == 1


def test_a_database_that_does_not_exist_is_named_with_the_remedy(postgres: Cluster) -> None:
    with pytest.raises(StoreError, match="nowhere") as caught:
        open_postgresql(postgres.url("nowhere"), clock=SystemClock(), create=True, lease=30)
    assert "createdb" in caught.value.hint
