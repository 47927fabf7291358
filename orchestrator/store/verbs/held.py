"""The verbs of runs that a command holds (`fustgo run --resume`, `--clear`, `--abandon`).

Each takes the run over first, as the worker row of the command that is to execute it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.states import RunState
from orchestrator.store import attempts, lifecycle, runs, stage_runs
from orchestrator.store.holders import take_over
from orchestrator.store.tables import DagVersion, Run
from orchestrator.store.transitions import tell
from orchestrator.store.verbs.abandoning import abandon_stages, owing_stages
from orchestrator.store.verbs.audit import audit
from orchestrator.store.verbs.moving import refuse_misfit
from orchestrator.store.verbs.retrying import failed_stages, retry_stages
from orchestrator.store.versions import move_version


def resume_held(
    connection: Connection,
    run: Run,
    *,
    worker: int,
    actor: str,
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
    clear = f"--clear {run.number}"
    if run.state in (RunState.SUCCESS, RunState.CANCELLED):
        raise RefusedError(
            f"run {run.number} has ended ({run.state}): nothing is left to resume",
            hint=f"start it over with {clear}",
        )
    _refuse_other_params(run, params)
    run = take_over(connection, run, worker=worker, verb="resume", now=now)
    if version is not None and version.id != run.version:
        refuse_misfit(connection, run, version, clear=clear)
        run = move_version(connection, run, version, now)
    _lower_flags(connection, run, now)
    failed = failed_stages(connection, run)
    retry_stages(connection, run, failed, clear=clear, now=now)
    audit(connection, actor, "resume", f"run {run.number}", {"stages": [*failed]}, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return runs.get(connection, run.number)


def clear_held(
    connection: Connection,
    run: Run,
    *,
    worker: int,
    actor: str,
    version: DagVersion | None = None,
    now: datetime,
) -> Run:
    """Start a whole run over, as `worker`: every base rises, positions and states go, writers stay.

    `clearing.rows_to_repeat` says beforehand what outputs that append would write a second time. Raises
    RefusedError while the run is executed, or a decided epoch of it is not applied (rule 3).
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
    audit(connection, actor, "clear", f"run {run.number}", {}, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return runs.get(connection, run.number)


def abandon_held(connection: Connection, run: Run, *, worker: int, actor: str, now: datetime) -> Run:
    """Give up the decided epochs of a run that cannot be applied: queues an attempt `only = abandon` each.

    Raises RefusedError where nothing is owed, or the run is executed.
    """
    run = take_over(connection, runs.lock(connection, run.number), worker=worker, verb="abandon", now=now)
    owing = owing_stages(connection, run)
    if not owing:
        raise RefusedError(f"run {run.number}: every decided epoch is applied, nothing is there to abandon")
    abandon_stages(connection, owing, now)
    names = [stage_run.stage for stage_run in owing]
    audit(connection, actor, "abandon", f"run {run.number}", {"stages": names}, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    return runs.get(connection, run.number)


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
