"""The verbs of held runs: those that the command `fustgo run` creates and executes itself.

They take the row of the worker that is to execute them: the command's own process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.client.surface import Surface
from orchestrator.dag.model import Dag
from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError, StoreError
from orchestrator.runs.states import RunState
from orchestrator.store import dags, holders, lifecycle, runs, tables, workers
from orchestrator.store.artifacts import bundle_tree
from orchestrator.store.processes import host, this_process
from orchestrator.store.verbs import clearing, held
from orchestrator.store.verbs.triggering import loaded_dag


@dataclass(frozen=True)
class Definition:
    """A DAG as a command found it: the value, its compiled stages, and where it lies.

    `tree` holds its code; data paths resolve against `project`. `loaded`: the rows of a DAG that the services
    have loaded; its `file` then is what a person types for it, its id.
    """

    dag: Dag
    stages: StageGraph
    file: Path
    tree: Path
    project: Path
    loaded: tuple[tables.Dag, tables.DagVersion] | None = None


@dataclass(frozen=True)
class HeldVerbs(Surface):
    """Creating a run in this process, and going on with one that another process left."""

    def loaded_definition(self, dag_id: str, project: Path | None = None) -> Definition:
        """A loaded DAG in its present version; its data lies in its bundle's `project` unless one is given.

        Raises UsageError where none has this id, RefusedError where it was removed, StoreError where its code
        is not on this host.
        """
        with self.database.read() as connection:
            dag, version = loaded_dag(connection, dag_id)
        project = project or Path(dag.project)
        return Definition(
            dag=Dag.from_document(version.document),
            stages=StageGraph.from_json(version.stages),
            file=Path(dag.dag_id),
            tree=self._tree(dag.bundle_version, f"DAG {dag_id!r}") or project,
            project=project,
            loaded=(dag, version),
        )

    def tree_of(self, definition: Definition, run: tables.Run) -> Path:
        """Where the code of a run lies: of a loaded DAG the frozen copy that the run began with.

        Raises StoreError where that copy is gone.
        """
        if definition.loaded is None:
            return definition.tree
        return self._tree(run.bundle_version, f"run {run.number}") or definition.project

    def _tree(self, bundle_version: str | None, whose: str) -> Path | None:
        if bundle_version is None:
            return None
        tree = bundle_tree(self.artifacts, bundle_version)
        if not tree.is_dir():
            raise StoreError(
                f"the code of {whose} is not on this host: there is no {tree}",
                hint="run it where the services are, or its file: fustgo run FILE",
            )
        return tree

    def register_command(self) -> int:
        """Enter this process as a worker that executes what it holds; its row's id."""
        pid, started = this_process()

        def enter(connection: Any) -> int:
            # Slots of commands that were killed are free from here on.
            holders.release_dead_holders(connection, self.clock.now())
            return workers.register_worker(
                connection, host=host(), pid=pid, start_time=started, kind="command", now=self.clock.now()
            )

        return self.database.run_transaction(enter)

    def leave(self, worker: int) -> None:
        """This process executes nothing more."""
        self.database.run_transaction(
            lambda connection: workers.end_worker(connection, worker, self.clock.now())
        )

    def start_held(
        self,
        definition: Definition,
        *,
        worker: int,
        logical_date: datetime | None,
        interval: tuple[datetime, datetime] | None,
        params: Mapping[str, Any],
    ) -> tables.Run:
        """Create a run of a file or a loaded DAG, held by a command: it is running from the start."""
        dag, version = self._ensure(definition)
        now = self.clock.now()
        return self.database.run_transaction(
            lambda connection: lifecycle.create_run(
                connection,
                dag=dag,
                version=version.id,
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
        )

    def resume_held(
        self, definition: Definition, text: str | None, *, worker: int, params: Mapping[str, Any] | None
    ) -> tables.Run:
        """Go on with the newest run of this DAG that did not end well, or with the one that is named."""
        dag, version = self._ensure(definition)

        def resume(connection: Any) -> tables.Run:
            run = (
                _mine(connection, dag, definition, text)
                if text
                else runs.newest_held(connection, dag.id, str(definition.file))
            )
            if run is None:
                raise RefusedError(
                    f"{dag.dag_id} has no run to go on with: all have succeeded or were cancelled",
                    hint="start a new one without --resume, or one over with --clear RUN",
                )
            given = None if params is None else {**run.params, **params}
            return held.resume_held(
                connection,
                run,
                worker=worker,
                actor=self.actor,
                params=given,
                version=_present(definition, version),
                now=self.clock.now(),
            )

        return self.database.run_transaction(resume)

    def clear_held(
        self, definition: Definition, text: str, *, worker: int, allow_duplicates: bool
    ) -> tables.Run:
        """Start a run over; refused where rows would come twice, unless that is allowed."""
        dag, version = self._ensure(definition)

        def clear(connection: Any) -> tables.Run:
            run = _mine(connection, dag, definition, text)
            graph = dags.graph_of(connection, run.version)
            clearing.refuse_published(connection, run, graph.exclusive)
            again = clearing.rows_to_repeat(connection, run, graph.repeating)
            if not allow_duplicates:
                clearing.refuse_duplicates(run, again)
            return held.clear_held(
                connection,
                run,
                worker=worker,
                actor=self.actor,
                version=_present(definition, version),
                now=self.clock.now(),
            )

        return self.database.run_transaction(clear)

    def abandon_held(self, definition: Definition, text: str, *, worker: int) -> tables.Run:
        """Give up what is decided but cannot be applied."""
        dag, _ = self._ensure(definition)

        def abandon(connection: Any) -> tables.Run:
            run = _mine(connection, dag, definition, text)
            return held.abandon_held(connection, run, worker=worker, actor=self.actor, now=self.clock.now())

        return self.database.run_transaction(abandon)

    def _ensure(self, definition: Definition) -> tuple[tables.Dag, tables.DagVersion]:
        """The rows of a DAG, in a transaction of their own: who locks a run holds no DAG (rule 8.12)."""
        if definition.loaded is not None:
            return definition.loaded
        now = self.clock.now()

        def ensure(connection: Any) -> tuple[tables.Dag, tables.DagVersion]:
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

        return self.database.run_transaction(ensure)


def _present(definition: Definition, version: tables.DagVersion) -> tables.DagVersion | None:
    """The version that an old run of a file moves to; one of a loaded DAG keeps its own, with its code."""
    return version if definition.loaded is None else None


def _mine(connection: Any, dag: tables.Dag, definition: Definition, text: str) -> tables.Run:
    """The run that is named, which must have been started from this very file."""
    run = runs.find_run(connection, text)
    if run.dag != dag.id or run.file != str(definition.file):
        owner = dags.shown_as(dags.get_dag(connection, run.dag))
        raise RefusedError(
            f"run {run.number} is one of {owner}, started from {run.file}, not from {definition.file}",
            hint=f"name the file that it was started from: fustgo run {run.file}",
        )
    return run
