"""DAGs in a home's store as the services load them: a frozen tree, a version, the space of bundles."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from sqlalchemy import update

from orchestrator.clock import SystemClock
from orchestrator.dag.discovery import load_file
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.model import Dag
from orchestrator.dag.stages import StageGraph
from orchestrator.dag.validation import check
from orchestrator.sdk.registry import Registry
from orchestrator.store import dags
from orchestrator.store.database import Database, open_database
from orchestrator.store.tables import table_of


def open_home(home: Path) -> Database:
    """The store of a home, made where it is absent."""
    return open_database(f"sqlite:///{home / 'fustgo.db'}", clock=SystemClock(), create=True)


def load(home: Path, folder: Path, name: str) -> None:
    """Load the DAGs of a file of a project folder into the home's store."""
    bundle_version = sha256((folder / name).read_bytes()).hexdigest()
    tree = home / "artifacts" / "bundles" / bundle_version
    tree.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / name, tree / name)
    registry = Registry()
    database = open_home(home)
    try:
        for found in load_file(tree / name, registry=registry, tree=tree):
            operators = check(found.dag, found.marks, registry).or_raise().operators
            stages = compile_stages(found.dag, registry, operators)
            _store(database, found.dag, stages, name, bundle_version)
    finally:
        database.close()


def _store(database: Database, dag: Dag, stages: StageGraph, name: str, bundle_version: str) -> None:
    now = database.clock.now()
    with database.transaction() as connection:
        row = dags.ensure_dag(connection, space=dags.BUNDLE, dag_id=dag.id, file=name, now=now)
        dags.ensure_version(
            connection,
            row,
            hash=dag.hash(),
            document=dag.to_document(),
            stages=stages.to_json(),
            now=now,
        )
        table = table_of(type(row))
        connection.execute(update(table).where(table.c.id == row.id).values(bundle_version=bundle_version))
