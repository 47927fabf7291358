"""DAGs in a home's store as the services load them: a frozen tree, a version, the space of bundles."""

from __future__ import annotations

import json
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
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.sdk.registry import Registry
from orchestrator.store import dags, lifecycle, processes, runs, steps, workers
from orchestrator.store.database import Database, open_database
from orchestrator.store.logs import log_path
from orchestrator.store.queue import Claimed
from orchestrator.store.tables import table_of
from orchestrator.store.transitions import move_run


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


class Services:
    """What scheduler and worker do to the runs of a home, done by a test, one thing at a time."""

    def __init__(self, home: Path) -> None:
        self.database, self.artifacts = open_home(home), home / "artifacts"
        pid, started = processes.this_process()
        with self.database.transaction() as connection:
            self.worker = workers.register_worker(
                connection,
                host=processes.host(),
                pid=pid,
                start_time=started,
                kind="worker",
                slots=8,
                now=self.database.clock.now(),
            )

    def promote(self) -> None:
        """Start the runs that are queued."""
        with self.database.transaction() as connection:
            for run in runs.unended(connection):
                if run.state == RunState.QUEUED:
                    now = self.database.clock.now()
                    old, new = RunState.QUEUED, RunState.RUNNING
                    move_run(connection, run.number, old, new, now=now, started_at=now)
                    lifecycle.settle(connection, runs.get(connection, run.number), now)

    def claim(self) -> dict[str, Claimed]:
        """Claim everything that is due, by stage."""
        found = steps.claim(self.database, worker=self.worker, limit=8)
        return {one.stage_run.stage: one for one in found}

    def log(self, claimed: Claimed, *texts: str, node: str = "") -> None:
        """Write lines into the log of an attempt."""
        path = log_path(self.artifacts, claimed.run.uid, claimed.stage_run.stage, claimed.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for text in texts:
                at = "2026-01-31T12:00:01.000+00:00"
                file.write(json.dumps({"at": at, "level": "INFO", "node": node, "text": text}) + "\n")

    def finish(self, claimed: Claimed, outcome: Outcome = Outcome.SUCCESS, message: str = "") -> None:
        """End an attempt."""
        report = Report(outcome, message, retry=False)
        assert steps.finish(self.database, {claimed.attempt: report})[claimed.attempt] is not None

    def work(self, outcomes: dict[str, Outcome] | None = None) -> list[str]:
        """Execute all there is; the stages in the order of their ends."""
        self.promote()
        done: list[str] = []
        while found := self.claim():
            for stage, claimed in found.items():
                self.finish(claimed, (outcomes or {}).get(stage, Outcome.SUCCESS))
                done.append(stage)
        return done

    def close(self) -> None:
        self.database.close()
