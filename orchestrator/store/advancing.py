"""Runs go on as their stages end: many runs at once, by a number of statements that does not grow with them.

What follows is `orchestrator.runs.advance`'s to say. Every function works inside the caller's transaction,
which holds the runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator.dag.stages import StageGraph
from orchestrator.runs import advance as pure
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.ending import End
from orchestrator.runs.states import STAGE_ENDS, RunState, StageState
from orchestrator.store import surroundings
from orchestrator.store.surroundings import StoredChoices, Surroundings
from orchestrator.store.transitions import Moves


class Following:
    """What follows in one run from the ends of its stages: said first, then written by `Advancing`."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        state: RunState,
        cancel_cause: str | None,
        graph: StageGraph,
    ) -> None:
        self.number, self.state, self.cancel_cause, self.graph = number, state, cancel_cause, graph
        self.states = Surroundings(connection, number, graph)
        self.choices = StoredChoices(connection, number, graph)
        self.ended: dict[str, StageState] = {}
        self.candidates: list[str] = []
        self.queues = False

    def end(self, stage: str, state: StageState, result: Any = None) -> None:
        """A stage has ended so. One that the run's version does not have is followed by nothing."""
        if stage in self.graph.stages:
            self.ended[stage] = state
            self.states.put(stage, state)
            if self.graph[stage].branch is not None:
                self.choices.put(stage, result if state == StageState.SUCCESS else None)

    def judge(self, stages: Iterable[str]) -> None:
        """These stages are to be judged."""
        self.candidates.extend(stages)

    def below(self, stages: Collection[str]) -> list[str]:
        """The stages that wait for these."""
        return [*dict.fromkeys(child for stage in stages for child in self.graph[stage].down)]

    def to_judge(self) -> list[str]:
        """What was said to be judged, and what the ends may have decided."""
        counted = self._lowered(self.ended)
        waiting = {
            stage: row.waiting - counted[stage] for stage in counted if (row := self.states.row(stage))
        }
        after = (
            stage
            for ended, state in self.ended.items()
            for stage in pure.candidates_after(self.graph, ended, state, waiting)
        )
        return [*dict.fromkeys((*self.candidates, *after))]

    def decide(self, candidates: Collection[str]) -> list[pure.Step]:
        """What follows; where the run is being cancelled, all that has not begun ends."""
        states: Mapping[str, StageState] = self.states.read_open() if self.cancel_cause else self.states
        cause, choices = self.cancel_cause, self.choices
        return pure.advance(self.graph, states, candidates, choices=choices, cancel_cause=cause)

    def write(self, steps: Sequence[pure.Step], moves: Moves, now: datetime) -> None:
        """Write what follows, and that those below the ended ones wait for them no more."""
        self.ended |= {step.stage: step.state for step in steps if isinstance(step, pure.EndStage)}
        self._read_below()
        lowered = self._lowered(self.ended)
        for step in steps:
            row = self.states.row(step.stage)
            assert row is not None, step.stage
            if isinstance(step, pure.QueueStage):
                waiting = max(0, row.waiting - lowered.pop(step.stage, 0))
                self.states.put(step.stage, StageState.QUEUED)
                moves.stage(self.number, row.id, row.state, StageState.QUEUED, waiting=waiting)
                moves.enqueue(row.id, due=now)
                self.queues = True
            elif isinstance(step, pure.EndStage):
                self.states.put(step.stage, step.state)
                moves.stage(self.number, row.id, row.state, step.state, ended_at=now)
        for stage, count in lowered.items():
            row = self.states.row(stage)
            if row is not None and row.waiting >= count:
                moves.lower(row.id, count)

    def may_have_ended(self) -> bool:
        """Whether nothing that was read shows that a stage is open."""
        return not self.queues and all(state in STAGE_ENDS for state in self.states.known())

    def result(self) -> RunState:
        """How it ended, where no stage is open."""
        if not self.cancel_cause:
            leaves = [stage.id for stage in self.graph if not stage.down]
            surroundings.read(self.states.connection, {self.states: self.states.unread(leaves)})
        return pure.result(self.graph, self.states, self.cancel_cause)

    def _read_below(self) -> None:
        below = self.states.unread(self.below(self.ended))
        surroundings.read(self.states.connection, {self.states: below})

    def _lowered(self, ended: Iterable[str]) -> Counter[str]:
        """How many of these each stage waited for."""
        return Counter(child for stage in ended for child in self.graph[stage].down)


class Advancing:
    """The runs that one transaction advances. `moves` is where all of it is written."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection, self.now = connection, now
        self.moves = Moves(connection, now)
        self._runs: dict[int, Following] = {}

    def of(self, number: int, state: RunState, cancel_cause: str | None, graph: StageGraph) -> Following:
        """What follows in this run."""
        if number not in self._runs:
            self._runs[number] = Following(self.connection, number, state, cancel_cause, graph)
        return self._runs[number]

    def end_stage(
        self,
        run: Following,
        stage_run: int,
        stage: str,
        old: StageState,
        end: End,
        *,
        error: dict[str, Any] | None,
        result: Json = None,
    ) -> None:
        """A stage ends whose attempt has ended; `error` is kept of one that did not end well."""
        ended_well = end.state in (StageState.SUCCESS, StageState.SKIPPED)
        kept = result if end.state == StageState.SUCCESS else None
        values: dict[str, Any] = {
            "error": None if ended_well else error,
            "result": kept,
            "unresolved": end.unresolved,
            "stop_as": None,
            "ended_at": self.now,
        }
        self.moves.stage(run.number, stage_run, old, end.state, **values)
        run.end(stage, end.state, kept)

    def follow(self) -> dict[int, RunState]:
        """Judge and write all that follows from what was said (rule 8.4); how the runs stand then."""
        everywhere = self._runs.values()
        below = {run.states: run.states.unread(run.below(run.ended)) for run in everywhere}
        surroundings.read(self.connection, below)
        judged = {run: run.to_judge() for run in self._going_on()}
        looked_at = {run.states: _looked_at(run, stages) for run, stages in judged.items()}
        surroundings.read(self.connection, looked_at)
        for run in everywhere:
            run.write(run.decide(judged[run]) if run in judged else (), self.moves, self.now)
        self.moves.flush()
        self._end_runs()
        return {number: run.state for number, run in self._runs.items()}

    def _going_on(self) -> Iterator[Following]:
        """Nothing starts in a run that does not run: a queued one is judged when it is promoted."""
        return (run for run in self._runs.values() if run.state == RunState.RUNNING)

    def _end_runs(self) -> None:
        """End the runs of which no stage is open."""
        maybe = [run for run in self._going_on() if run.may_have_ended()]
        still_open = surroundings.still_open(self.connection, [run.number for run in maybe])
        for run in maybe:
            if run.number not in still_open:
                result = run.result()
                self.moves.run(run.number, run.state, result, ended_at=self.now)
                run.state = result
        self.moves.flush()


def _looked_at(run: Following, candidates: Iterable[str]) -> list[str]:
    """What must be read to judge the candidates."""
    deciding = (other for stage in candidates for other in surroundings.judged_by(run.graph, stage))
    return [*dict.fromkeys((*run.states.unread(candidates), *run.states.unknown(deciding)))]
