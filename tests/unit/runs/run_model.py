"""How every stage of a run must stand, said once more by brute force: paths, ends and choices, no counts.

`standing` reads a whole run at any moment. A stage that no one ran or marked is what it says, in every run
that is not being cancelled, after every event: so no verdict depends on the order of events, none is given
twice, and none is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.states import STAGE_ENDS, StageState
from orchestrator.runs.trigger_rules import Verdict
from tests.unit.runs.rule_model import EARLY, SUCCESS, verdict

States = Mapping[str, StageState]
Choices = Mapping[str, Any]

BECOMES = {
    Verdict.WAIT: StageState.NONE,
    Verdict.RUN: StageState.QUEUED,
    Verdict.SKIP: StageState.SKIPPED,
    Verdict.UPSTREAM_FAILED: StageState.UPSTREAM_FAILED,
}


def standing(stages: StageGraph, states: States, choices: Choices, stage: str) -> StageState:
    """What a stage must be that was neither run nor marked, as all others stand."""
    return BECOMES[_verdict(stages, states, choices, stage)]


def may_run(stages: StageGraph, states: States, choices: Choices, stage: str) -> bool:
    """Whether a stage that ran in an undisturbed run was allowed to."""
    return _verdict(stages, states, choices, stage) == Verdict.RUN


def leads(stages: StageGraph, above: str, below: str) -> bool:
    """Whether there is a way from one stage down to another, or they are one."""
    return above == below or any(leads(stages, above, up) for up in stages[below].up)


def within_reach(stages: StageGraph, stage: str) -> Iterator[str]:
    """The branching stages that might forbid a stage."""
    for other in stages:
        far = other.branch == "short_circuit" and other.id != stage
        if other.branch is not None and (leads(stages, other.id, stage) if far else stage in other.down):
            yield other.id


def forbidden(stages: StageGraph, branch: str, choice: Any, stage: str) -> bool:
    """Whether this choice forbids a stage within reach."""
    if stages[branch].branch != "branch":
        return choice is False
    followed = [down for down in stages[branch].down if down in (choice or ())]
    return choice is not None and not any(leads(stages, down, stage) for down in followed)


def _verdict(stages: StageGraph, states: States, choices: Choices, stage: str) -> Verdict:
    above = list(within_reach(stages, stage))
    made = [branch for branch in above if states[branch] == SUCCESS]
    if any(forbidden(stages, branch, choices.get(branch), stage) for branch in made):
        return Verdict.SKIP
    if any(states[branch] not in STAGE_ENDS for branch in above):
        return Verdict.WAIT
    return _of_rule(stages[stage].rule, [states[up] for up in stages[stage].up])


def _of_rule(rule: str, above: list[StageState]) -> Verdict:
    certain = rule == "always" or any(up in EARLY[rule] for up in above)
    if not certain and any(up not in STAGE_ENDS for up in above):
        return Verdict.WAIT
    return verdict(rule, [up if up in STAGE_ENDS else SUCCESS for up in above])
