"""Whether a run may go on with another version of its DAG (rule 7.2)."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.states import StageState
from orchestrator.store import dags, epochs, stage_runs
from orchestrator.store.tables import DagVersion, Run


def refuse_misfit(
    connection: Connection, run: Run, version: DagVersion, *, clear: str, but: Collection[int] = ()
) -> None:
    """Raise RefusedError unless what has begun in a run can go on with the version; lists what differs.

    `but` are the stage runs that start over, which need nothing. `clear` is the command that does so.
    """
    from orchestrator.runs.compatible import differences  # reads definitions, which no other verb needs

    rows = [row for row in stage_runs.of_run(connection, run.number).values() if row.id not in but]
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
