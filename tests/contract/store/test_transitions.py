"""A state changes in one place: guarded, counted, told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sqlalchemy import text, update

import orchestrator.store
from orchestrator.errors import StoreError
from orchestrator.runs.states import Outcome, RunState, StageState
from orchestrator.store import transitions
from orchestrator.store.database import Database
from tests.support.store import Command, graph

STORE = Path(orchestrator.store.__file__).parent


def writes_of_states(source: str) -> list[int]:
    """The lines that give a column `state` a value by an UPDATE: `.values(state=...)`, not on an insert."""
    lines = []
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "values":
            names = {keyword.arg for keyword in call.keywords}
            inserted = any(isinstance(node, ast.Name) and node.id == "insert" for node in ast.walk(call.func))
            if "state" in names and not inserted:
                lines.append(call.lineno)
    return lines


def test_no_other_module_updates_a_state() -> None:
    writers = {path.name for path in STORE.rglob("*.py") if writes_of_states(path.read_text())}
    assert writers == {"transitions.py"}


def test_the_helpers_that_set_columns_are_never_given_a_state() -> None:
    for path in STORE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "change":
                assert "state" not in {keyword.arg for keyword in call.keywords}, f"{path.name}:{call.lineno}"


def test_no_statement_is_written_as_text_that_updates_or_deletes() -> None:
    for path in STORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.lstrip().startswith(("UPDATE ", "DELETE ")), path.name


def test_a_row_in_another_state_is_not_moved(command: Command, database: Database) -> None:
    run = command.start(graph({"a": ""}))
    with pytest.raises(StoreError, match="expected queued"), database.transaction() as connection:
        transitions.move_run(
            connection, run.number, RunState.QUEUED, RunState.RUNNING, now=database.clock.now()
        )


def test_a_transition_that_is_in_no_table_is_refused(command: Command, database: Database) -> None:
    run = command.start(graph({"a": ""}))
    row = command.stages(run.number)["a"]
    with pytest.raises(StoreError, match="may not follow"), database.transaction() as connection:
        transitions.move_stage(
            connection,
            run.number,
            row.id,
            StageState.NONE,
            StageState.RUNNING,
            now=database.clock.now(),
        )


def test_an_update_that_does_not_say_which_state_it_expects_is_noticed(
    command: Command, database: Database
) -> None:
    """In every test of this folder (`guarded` in conftest.py)."""
    command.start(graph({"a": ""}))
    table = transitions.stage_runs
    guarded = update(table).values(state=StageState.NONE)
    with database.transaction() as connection:
        connection.execute(guarded.where(table.c.state == StageState.QUEUED))
    with pytest.raises(AssertionError, match="overwritten unseen"), database.transaction() as connection:
        connection.execute(guarded.where(table.c.id == 1))
    with database.transaction() as connection:
        connection.execute(update(table).values(paused=True).where(table.c.state == StageState.NONE))


def test_each_transition_is_one_event(command: Command, database: Database) -> None:
    run = command.start(graph({"a": "", "b": "a"}))
    attempt = command.must_claim("a").attempt
    command.whole_epoch(attempt, 1, final=True)
    command.finish(attempt, Outcome.FAILED)
    with database.read() as connection:
        rows = connection.execute(text("SELECT kind, old, new FROM events ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [
        ("run", None, "running"),
        ("stage", "none", "queued"),
        ("attempt", "queued", "running"),
        ("stage", "queued", "running"),
        ("epoch", None, "decided"),
        ("epoch", "decided", "applied"),
        ("attempt", "running", "done"),
        ("stage", "running", "failed"),
        ("stage", "none", "upstream_failed"),
        ("run", "running", "failed"),
    ]
    assert command.run(run.number).state == RunState.FAILED


def test_the_database_itself_refuses_a_word_that_is_no_state(command: Command, database: Database) -> None:
    command.start(graph({"a": ""}))
    for table in ("runs", "stage_runs", "attempts"):
        with pytest.raises(Exception, match="(?i)check constraint"), database.transaction() as connection:
            connection.exec_driver_sql(f"UPDATE {table} SET state = 'nonsense'")


def test_the_database_itself_refuses_a_second_open_attempt_of_a_stage(
    command: Command, database: Database
) -> None:
    command.start(graph({"a": ""}))
    with pytest.raises(Exception, match="(?i)unique constraint"), database.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO attempts (stage_run, state, due_at, queued_at) "
            "SELECT stage_run, state, due_at, queued_at FROM attempts"
        )
