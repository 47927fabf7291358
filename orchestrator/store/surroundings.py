"""What surrounds a stage in its run, read when it is looked at: states, ids, what each waits for, choices.

An end in a run of ten thousand stages reads the few rows that it can matter for, as in a small run.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, literal_column, select, text

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.branches import Choices
from orchestrator.runs.states import StageState
from orchestrator.store.sets import within
from orchestrator.store.stage_runs import Outline
from orchestrator.store.tables import Run, StageRun, table_of

runs, stage_runs = table_of(Run), table_of(StageRun)
_COLUMNS = [stage_runs.c[name] for name in Outline._fields]
_OPEN: ColumnElement[bool] = literal_column(
    "stage_runs.state IN ('none', 'queued', 'running')"
)  # as its index
_FIRST_READ = 16  # stages at a time; four times as many with each time that something was not there


class Surroundings(Mapping[str, StageState]):
    """The states of a run's stages by id, as they are in the database but for what was `put` since.

    A stage that the run does not have, or that a version removed, is not in the mapping. What is looked at
    and was not read yet is read with what comes after it, more with each time.
    """

    def __init__(self, connection: Connection, run: int, graph: StageGraph) -> None:
        self.run, self.graph = run, graph
        self.connection = connection
        self._rows: dict[str, Outline | None] = {}
        self._put: dict[str, StageState] = {}
        self._at_a_time = _FIRST_READ

    def __getitem__(self, stage: str) -> StageState:
        if stage in self._put:
            return self._put[stage]
        row = self.row(stage)
        if row is None:
            raise KeyError(stage)
        return row.state

    def __iter__(self) -> Iterator[str]:
        return (stage for stage in self.graph.stages if stage in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def put(self, stage: str, state: StageState) -> None:
        """The stage has become so in this transaction, which may not be written yet."""
        self._put[stage] = state

    def row(self, stage: str) -> Outline | None:
        """The stage's row as it was read; None where the run has none."""
        if stage not in self._rows:
            read(self.connection, {self: self._around(stage)})
        return self._rows[stage]

    def known(self) -> Iterator[StageState]:
        """The states of what was read so far."""
        return (self._put.get(stage, row.state) for stage, row in self._rows.items() if row is not None)

    def unread(self, stages: Iterable[str]) -> list[str]:
        """Those of the stages whose row was not read yet."""
        return [stage for stage in stages if stage not in self._rows]

    def unknown(self, stages: Iterable[str]) -> list[str]:
        """Those of the stages whose state is not known yet."""
        return [stage for stage in self.unread(stages) if stage not in self._put]

    def keep(self, stages: Iterable[str], rows: Mapping[str, Outline]) -> None:
        """Keep what was read of these stages."""
        self._rows.update((stage, rows.get(stage)) for stage in stages)

    def read_open(self) -> dict[str, StageState]:
        """The open stages and no others, by the index that holds nothing else."""
        query = {"run": self.run}
        rows = {row.stage: Outline(*row) for row in self.connection.execute(_OPEN_STAGES, query)}
        self.keep([stage for stage in rows if stage not in self._rows], rows)
        return {stage: self._put.get(stage, row.state) for stage, row in rows.items()}

    def _around(self, stage: str) -> list[str]:
        """A stage, what follows it in the order of a breadth-first search, and what each is judged by."""
        wanted: dict[str, None] = {}
        queue = deque([stage])
        while queue and len(wanted) < self._at_a_time:
            found = queue.popleft()
            wanted[found] = None
            if found in self.graph.stages:
                wanted.update(dict.fromkeys(judged_by(self.graph, found)))
                queue.extend(down for down in self.graph[found].down if down not in wanted)
        self._at_a_time *= 4
        return self.unread(wanted)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def judged_by(graph: StageGraph, stage: str) -> Iterable[str]:
    """The stages whose states decide whether a stage runs."""
    return (*graph[stage].up, *graph.branches.forbidden_by(stage))


