"""Moving a run to another version of its DAG (rule 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.dag.stages import Stage
from orchestrator.runs.states import StageState
from orchestrator.store import attempts, epochs, runs, stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import DagVersion, Run, StageRun
from orchestrator.store.transitions import move_stage


def move_version(connection: Connection, run: Run, version: DagVersion, now: datetime) -> Run:
    """Give a run another version; the caller then settles it.

    Between versions a stage is the same if its set of nodes is. Old ones left over become `removed`, new
    ones start in `none`. A stage that has succeeded keeps the version that it ran.

    An output's writer is known to its target by node and run, whatever stage it is in, and takes no epoch
    that it holds already. So a stage whose nodes were another's counts on from where that one stopped.
    """
    rows = stage_runs.all_of_run(connection, run.number)
    stages = {frozenset(stage.nodes): stage for stage in graph_of(connection, version.id)}
    kept = _one_each(rows, stages)
    used = _highest_by_node(connection, rows)
    for row in rows:
        if row.id not in kept and row.state != StageState.REMOVED:
            _remove(connection, row, now)
    _rename(connection, [row for row in rows if row.id in kept], stages)
    for row in rows:
        if row.id in kept:
            if row.state == StageState.REMOVED:
                stage_runs.start_over(connection, row, now, max(used[node] for node in row.nodes))
            ran = row.version if row.state == StageState.SUCCESS else version.id
            settings = stage_runs.settings(stages[frozenset(row.nodes)])
            stage_runs.change(connection, row.id, version=ran, **settings)
    known = {frozenset(row.nodes) for row in rows if row.id in kept}
    fresh = [stage for nodes, stage in stages.items() if nodes not in known]
    stage_runs.add(
        connection,
        run.number,
        version.id,
        fresh,
        lane=run.lane,
        base=lambda stage: max(used.get(node, 0) for node in stage.nodes),
    )
    runs.change(connection, run.number, version=version.id)
    return runs.get(connection, run.number)


def _one_each(rows: list[StageRun], stages: Mapping[frozenset[str], Stage]) -> set[int]:
    """The rows that go on: of those with the nodes of a stage, one that was not removed, else the newest."""
    by_nodes: dict[frozenset[str], StageRun] = {}
    for row in sorted(rows, key=lambda row: row.state != StageState.REMOVED):
        by_nodes[frozenset(row.nodes)] = row
    return {row.id for nodes, row in by_nodes.items() if nodes in stages}


def _highest_by_node(connection: Connection, rows: list[StageRun]) -> dict[str, int]:
    """The highest epoch that any stage run has decided for each node."""
    used: dict[str, int] = {}
    for row in rows:
        number = max(row.base, epochs.highest(connection, row.id))
        used |= {node: max(number, used.get(node, 0)) for node in row.nodes}
    return used


def _remove(connection: Connection, row: StageRun, now: datetime) -> None:
    attempts.withdraw(connection, row.run, row.id, now)
    old, new = row.state, StageState.REMOVED
    move_stage(connection, row.run, row.id, old, new, now=now, ended_at=now)


def _rename(connection: Connection, rows: list[StageRun], stages: Mapping[frozenset[str], Stage]) -> None:
    """Take their names from stages that are called otherwise now, so that two can swap theirs."""
    for row in rows:
        if stages[frozenset(row.nodes)].id != row.stage:
            stage_runs.change(connection, row.id, stage=str(row.id))  # digits: no stage is called so
