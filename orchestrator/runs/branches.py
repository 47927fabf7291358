"""What branches and short-circuits say of the stages after them, before any trigger rule (rule 8.6).

Computed from the stored choices whenever a stage is judged, never counted or kept, so that a clear, a retry
and a mark need nothing undone. As in Airflow only a choice that was stored forbids: a branch that failed, was
skipped or was marked a success without having run forbids nothing, and the trigger rules decide.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.states import STAGE_ENDS, StageState
from orchestrator.runs.trigger_rules import Verdict

States = Mapping[str, StageState]
Choices = Mapping[str, Json]
"""Of a branching stage that ended, what it stored: the ids that a branch chose, a short-circuit's truth."""


def judge(graph: StageGraph, states: States, choices: Choices, stage: str) -> Verdict | None:
    """SKIP where a choice forbids the stage, WAIT while an open branching stage still can; else None: the
    trigger rule decides."""
    above = graph.branches.forbidden_by(stage)
    standing = {branch: states.get(branch, StageState.REMOVED) for branch in above}
    for branch, state in standing.items():
        if state == StageState.SUCCESS and forbids(graph, branch, choices.get(branch), stage):
            return Verdict.SKIP
    return Verdict.WAIT if any(state not in STAGE_ENDS for state in standing.values()) else None


def forbids(graph: StageGraph, branch: str, choice: Json, stage: str) -> bool:
    """Whether this choice of a branching stage forbids a stage within its reach.

    A branch lets those run that it chose, and of its direct downstreams also those to which a chosen one
    leads. None is no choice. A chosen name that is no direct downstream is passed over.
    """
    if choice is None:
        return False
    if graph[branch].branch != "branch":
        return not choice
    chosen = {choice} if isinstance(choice, str) else set(choice)
    return not any(_is_chosen(graph, way, chosen) for way in graph.branches.ways(branch, stage))


def _is_chosen(graph: StageGraph, stage: str, chosen: set[str]) -> bool:
    """A stage is chosen by its id, or by another node that it holds."""
    return stage in chosen or not chosen.isdisjoint(graph[stage].nodes)
