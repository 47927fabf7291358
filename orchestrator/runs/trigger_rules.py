"""Trigger rules: whether a stage runs, judged from how its upstreams stand (rules 8.3, 8.5).

One pure function of counts. A verdict that is given while upstreams are open is the one that their ends
would have led to as well, so that none depends on the order in which upstreams ended. The twelve rules
are Airflow's; `all_success` alone differs, in that a skipped upstream is no verdict before all have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

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

_NO_UPSTREAMS = Counts()
_Final: TypeAlias = Callable[[Counts], Verdict]


@dataclass(frozen=True)
class _Rule:
    """What one rule says.

    `early`: one upstream that is counted so decides it, whatever becomes of the others. `final`: the verdict
    when all have ended and none of them has decided it.
    """

    early: Mapping[str, Verdict]
    final: _Final


def _after_any(*counted: str, verdict: Verdict) -> Mapping[str, Verdict]:
    return dict.fromkeys(counted, verdict)


def _run(_: Counts) -> Verdict:
    return Verdict.RUN


def _skip(_: Counts) -> Verdict:
    return Verdict.SKIP


def _skip_after_a_skip(counts: Counts) -> Verdict:
    return Verdict.SKIP if counts.skipped else Verdict.RUN


def _skip_without_success(counts: Counts) -> Verdict:
    return Verdict.RUN if counts.success else Verdict.SKIP


def _fail_without_success(counts: Counts) -> Verdict:
    return Verdict.RUN if counts.success else Verdict.UPSTREAM_FAILED


def _skip_after_skips_alone(counts: Counts) -> Verdict:
    return Verdict.UPSTREAM_FAILED if counts.failed or counts.upstream_failed else Verdict.SKIP


_FAILS = _after_any("failed", "upstream_failed", verdict=Verdict.UPSTREAM_FAILED)

RULES: Mapping[str, _Rule] = {
    "all_success": _Rule(_FAILS, _skip_after_a_skip),
    "all_failed": _Rule(_after_any("success", "skipped", verdict=Verdict.SKIP), _run),
    "all_done": _Rule({}, _run),
    "all_skipped": _Rule(_after_any("success", "failed", "upstream_failed", verdict=Verdict.SKIP), _run),
    "one_success": _Rule(_after_any("success", verdict=Verdict.RUN), _skip_after_skips_alone),
    "one_failed": _Rule(_after_any("failed", "upstream_failed", verdict=Verdict.RUN), _skip),
    "one_done": _Rule(_after_any("success", "failed", verdict=Verdict.RUN), _skip),
    "none_failed": _Rule(_FAILS, _run),
    "none_failed_min_one_success": _Rule(_FAILS, _skip_without_success),
    "none_skipped": _Rule(_after_any("skipped", verdict=Verdict.SKIP), _run),
    "all_done_min_one_success": _Rule(_after_any("skipped", verdict=Verdict.SKIP), _fail_without_success),
    "always": _Rule({}, _run),
}
"""The twelve rules by name; a DAG that names another is refused when it is compiled."""


def judge(rule: str, counts: Counts) -> Verdict:
    """The verdict of a rule; a stage without upstreams runs. KeyError where the rule is not known."""
    found = RULES[rule]
    if rule == "always" or counts == _NO_UPSTREAMS:
        return Verdict.RUN
    for counted, verdict in found.early.items():
        if getattr(counts, counted):
            return verdict
    return Verdict.WAIT if counts.open else found.final(counts)


def certain_early(rule: str, end: StageState) -> bool:
    """Whether one upstream that ended so decides the rule before the others have ended (rule 8.3)."""
    return _COUNTED_AS.get(end) in RULES[rule].early
