"""`fustgo db`, what it measures, and what it repairs."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.cli import db
from orchestrator.errors import StoreError
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import HEAD, checks, sqlite
from orchestrator.store.database import Database
from orchestrator.store.sqlite import SqliteDatabase, fsync_time
from tests.support.postgres import Cluster
from tests.support.store import START, Command, graph

CHAIN = graph({"a": "", "b": "a", "c": "b"})


def fustgo(*words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    db.register(parser)
    args = parser.parse_args(words)
    code: int = args.run(args)
    return code


def test_upgrade_makes_a_store_and_check_finds_it_sound(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fustgo("upgrade") == 0
    assert fustgo("check", "--runs") == 0
    said = capsys.readouterr().out
    for part in (
        str(home / "fustgo.db"),
        HEAD,
        "wal, synchronous FULL",
        "ms",
        "integrity  ok",
        "all as they should",
    ):
        assert part in said


def test_check_makes_no_store(home: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        fustgo("check")
    assert not home.exists()


def test_damage_is_told_and_is_a_failure(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fustgo("upgrade")
    monkeypatch.setattr(sqlite, "_orphans", lambda _: [("attempts", 3, "stage_runs", 0)])
    assert fustgo("check") == 1
    assert "damaged: attempts row 3 names a missing row of stage_runs" in capsys.readouterr().err


def test_a_row_without_what_it_names_is_found(sqlite: SqliteDatabase) -> None:
    assert sqlite.health().sound
    with sqlite._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("INSERT INTO progress VALUES (99, '2026-01-01 00:00:00.000000', '{}')")
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    assert sqlite.health().problems == ("damaged: progress row 99 names a missing row of attempts",)
    assert not sqlite.health().sound


def test_the_probe_of_the_disk_leaves_no_file(tmp_path: Path) -> None:
    assert fsync_time(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_may_lose_what_it_committed_is_told(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server of the tests is one: it runs without fsync."""
    monkeypatch.setenv("FUSTGO_DATABASE__URL", postgres.url(postgres.create()))
    assert fustgo("upgrade") == 0
    assert fustgo("check", "--runs") == 1
    said = capsys.readouterr()
    for part in ("schema     0001", "server     PostgreSQL", "synchronous_commit on", "all as they should"):
        assert part in said.out
    assert "unsafe: fsync is off" in said.err


def check_runs(database: Database) -> list[str]:
    with database.transaction() as connection:
        return checks.check_runs(connection, START)


def test_sound_runs_are_left_as_they_are(command: Command, database: Database) -> None:
    command.start(CHAIN)
    command.finish(command.must_claim().attempt)
    command.start(CHAIN)
    command.run_to_end({"b": Outcome.FAILED})
    command.start(CHAIN, state=RunState.QUEUED, held_by=None)
    assert check_runs(database) == []


def test_a_wrong_count_that_kept_a_stage_waiting_is_repaired_and_the_stage_goes_on(
    command: Command, database: Database
) -> None:
    run = command.start(CHAIN)
    with database.transaction() as connection:
        connection.execute(text("UPDATE stage_runs SET waiting = 5"))
    command.finish(command.must_claim("a").attempt)
    assert command.states(run.number) == {"a": "success", "b": "none", "c": "none"}  # delayed, not decided
    found = check_runs(database)
    assert "run 1: stage b was none, is queued" in found
    assert "run 1: b waited for a wrong number of stages" in found
    assert command.run_to_end() == ["b", "c"]


def test_an_ended_run_with_an_open_stage_is_opened_again(command: Command, database: Database) -> None:
    run = command.start(CHAIN)
    command.run_to_end()
    with database.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE stage_runs SET state = 'none', started_at = NULL WHERE stage = 'c'"
        )
    assert check_runs(database) == [
        "run 1: the run was success, is running",
        "run 1: stage c was none, is queued",
    ]
    assert command.run_to_end() == ["c"]
    assert command.run(run.number).state == RunState.SUCCESS


def test_the_store_loads_nothing_that_a_run_does_not_use() -> None:
    program = (
        "import sys, orchestrator.store.steps, orchestrator.store.verbs.held, orchestrator.store.views\n"
        "unwanted = ['alembic', 'networkx', 'orchestrator.dag.model', 'psycopg', 'polars', 'pyarrow',\n"
        "    'sqlalchemy.dialects.postgresql', 'orchestrator.store.tables.services']\n"
        "print(sorted(set(unwanted) & set(sys.modules)))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
