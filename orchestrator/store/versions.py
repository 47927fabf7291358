"""Moving a run to another version of its DAG (rule 7.2)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from orchestrator.runs.states import StageState
from orchestrator.store import attempts, runs, stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import DagVersion, Run
from orchestrator.store.transitions import move_stage


def move_version(connection: Connection, run: Run, version: DagVersion, now: datetime) -> Run:
    """Give a run another version; the caller then settles it.

    Between versions a stage is the same if its set of nodes is. Old ones left over become `removed`, new
    ones start in `none`. A stage that has succeeded keeps the version that it ran.
    """
    rows = stage_runs.of_run(connection, run.number)
    unmatched = {frozenset(stage.nodes): stage for stage in graph_of(connection, version.id)}
    for row in rows.values():
        nodes = frozenset(graph_of(connection, row.version)[row.stage].nodes)
        stage = unmatched.pop(nodes, None)
        if stage is None:
            if row.state != StageState.REMOVED:
                attempts.withdraw(connection, run.number, row.id, now)
                old, new = row.state, StageState.REMOVED
                move_stage(connection, run.number, row.id, old, new, now=now, ended_at=now)
            continue
        if row.state == StageState.REMOVED:
            stage_runs.start_over(connection, row, now)
        ran = row.version if row.state == StageState.SUCCESS else version.id
        stage_runs.change(connection, row.id, version=ran, **stage_runs.settings(stage))
    order = [stage for stage in graph_of(connection, version.id) if stage in unmatched.values()]
    stage_runs.add(connection, run.number, version.id, order)
    runs.change(connection, run.number, version=version.id)
    return runs.get(connection, run.number)
