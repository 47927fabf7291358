"""What people are shown of the DAGs that the services have loaded."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from orchestrator.store.dags import BUNDLE
from orchestrator.store.tables import Dag, DagVersion, Run, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.verbs.triggering import loaded_dag

dags, versions, runs = table_of(Dag), table_of(DagVersion), table_of(Run)


@dataclass(frozen=True)
class DagView:
    """A loaded DAG with its present version, and its newest run where it has one."""

    dag: Dag
    version: DagVersion
    last_run: Run | None


def list_dags(connection: Connection) -> list[DagView]:
    """The DAGs of bundles and of the API that were not removed, by id."""
    query = (
        select(dags)
        .where(dags.c.space == BUNDLE, dags.c.deleted_at.is_(None), dags.c.version.is_not(None))
        .order_by(dags.c.dag_id)
    )
    found = [value(Dag, row) for row in connection.execute(query)]
    newest = _newest_runs(connection, [dag.id for dag in found])
    texts = select(versions).where(versions.c.id.in_([dag.version for dag in found]))
    by_id = {row.id: value(DagVersion, row) for row in connection.execute(texts)}
    return [DagView(dag, by_id[dag.version or 0], newest.get(dag.id)) for dag in found]


def find_dag(connection: Connection, dag_id: str) -> DagView:
    """A loaded DAG by its id; raises UsageError with the nearest one where there is none."""
    dag, version = loaded_dag(connection, dag_id)
    return DagView(dag, version, _newest_runs(connection, [dag.id]).get(dag.id))


def _newest_runs(connection: Connection, of: list[int]) -> dict[int, Run]:
    """The newest run of each DAG, by the DAG's row."""
    last = select(func.max(runs.c.number)).where(runs.c.dag.in_(of)).group_by(runs.c.dag)
    found = connection.execute(select(runs).where(runs.c.number.in_(last)))
    return {row.dag: value(Run, row) for row in found}
