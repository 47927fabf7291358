"""DAGs and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from orchestrator.dag.stages import StageGraph
from orchestrator.store.dialects import has_row_locks, insert_absent
from orchestrator.store.identity import uuid7
from orchestrator.store.tables import Dag, DagVersion, table_of
from orchestrator.store.tables.entity import value

dags, versions = table_of(Dag), table_of(DagVersion)

BUNDLE = "bundle"  # the space that bundles and the API share


def ensure_dag(
    connection: Connection, *, space: str, dag_id: str, file: str | None = None, now: datetime
) -> Dag:
    """The DAG of this id in its space; given a uid (UUIDv7) where it is seen for the first time."""
    found = select(dags).where(dags.c.space == space, dags.c.dag_id == dag_id, dags.c.deleted_at.is_(None))
    row = connection.execute(found).first()
    if row is None:
        fresh = {"uid": uuid7(now), "space": space, "dag_id": dag_id, "file": file, "created_at": now}
        insert_absent(connection, dags, {**fresh, **_DEFAULTS})
        row = connection.execute(found).one()
    elif file is not None and row.file != file:
        connection.execute(update(dags).where(dags.c.id == row.id).values(file=file))
    return value(Dag, row)


_DEFAULTS = {
    name: Dag.model_fields[name].default
    for name in ("project", "paused", "max_active_runs", "max_active_tasks")
}


def ensure_version(
    connection: Connection,
    dag: Dag,
    *,
    hash: str,  # noqa: A002  # the design's word
    document: Mapping[str, Any],
    stages: Mapping[str, Any],
    now: datetime,
) -> DagVersion:
    """The version with this hash, stored unless it is known, and made the DAG's current one.

    `document` is the canonical definition, `stages` the JSON of its `StageGraph`.
    """
    found = select(versions).where(versions.c.dag == dag.id, versions.c.hash == hash)
    row = connection.execute(found).first()
    if row is None:
        fresh = {"dag": dag.id, "hash": hash, "document": dict(document), "stages": dict(stages)}
        insert_absent(connection, versions, {**fresh, "created_at": now})
        row = connection.execute(found).one()
    limits = {name: document[name] for name in ("max_active_runs", "max_active_tasks") if document.get(name)}
    if dag.version != row.id:
        connection.execute(update(dags).where(dags.c.id == dag.id).values(version=row.id, **limits))
    return value(DagVersion, row)


def shown_as(dag: Dag) -> str:
    """How people name a DAG: its id, with `@local` where it is a file that was run by hand."""
    return dag.dag_id if dag.space == BUNDLE else f"{dag.dag_id}@local"


def lock_dag(connection: Connection, identity: int) -> None:
    """Make who creates runs of this DAG wait until this transaction ends."""
    if has_row_locks(connection):
        connection.execute(select(dags.c.id).where(dags.c.id == identity).with_for_update(key_share=True))


def take_dag(connection: Connection, identity: int) -> Dag | None:
    """A DAG, locked like that, where nobody else has its lock; None where somebody has, without waiting."""
    query = select(dags).where(dags.c.id == identity).with_for_update(key_share=True, skip_locked=True)
    row = connection.execute(query).first()
    return None if row is None else value(Dag, row)


def get_dag(connection: Connection, identity: int) -> Dag:
    """A DAG by its row's id."""
    return value(Dag, connection.execute(select(dags).where(dags.c.id == identity)).one())


def get_version(connection: Connection, identity: int) -> DagVersion:
    """A version by its row's id."""
    return value(DagVersion, connection.execute(select(versions).where(versions.c.id == identity)).one())


def graph_of(connection: Connection, version: int) -> StageGraph:
    """The stage graph of a version, parsed once a process."""
    uid, content = connection.execute(
        select(dags.c.uid, versions.c.hash)
        .join_from(versions, dags, versions.c.dag == dags.c.id)
        .where(versions.c.id == version)
    ).one()
    return graph_known(connection, version, (uid, content))


def graph_known(connection: Connection, version: int, content: tuple[str, str]) -> StageGraph:
    """The stage graph of a version of which the DAG's uid and the hash were read already."""
    graph = _graphs.get(content)
    if graph is None:
        graph = StageGraph.from_json(get_version(connection, version).stages)
        while len(_graphs) >= _GRAPHS_KEPT:
            del _graphs[next(iter(_graphs))]
        _graphs[content] = graph
    return graph


_GRAPHS_KEPT = 256
_graphs: dict[tuple[str, str], StageGraph] = {}
