"""The only way in which a state changes: guarded by the expected state, counted, told as one event.

`Moves` collects the transitions of a transaction and writes them together: a statement for all rows that
move alike, one for all events. No other module of the store updates a column `state` (a test reads them all
to prove it).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, Table, Update, bindparam, update

from orchestrator.errors import StoreError
from orchestrator.runs.order import Only
from orchestrator.runs.states import (
    AttemptState,
    EpochState,
    Outcome,
    RunState,
    StageState,
    may_follow,
)
from orchestrator.store import hints, measures
from orchestrator.store.recordsets import insert_rows
from orchestrator.store.sets import within
from orchestrator.store.tables import Attempt, Epoch, Event, Run, StageRun, table_of

runs, stage_runs, attempts = table_of(Run), table_of(StageRun), table_of(Attempt)
epochs, events = table_of(Epoch), table_of(Event)

_State: TypeAlias = RunState | StageState | AttemptState | EpochState


class _Group(NamedTuple):
    """What rows have in common that one statement moves: table, both states, the columns that change."""

    table: str
    old: _State
    new: _State
    columns: tuple[str, ...]


class Moves:
    """Transitions of one transaction, written by `flush` in the order in which they were collected.

    A row that moves a second time is written with its first move before. Rows that do not stand where they
    were expected raise StoreError then, and the transaction must end without effect.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection, self.now = connection, now
        self._groups: dict[_Group, dict[int, dict[str, Any]]] = {}
        self._moved: set[tuple[str, int]] = set()
        self._queued: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._lowered: dict[int, list[int]] = {}

    def run(self, number: int, old: RunState, new: RunState, **values: Any) -> None:
        """A run moves."""
        self._add(runs, number, old, new, values)
        measures.note_run(self._connection, number, new)
        self.tell("run", run=number, old=old, new=new)

    def stage(
        self,
        run: int,
        stage_run: int,
        old: StageState,
        new: StageState,
        *,
        silent: bool = False,
        **values: Any,
    ) -> None:
        """A stage run moves; `silent` ones make no event, as after a snooze."""
        self._add(stage_runs, stage_run, old, new, values)
        if not silent:
            self.tell("stage", run=run, stage_run=stage_run, old=old, new=new)

    def attempt(
        self, run: int, stage_run: int, attempt: int, old: AttemptState, new: AttemptState, **values: Any
    ) -> None:
        """An attempt moves. A snooze makes no event."""
        self._add(attempts, attempt, old, new, values)
        measures.note_attempt(self._connection, attempt, new)
        outcome = values.get("outcome")
        if outcome != Outcome.SNOOZED:
            detail = {"outcome": outcome} if outcome else None
            ids = {"run": run, "stage_run": stage_run, "attempt": attempt}
            self.tell("attempt", old=old, new=new, detail=detail, **ids)

    def enqueue(self, stage_run: int, *, due: datetime, only: Only | None = None) -> None:
        """A stage run gets an attempt that may be claimed from `due` on."""
        fresh = {"stage_run": stage_run, "state": AttemptState.QUEUED, "only": only}
        self._queued.append({**fresh, "due_at": due, "queued_at": self.now})

    def lower(self, stage_run: int, by: int) -> None:
        """A stage run waits for so many upstreams less."""
        self._lowered.setdefault(by, []).append(stage_run)

    def tell(self, kind: str, *, new: str, **values: Any) -> None:
        """An event."""
        self._events.append({**_NOTHING, "kind": kind, "at": self.now, "new": new, **values})

    def flush(self) -> None:
        """Write what was collected."""
        for group, rows in self._groups.items():
            _write(self._connection, group, rows)
        for by, ids in self._lowered.items():
            self._connection.execute(_LOWER, {"ids": ids, "by": by})
        if self._queued:
            insert_rows(self._connection, attempts, self._queued)
            if any(row["due_at"] <= self.now for row in self._queued):
                hints.mark(self._connection, "work")
        if self._events:
            insert_rows(self._connection, events, self._events)
            if any(event["kind"] == "run" for event in self._events):
                hints.mark(self._connection, "run")
        for collected in (self._groups, self._moved, self._lowered, self._queued, self._events):
            collected.clear()

    def _add(self, table: Table, key: int, old: _State, new: _State, values: dict[str, Any]) -> None:
        if not may_follow(old, new):
            raise StoreError(f"{table.name} {key}: {new} may not follow {old}")
        if (table.name, key) in self._moved:
            self.flush()
        self._moved.add((table.name, key))
        self._groups.setdefault(_Group(table.name, old, new, tuple(values)), {})[key] = values


def move_run(
    connection: Connection, number: int, old: RunState, new: RunState, *, now: datetime, **values: Any
) -> None:
    """Move a run; raises StoreError where it is not in the state `old`."""
    moves = Moves(connection, now)
    moves.run(number, old, new, **values)
    moves.flush()


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
    moves = Moves(connection, now)
    moves.stage(run, stage_run, old, new, **values)
    moves.flush()


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
    moves = Moves(connection, now)
    moves.attempt(run, stage_run, attempt, old, new, **values)
    moves.flush()


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
    if not may_follow(old, new):
        raise StoreError(f"epoch {number} of stage run {stage_run}: {new} may not follow {old}")
    is_it = (epochs.c.stage_run == stage_run, epochs.c.number == number, epochs.c.state == old)
    done = connection.execute(update(epochs).where(*is_it).values(state=new, **values))
    if done.rowcount != 1:
        raise StoreError(f"epoch {number} of stage run {stage_run}: expected {old}, to become {new}")
    tell(connection, "epoch", now=now, run=run, stage_run=stage_run, epoch=number, old=old, new=new)


def tell(connection: Connection, kind: str, *, now: datetime, new: str, **values: Any) -> None:
    """Write one event."""
    moves = Moves(connection, now)
    moves.tell(kind, new=new, **values)
    moves.flush()


_NOTHING: Mapping[str, Any] = dict.fromkeys(("run", "stage_run", "attempt", "epoch", "old", "detail"))
_LOWER = (
    update(stage_runs)
    .where(within(stage_runs.c.id, "ids"), stage_runs.c.waiting >= bindparam("by"))
    .values(waiting=stage_runs.c.waiting - bindparam("by"))
)


def _write(connection: Connection, group: _Group, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Move rows, all of which must be in the expected state: by one statement where they change alike."""
    first = next(iter(rows.values()))
    states = {"_old": group.old, "_new": group.new}
    if all(values == first for values in rows.values()):
        given = {f"_{name}": value for name, value in first.items()}
        done = connection.execute(
            _move(group.table, group.columns, True), {"_keys": [*rows], **states, **given}
        )
    else:
        each = [
            {"_key": key, **states, **{f"_{name}": value for name, value in values.items()}}
            for key, values in rows.items()
        ]
        done = connection.execute(_move(group.table, group.columns, False), each)
    if done.rowcount != len(rows):
        named = f"{group.table} {', '.join(map(str, rows))}"
        raise StoreError(f"{named}: expected {group.old}, to become {group.new}; {done.rowcount} were so")


@cache
def _move(name: str, columns: tuple[str, ...], together: bool) -> Update:
    """The statement that moves rows of a table by their ids, and sets these columns too."""
    table = {"runs": runs, "stage_runs": stage_runs, "attempts": attempts}[name]
    (key,) = table.primary_key
    which = within(key, "_keys") if together else key == bindparam("_key")
    values = {column: bindparam(f"_{column}", type_=table.c[column].type) for column in columns}
    guarded = update(table).where(which, table.c.state == bindparam("_old"))
    return guarded.values(state=bindparam("_new", type_=table.c.state.type), **values)