def read(connection: Connection, wanted: Mapping[Surroundings, Collection[str]]) -> None:
    """Read stages of several runs by one statement."""
    asked = [(around.run, stage) for around, stages in wanted.items() for stage in stages]
    if not asked:
        return
    found: dict[int, dict[str, Outline]] = {}
    for row in connection.execute(_READ[connection.dialect.name], _given(connection, asked)):
        found.setdefault(row.run, {})[row.stage] = Outline(*row[1:])
    for around, stages in wanted.items():
        around.keep(stages, found.get(around.run, {}))


def still_open(connection: Connection, runs: Collection[int]) -> set[int]:
    """Those of the runs in which a stage is open."""
    return {*connection.execute(_STILL_OPEN, {"runs": runs}).scalars()} if runs else set()


class StoredChoices(Mapping[str, Any]):
    """What the branching stages of a run have stored: all of them are read when one is looked at."""

    def __init__(self, connection: Connection, run: int, graph: StageGraph) -> None:
        self._connection, self._run, self._graph = connection, run, graph
        self._read: dict[str, Any] | None = None
        self._put: dict[str, Any] = {}

    def put(self, stage: str, result: Any) -> None:
        """The stage has ended in this transaction with this result, by node."""
        self._put[stage] = choice_of(self._graph, stage, result)

    def __getitem__(self, stage: str) -> Any:
        if stage in self._put:
            return self._put[stage]
        if self._read is None:
            self._read = dict(stored_choices(self._connection, self._run, self._graph))
        return self._read[stage]

    def __iter__(self) -> Iterator[str]:
        return (stage.id for stage in self._graph if stage.branch is not None and stage.id in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def stored_choices(connection: Connection, run: int, graph: StageGraph) -> Choices:
    """What the branching stages of a run that succeeded have chosen."""
    branching = [stage.id for stage in graph if stage.branch is not None]
    if not branching:
        return {}
    rows = connection.execute(_RESULTS, {"run": run, "stages": branching})
    return {row.stage: choice_of(graph, row.stage, row.result) for row in rows}


def choice_of(graph: StageGraph, stage: str, result: Any) -> Any:
    """What a branching stage chose: the result of its node; None where nothing is stored."""
    kept = result or {}
    return next((kept[node] for node in graph[stage].nodes if node in kept), None)


_ASKED = {
    "sqlite": "json_each(:asked) AS asked JOIN stage_runs "
    "ON stage_runs.run = asked.value ->> 0 AND stage_runs.stage = asked.value ->> 1",
    "postgresql": "unnest(CAST(:runs AS BIGINT[]), CAST(:stages AS TEXT[])) AS asked(run, stage) "
    "JOIN stage_runs ON stage_runs.run = asked.run AND stage_runs.stage = asked.stage",
}
_SELECTED = ", ".join(f"stage_runs.{name}" for name in ("run", *Outline._fields))
_READ = {
    dialect: text(
        f"SELECT {_SELECTED} FROM {asked} WHERE stage_runs.state != 'removed'"  # noqa: S608  # no values
    ).columns(stage_runs.c.run, *_COLUMNS)
    for dialect, asked in _ASKED.items()
}
_STILL_OPEN = select(runs.c.number).where(
    within(runs.c.number, "runs"),
    select(literal_column("1")).where(stage_runs.c.run == runs.c.number, _OPEN).exists(),
)
_OPEN_STAGES = select(*_COLUMNS).where(stage_runs.c.run == bindparam("run"), _OPEN)
_RESULTS = select(stage_runs.c.stage, stage_runs.c.result).where(
    stage_runs.c.run == bindparam("run"),
    within(stage_runs.c.stage, "stages"),
    stage_runs.c.state == StageState.SUCCESS,
)


def _given(connection: Connection, asked: list[tuple[int, str]]) -> dict[str, Any]:
    """Pairs of run and stage as parameters."""
    if connection.dialect.name == "sqlite":
        return {"asked": json.dumps(asked)}
    return {"runs": [run for run, _ in asked], "stages": [stage for _, stage in asked]}
