"""The frame of every verb on a run of the services: lock, act, tell what was done, audit, or take it back.

What a verb did is read from its run's rows: as they were when the run was locked, and as they are when the
verb has done its work. A dry run is the same transaction rolled back.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar, cast

from sqlalchemy import Connection, Row, func, or_, select

from orchestrator.errors import RefusedError
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.effects import Effects, Extra, asks, changes
from orchestrator.runs.states import AttemptState, RunState, StageState
from orchestrator.store import hints, runs, stage_runs
from orchestrator.store.attempts import attempts
from orchestrator.store.database import Database
from orchestrator.store.tables import Run
from orchestrator.store.verbs.audit import audit

D = TypeVar("D")
Work: TypeAlias = Callable[[Connection, Run, datetime], Iterable[Extra]]


@dataclass(frozen=True)
class Done:
    """What a verb did, or would do where it was a `dry_run`; `run` is as it leaves it."""

    run: Run
    effects: Effects
    dry_run: bool = False


class TakenBackError(Exception):
    """Ends the transaction of a dry run; carries what it would have done."""

    def __init__(self, done: object) -> None:
        super().__init__("a dry run")
        self.done = done


@dataclass(frozen=True)
class Standing:
    """The rows of a run at one moment. Of attempts: those that were open before, and what came since.

    `asked` is what each running attempt is asked: its stage, and `pause`, an end, or nothing.
    """

    run: Mapping[int, Mapping[str, Json]]
    stages: Mapping[int, Mapping[str, Json]]
    attempts: Mapping[int, Mapping[str, Json]]
    newest: int
    asked: Mapping[int, tuple[str, str]]


_NAMES = frozenset({"id", "number", "uid"})
NOTHING = Standing({}, {}, {}, 0, {})


def act(
    database: Database,
    number: int,
    verb: str,
    work: Work,
    *,
    actor: str,
    dry_run: bool,
    of_held: str = "",
) -> Done:
    """Do a verb to a run, in one transaction: all of it or, where it is refused or a dry run, nothing.

    `of_held` says for a run that a command holds what its command is told in place of this verb (`--resume`);
    empty: the verb is for those runs too. Raises RefusedError.
    """

    def transaction(connection: Connection) -> Done:
        run = runs.lock(connection, number)
        if of_held and run.held_by is not None:
            raise _held(run, verb, of_held)
        now = database.clock.now()
        before = standing(connection, number)
        extras = tuple(work(connection, run, now))
        return conclude(connection, number, verb, before, extras, actor=actor, dry_run=dry_run, now=now)

    return perform(database, transaction)


def perform(database: Database, transaction: Callable[[Connection], D]) -> D:
    """The outcome of a transaction, also of one that a dry run took back (`TakenBackError`)."""
    try:
        return database.run_transaction(transaction)
    except TakenBackError as back:
        return cast("D", back.done)


def conclude(
    connection: Connection,
    number: int,
    verb: str,
    before: Standing,
    extras: tuple[Extra, ...],
    *,
    actor: str,
    dry_run: bool,
    now: datetime,
) -> Done:
    """Tell what was done since `before`, write it down, and tell those who wait for it."""
    after = standing(connection, number, before)
    effects = Effects(
        number,
        (
            *changes("run", before.run, after.run),
            *changes("stage", before.stages, after.stages),
            *changes("attempt", before.attempts, after.attempts),
        ),
        tuple(asks(before.asked, after.asked)),
        extras,
    )
    audit(connection, actor, verb, f"run {number}", effects.short(), now)
    done = Done(runs.get(connection, number), effects, dry_run)
    if dry_run:
        raise TakenBackError(done)
    _hint(connection, effects)
    return done


def standing(connection: Connection, number: int, since: Standing | None = None) -> Standing:
    """How a run stands; `since` names what is compared with it."""
    run = connection.execute(select(runs.runs).where(runs.runs.c.number == number)).one()
    table = stage_runs.stage_runs
    stages = connection.execute(select(table).where(table.c.run == number).order_by(table.c.id)).all()
    names = {row.id: row.stage for row in stages}
    tries = _attempts(connection, number, since)
    newest = connection.execute(select(func.max(attempts.c.id))).scalar() or 0
    return Standing(
        {number: _plain(run)},
        {row.id: _plain(row) for row in stages},
        {row.id: {**_plain(row), "stage": names[row.stage_run]} for row in tries},
        newest,
        _asked(run, stages, tries),
    )


def _attempts(connection: Connection, number: int, since: Standing | None) -> list[Row[Any]]:
    table = stage_runs.stage_runs
    is_open = attempts.c.state != AttemptState.DONE
    known = is_open if since is None else or_(attempts.c.id.in_(since.attempts), attempts.c.id > since.newest)
    query = select(attempts).join_from(attempts, table, attempts.c.stage_run == table.c.id)
    return list(connection.execute(query.where(table.c.run == number, known).order_by(attempts.c.id)))


def _asked(
    run: Row[Any], stages: Iterable[Row[Any]], tries: Iterable[Row[Any]]
) -> dict[int, tuple[str, str]]:
    by_id = {row.id: row for row in stages}
    found = {}
    for row in tries:
        stage = by_id[row.stage_run]
        if row.state == AttemptState.RUNNING and stage.state == StageState.RUNNING and row.only is None:
            pause = "pause" if run.paused or stage.paused else ""
            found[row.id] = (stage.stage, str(stage.stop_as) if stage.stop_as else pause)
    return found


def _plain(row: Row[Any]) -> dict[str, Json]:
    """What is compared of a row: all but what names it."""
    return {name: value for name, value in row._mapping.items() if name not in _NAMES}


def _hint(connection: Connection, effects: Effects) -> None:
    """Tell whom it concerns, once this is committed."""
    touched = {change.kind for change in effects.changes}
    if effects.asks or "attempt" in touched:  # one that was taken away is asked nothing, but must stop
        hints.mark(connection, "ask")
    resumed = any(change.becomes("paused") is False for change in effects.changes)
    if resumed or any(change.kind == "attempt" and change.id is None for change in effects.changes):
        hints.mark(connection, "work")
    if any(change.kind == "run" and "state" in change.columns for change in effects.changes):
        hints.mark(connection, "run")


def _held(run: Run, verb: str, instead: str) -> RefusedError:
    """Of what has succeeded or was cancelled, nothing is left to go on with."""
    over = instead == "--resume" and run.state in (RunState.SUCCESS, RunState.CANCELLED)
    command = f"fustgo run {shlex.quote(run.file or 'FILE')} {'--clear' if over else instead} {run.number}"
    return RefusedError(
        f"run {run.number} belongs to the command that started it: {verb} is not for the services to do",
        hint=f"it has ended ({run.state}); {command} starts it over" if over else f"type {command}",
    )
