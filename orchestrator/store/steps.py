"""The steps of an attempt as a worker takes them: one transaction each, its crash point after the commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.crash import crash_point
from orchestrator.runs.checkpoint import Checkpoint, Decision, Json
from orchestrator.runs.states import RUN_ENDS, Outcome, StageState
from orchestrator.store import attempts, lifecycle, queue
from orchestrator.store.attempts import Asked
from orchestrator.store.database import Database
from orchestrator.store.lifecycle import Finished
from orchestrator.store.queue import Claimed


def claim(database: Database, *, worker: int, held: bool) -> Claimed | None:
    """Claim the next attempt (see `queue.claim`)."""
    return database.run_transaction(
        lambda connection: queue.claim(connection, worker=worker, held=held, now=database.clock.now())
    )


def opened(database: Database, attempt: int) -> Checkpoint:
    """Read the checkpoint of a running attempt (see `lifecycle.opened`)."""
    return database.run_transaction(lambda connection: lifecycle.opened(connection, attempt))


def decide(database: Database, attempt: int, decision: Decision) -> None:
    """Write a decision (see `lifecycle.decide`); passes `epoch.decided`."""
    database.run_transaction(
        lambda connection: lifecycle.decide(connection, attempt, decision, database.clock.now())
    )
    crash_point("epoch.decided")


def applied(database: Database, attempt: int, epoch: int) -> None:
    """Mark an epoch applied (see `lifecycle.applied`); passes `epoch.applied`."""
    database.run_transaction(
        lambda connection: lifecycle.applied(connection, attempt, epoch, database.clock.now())
    )
    crash_point("epoch.applied")


def progress(database: Database, attempt: int, figures: dict[str, Any]) -> Asked:
    """Overwrite the live figures; what verbs ask comes back (see `attempts.save_progress`)."""
    return database.run_transaction(
        lambda connection: attempts.save_progress(connection, attempt, figures, database.clock.now())
    )


def finish(
    database: Database,
    attempt: int,
    outcome: Outcome,
    *,
    error: Mapping[str, Json] | None = None,
    result: Json = None,
    retry: bool = True,
    give_up: bool = False,
) -> Finished:
    """End an attempt (see `lifecycle.finish`); may pass `stage.success` and `run.ended`."""
    finished = database.run_transaction(
        lambda connection: lifecycle.finish(
            connection,
            attempt,
            outcome,
            error=error,
            result=result,
            retry=retry,
            give_up=give_up,
            now=database.clock.now(),
        )
    )
    if finished.stage == StageState.SUCCESS:
        crash_point("stage.success")
    if finished.run in RUN_ENDS:
        crash_point("run.ended")
    return finished
