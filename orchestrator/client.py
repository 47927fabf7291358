"""The one surface of verbs: what people can do to DAGs and runs. Command line, pages and API call this.

Each verb is one transaction of `store`. The verbs of held runs (`fustgo run`) take the row of the worker
that is to execute them: the command's own process.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.dag.model import Dag
from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError
from orchestrator.runs.states import RunState
from orchestrator.sdk.output import FileOutput, Output
from orchestrator.sdk.properties import Kind, Mode
from orchestrator.sdk.registry import Registry
from orchestrator.store import dags, holders, lifecycle, runs, tables, verbs, views, workers
from orchestrator.store.artifacts import run_folder
from orchestrator.store.database import Database
from orchestrator.store.processes import host, this_process


@dataclass(frozen=True)
class Definition:
    """A DAG as a command found it: the value, its compiled stages, and where it lies.

    `tree` holds its code; data paths resolve against `project`.
    """

    dag: Dag
    stages: StageGraph
    file: Path
    tree: Path
    project: Path


@dataclass(frozen=True)
class Client:
    """Verbs on a store. `registry` tells what outputs do when their rows come again, `artifacts` is where
    the files of runs lie.
    """

    database: Database
    registry: Registry
    clock: Clock
    artifacts: Path

    def register_command(self) -> int:
        """Enter this process as a worker that executes what it holds; its row's id."""
        pid, started = this_process()
        with self.database.transaction() as connection:
            # Slots of commands that were killed are free from here on.
            holders.release_dead_holders(connection, self.clock.now())
            return workers.register_worker(
                connection, host=host(), pid=pid, start_time=started, kind="command", now=self.clock.now()
            )

    def leave(self, worker: int) -> None:
        """This process executes nothing more."""
        with self.database.transaction() as connection:
            workers.end_worker(connection, worker, self.clock.now())

    def start(
        self,
        definition: Definition,
        *,
        worker: int,
        logical_date: datetime | None,
        interval: tuple[datetime, datetime] | None,
        params: Mapping[str, Any],
    ) -> tables.Run:
        """Create a run of a file, held by a command: it is running from the start."""
        now = self.clock.now()
        with self.database.transaction() as connection:
            dag, version = self._ensure(connection, definition)
            return lifecycle.create_run(
                connection,
                dag=dag,
                version=version,
                run_type="manual",
                logical_date=logical_date or now,
                interval=interval,
                params=params,
                held_by=worker,
                state=RunState.RUNNING,
                project=str(definition.project),
                file=str(definition.file),
                now=now,
            )

    def resume(
        self, definition: Definition, text: str | None, *, worker: int, params: Mapping[str, Any] | None
    ) -> tables.Run:
        """Go on with the newest run of this DAG that did not end well, or with the one that is named."""
        with self.database.transaction() as connection:
            dag, version = self._ensure(connection, definition)
            run = (
                self._mine(connection, dag, definition, text)
                if text
                else runs.newest_held(connection, dag.id, str(definition.file))
            )
            if run is None:
                raise RefusedError(
                    f"{dag.dag_id} has no run to go on with: all have succeeded or were cancelled",
                    hint="start a new one without --resume, or one over with --clear RUN",
                )
            given = None if params is None else {**run.params, **params}
            return verbs.resume_run(
                connection, run, worker=worker, params=given, version=version, now=self.clock.now()
            )

    def clear(self, definition: Definition, text: str, *, worker: int, allow_duplicates: bool) -> tables.Run:
        """Start a run over; refused where rows would come twice, unless that is allowed."""
        with self.database.transaction() as connection:
            dag, version = self._ensure(connection, definition)
            run = self._mine(connection, dag, definition, text)
            outputs = self._outputs(Dag.from_document(dags.get_version(connection, run.version).document))
            self._refuse_published(connection, run, outputs)
            repeating = {node for node, output in outputs.items() if output.repeats}
            again = verbs.rows_to_repeat(connection, run, repeating)
            if again and not allow_duplicates:
                counted = ", ".join(f"{rows:,} rows in {node}" for node, rows in again.items())
                raise RefusedError(
                    f"clearing run {run.number} would write rows a second time: {counted}",
                    hint="they were appended and stay; say --allow-duplicates if that is meant",
                )
            return verbs.clear_run(connection, run, worker=worker, version=version, now=self.clock.now())

    def abandon(self, definition: Definition, text: str, *, worker: int) -> tables.Run:
        """Give up what is decided but cannot be applied."""
        with self.database.transaction() as connection:
            dag, _ = self._ensure(connection, definition)
            run = self._mine(connection, dag, definition, text)
            return verbs.abandon_run(
                connection, run, worker=worker, actor=getpass.getuser(), now=self.clock.now()
            )

    def list_runs(self, *, dag: str | None = None, limit: int = 20) -> list[tuple[tables.Run, str]]:
        """The newest runs, each with its DAG as people name it."""
        self._release()
        with self.database.read() as connection:
            found = runs.list_runs(connection, dag=dag, limit=limit)
        return [(run, dags.shown_as(owner)) for run, owner in found]

    def show_run(self, text: str) -> views.RunView:
        """A run with its stages, attempts and figures."""
        self._release()
        with self.database.read() as connection:
            return views.show_run(connection, runs.find_run(connection, text))

    def rejects_folder(self, view: views.RunView) -> Path | None:
        """Where the rejects of a run lie that nobody routed, as JSON lines; None where there are none."""
        folder = run_folder(self.artifacts, view.run.uid) / "rejects"
        return folder if any(folder.glob("*.jsonl")) else None

    def _release(self) -> None:
        """Say of runs whose command was killed that they failed, before somebody reads them as running."""
        with self.database.read() as connection:
            if not holders.are_dead(connection):
                return
        with self.database.transaction() as connection:
            holders.release_dead_holders(connection, self.clock.now())

    def _ensure(self, connection: Any, definition: Definition) -> tuple[tables.Dag, tables.DagVersion]:
        now = self.clock.now()
        dag = dags.ensure_dag(
            connection,
            space=str(definition.project),
            dag_id=definition.dag.id,
            file=str(definition.file),
            now=now,
        )
        version = dags.ensure_version(
            connection,
            dag,
            hash=definition.dag.hash(),
            document=definition.dag.to_document(),
            stages=definition.stages.to_json(),
            now=now,
        )
        return dag, version

    def _mine(self, connection: Any, dag: tables.Dag, definition: Definition, text: str) -> tables.Run:
        """The run that is named, which must have been started from this very file."""
        run = runs.find_run(connection, text)
        if run.dag != dag.id or run.file != str(definition.file):
            owner = dags.shown_as(dags.get_dag(connection, run.dag))
            raise RefusedError(
                f"run {run.number} is one of {owner}, started from {run.file}, not from {definition.file}",
                hint=f"name the file that it was started from: fustgo run {run.file}",
            )
        return run

    def _outputs(self, dag: Dag) -> dict[str, Output]:
        found = {}
        for node in dag.nodes:
            if node.kind == Kind.OUTPUT:
                operator = self.registry.find(node.type, Kind.OUTPUT)(**node.config)
                assert isinstance(operator, Output)
                found[node.id] = operator
        return found

    def _refuse_published(self, connection: Any, run: tables.Run, outputs: Mapping[str, Output]) -> None:
        """A file that must not exist was published by this very run: starting over could only fail."""
        exclusive = {
            node
            for node, output in outputs.items()
            if isinstance(output, FileOutput) and output.effective_mode is Mode.ERROR_IF_EXISTS
        }
        published = views.published(connection, run.number, exclusive)
        if published:
            raise RefusedError(
                f"run {run.number} has published {', '.join(sorted(published))} with mode error_if_exists",
                hint="start a new run with another path, or use mode: overwrite",
            )
