"""What people do with runs: pause, resume, clear, abandon. Each is one transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, insert

from orchestrator.errors import RefusedError
from orchestrator.runs.advance import below
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.order import Only
from orchestrator.runs.states import RUN_ENDS, RunState, StageState, StopAs
from orchestrator.store import attempts, dags, epochs, lifecycle, runs, stage_runs
from orchestrator.store.holders import take_over
from orchestrator.store.tables import DagVersion, Run, StageRun
from orchestrator.store.transitions import move_stage, tell
from orchestrator.store.versions import move_version


def pause_run(connection: Connection, run: Run, *, now: datetime) -> None:
    """Raise a run's pause flag: nothing of it is claimed, its attempts are asked for a savepoint (rule 10).

    Raises RefusedError where the run has ended; a paused run stays paused.
    """
    run = runs.lock(connection, run.number)
    if run.state in RUN_ENDS:
        raise RefusedError(f"run {run.number} has ended ({run.state}): there is nothing to pause")
    if not run.paused:
        runs.change(connection, run.number, paused=True)
        tell(connection, "run", now=now, run=run.number, old=run.state, new="paused")


def resume_run(
    connection: Connection,
    run: Run,
    *,
    worker: int,
    params: Mapping[str, Json] | None = None,
    version: DagVersion | None = None,
    now: datetime,
) -> Run:
    """Go on with a run that a command left, as `worker`: `--resume`.

    The pause flag goes, failed stages are retried from their last decided epoch, what never ran is judged
    anew. A failed stage that comes after another one waits for it, as its trigger rule says. `params`,
    where given, must be the run's own. `version` moves the run to another version of its DAG, whose nodes
    must fit (rule 7.2).

    Raises RefusedError: the run has succeeded, was cancelled, belongs to the services, is being executed,
    has other params, or does not fit the version.
    """
    run = runs.lock(connection, run.number)
    if run.state in (RunState.SUCCESS, RunState.CANCELLED):
        hint = f"start it over with --clear {run.number}"
        raise RefusedError(f"run {run.number} has ended ({run.state}): nothing is left to resume", hint=hint)
    _refuse_other_params(run, params)
    run = take_over(connection, run, worker=worker, verb="resume", now=now)
    if version is not None and version.id != run.version:
        _refuse_misfit(connection, run, version)
        run = move_version(connection, run, version, now)
    _lower_flags(connection, run, now)
    _retry_failed(connection, run, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return runs.get(connection, run.number)


def _retry_failed(connection: Connection, run: Run, now: datetime) -> None:
    rows = stage_runs.of_run(connection, run.number)
    stopped = (StageState.FAILED, StageState.CANCELLED)
    failed = {stage: row for stage, row in rows.items() if row.state in stopped}
    later = below(dags.graph_of(connection, run.version), failed)
    for stage, row in failed.items():
        if row.started_at is None:
            if row.state == StageState.FAILED:
                stage_runs.start_over(connection, row, now)  # failed in the queue: judged anew
            continue
        _refuse_incomplete(connection, run, row)
        # What is owed is applied before a rule may end the stage without running (rule 3).
        if stage in later and epochs.owed_epoch(connection, row.id) is None:
            wait_again(connection, row, now)
        else:
            retry_stage(connection, row, now)


def wait_again(connection: Connection, stage_run: StageRun, now: datetime) -> None:
    """Put an ended stage back to be judged; if it runs, it goes on from its last decided epoch."""
    fresh = {"tries": 0, "losses": 0, "stop_as": None, "error": None, "started_at": None, "ended_at": None}
    move_stage(connection, stage_run.run, stage_run.id, stage_run.state, StageState.NONE, now=now, **fresh)


def retry_stage(connection: Connection, stage_run: StageRun, now: datetime) -> None:
    """Queue an ended stage again; it goes on from its last decided epoch, with all its tries.

    One that was giving an epoch up goes on with that alone, and ends failed again.
    """
    only: Only | None = "abandon" if stage_run.abandoning else None
    stop_as = StopAs.FAILED if stage_run.abandoning else None
    fresh = {"tries": 0, "losses": 0, "stop_as": stop_as, "error": None, "ended_at": None}
    old, new = stage_run.state, StageState.QUEUED
    move_stage(connection, stage_run.run, stage_run.id, old, new, now=now, **fresh)
    attempts.enqueue(connection, stage_run.id, due=now, only=only, now=now)


def clear_run(
    connection: Connection,
    run: Run,
    *,
    worker: int,
    version: DagVersion | None = None,
    now: datetime,
) -> Run:
    """Start a whole run over, as `worker`: every base rises, positions and states go, writers stay.

    `rows_to_repeat` says beforehand what outputs that append would write a second time. Raises RefusedError
    while the run is executed, or a decided epoch of it is not applied (rule 3).
    """
    run = take_over(connection, runs.lock(connection, run.number), worker=worker, verb="clear", now=now)
    owing = [row.stage for row in owing_stages(connection, run)]
    if owing:
        raise RefusedError(
            f"run {run.number}: a decided epoch of {', '.join(owing)} has not reached its targets yet",
            hint=f"--resume {run.number} applies it first; --abandon {run.number} gives it up",
        )
    if version is not None and version.id != run.version:
        run = move_version(connection, run, version, now)
    _lower_flags(connection, run, now)
    for stage_run in stage_runs.of_run(connection, run.number).values():
        attempts.withdraw(connection, run.number, stage_run.id, now)
        stage_runs.start_over(connection, stage_run, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return runs.get(connection, run.number)


def rows_to_repeat(connection: Connection, run: Run, nodes: set[str]) -> dict[str, int]:
    """Rows that a clear would bring again, of those outputs among `nodes` that have written any.

    `nodes` are the outputs that append to a table: all others replace what they wrote (rule 7.3).
    """
    counted = epochs.rows_since_base(connection, run.number, nodes)
    return {node: rows for node, rows in counted.items() if rows}


def abandon_run(connection: Connection, run: Run, *, worker: int, actor: str, now: datetime) -> Run:
    """Give up the decided epochs of a run that cannot be applied: queues an attempt `only = abandon` each.

    Raises RefusedError where nothing is owed, or the run is executed.
    """
    run = take_over(connection, runs.lock(connection, run.number), worker=worker, verb="abandon", now=now)
    owing = owing_stages(connection, run)
    if not owing:
        raise RefusedError(f"run {run.number}: every decided epoch is applied, nothing is there to abandon")
    for stage_run in owing:
        attempts.withdraw(connection, run.number, stage_run.id, now)
        failed = {"stop_as": StopAs.FAILED, "unresolved": True, "abandoning": True}
        if stage_run.state == StageState.QUEUED:
            stage_runs.change(connection, stage_run.id, **failed)
        else:
            old, new = stage_run.state, StageState.QUEUED
            move_stage(connection, run.number, stage_run.id, old, new, now=now, **failed)
        attempts.enqueue(connection, stage_run.id, due=now, only="abandon", now=now)
    names = [stage_run.stage for stage_run in owing]
    audit(connection, actor, "abandon", f"run {run.number}", {"stages": names}, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return runs.get(connection, run.number)


def owing_stages(connection: Connection, run: Run) -> list[StageRun]:
    """The stages of a run of which a decided epoch is not applied."""
    rows = stage_runs.of_run(connection, run.number).values()
    return [row for row in rows if epochs.owed_epoch(connection, row.id) is not None]


def audit(
    connection: Connection, actor: str, verb: str, target: str, detail: Mapping[str, Json], now: datetime
) -> None:
    """Write who did what: one row a verb."""
    from orchestrator.store.tables import table_of
    from orchestrator.store.tables.services import Audit

    row = {"at": now, "actor": actor, "verb": verb, "target": target, "detail": dict(detail)}
    connection.execute(insert(table_of(Audit)).values(**row))


def _lower_flags(connection: Connection, run: Run, now: datetime) -> None:
    if run.paused:
        runs.change(connection, run.number, paused=False)
        tell(connection, "run", now=now, run=run.number, old="paused", new=run.state)
    for stage_run in stage_runs.of_run(connection, run.number).values():
        if stage_run.paused:
            stage_runs.change(connection, stage_run.id, paused=False)


def _refuse_other_params(run: Run, params: Mapping[str, Json] | None) -> None:
    if params is None:
        return
    other = sorted(name for name in {*params, *run.params} if params.get(name) != run.params.get(name))
    if other:
        raise RefusedError(
            f"run {run.number} has other values of {', '.join(other)}: params are fixed when it is created",
            hint="leave --param out to go on with it, or start a new run",
        )


def _refuse_incomplete(connection: Connection, run: Run, stage_run: StageRun) -> None:
    if epochs.final_given_up(connection, stage_run.id, stage_run.base):
        raise RefusedError(
            f"run {run.number}: the last epoch of {stage_run.stage} was given up, nothing can complete it",
            hint=f"start the run over with --clear {run.number}",
        )


def _refuse_misfit(connection: Connection, run: Run, version: DagVersion) -> None:
    from orchestrator.runs.compatible import differences  # reads definitions, which no other verb needs

    rows = stage_runs.of_run(connection, run.number).values()
    begun = {
        node
        for row in rows
        if row.state != StageState.SUCCESS and epochs.highest(connection, row.id) > row.base
        for node in row.nodes
    }
    found = differences(dags.get_version(connection, run.version).document, version.document, begun)
    joined = {frozenset(stage.nodes) for stage in dags.graph_of(connection, version.id)}
    found += [
        f"stage {row.stage}, which has run, joins other nodes now"
        for row in rows
        if (row.started_at is not None or begun.issuperset(row.nodes)) and frozenset(row.nodes) not in joined
    ]
    if found:
        listed = "\n  ".join(found)
        raise RefusedError(
            f"run {run.number} cannot go on with the DAG as it is now:\n  {listed}",
            hint=f"put it back as it was, or start the run over with --clear {run.number}",
        )
