"""What people are shown of the DAGs that the services have loaded, and of where they come from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from orchestrator.store.dags import BUNDLE
from orchestrator.store.tables import Dag, DagVersion, Run, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Bundle, Schedule
from orchestrator.store.verbs.triggering import known_dag

dags, versions, runs = table_of(Dag), table_of(DagVersion), table_of(Run)


@dataclass(frozen=True)
class DagView:
    """A loaded DAG with its present version; its newest run, schedule and bundle where it has them."""

    dag: Dag
    version: DagVersion
    last_run: Run | None = None
    schedule: Schedule | None = None
    bundle: Bundle | None = None

    @property
    def timezone(self) -> str:
        """The zone in which its author thinks."""
        return str(self.version.document.get("timezone", "UTC"))


def list_dags(connection: Connection) -> list[DagView]:
    """The DAGs of bundles and of the API that were not deleted, by id; also those that were removed."""
    query = (
        select(dags)
        .where(dags.c.space == BUNDLE, dags.c.deleted_at.is_(None), dags.c.version.is_not(None))
        .order_by(dags.c.dag_id)
    )
    return _views(connection, [value(Dag, row) for row in connection.execute(query)])


def find_dag(connection: Connection, dag_id: str) -> DagView:
    """A DAG by its id, also a removed one; raises UsageError with the nearest one where there is none."""
    return _views(connection, [known_dag(connection, dag_id)])[0]


def list_bundles(connection: Connection) -> list[Bundle]:
    """The bundles that a scheduler has met, by name."""
    bundles = table_of(Bundle)
    return [value(Bundle, row) for row in connection.execute(select(bundles).order_by(bundles.c.name))]


def _views(connection: Connection, found: list[Dag]) -> list[DagView]:
    ids = [dag.id for dag in found]
    newest, planned = _newest_runs(connection, ids), _schedules(connection, ids)
    bundles = {bundle.name: bundle for bundle in list_bundles(connection)}
    texts = select(versions).where(versions.c.id.in_([dag.version for dag in found]))
    by_id = {row.id: value(DagVersion, row) for row in connection.execute(texts)}
    return [
        DagView(
            dag,
            by_id[dag.version or 0],
            newest.get(dag.id),
            planned.get(dag.id),
            bundles.get(dag.bundle or ""),
        )
        for dag in found
    ]


def _newest_runs(connection: Connection, of: Collection[int]) -> dict[int, Run]:
    """The newest run of each DAG, by the DAG's row."""
    last = select(func.max(runs.c.number)).where(runs.c.dag.in_(of)).group_by(runs.c.dag)
    found = connection.execute(select(runs).where(runs.c.number.in_(last)))
    return {row.dag: value(Run, row) for row in found}


def _schedules(connection: Connection, of: Collection[int]) -> dict[int, Schedule]:
    """The schedule of each DAG that has or had one, by the DAG's row."""
    schedules = table_of(Schedule)
    found = connection.execute(select(schedules).where(schedules.c.dag.in_(of)))
    return {row.dag: value(Schedule, row) for row in found}
