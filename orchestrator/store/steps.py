"""The steps of an attempt as a worker takes them: one transaction each, its crash point after the commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.crash import crash_point
from orchestrator.runs.checkpoint import Checkpoint, Decision
from orchestrator.runs.report import Report
from orchestrator.runs.states import RUN_ENDS, StageState
from orchestrator.store import attempts, finishing, lifecycle, promotion, queue
from orchestrator.store.attempts import Asked
from orchestrator.store.candidates import any_waits
from orchestrator.store.database import Database
from orchestrator.store.finishing import Finished
from orchestrator.store.queue import Claimed


def claim(database: Database, *, worker: int, limit: int = 1, held: bool = False) -> list[Claimed]:
    """Claim up to `limit` attempts (see `queue.claim`).

    Looks first whether anything is there to claim, so that who finds nothing holds up nobody.
    """
    if not held:
        with database.glance() as connection:
            if not any_waits(connection, database.clock.now()):
                return []
    return database.run_transaction(
        lambda connection: queue.claim(
            connection, worker=worker, limit=limit, held=held, now=database.clock.now()
        )
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


def finish(database: Database, reports: Mapping[int, Report]) -> dict[int, Finished | None]:
    """End attempts, in one transaction (see `finishing.finish`); may pass `stage.success` and `run.ended`.

    Where a run of the services has ended, or an effect may have made one, what waits for it is promoted.
    """
    if not reports:
        return {}
    finished = database.run_transaction(
        lambda connection: finishing.finish(connection, reports, database.clock.now())
    )
    done = [one for one in finished.values() if one is not None]
    if any(one.stage == StageState.SUCCESS for one in done):
        crash_point("stage.success")
    if any(one.run in RUN_ENDS for one in done):
        crash_point("run.ended")
    _promote(database, done, anywhere=any(report.effects for report in reports.values()))
    return finished


def _promote(database: Database, done: Iterable[Finished], *, anywhere: bool) -> None:
    waiting = sorted({one.dag for one in done if one.run in RUN_ENDS and one.dag is not None})
    if anywhere:
        promotion.sweep(database)
    for dag in waiting:
        promotion.promote(database, dag)
