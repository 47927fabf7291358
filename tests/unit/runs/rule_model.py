"""What the twelve trigger rules mean, said once more: over the list of upstreams' ends, not over counts.

A model to test against. `verdict` knows only how a stage stands when all its upstreams have ended;
`EARLY` is the table of rule 8.3: after which end a rule is certain while others are open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.states import StageState
from orchestrator.runs.trigger_rules import Verdict

SUCCESS, SKIPPED, FAILED = StageState.SUCCESS, StageState.SKIPPED, StageState.FAILED
UPSTREAM_FAILED, CANCELLED = StageState.UPSTREAM_FAILED, StageState.CANCELLED
ENDS = (SUCCESS, SKIPPED, FAILED, CANCELLED, UPSTREAM_FAILED)
BAD = frozenset({FAILED, CANCELLED, UPSTREAM_FAILED})

Ends = Sequence[StageState]

RUNS: Mapping[str, Callable[[Ends], bool]] = {
    "all_success": lambda ends: all(end == SUCCESS for end in ends),
    "all_failed": lambda ends: all(end in BAD for end in ends),
    "all_done": lambda ends: True,
    "all_skipped": lambda ends: all(end == SKIPPED for end in ends),
    "one_success": lambda ends: any(end == SUCCESS for end in ends),
    "one_failed": lambda ends: any(end in BAD for end in ends),
    "one_done": lambda ends: any(end in (SUCCESS, FAILED, CANCELLED) for end in ends),
    "none_failed": lambda ends: not any(end in BAD for end in ends),
    "none_failed_min_one_success": lambda ends: SUCCESS in ends and not any(end in BAD for end in ends),
    "none_skipped": lambda ends: SKIPPED not in ends,
    "all_done_min_one_success": lambda ends: SUCCESS in ends and SKIPPED not in ends,
    "always": lambda ends: True,
}

# Of those that do not run: which are upstream_failed; all others are skipped.
FAILS: Mapping[str, Callable[[Ends], bool]] = {
    "all_success": lambda ends: any(end in BAD for end in ends),
    "one_success": lambda ends: any(end in BAD for end in ends),
    "none_failed": lambda ends: True,
    "none_failed_min_one_success": lambda ends: any(end in BAD for end in ends),
    "all_done_min_one_success": lambda ends: SKIPPED not in ends,
}

EARLY: Mapping[str, frozenset[StageState]] = {
    "all_success": BAD,
    "all_failed": frozenset({SUCCESS, SKIPPED}),
    "all_done": frozenset(),
    "all_skipped": frozenset({SUCCESS}) | BAD,
    "one_success": frozenset({SUCCESS}),
    "one_failed": BAD,
    "one_done": frozenset({SUCCESS, FAILED, CANCELLED}),
    "none_failed": BAD,
    "none_failed_min_one_success": BAD,
    "none_skipped": frozenset({SKIPPED}),
    "all_done_min_one_success": frozenset({SKIPPED}),
    "always": frozenset(),
}


def verdict(rule: str, ends: Ends) -> Verdict:
    """What a rule says when all upstreams have ended so."""
    if not ends or RUNS[rule](ends):
        return Verdict.RUN
    return Verdict.UPSTREAM_FAILED if rule in FAILS and FAILS[rule](ends) else Verdict.SKIP


def expected(stages: StageGraph, ends: Mapping[str, StageState]) -> dict[str, StageState]:
    """How the stages of a run end: in topological order, each from its upstreams' ends.

    `ends` says how a stage ends if it runs; success where it says nothing.
    """
    states: dict[str, StageState] = {}
    for stage in stages:
        found = verdict(stage.rule, [states[up] for up in stage.up])
        if found == Verdict.RUN:
            states[stage.id] = ends.get(stage.id, SUCCESS)
        else:
            states[stage.id] = SKIPPED if found == Verdict.SKIP else UPSTREAM_FAILED
    return states
