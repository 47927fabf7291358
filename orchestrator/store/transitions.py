"""The only way in which a state changes: guarded by the expected state, counted, told as one event.

No other module of the store updates a column `state` (a test reads them all to prove it).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, insert, update

from orchestrator.errors import StoreError
from orchestrator.runs.states import (
    AttemptState,
    EpochState,
    Outcome,
    RunState,
    StageState,
    may_follow,
)
from orchestrator.store.tables import Attempt, Epoch, Event, Run, StageRun, table_of

runs, stage_runs, attempts = table_of(Run), table_of(StageRun), table_of(Attempt)
epochs, events = table_of(Epoch), table_of(Event)


def move_run(
    connection: Connection, number: int, old: RunState, new: RunState, *, now: datetime, **values: Any
) -> None:
    """Move a run; raises StoreError where it is not in the state `old`."""
    _move(connection, runs, number, old, new, values)
    tell(connection, "run", now=now, run=number, old=old, new=new)


def move_stage(
    connection: Connection,
    run: int,
    stage_run: int,
    old: StageState,
    new: StageState,
    *,
    now: datetime,
    **values: Any,
) -> None:
    """Move a stage run; raises StoreError where it is not in the state `old`."""
    _move(connection, stage_runs, stage_run, old, new, values)
    tell(connection, "stage", now=now, run=run, stage_run=stage_run, old=old, new=new)


def move_attempt(
    connection: Connection,
    run: int,
    stage_run: int,
    attempt: int,
    old: AttemptState,
    new: AttemptState,
    *,
    now: datetime,
    **values: Any,
) -> None:
    """Move an attempt; raises StoreError where it is not in the state `old`. A snooze makes no event."""
    _move(connection, attempts, attempt, old, new, values)
    outcome = values.get("outcome")
    if outcome != Outcome.SNOOZED:
        detail = {"outcome": outcome} if outcome else None
        ids = {"run": run, "stage_run": stage_run, "attempt": attempt}
        tell(connection, "attempt", now=now, old=old, new=new, detail=detail, **ids)


def move_epoch(
    connection: Connection,
    run: int,
    stage_run: int,
    number: int,
    old: EpochState,
    new: EpochState,
    *,
    now: datetime,
    **values: Any,
) -> None:
    """Move an epoch; raises StoreError where it is not in the state `old`."""
    where = {"stage_run": stage_run, "number": number}
    _move(connection, epochs, where, old, new, values)
    tell(connection, "epoch", now=now, run=run, stage_run=stage_run, epoch=number, old=old, new=new)


def tell(connection: Connection, kind: str, *, now: datetime, new: str, **values: Any) -> None:
    """Write one event."""
    connection.execute(insert(events).values(kind=kind, at=now, new=new, **values))


def _move(
    connection: Connection,
    table: Table,
    key: int | Mapping[str, int],
    old: RunState | StageState | AttemptState | EpochState,
    new: RunState | StageState | AttemptState | EpochState,
    values: Mapping[str, Any],
) -> None:
    if not may_follow(old, new):
        raise StoreError(f"{table.name} {key}: {new} may not follow {old}")
    (primary,) = table.primary_key
    where = key if isinstance(key, Mapping) else {primary.name: key}
    statement = update(table).where(*(table.c[name] == value for name, value in where.items()))
    done = connection.execute(statement.where(table.c.state == old).values(state=new, **values))
    if done.rowcount != 1:
        raise StoreError(f"{table.name} {key}: expected {old}, to become {new}; it is in another state")
