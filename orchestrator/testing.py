"""`dag.test()`: one run of a DAG in this thread, on a store in memory, by the code of every other run.

What user code raised is raised again with its own traceback, so that a debugger and pytest show its lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from orchestrator.client import Client, Definition
from orchestrator.clock import SystemClock
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.manual import manual_interval
from orchestrator.dag.params import resolve_params
from orchestrator.dag.reading import read
from orchestrator.dag.trial import NodeResult, RunResult
from orchestrator.dag.validation import check
from orchestrator.engine.boundary import authors_frame
from orchestrator.engine.discovery import discovered
from orchestrator.engine.signals import Signals
from orchestrator.errors import FustgoError, UsageError
from orchestrator.runs.figures import node_figures
from orchestrator.runs.report import Report
from orchestrator.runs.times import given_date
from orchestrator.sdk.connection import CONNECTION_PREFIX, VARIABLE_PREFIX
from orchestrator.sdk.decorated import functions_of
from orchestrator.sdk.registry import Registry
from orchestrator.store.memory import MemoryDatabase
from orchestrator.store.queue import Claimed
from orchestrator.store.variables import set_variable
from orchestrator.worker.inline import InlineWorker, Watcher

if TYPE_CHECKING:
    from orchestrator.dag.builder import DAG
    from orchestrator.engine.progress import StageProgress
    from orchestrator.store.tables import Run
    from orchestrator.store.views import RunView


def run(
    dag: DAG,
    *,
    params: Mapping[str, Any] | None,
    logical_date: datetime | str | None,
    connections: Mapping[str, str | Mapping[str, Any]] | None,
    variables: Mapping[str, Any] | None,
    project: Path | str | None,
    raises: bool,
) -> RunResult:
    """See `DAG.test`."""
    clock = LeapingClock()
    registry = Registry().of_tree(Path(dag.draft.marks.file).absolute().parent)
    definition = _definition(dag, registry, _folder(project))
    environ = _environ(connections or {}, variables or {})
    trial = Trial()
    with TemporaryDirectory(prefix="fustgo-test-") as folder:
        database = MemoryDatabase(clock)
        try:
            _set_variables(database, variables or {})
            client = Client(database, clock, Path(folder))
            worker = client.register_command()
            created = _start(client, definition, worker, params or {}, logical_date)
            hears = trial.errors.append
            executor = TrialWorker(
                database, registry, clock, Path(folder), worker, Signals(), environ, hears, trial
            )
            executor.run_to_end(created.number, _Silent(), definition.tree)
            view = client.show_run(str(created.number))
            result = _result(view, client.rejects_folder(view), trial)
        finally:
            database.close()
    if raises and not result.succeeded and result.errors:
        raise result.errors[-1]
    return result


class LeapingClock(SystemClock):
    """The machine's clock, which is put forward where a wait is spared."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def leap(self, due: datetime) -> None:
        """Make it that time, unless it is later already."""
        self._ahead += max(timedelta(), due - self.now())


@dataclass
class Trial:
    """What is kept of a test beside its run: errors, and runs that were not triggered."""

    errors: list[FustgoError] = field(default_factory=list)
    triggered: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TrialWorker(InlineWorker):
    """The inline executor, which waits for nothing that is due later: the clock leaps. It triggers no other
    DAG, for it knows none.
    """

    trial: Trial = field(default_factory=Trial)

    def _finish(self, claimed: Claimed, report: Report, watcher: Watcher) -> Report:
        triggers = tuple(effect for effect in report.effects if effect["effect"] == "trigger_run")
        self.trial.triggered += triggers
        others = tuple(effect for effect in report.effects if effect not in triggers)
        return super()._finish(claimed, replace(report, effects=others), watcher)

    def _wait(self, due: datetime | None) -> None:
        if due is not None:
            assert isinstance(self.clock, LeapingClock)
            self.clock.leap(due)
        else:
            super()._wait(due)


class _Silent:
    """A watcher that says nothing: the caller has the result."""

    def note(self, text: str) -> None:
        """Nobody reads it."""

    def show(self, stage: str, progress: StageProgress) -> None:
        """Nobody looks."""


def _definition(dag: DAG, registry: Registry, project: Path) -> Definition:
    """The DAG checked as `fustgo run` checks it; raises Problems."""
    marks = dag.draft.marks
    file = Path(marks.file).absolute()
    marks.tree = file.parent
    with functions_of(marks.tree):
        value = read(dag.draft, registry)
    known = discovered(value, registry, project=project, tree=marks.tree)
    found = check(value, marks, registry, known).or_raise()
    stages = compile_stages(value, registry, found.operators)
    return Definition(value, stages, file, marks.tree, project)


def _start(
    client: Client,
    definition: Definition,
    worker: int,
    params: Mapping[str, Any],
    logical_date: datetime | str | None,
) -> Run:
    dag = definition.dag
    date = given_date(logical_date, dag.timezone) or datetime.now(UTC)
    return client.start_held(
        definition,
        worker=worker,
        logical_date=date,
        interval=manual_interval(dag, date),
        params=resolve_params(dag, params),
    )


def _folder(project: Path | str | None) -> Path:
    folder = Path(project or ".").resolve()
    if not folder.is_dir():
        raise UsageError(f"project: {project} is no folder", hint="name the folder of the data paths")
    return folder


def _environ(
    connections: Mapping[str, str | Mapping[str, Any]], variables: Mapping[str, Any]
) -> dict[str, str]:
    """The environment with these connections, and without its own values of these variables."""
    hidden = {VARIABLE_PREFIX + name.upper() for name in variables}
    environ = {name: text for name, text in os.environ.items() if name not in hidden}
    for name, value in connections.items():
        text = value if isinstance(value, str) else json.dumps(dict(value))
        environ[CONNECTION_PREFIX + name.upper()] = text
    return environ


def _set_variables(database: MemoryDatabase, variables: Mapping[str, Any]) -> None:
    with database.transaction() as connection:
        for name, value in variables.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                raise UsageError(f"variable {name!r} is no JSON value: {value!r}") from None
            set_variable(connection, name, value, database.clock.now())


def _result(view: RunView, rejects: Path | None, trial: Trial) -> RunResult:
    return RunResult(
        state=str(view.run.state),
        run_id=view.run.run_id,
        stages={stage.stage_run.stage: str(stage.stage_run.state) for stage in view.stages},
        nodes=dict(_nodes(view)),
        rejects=tuple(_lines(rejects)),
        triggered=tuple(trial.triggered),
        errors=tuple(map(raised, trial.errors)),
    )


def _nodes(view: RunView) -> Iterator[tuple[str, NodeResult]]:
    for stage in view.stages:
        figures, results = node_figures(stage.counters), stage.stage_run.result or {}
        for node in stage.nodes:
            moved, left = figures.get(node), results.get(node)
            told = left.get("result") if moved is not None and isinstance(left, dict) else left
            yield (
                node,
                NodeResult(
                    state=str(stage.stage_run.state),
                    rows_in=moved.rows_in if moved else 0,
                    rows_out=moved.rows_out if moved else 0,
                    rejects=moved.rejects if moved else 0,
                    dropped=moved.dropped if moved else 0,
                    result=told,
                    moves=moved is not None,
                ),
            )


def _lines(folder: Path | None) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")) if folder is not None else ():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def raised(error: FustgoError) -> BaseException:
    """What an author's code raised, told where; the error itself where that is not the author's doing."""
    cause: BaseException | None = error
    while cause is not None:
        if not isinstance(cause, FustgoError) and authors_frame(cause) is not None:
            cause.add_note(error.message)
            return cause
        cause = cause.__cause__
    return error
