"""A home with a store and real workers on it: processes that can be killed, stopped and drained."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from orchestrator.clock import SystemClock
from orchestrator.dag.discovery import load_one
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.validation import check
from orchestrator.engine.discovery import discovered
from orchestrator.runs.states import RUN_ENDS, RunState
from orchestrator.sdk.registry import Registry
from orchestrator.store import dags, hints, lifecycle, logs, runs, stage_runs, workers
from orchestrator.store.database import Database, open_database
from orchestrator.store.tables import Attempt, Run, StageRun, Worker, table_of
from orchestrator.store.tables.entity import value

ROOT = Path(__file__).parents[2]  # runners import the functions of tests from there
PATIENCE = 30.0  # seconds, on a busy machine
_MAIN = """
import sys
from orchestrator import telemetry
from orchestrator.clock import SystemClock
from orchestrator.settings import load
from orchestrator.store.database import open_database
from orchestrator.worker.service import serve
settings = load()
lease = settings.worker.lease.total_seconds()
database = open_database(settings.database.url, clock=SystemClock(), lease=lease)
with telemetry.start(settings, "worker"):
    code = serve(database, settings, lambda line: print(line, flush=True))
sys.exit(code)
"""


@dataclass
class WorkerProcess:
    """A worker under way."""

    process: subprocess.Popen[bytes]
    said: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code; one that hangs fails the test."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the worker hung; it said:\n{self.said.read_text()}") from None

    def end(self) -> None:
        """Drain it, once it hears signals, and see that all went well."""
        while "slots" not in self.said.read_text() and self.process.poll() is None:
            threading.Event().wait(0.02)
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"exit {code}:\n{self.said.read_text()}"


@dataclass
class Site:
    """A project folder, a home and its open store."""

    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home, self.project = self.folder / "home", self.folder / "project"
        self.artifacts = self.home / "artifacts"
        (self.project / "out").mkdir(parents=True)
        self.url = self.environ.get("FUSTGO_DATABASE__URL", f"sqlite:///{self.home / 'fustgo.db'}")
        self.database: Database = open_database(self.url, clock=SystemClock())
        self.registry = Registry()
        self._workers: list[WorkerProcess] = []

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        self.database.close()

    def worker(self, *, crash: str = "", slots: int = 2, **settings: object) -> WorkerProcess:
        """Start a worker; `crash` arms a crash point, for the first process that passes it."""
        said = self.folder / f"worker-{len(self._workers)}"
        variables = {f"FUSTGO_WORKER__{name.upper()}": str(text) for name, text in settings.items()}
        armed = {"FUSTGO_CRASH": crash, "FUSTGO_CRASH_ONCE": str(said.with_suffix(".crash"))} if crash else {}
        environ = {**os.environ, **self.environ, **variables, **armed}
        environ |= {
            "FUSTGO_HOME": str(self.home),
            "FUSTGO_WORKER__SLOTS": str(slots),
            "PYTHONPATH": str(ROOT),
        }
        with open(said, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN], env=environ, stdout=output, stderr=output
            )
        self._workers.append(WorkerProcess(process, said))
        return self._workers[-1]

    def run(self, document: Mapping[str, Any], **params: Any) -> int:
        """Create a run of the services, running from the start; its number."""
        return self.start(self.dag(document), **params)

    def dag(self, document: Mapping[str, Any]) -> tuple[int, int]:
        """Store a DAG; its row and that of its version."""
        file = self.project / f"{document['id']}.json"
        file.write_text(json.dumps(document))
        loaded = load_one(file, registry=self.registry, dag_id=None)
        known = discovered(loaded.dag, self.registry, project=self.project, tree=loaded.tree)
        check(loaded.dag, loaded.marks, self.registry, known).or_raise()
        now = self.database.clock.now()
        with self.database.transaction() as connection:
            dag = dags.ensure_dag(
                connection, space=str(self.project), dag_id=loaded.dag.id, file=str(file), now=now
            )
            version = dags.ensure_version(
                connection,
                dag,
                hash=loaded.dag.hash(),
                document=loaded.dag.to_document(),
                stages=compile_stages(loaded.dag, self.registry).to_json(),
                now=now,
            )
        return dag.id, version.id

    def start(self, stored: tuple[int, int], **params: Any) -> int:
        now = self.database.clock.now()
        with self.database.transaction() as connection:
            run = lifecycle.create_run(
                connection,
                dag=dags.get_dag(connection, stored[0]),
                version=stored[1],
                run_type="manual",
                logical_date=now,
                interval=None,
                params=params,
                held_by=None,
                state=RunState.RUNNING,
                project=str(self.project),
                file=None,
                now=now,
            )
        return run.number

    def until(self, true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait for something to become true of the store or the disk."""
        listener = hints.listen(self.database)
        end = monotonic() + seconds
        try:
            while not true():
                broken = [worker.process.returncode for worker in self._workers if worker.process.poll() == 1]
                if monotonic() > end or broken:
                    raise AssertionError(f"{what} did not come about; workers said:\n{self.said()}")
                select.select([listener], [], [], 0.05)
                listener.take()
        finally:
            listener.close()

    def wait(self, run: int) -> Run:
        """The run, once it has ended."""
        self.until(lambda: self.get(run).state in RUN_ENDS, f"the end of run {run}")
        return self.get(run)

    def get(self, run: int) -> Run:
        with self.database.read() as connection:
            return runs.get(connection, run)

    def stages(self, run: int) -> dict[str, StageRun]:
        with self.database.read() as connection:
            return stage_runs.of_run(connection, run)

    def attempts(self, run: int) -> list[Attempt]:
        """All attempts of a run, oldest first."""
        rows, stages = table_of(Attempt), table_of(StageRun)
        query = rows.select().join(stages, rows.c.stage_run == stages.c.id).where(stages.c.run == run)
        with self.database.read() as connection:
            return [value(Attempt, row) for row in connection.execute(query.order_by(rows.c.id))]

    def outcomes(self, run: int) -> list[str]:
        return [str(attempt.outcome or attempt.state) for attempt in self.attempts(run)]

    def rows(self) -> list[Worker]:
        """The workers' rows."""
        with self.database.read() as connection:
            return [listed.worker for listed in workers.list_workers(connection, ended=True)]

    def log(self, run: int, stage: str, attempt: int) -> list[dict[str, Any]]:
        """All lines of an attempt's log."""
        path = logs.log_path(self.artifacts, self.get(run).uid, stage, attempt)
        return logs.read_log(path, limit=1 << 30).lines

    def said(self) -> str:
        return "\n".join(worker.said.read_text() for worker in self._workers)


@contextmanager
def site(folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Site]:
    made = Site(folder, environ or {})
    try:
        yield made
    finally:
        made.close()
