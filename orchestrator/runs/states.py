"""States of runs, stage runs, attempts and epochs, and which may follow which.

Text values are what the database holds. A state that may follow is listed once, here; the store moves
a row only along these tables, and a check constraint on each column allows only these words.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias


class RunState(StrEnum):
    """A DAG run. Paused is a flag beside it, since a paused run keeps its place."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StageState(StrEnum):
    """A stage run. `none`: its trigger rule has not been judged; the last six are ends."""

    NONE = "none"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    REMOVED = "removed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """One try of a stage run, claimed at most once in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Outcome(StrEnum):
    """How an attempt ended. `drained`: handed back by a worker that stops; `lost`: taken away."""

    SUCCESS = "success"
    FAILED = "failed"
    SNOOZED = "snoozed"
    PAUSED = "paused"
    DRAINED = "drained"
    CANCELLED = "cancelled"
    LOST = "lost"


class EpochState(StrEnum):
    """A decided epoch is owed to its targets until it is applied, or given up by the verb abandon."""

    DECIDED = "decided"
    APPLIED = "applied"
    ABANDONED = "abandoned"


class StopAs(StrEnum):
    """What a verb wants a running stage to become in place of its attempt's outcome (rule 8.8)."""

    CLEARED = "cleared"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REMOVED = "removed"


State: TypeAlias = RunState | StageState | AttemptState | EpochState

RUN_ENDS = frozenset({RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED})
STAGE_ENDS = frozenset(StageState) - {StageState.NONE, StageState.QUEUED, StageState.RUNNING}

# A verb may open an ended run again, or read its result again where nothing was opened (rule 8.7).
RUN_TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset(RunState) - {RunState.QUEUED},
    RunState.RUNNING: RUN_ENDS,
    **{end: frozenset(RunState) - {end} for end in RUN_ENDS},
}

# Whatever ended may be cleared (`none`), marked, or removed by a new version; what ran may be retried
# (`queued`). A stage becomes `running` by a claim and in no other way.
_MARKS = frozenset({StageState.SUCCESS, StageState.FAILED, StageState.REMOVED})
STAGE_TRANSITIONS: Mapping[StageState, frozenset[StageState]] = {
    StageState.NONE: STAGE_ENDS | {StageState.QUEUED},
    StageState.QUEUED: _MARKS | {StageState.NONE, StageState.RUNNING, StageState.CANCELLED},
    StageState.RUNNING: _MARKS | {StageState.NONE, StageState.QUEUED, StageState.CANCELLED},
    StageState.SUCCESS: _MARKS - {StageState.SUCCESS} | {StageState.NONE},
    StageState.FAILED: _MARKS - {StageState.FAILED} | {StageState.NONE, StageState.QUEUED},
    StageState.UPSTREAM_FAILED: _MARKS | {StageState.NONE},
    StageState.SKIPPED: _MARKS | {StageState.NONE},
    StageState.REMOVED: frozenset({StageState.NONE}),
    StageState.CANCELLED: _MARKS | {StageState.NONE, StageState.QUEUED},
}

ATTEMPT_TRANSITIONS: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.QUEUED: frozenset({AttemptState.RUNNING, AttemptState.DONE}),
    AttemptState.RUNNING: frozenset({AttemptState.DONE}),
    AttemptState.DONE: frozenset(),
}

EPOCH_TRANSITIONS: Mapping[EpochState, frozenset[EpochState]] = {
    EpochState.DECIDED: frozenset({EpochState.APPLIED, EpochState.ABANDONED}),
    EpochState.APPLIED: frozenset(),
    EpochState.ABANDONED: frozenset(),
}


def may_follow(old: State, new: State) -> bool:
    """Whether a row in state `old` may become `new`; both of one kind."""
    match old, new:
        case RunState(), RunState():
            return new in RUN_TRANSITIONS[old]
        case StageState(), StageState():
            return new in STAGE_TRANSITIONS[old]
        case AttemptState(), AttemptState():
            return new in ATTEMPT_TRANSITIONS[old]
        case EpochState(), EpochState():
            return new in EPOCH_TRANSITIONS[old]
        case _:
            raise TypeError(f"{old!r} and {new!r} are states of different things")
