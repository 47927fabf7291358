"""Hints: heard after the commit, by others, and never in the way of a transaction."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError
from orchestrator.store import datagrams, hints
from orchestrator.store.database import Database, open_database
from orchestrator.store.sqlite import SqliteDatabase, open_sqlite
from tests.support.store import url_of

LISTENING = """
import sys
from orchestrator.clock import SystemClock
from orchestrator.store import hints
from orchestrator.store.database import open_database
listener = hints.listen(open_database(sys.argv[1], clock=SystemClock()))
print("listening", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other(url: str, database: Database) -> Iterator[Database]:
    """The store as another process has it."""
    opened = open_database(url, clock=SystemClock())
    yield opened
    opened.close()


@pytest.fixture
def listener(other: Database) -> Iterator[hints.Listener]:
    listening = hints.listen(other)
    yield listening
    listening.close()


def heard(listener: hints.Listener) -> set[str]:
    """The next topics; what wakes it for nothing (its own store, a farewell of the server) is waited out."""
    while select.select([listener], [], [], 10.0)[0]:
        if topics := listener.take():
            return topics
    return set()


def tell(database: Database, *topics: hints.Topic) -> None:
    with database.transaction() as connection:
        for topic in topics:
            hints.mark(connection, topic)


def test_what_is_marked_is_heard_when_it_has_committed(database: Database, listener: hints.Listener) -> None:
    with database.transaction() as connection:
        hints.mark(connection, "work")
        hints.mark(connection, "run")
        assert listener.take() == set()
    assert heard(listener) == {"work", "run"}
    assert listener.take() == set()


def test_a_transaction_that_is_rolled_back_tells_nothing(
    database: Database, listener: hints.Listener
) -> None:
    def fail(connection: Connection) -> None:
        hints.mark(connection, "work")
        raise KeyError("no")

    with pytest.raises(KeyError):
        database.run_transaction(fail)
    tell(database, "ask")
    assert heard(listener) == {"ask"}


def test_an_open_store_does_not_wake_itself(
    database: Database, other: Database, listener: hints.Listener
) -> None:
    tell(other, "work")
    tell(database, "ask")
    assert heard(listener) == {"ask"}


def test_a_listener_hears_of_its_own_store_what_it_asked_for(database: Database, other: Database) -> None:
    """A scheduler fires what its own loading has just stored."""
    listener, second = hints.listen(database, own={"schedule"}), hints.listen(database)
    tell(database, "work", "schedule")
    assert heard(listener) == {"schedule"}
    tell(other, "ask")
    assert heard(listener) == heard(second) == {"ask"}
    listener.close()
    second.close()


def test_all_others_hear(database: Database, other: Database, listener: hints.Listener) -> None:
    second = hints.listen(other)
    tell(database, "work")
    assert heard(listener) == heard(second) == {"work"}
    second.close()


def test_a_hint_outside_a_transaction_that_writes_is_a_defect(database: Database) -> None:
    with database.read() as connection, pytest.raises(RuntimeError, match="outside a transaction"):
        hints.mark(connection, "work")


def test_who_does_not_read_holds_nobody_up_and_looks_at_everything_afterwards(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    slow = open_sqlite(url_of(tmp_path), clock=SystemClock(), create=False, lease=30)
    listener = hints.listen(slow)
    for _ in range(1000):
        sqlite.hints.send({"work"})
    assert heard(listener) == hints.TOPICS
    tell(sqlite, "ask")
    assert heard(listener) == {"ask"}
    listener.close()
    slow.close()


def test_the_socket_of_a_killed_process_is_removed_by_who_finds_it(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", LISTENING, url_of(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "listening\n"
    folder = datagrams.folder_of(sqlite.path)
    assert len(os.listdir(folder)) == 1
    tell(sqlite, "work")
    assert len(os.listdir(folder)) == 1
    killed.kill()
    killed.communicate()
    tell(sqlite, "work")
    assert os.listdir(folder) == []


def test_sockets_lie_beside_the_database_for_their_owner_alone(
    sqlite: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setattr(datagrams, "_SHARED", str(shared))
    short = Path("/home/somebody/.fustgo/fustgo.db")
    assert datagrams.folder_of(short) == Path("/home/somebody/.fustgo/fustgo.db.hints")
    deep = Path("/home/somebody", "deep/" * 30, "fustgo.db")
    assert datagrams.folder_of(deep).parent == shared
    assert datagrams.folder_of(deep) != datagrams.folder_of(deep.with_name("other.db"))


@pytest.fixture
def short_folder() -> Iterator[str]:
    """A folder whose path leaves room for a socket's, which pytest's own may not."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def test_a_folder_that_others_could_write_to_is_refused_and_never_sent_to(
    tmp_path: Path, short_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Path(short_folder) / "shared"
    monkeypatch.setattr(datagrams, "_SHARED", str(shared))
    told = datagrams.Datagrams(tmp_path / ("deep/" * 30) / "fustgo.db")
    listener = told.listen()
    folder = datagrams.folder_of(tmp_path / ("deep/" * 30) / "fustgo.db")
    assert folder.parent == shared
    assert (folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    folder.parent.chmod(0o777)
    with pytest.raises(StoreError, match="not a folder of yours alone"):
        told.listen()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as foreign:
        foreign.setblocking(False)
        foreign.bind(str(folder / "foreign"))
        datagrams.Datagrams(tmp_path / ("deep/" * 30) / "fustgo.db").send({"work"})
        with pytest.raises(BlockingIOError):
            foreign.recv(64)
    listener.close()


def cut(store: Database, query: str) -> None:
    """End the sessions whose last statement looks like this."""
    with store.transaction() as connection:
        statement = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE :query")
        assert connection.execute(statement, {"query": query}).scalars().all() == [True]


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_listener_whose_session_was_cut_listens_again_and_looks_at_everything(
    database: Database, listener: hints.Listener
) -> None:
    cut(database, "LISTEN%")
    assert heard(listener) == hints.TOPICS
    assert heard(listener) == hints.TOPICS  # connected again: what came meanwhile was missed
    tell(database, "run")
    assert heard(listener) == {"run"}


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_hint_that_cannot_be_sent_fails_nothing(database: Database, listener: hints.Listener) -> None:
    tell(database, "work")
    assert heard(listener) == {"work"}
    cut(database, "SELECT pg_notify%")
    tell(database, "ask")  # this one is lost, as a hint may be
    tell(database, "run")
    assert slots_of_default(database) == 128


def slots_of_default(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT slots FROM pools")).scalar_one())
