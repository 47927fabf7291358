"""Runs that a command holds: taking one over, and what becomes of one whose command is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.ending import End
from orchestrator.runs.states import RUN_ENDS, AttemptState, Outcome, StageState
from orchestrator.store import attempts, epochs, lifecycle, runs, stage_runs, workers
from orchestrator.store.tables import Attempt, Run, Worker

KILLED = {"message": "the command was killed"}


def release_dead_holders(connection: Connection, now: datetime) -> list[int]:
    """End what the commands left that are gone: running or queued stages of their runs end failed.

    Nothing is left to be claimed, and a paused run is left alone: it waits for `--resume`. The numbers of
    the runs that were touched come back. Holders on other hosts are not judged here.
    """
    released = []
    for found, holder in _left(connection):
        run = runs.lock(connection, found.number)
        if run.held_by != holder.id or run.paused or run.state in RUN_ENDS:
            continue  # taken over, or ended, just now
        workers.end_worker(connection, holder.id, now)
        _end_attempts(connection, run, lambda _: True, now)
        released.append(run.number)
    return released


def are_dead(connection: Connection) -> bool:
    """Whether `release_dead_holders` would find anything to do."""
    return any(True for _ in _left(connection))


def _left(connection: Connection) -> Iterator[tuple[Run, Worker]]:
    """The unended runs that a dead command holds; paused ones wait for `--resume`."""
    for run in runs.unended(connection):
        if run.held_by is not None and not run.paused:
            holder = workers.get(connection, run.held_by)
            if workers.life(holder) == workers.Life.DEAD:
                yield run, holder


def take_over(connection: Connection, run: Run, *, worker: int, verb: str, now: datetime) -> Run:
    """Make `worker` the holder of a run whose own holder is gone, and end what that one was running.

    Raises RefusedError where the run belongs to the services, or its holder lives or may live.
    """
    run = runs.lock(connection, run.number)
    if run.held_by is None:
        raise RefusedError(f"run {run.number} belongs to the services: {verb} it there, not by a command")
    if run.held_by != worker:
        _refuse_living(connection, run)
        # What a paused run has queued goes on as it is; of any other, the killed command's stages failed.
        left = _is_running if run.paused else (lambda _: True)
        _end_attempts(connection, run, left, now)
        workers.end_worker(connection, run.held_by, now)
    runs.change(connection, run.number, held_by=worker)
    return runs.get(connection, run.number)


def _refuse_living(connection: Connection, run: Run) -> None:
    holder = workers.get(connection, run.held_by or 0)
    life = workers.life(holder)
    if life == workers.Life.ALIVE:
        raise RefusedError(
            f"run {run.number} is being executed by process {holder.pid}",
            hint="wait for it, or end it (Ctrl-C there keeps what it has done)",
        )
    if life == workers.Life.UNKNOWN:
        raise RefusedError(
            f"run {run.number} is held by process {holder.pid} on {holder.host}: it cannot be seen from here",
            hint=f"do this on {holder.host}",
        )


def _end_attempts(connection: Connection, run: Run, left: Callable[[Attempt], bool], now: datetime) -> None:
    """End open attempts of a dead holder, their stages failed; `unresolved` where an epoch is owed.

    A stage that may run after a failure is queued by that, and fails likewise: nobody is there to run it.
    """
    while found := [attempt for attempt in attempts.open_attempts(connection, run.number) if left(attempt)]:
        for attempt in found:
            outcome = Outcome.LOST if _is_running(attempt) else Outcome.CANCELLED
            attempts.end(connection, attempt, run.number, outcome, error=KILLED, now=now)
            stage_run = stage_runs.get(connection, attempt.stage_run)
            end = End(StageState.FAILED, epochs.owed_epoch(connection, stage_run.id) is not None)
            fresh = runs.get(connection, run.number)
            lifecycle.end_stage(connection, fresh, stage_run, end, error=KILLED, now=now)


def _is_running(attempt: Attempt) -> bool:
    return attempt.state == AttemptState.RUNNING
