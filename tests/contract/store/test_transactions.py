"""Writers queue, readers do not wait, and a process that dies or stops inside a transaction harms nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from orchestrator.errors import StoreError
from orchestrator.store import processes
from orchestrator.store import sqlite as opening
from orchestrator.store.database import Database, OutOfReachError
from orchestrator.store.dialects import sqlite_library
from orchestrator.store.runners import runners
from orchestrator.store.sqlite import SqliteDatabase
from orchestrator.store.writers import WriterQueue
from tests.support.store import url_of

INSIDE = """
import os, signal, sys
from orchestrator.clock import SystemClock
from orchestrator.store.database import open_database
store = open_database(sys.argv[1], clock=SystemClock())
with store.transaction() as connection:
    connection.exec_driver_sql("UPDATE pools SET slots = 1")
    print("inside", flush=True)
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
"""
COUNT_UP = """
import sys
from orchestrator.clock import SystemClock
from orchestrator.store.database import open_database
store = open_database(sys.argv[1], clock=SystemClock())
for _ in range(50):
    with store.transaction() as connection:
        slots = connection.exec_driver_sql("SELECT slots FROM pools").scalar()
        connection.exec_driver_sql(f"UPDATE pools SET slots = {slots + 1}")
"""


def slots(store: Database) -> int:
    with store.read() as connection:
        return int(connection.execute(text("SELECT slots FROM pools")).scalar_one())


def start(url: str, program: str, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, url, *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(url: str, database: Database) -> None:
    process = start(url, INSIDE, "SIGKILL")
    assert process.communicate(timeout=60)[0] == "inside\n"
    assert process.returncode == -signal.SIGKILL
    with database.transaction() as connection:
        connection.execute(text("UPDATE pools SET slots = slots + 1"))
    assert slots(database) == 129


def test_who_has_waited_a_lease_kills_a_holder_that_was_stopped(
    tmp_path: Path, sqlite: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(url_of(tmp_path), INSIDE, "SIGSTOP")
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    sqlite._writers._lease = 0.05
    with sqlite.transaction() as connection:
        connection.execute(text("UPDATE pools SET slots = slots + 1"))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert slots(sqlite) == 129
    (said,) = caplog.messages
    assert f"process {process.pid} was stopped while it wrote to the store" in said
    assert "others waited for 0.05 s, the lease" in said


def test_no_update_of_several_processes_is_lost(tmp_path: Path, sqlite: SqliteDatabase) -> None:
    many = [start(url_of(tmp_path), COUNT_UP) for _ in range(3)]
    for process in many:
        process.communicate(timeout=120)
    assert [process.returncode for process in many] == [0, 0, 0]
    assert slots(sqlite) == 128 + 150


def test_no_update_of_several_threads_is_lost(sqlite: SqliteDatabase) -> None:
    def count_up() -> None:
        for _ in range(20):
            with sqlite.transaction() as connection:
                found = connection.execute(text("SELECT slots FROM pools")).scalar_one()
                connection.execute(text("UPDATE pools SET slots = :n"), {"n": found + 1})

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slots(sqlite) == 128 + 80


def test_a_block_that_raises_is_rolled_back(database: Database) -> None:
    def interrupted() -> None:
        with database.transaction() as connection:
            connection.execute(text("UPDATE pools SET slots = 0"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert slots(database) == 128


def test_a_reader_sees_one_moment_and_waits_for_no_writer(database: Database) -> None:
    with database.read() as reading:
        before = reading.execute(text("SELECT slots FROM pools")).scalar()
        with database.transaction() as connection:
            connection.execute(text("UPDATE pools SET slots = 5"))
        assert reading.execute(text("SELECT slots FROM pools")).scalar() == before
    assert slots(database) == 5


def test_a_transaction_inside_another_is_a_defect_and_not_a_deadlock(database: Database) -> None:
    with database.transaction(), pytest.raises(RuntimeError, match="inside another"), database.transaction():
        pass


def test_the_lock_file_names_who_writes(tmp_path: Path) -> None:
    writers = WriterQueue(tmp_path / "lock")
    assert writers.holder() == (0, "")
    with writers.turn():
        assert writers.holder() == processes.this_process()
        held_inside = writers.held
    assert (held_inside, writers.held) == (True, False)
    writers.close()


def test_a_request_to_stop_waits_for_the_end_of_the_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.append(number))
    with database.transaction():
        database.suspend(signal.SIGTSTP, None)
        assert stopped == []
    assert stopped == [signal.SIGSTOP]
    database.suspend(signal.SIGTSTP, None)
    assert stopped == [signal.SIGSTOP] * 2


def test_a_value_that_cannot_be_kept_is_a_refusal_and_no_reason_to_ask_again(database: Database) -> None:
    early = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    row = insert(runners).values(worker=1, pid=1, start_time="", started_at=early)
    refused = pytest.raises(StoreError, match="outside the years 2 to 9998")
    with refused as caught, database.transaction() as connection:
        connection.execute(row)
    assert not isinstance(caught.value, OutOfReachError)


def test_a_number_that_cannot_be_kept_is_a_refusal_too(database: Database) -> None:
    row = insert(runners).values(worker=1, pid=10**20, start_time="", started_at=database.clock.now())
    with pytest.raises(StoreError) as caught, database.transaction() as connection:
        connection.execute(row)
    assert type(caught.value) is StoreError


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_what_postgresql_refuses_of_a_value_is_told_apart_from_being_out_of_reach(database: Database) -> None:
    for statement, given, kind in (
        ("SELECT CAST(:it AS text)", "a\0b", StoreError),
        ("SELECT CAST(:it AS jsonb)", '"\\ud800"', StoreError),
        ("SELECT CAST(:it AS integer)", "many", StoreError),
        ("SELECT pg_terminate_backend(pg_backend_pid()), :it", "cut", OutOfReachError),
    ):
        with pytest.raises(StoreError) as caught, database.transaction() as connection:
            connection.execute(text(statement), {"it": given})
        assert type(caught.value) is kind, statement


def test_a_full_disk_is_one_clear_error_and_keeps_nothing_of_the_step(sqlite: SqliteDatabase) -> None:
    pages = sqlite.pragma("page_count")

    def fill() -> None:
        with sqlite.transaction() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            try:
                connection.execute(text("UPDATE pools SET description = zeroblob(1000000)"))
            finally:
                connection.exec_driver_sql("PRAGMA max_page_count=1000000000")

    with pytest.raises(StoreError, match="database or disk is full") as caught:
        fill()
    assert "free space" in caught.value.hint
    assert slots(sqlite) == 128


def test_a_store_locked_by_a_foreign_program_names_what_to_do(
    sqlite: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_BUSY", 1)
    sqlite._engine.dispose()
    foreign = sqlite_library().connect(str(sqlite.path), isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked") as caught, sqlite.transaction():
        pass
    assert "another program holds the file" in caught.value.hint
    foreign.execute("ROLLBACK")
    foreign.close()


def test_what_was_committed_is_there_after_everyone_was_killed(url: str, database: Database) -> None:
    process = start(url, COUNT_UP + "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    process.communicate(timeout=60)
    assert slots(database) == 178
