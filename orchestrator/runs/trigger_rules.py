"""Trigger rules: whether a stage runs, judged from how its upstreams stand (rule 8.5).

One pure function of counts, so that a verdict never depends on the order in which upstreams ended.
`RULES` holds the rules that work; a rule that is not in it is refused where a DAG is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.runs.states import StageState


class Verdict(StrEnum):
    """What a rule says of a stage that has not been judged yet."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"
    UPSTREAM_FAILED = "upstream_failed"


@dataclass(frozen=True)
class Counts:
    """How many upstreams are in which state. Cancelled counts as failed; `open` ones have not ended."""

    success: int = 0
    skipped: int = 0
    failed: int = 0
    upstream_failed: int = 0
    open: int = 0

    @classmethod
    def of(cls, states: Iterable[StageState]) -> Counts:
        """The counts of these upstreams; removed ones are left out of every rule."""
        tally = dict.fromkeys(("success", "skipped", "failed", "upstream_failed", "open"), 0)
        for state in states:
            if state != StageState.REMOVED:
                tally[_COUNTED_AS.get(state, "open")] += 1
        return cls(**tally)


_COUNTED_AS: Mapping[StageState, str] = {
    StageState.SUCCESS: "success",
    StageState.SKIPPED: "skipped",
    StageState.FAILED: "failed",
    StageState.CANCELLED: "failed",
    StageState.UPSTREAM_FAILED: "upstream_failed",
}


def _all_success(counts: Counts) -> Verdict:
    if counts.failed or counts.upstream_failed:
        return Verdict.UPSTREAM_FAILED
    if counts.open:
        return Verdict.WAIT
    return Verdict.SKIP if counts.skipped else Verdict.RUN


RULES: Mapping[str, Callable[[Counts], Verdict]] = {"all_success": _all_success}

# Ends of one upstream after which a rule is certain while others are still open (rule 8.3).
_FAILURES = frozenset({StageState.FAILED, StageState.CANCELLED, StageState.UPSTREAM_FAILED})
_CERTAIN_AFTER: Mapping[str, frozenset[StageState]] = {"all_success": _FAILURES}


def judge(rule: str, counts: Counts) -> Verdict:
    """The verdict of a rule; KeyError where the rule is not known."""
    return RULES[rule](counts)


def certain_early(rule: str, end: StageState) -> bool:
    """Whether one upstream that ended so can decide the rule before the others have ended."""
    return end in _CERTAIN_AFTER[rule]
