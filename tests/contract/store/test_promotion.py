"""Queued runs start in their order, as many as may run at once (rule 8.13)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import promotion, runs, steps
from orchestrator.store.database import Database
from orchestrator.store.tables import Run
from orchestrator.store.transitions import move_run
from tests.support.store import START, Command, ManualClock, graph

ONE = graph({"a": ""})


def queue_runs(command: Command, count: int, **values: Any) -> list[int]:
    settings = {"state": RunState.QUEUED, "held_by": None, **values}
    return [command.start(ONE, **settings).number for _ in range(count)]


def sql(database: Database, statement: str) -> None:
    with database.transaction() as connection:
        connection.execute(text(statement))


@pytest.fixture
def limit_two(command: Command, database: Database) -> list[int]:
    """Four queued runs of a DAG of which two may run."""
    numbers = queue_runs(command, 4)
    sql(database, "UPDATE dags SET max_active_runs = 2")
    return numbers


def states(command: Command, numbers: list[int]) -> list[str]:
    return [str(command.run(number).state) for number in numbers]


def test_runs_start_in_the_order_of_creation_up_to_the_limit(
    command: Command, database: Database, limit_two: list[int]
) -> None:
    dag = command.run(limit_two[0]).dag
    assert promotion.promote(database, dag) == limit_two[:2]
    assert promotion.promote(database, dag) == []
    assert states(command, limit_two) == ["running", "running", "queued", "queued"]
    assert command.states(limit_two[0]) == {"a": "queued"}
    assert command.run(limit_two[0]).started_at == START


def test_the_end_of_a_run_starts_the_next_at_once(
    command: Command, database: Database, limit_two: list[int]
) -> None:
    promotion.sweep(database)
    (claimed,) = steps.claim(database, worker=command.worker)
    steps.finish(database, {claimed.attempt: Report(Outcome.SUCCESS)})
    assert states(command, limit_two) == ["success", "running", "running", "queued"]


def test_runs_that_commands_hold_count_for_nobody(command: Command, database: Database) -> None:
    command.start(ONE)
    (number,) = queue_runs(command, 1)
    sql(database, "UPDATE dags SET max_active_runs = 1")
    assert promotion.sweep(database) == [number]


def test_runs_of_a_backfill_count_against_its_limit_only(command: Command, database: Database) -> None:
    (live,) = queue_runs(command, 1)
    back = [
        command.start(
            ONE, state=RunState.QUEUED, held_by=None, run_type="backfill", logical_date=START + timedelta(day)
        ).number
        for day in range(3)
    ]
    with database.transaction() as connection:
        connection.execute(text("UPDATE dags SET max_active_runs = 1"))
        connection.execute(
            text(
                "INSERT INTO backfills"
                " (dag, first, last, max_active_runs, params, paused, created_by, created_at)"
                " SELECT dag, created_at, created_at, 2, '{}', false, '', created_at FROM runs LIMIT 1"
            )
        )
        for number in back:
            runs.change(connection, number, backfill=1)
    sql(database, "UPDATE backfills SET paused = true")
    assert promotion.sweep(database) == [live]
    sql(database, "UPDATE backfills SET paused = false")
    assert promotion.sweep(database) == back[:2]


def test_a_run_that_starts_has_its_timeout_from_then_on(
    command: Command, database: Database, clock: ManualClock
) -> None:
    (number,) = queue_runs(command, 1)
    (none,) = queue_runs(command, 1)
    first = "(SELECT version FROM runs ORDER BY number LIMIT 1)"
    timed = """'{"format": 1, "id": "people", "nodes": [], "dagrun_timeout": "1h"}'"""
    sql(database, f"UPDATE dag_versions SET document = {timed} WHERE id = {first}")
    clock.forward(60)
    promotion.sweep(database)
    assert command.run(number).timeout_at == START + timedelta(hours=1, seconds=60)
    assert (command.run(none).timeout_at, command.run(none).started_at) == (None, clock.now())


def test_a_run_of_nothing_ends_when_it_starts(command: Command, database: Database) -> None:
    number = command.start(graph({}), state=RunState.QUEUED, held_by=None).number
    promotion.sweep(database)
    assert command.run(number).state == RunState.SUCCESS


def test_a_run_that_was_ended_meanwhile_is_left_alone(command: Command, database: Database) -> None:
    (number,) = queue_runs(command, 1)
    run: Run = command.run(number)
    with database.transaction() as connection:
        move_run(connection, number, RunState.QUEUED, RunState.CANCELLED, now=START, ended_at=START)
    assert promotion.promote(database, run.dag) == []
