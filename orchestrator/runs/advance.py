"""What follows in a run when stages ended: which start, which end without running, and the run's end.

Pure: the stage graph and the states of a run in, a list of decisions out, in the order in which they
must be written. `advance` is asked after an end, `rejudge` after a verb (rules 8.3, 8.4, 8.6, 8.7, 8.10).
States and choices may come from mappings that read them on demand: `advance` looks at no stage that cannot
matter, so that an end in a run of ten thousand stages costs what it costs in a small one.
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.dag.stages import StageGraph
from orchestrator.runs import branches
from orchestrator.runs.branches import Choices
from orchestrator.runs.states import STAGE_ENDS, RunState, StageState
from orchestrator.runs.trigger_rules import Counts, Verdict, certain_early, judge


@dataclass(frozen=True)
class QueueStage:
    """The stage may run: it becomes `queued` and gets its first attempt of this start."""

    stage: str


@dataclass(frozen=True)
class EndStage:
    """The stage ends without running."""

    stage: str
    state: StageState


@dataclass(frozen=True)
class ResetStage:
    """The stage goes back to `none`; a queued attempt of it is withdrawn."""

    stage: str


Step: TypeAlias = QueueStage | EndStage | ResetStage
States: TypeAlias = Mapping[str, StageState]

NO_CHOICES: Choices = {}

_WITHOUT_RUNNING = {Verdict.SKIP: StageState.SKIPPED, Verdict.UPSTREAM_FAILED: StageState.UPSTREAM_FAILED}
# What a stage that never ran was given by a rule or a cancel, and may lose when the reason is gone.
_GIVEN = frozenset({StageState.QUEUED, StageState.SKIPPED, StageState.UPSTREAM_FAILED, StageState.CANCELLED})


def advance(
    graph: StageGraph,
    states: States,
    candidates: Iterable[str],
    *,
    choices: Choices = NO_CHOICES,
    cancel_cause: str | None = None,
) -> list[Step]:
    """Judge the candidates that are in `none`, and cascade.

    A stage of the graph that is not in `states` counts as removed. `choices` are what the branching stages
    that succeeded have stored. In a run that is being cancelled every stage in `none` ends cancelled instead
    of being judged.
    """
    now: ChainMap[str, StageState] = ChainMap({}, states)  # type: ignore[arg-type]  # only the first is written
    steps: list[Step] = []
    waiting = deque(graph_order(graph) if cancel_cause else candidates)
    while waiting:
        stage = waiting.popleft()
        if now.get(stage) != StageState.NONE:
            continue
        step = EndStage(stage, StageState.CANCELLED) if cancel_cause else _judged(graph, now, choices, stage)
        if step is not None:
            steps.append(step)
            now[stage] = _becomes(step)
            if isinstance(step, EndStage):
                waiting.extend(_may_follow(graph, stage))
    return steps


def rejudge(
    graph: StageGraph,
    states: States,
    ran: Collection[str],
    *,
    choices: Choices = NO_CHOICES,
    cancel_cause: str | None = None,
) -> list[Step]:
    """Judge every stage that never ran anew, as a verb leaves the run; `ran` are touched by no rule.

    A stage that was skipped, upstream_failed, cancelled or queued for a reason that no longer holds goes
    back to `none` first; in topological order, each by what those above it have become. A stage whose
    verdict is what it has already is not touched. What a choice forbids stays skipped; while a branch that
    was cleared is open again, what it can forbid and never ran waits for it.
    """
    now = dict(states)
    steps: list[Step] = []
    for stage in graph_order(graph):
        state = now.get(stage)
        if stage in ran or state is None or not (state == StageState.NONE or state in _GIVEN):
            continue
        now[stage] = StageState.NONE
        step = EndStage(stage, StageState.CANCELLED) if cancel_cause else _judged(graph, now, choices, stage)
        now[stage] = _becomes(step)
        if now[stage] != state:
            steps += [ResetStage(stage)] if state != StageState.NONE else []
            steps += [step] if step is not None else []
    return steps


def candidates_after(
    graph: StageGraph, stage: str, end: StageState, waiting: Mapping[str, int]
) -> Iterator[str]:
    """The stages that an end may have decided, each once; `waiting` is asked of the children alone.

    Children for which nothing is left to wait, or whose rule is certain early after such an end; and, however
    a branching stage ended, all that it could have forbidden: they may have waited for nothing else.
    """
    forbidden = dict.fromkeys(graph.branches.forbids(stage))
    yield from forbidden
    for child in graph[stage].down:
        if child not in forbidden and (waiting.get(child) == 0 or certain_early(graph[child].rule, end)):
            yield child


def below(graph: StageGraph, stages: Collection[str]) -> set[str]:
    """All stages that come after any of these, however far."""
    found: set[str] = set()
    for stage in graph:
        if any(up in found or up in stages for up in stage.up):
            found.add(stage.id)
    return found


def waiting_of(graph: StageGraph, states: States, stage: str) -> int:
    """How many upstreams of a stage have not ended; removed and missing ones are left out."""
    return sum(states.get(up, StageState.REMOVED) not in STAGE_ENDS for up in graph[stage].up)


def result(graph: StageGraph, states: States, cancel_cause: str | None = None) -> RunState:
    """How a run ended, of which no stage is open: by its cancel cause, else by its leaves, as in Airflow."""
    if cancel_cause:
        return RunState.FAILED if cancel_cause == "timeout" else RunState.CANCELLED
    leaves = (states.get(stage.id) for stage in graph if not stage.down)
    well = {StageState.SUCCESS, StageState.SKIPPED, StageState.REMOVED, None}
    return RunState.SUCCESS if all(state in well for state in leaves) else RunState.FAILED


def graph_order(graph: StageGraph) -> Iterator[str]:
    """Stage ids, each after all that it waits for: the order that the compiler stored."""
    return (stage.id for stage in graph)


def _may_follow(graph: StageGraph, stage: str) -> Collection[str]:
    """All stages whose judgement the end of this one may change."""
    return dict.fromkeys((*graph[stage].down, *graph.branches.forbids(stage)))


def _judged(graph: StageGraph, states: States, choices: Choices, stage: str) -> QueueStage | EndStage | None:
    verdict = branches.judge(graph, states, choices, stage)
    if verdict is None:
        counts = Counts.of(states.get(up, StageState.REMOVED) for up in graph[stage].up)
        verdict = judge(graph[stage].rule, counts)
    if verdict == Verdict.WAIT:
        return None
    return QueueStage(stage) if verdict == Verdict.RUN else EndStage(stage, _WITHOUT_RUNNING[verdict])


def _becomes(step: QueueStage | EndStage | None) -> StageState:
    if step is None:
        return StageState.NONE
    return step.state if isinstance(step, EndStage) else StageState.QUEUED
