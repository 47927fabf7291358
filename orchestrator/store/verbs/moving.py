"""Going on with another version of a DAG (rule 7.2)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.states import StageState
from orchestrator.store import dags, epochs, runs, stage_runs
from orchestrator.store.tables import DagVersion, Run
from orchestrator.store.versions import move_version


def move_to_latest(
    connection: Connection, run: Run, now: datetime, *, clear: str, but: Collection[int] = ()
) -> Run:
    """Move a run to the newest loaded version of its DAG and to its tree; the run as it is then.

    `but` are the stage runs that start over, which need nothing; of all others nodes must fit. Raises
    RefusedError where they do not, naming the command `clear`, where a stage runs (it has taken the old
    version), or where the DAG is gone.
    """
    dag = dags.get_dag(connection, run.dag)
    if dag.version is None or dag.deleted_at is not None:
        raise RefusedError(
            f"run {run.number}: DAG {dag.dag_id} is not loaded any more",
            hint="without --latest the run keeps its version",
        )
    rows = stage_runs.of_run(connection, run.number).values()
    running = [row.stage for row in rows if row.state == StageState.RUNNING]
    if running and dag.version != run.version:
        raise RefusedError(
            f"run {run.number} cannot move to the newest version while {', '.join(running)} runs",
            hint="wait for it, or cancel the run first",
        )
    if dag.version != run.version:
        version = dags.get_version(connection, dag.version)
        if any(row.started_at is not None and row.id not in but for row in rows):
            refuse_misfit(connection, run, version, clear=clear)
        run = move_version(connection, run, version, now)
    if dag.bundle_version != run.bundle_version:
        runs.change(connection, run.number, bundle_version=dag.bundle_version)
    return runs.get(connection, run.number)


def refuse_misfit(connection: Connection, run: Run, version: DagVersion, *, clear: str) -> None:
    """Raise RefusedError unless what has begun in a run can go on with the version; lists what differs.

    `clear` is the command that starts it over instead.
    """
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
            hint=f"put it back as it was, or start the run over with {clear}",
        )
