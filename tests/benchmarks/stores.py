"""Real stores for benchmarks, with what makes a commit durable switched on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.dag.stages import StageGraph
from orchestrator.runs.states import RunState
from orchestrator.store import dags, lifecycle, processes, workers
from orchestrator.store.database import Database, open_database
from tests.support import postgres
from tests.support.store import document

DURABLE = {"fsync": "on", "full_page_writes": "on", "deadlock_timeout": "1s"}


@contextlib.contextmanager
def sqlite_url(folder: Path) -> Iterator[str]:
    """A store in a file below a folder."""
    yield f"sqlite:///{folder / 'home' / 'fustgo.db'}"


@contextlib.contextmanager
def postgresql_url(_folder: Path) -> Iterator[str]:
    """A store on a server of our own that loses nothing in a power cut."""
    before = dict(postgres.SETTINGS)
    postgres.SETTINGS.update(DURABLE)
    try:
        with postgres.cluster() as made:
            yield made.url(made.create())
    finally:
        postgres.SETTINGS.clear()
        postgres.SETTINGS.update(before)


STORES = {"SQLite": sqlite_url, "PostgreSQL": postgresql_url}


def opened(url: str) -> Database:
    """The store at a URL."""
    return open_database(url, clock=SystemClock())


def register(database: Database) -> int:
    """This process as a worker; its row."""
    pid, started = processes.this_process()
    with database.transaction() as connection:
        return workers.register_worker(
            connection,
            host=processes.host(),
            pid=pid,
            start_time=started,
            kind="worker",
            now=database.clock.now(),
        )


def start_runs(
    database: Database, stages: StageGraph, count: int, *, name: str, cap: int = 1_000_000
) -> list[int]:
    """Start runs of a DAG of this graph, of which `cap` stages may run at once; their numbers."""
    now = datetime.now(UTC)
    numbers = []
    with database.transaction() as connection:
        dag = dags.ensure_dag(connection, space="bundle", dag_id=name, now=now)
        version = dags.ensure_version(
            connection,
            dag,
            hash=name,
            document={**document(stages), "max_active_tasks": cap},
            stages=stages.to_json(),
            now=now,
        )
        dag = dags.get_dag(connection, dag.id)
        for _ in range(count):
            run = lifecycle.create_run(
                connection,
                dag=dag,
                version=version.id,
                run_type="manual",
                logical_date=now,
                interval=None,
                params={},
                held_by=None,
                state=RunState.RUNNING,
                project="",
                file=None,
                now=now,
            )
            numbers.append(run.number)
    return numbers


def commit_time(database: Database) -> str:
    """What the store says a durable write costs here."""
    facts = dict(database.health().facts)
    return facts.get("fsync") or facts["commit"]
