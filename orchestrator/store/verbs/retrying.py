"""Going on from the last decided epoch (rule 7.1), with all tries again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.advance import below
from orchestrator.runs.effects import Extra, Remark
from orchestrator.runs.order import Only
from orchestrator.runs.states import RUN_ENDS, StageState, StopAs
from orchestrator.store import dags, epochs, lifecycle, runs, stage_runs
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import Moves
from orchestrator.store.verbs.moving import move_to_latest
from orchestrator.store.verbs.naming import refuse_cancelling, stages_of

_STOPPED = (StageState.FAILED, StageState.CANCELLED)


def retry_run(
    connection: Connection,
    run: Run,
    now: datetime,
    *,
    nodes: Collection[str] = (),
    strictly: bool = False,
    latest: bool = False,
) -> Iterable[Extra]:
    """Retry the stages of a run that failed or were cancelled, or of them those that hold `nodes`.

    A named stage that did not fail is left as it is, or `strictly` refused. `latest` moves the run to the
    newest version of its DAG first, which must fit (rule 7.2). Raises UsageError for a node that is not
    there, RefusedError where nothing is to be retried, the run is being cancelled, or the version does not
    fit. The run must be locked.
    """
    refuse_cancelling(run, "retry")
    clear = f"`fustgo runs clear {run.number}`"
    if latest:
        run = move_to_latest(connection, run, now, clear=clear)
    named = stages_of(dags.graph_of(connection, run.version), run, nodes)
    rows = stage_runs.of_run(connection, run.number)
    chosen = {stage: row for stage, row in rows.items() if not named or stage in named}
    failed = {stage: row for stage, row in chosen.items() if row.state in _STOPPED}
    left = [chosen[stage] for stage in named if stage not in failed]
    if not failed or (strictly and left):
        raise _nothing_failed(run, left, clear)
    retry_stages(connection, run, failed, clear=clear, now=now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return [*named.values(), *(Remark(row.stage, f"is {row.state}, and left as it is") for row in left)]


def _nothing_failed(run: Run, left: Collection[StageRun], clear: str) -> RefusedError:
    states = ", ".join(f"{row.stage} is {row.state}" for row in left) or "no stage failed or was cancelled"
    return RefusedError(
        f"run {run.number}: there is nothing to retry, {states}",
        hint=f"{clear} starts over" if run.state in RUN_ENDS else "",
    )


def failed_stages(connection: Connection, run: Run) -> dict[str, StageRun]:
    """The stages of a run that failed or were cancelled, by their ids."""
    rows = stage_runs.of_run(connection, run.number)
    return {stage: row for stage, row in rows.items() if row.state in _STOPPED}


def retry_stages(
    connection: Connection, run: Run, failed: Mapping[str, StageRun], *, clear: str, now: datetime
) -> None:
    """Retry these stages, which failed or were cancelled; one that comes after another waits for it.

    What never began is judged anew. Raises RefusedError where the final epoch of one was given up, naming the
    command `clear`.
    """
    later = below(dags.graph_of(connection, run.version), failed)
    owing, incomplete = epochs.owing(connection, run.number), epochs.incomplete(connection, run.number)
    moves = Moves(connection, now)
    for stage, row in failed.items():
        if row.started_at is None:
            _wait_again(moves, row)
            continue
        if row.id in incomplete:
            raise _incomplete(run, row, clear)
        # What is owed is applied before a rule may end the stage without running (rule 3).
        if stage in later and row.id not in owing:
            _wait_again(moves, row)
        else:
            _queue_again(moves, row)
    moves.flush()


def _wait_again(moves: Moves, stage_run: StageRun) -> None:
    """Put an ended stage back to be judged; if it runs, it goes on from its last decided epoch."""
    fresh: dict[str, Any] = {
        "tries": 0,
        "losses": 0,
        "stop_as": None,
        "error": None,
        "started_at": None,
        "ended_at": None,
    }
    moves.stage(stage_run.run, stage_run.id, stage_run.state, StageState.NONE, **fresh)


def _queue_again(moves: Moves, stage_run: StageRun) -> None:
    """Queue an ended stage again; it goes on from its last decided epoch, with all its tries.

    One that was giving an epoch up goes on with that alone, and ends failed again.
    """
    only: Only | None = "abandon" if stage_run.abandoning else None
    stop_as = StopAs.FAILED if stage_run.abandoning else None
    fresh: dict[str, Any] = {"tries": 0, "losses": 0, "stop_as": stop_as, "error": None, "ended_at": None}
    moves.stage(stage_run.run, stage_run.id, stage_run.state, StageState.QUEUED, **fresh)
    moves.enqueue(stage_run.id, due=moves.now, only=only)


def _incomplete(run: Run, stage_run: StageRun, clear: str) -> RefusedError:
    return RefusedError(
        f"run {run.number}: the last epoch of {stage_run.stage} was given up, nothing can complete it",
        hint=f"start the run over with {clear}",
    )
