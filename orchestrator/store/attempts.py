"""Attempts: the guard of all that an attempt writes, and how one is queued and ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.errors import AttemptLost
from orchestrator.runs.order import Only
from orchestrator.runs.states import AttemptState, Outcome, StopAs
from orchestrator.store.dialects import has_row_locks, upsert
from orchestrator.store.sets import within
from orchestrator.store.tables import Attempt, Progress, Run, StageRun, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.transitions import Moves, move_attempt

attempts, progress = table_of(Attempt), table_of(Progress)
stage_runs, runs = table_of(StageRun), table_of(Run)


@dataclass(frozen=True)
class Held:
    """A running attempt that this transaction holds, with what is needed of its stage run."""

    id: int
    only: Only | None
    run: int
    stage_run: int
    base: int
    unresolved: bool


@dataclass(frozen=True)
class Asked:
    """What a verb wants of a running attempt: `pause` a savepoint, `stop` an end."""

    pause: bool = False
    stop: StopAs | None = None

    def __bool__(self) -> bool:
        return self.pause or self.stop is not None


def lock_runs(connection: Connection, ids: Collection[int]) -> None:
    """Lock the runs of attempts in the order of creation: the first locks of whoever writes for one, or ends
    it (rules 8.11, 8.12).

    Claims of the runs' other stages go on meanwhile, verbs wait. What is read before is not to be trusted.
    """
    if has_row_locks(connection):
        connection.execute(_LOCK_RUNS, {"ids": ids})


_OF_ATTEMPTS = (
    select(stage_runs.c.run)
    .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
    .where(within(attempts.c.id, "ids"))
)
_LOCK_RUNS = (
    select(runs.c.number)
    .where(runs.c.number.in_(_OF_ATTEMPTS))
    .order_by(runs.c.number)
    .with_for_update(key_share=True)
)


def hold(connection: Connection, attempt: int) -> Held:
    """Lock the run of a running attempt for this transaction; every write of one begins so (rule 1.3).

    Raises AttemptLost where it does not run any more: it was taken away, and must stop.
    """
    lock_runs(connection, [attempt])
    query = (
        select(
            attempts.c.id,
            attempts.c.only,
            stage_runs.c.run,
            attempts.c.stage_run,
            stage_runs.c.base,
            stage_runs.c.unresolved,
        )
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .where(attempts.c.id == attempt, attempts.c.state == AttemptState.RUNNING)
    )
    row = connection.execute(query).first()
    if row is None:
        raise lost(attempt)
    return Held(*row)


def lost(attempt: int) -> AttemptLost:
    """The error of who works on an attempt that does not run any more."""
    return AttemptLost(
        f"attempt {attempt} was taken away", hint="another process ended it; its work is not lost"
    )


def get(connection: Connection, attempt: int) -> Attempt:
    """An attempt by its id."""
    return value(Attempt, connection.execute(select(attempts).where(attempts.c.id == attempt)).one())


def enqueue(
    connection: Connection, stage_run: int, *, due: datetime, only: Only | None = None, now: datetime
) -> None:
    """Insert an attempt that may be claimed from `due` on."""
    moves = Moves(connection, now)
    moves.enqueue(stage_run, due=due, only=only)
    moves.flush()


def end(
    connection: Connection,
    attempt: Attempt,
    run: int,
    outcome: Outcome,
    *,
    error: dict[str, Any] | None = None,
    now: datetime,
) -> None:
    """End a queued or running attempt; its live figures go, its epochs hold the final ones."""
    old, new = attempt.state, AttemptState.DONE
    values = {"outcome": outcome, "error": error, "ended_at": now}
    move_attempt(connection, run, attempt.stage_run, attempt.id, old, new, now=now, **values)
    connection.execute(progress.delete().where(progress.c.attempt == attempt.id))


def open_attempts(connection: Connection, run: int) -> list[Attempt]:
    """The queued and running attempts of a run, oldest first."""
    query = (
        select(attempts)
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .where(stage_runs.c.run == run, attempts.c.state != AttemptState.DONE)
        .order_by(attempts.c.id)
    )
    return [value(Attempt, row) for row in connection.execute(query)]


def running(connection: Connection, run: int) -> list[Attempt]:
    """The running attempts of a run, oldest first."""
    query = (
        select(attempts)
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .where(stage_runs.c.run == run, attempts.c.state == AttemptState.RUNNING)
        .order_by(attempts.c.id)
    )
    return [value(Attempt, row) for row in connection.execute(query)]


def withdraw(connection: Connection, run: int, stage_run: int, now: datetime) -> None:
    """End the queued attempt of a stage run, where there is one: nobody claims it any more."""
    query = select(attempts).where(attempts.c.stage_run == stage_run, attempts.c.state == AttemptState.QUEUED)
    for row in connection.execute(query).all():
        end(connection, value(Attempt, row), run, Outcome.CANCELLED, now=now)


def withdraw_all(connection: Connection, run: int, stages: Iterable[int], moves: Moves) -> None:
    """End the queued attempts of stage runs of a run, as one of these moves."""
    query = select(attempts.c.id, attempts.c.stage_run).where(
        within(attempts.c.stage_run, "stages"), attempts.c.state == AttemptState.QUEUED
    )
    values = {"outcome": Outcome.CANCELLED, "error": None, "ended_at": moves.now}
    for row in connection.execute(query, {"stages": stages}):
        moves.attempt(run, row.stage_run, row.id, AttemptState.QUEUED, AttemptState.DONE, **values)


def asked(connection: Connection, attempt: int) -> Asked:
    """What verbs ask of a running attempt; raises AttemptLost where it does not run any more.

    An attempt that may only apply, or give up, is not asked to pause: it is short, and owed.
    """
    held = hold(connection, attempt)
    row = connection.execute(
        select(runs.c.paused, stage_runs.c.paused.label("stage_paused"), stage_runs.c.stop_as)
        .join_from(stage_runs, runs, stage_runs.c.run == runs.c.number)
        .where(stage_runs.c.id == held.stage_run)
    ).one()
    if held.only is not None:
        return Asked()
    return Asked(pause=row.paused or row.stage_paused, stop=row.stop_as)


def asked_of(connection: Connection, worker: int) -> dict[int, Asked]:
    """What verbs ask of the running attempts of a worker, all of them, by attempt. Takes no lock."""
    query = (
        select(
            attempts.c.id,
            attempts.c.only,
            runs.c.paused,
            stage_runs.c.paused.label("stage_paused"),
            stage_runs.c.stop_as,
        )
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .join(runs, stage_runs.c.run == runs.c.number)
        .where(attempts.c.worker == worker, attempts.c.state == AttemptState.RUNNING)
    )
    return {
        row.id: Asked()
        if row.only is not None
        else Asked(pause=row.paused or row.stage_paused, stop=row.stop_as)
        for row in connection.execute(query)
    }


def save_progress(connection: Connection, attempt: int, figures: dict[str, Any], now: datetime) -> Asked:
    """Overwrite the live figures of a running attempt; what verbs ask of it comes back.

    Raises AttemptLost where it does not run any more.
    """
    answer = asked(connection, attempt)
    upsert(connection, progress, {"attempt": attempt, "at": now, "figures": figures}, key="attempt")
    return answer
