"""Loaded DAGs: what the scheduler found in a frozen tree, written where runs begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from orchestrator.store import dags
from orchestrator.store.dags import BUNDLE
from orchestrator.store.database import Database
from orchestrator.store.dialects import insert_absent
from orchestrator.store.tables import Dag, DagVersion, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Bundle, LoadError

_dags, _versions, _errors = table_of(Dag), table_of(DagVersion), table_of(LoadError)


@dataclass(frozen=True)
class Loaded:
    """A DAG as a file of the tree defines it: its canonical document and its compiled stages.

    `params` are those of a run that is given none: of one that its schedule fires.
    """

    dag_id: str
    file: str
    hash: str
    document: Mapping[str, Any]
    stages: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)


def store_loaded(
    database: Database, found: Iterable[Loaded], *, bundle_version: str, project: str
) -> list[str]:
    """Make these the current versions of their DAGs, each in a transaction of its own.

    `project` is the folder against which data paths of their runs resolve. What is stored already is not
    written again. The ids of DAGs that were written come back.
    """
    now = database.clock.now()
    with database.read() as connection:
        current = _current(connection)
    changed = []
    for entry in sorted(found, key=lambda entry: entry.dag_id):
        place = (entry.hash, entry.file, bundle_version, project)
        if current.get(entry.dag_id) != place:
            database.run_transaction(
                lambda connection, entry=entry: _store(  # type: ignore[misc]
                    connection, entry, bundle_version, project, now
                )
            )
            changed.append(entry.dag_id)
    return changed


def enter_bundle(database: Database, name: str, source: str) -> None:
    """Know a bundle by its name; `source` is what people are shown of it."""
    fresh = {"name": name, "source": source}
    database.run_transaction(lambda connection: insert_absent(connection, table_of(Bundle), fresh))


def store_errors(database: Database, errors: Mapping[str, str], *, bundle: str, bundle_version: str) -> None:
    """Keep what is wrong with files of the tree, in place of what was wrong before."""
    now = database.clock.now()
    rows = [
        {"bundle": bundle, "file": file, "bundle_version": bundle_version, "message": message, "at": now}
        for file, message in sorted(errors.items())
    ]
    with database.read() as connection:
        before = {row.file: row.message for row in load_errors(connection)}
    if before != dict(errors):
        database.run_transaction(lambda connection: _replace_errors(connection, rows))


def load_errors(connection: Connection) -> list[LoadError]:
    """The files that could not be loaded when a scheduler last tried, by name, and why."""
    return [value(LoadError, row) for row in connection.execute(select(_errors).order_by(_errors.c.file))]


def _current(connection: Connection) -> dict[str, tuple[str, str, str, str]]:
    query = (
        select(_dags.c.dag_id, _versions.c.hash, _dags.c.file, _dags.c.bundle_version, _dags.c.project)
        .join_from(_dags, _versions, _dags.c.version == _versions.c.id)
        .where(_dags.c.space == BUNDLE, _dags.c.deleted_at.is_(None))
    )
    return {row[0]: tuple(row[1:]) for row in connection.execute(query)}


def _store(connection: Connection, entry: Loaded, bundle_version: str, project: str, now: datetime) -> None:
    dag = dags.ensure_dag(connection, space=BUNDLE, dag_id=entry.dag_id, file=entry.file, now=now)
    dags.lock_dag(connection, dag.id)
    dags.ensure_version(
        connection, dag, hash=entry.hash, document=entry.document, stages=entry.stages, now=now
    )
    limits = {
        name: entry.document.get(name) or Dag.model_fields[name].default
        for name in ("max_active_runs", "max_active_tasks")
    }
    connection.execute(
        update(_dags)
        .where(_dags.c.id == dag.id)
        .values(bundle_version=bundle_version, project=project, file=entry.file, **limits)
    )


def _replace_errors(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(delete(_errors))
    if rows:
        connection.execute(insert(_errors), rows)
