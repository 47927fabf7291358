"""What becomes of a stage run when one of its attempts ends (rules 3 "Unresolved", 8.8, 8.9, 9.7, 10).

Pure: how the attempt ended and how the stage stands in, one fate out. The store writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.dag.stages import Stage
from orchestrator.runs import retry
from orchestrator.runs.order import Only
from orchestrator.runs.states import Outcome, StageState, StopAs


@dataclass(frozen=True)
class Situation:
    """A stage run at the moment when an attempt of it ended.

    `owed`: its last decided epoch is not applied. `open_run`: the run has not ended and is not being
    cancelled, so that something new may start in it. `retry` is False for a failure that another try
    cannot mend, `give_up` True where what is owed can never be applied (rule 4.3). `tries` and `losses`
    count those before this attempt, `attempt` is its id.
    """

    outcome: Outcome
    stage: Stage
    only: Only | None = None
    stop_as: StopAs | None = None
    owed: bool = False
    open_run: bool = True
    retry: bool = True
    give_up: bool = False
    tries: int = 0
    losses: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class End:
    """The stage ends so. `unresolved`: while a decided epoch is not applied."""

    state: StageState
    unresolved: bool = False


@dataclass(frozen=True)
class Again:
    """Another attempt goes on from the last decided epoch, `delay` seconds from now.

    `stop_as` is the end that waits for it, where it may only apply what is owed.
    """

    delay: float = 0.0
    only: Only | None = None
    stop_as: StopAs | None = None
    tries: int = 0
    losses: int = 0


@dataclass(frozen=True)
class Clear:
    """A clear that waited for the attempt takes effect: the stage starts over."""


Fate: TypeAlias = End | Again | Clear


def fate(situation: Situation) -> Fate:
    """What becomes of the stage."""
    if situation.give_up and situation.owed and situation.only != "abandon":
        return Again(only="abandon", stop_as=StopAs.FAILED, tries=situation.tries, losses=situation.losses)
    if situation.only is not None:
        return _after_restricted(situation)
    if situation.stop_as is not None:
        return _stopped(situation, situation.stop_as)
    match situation.outcome:
        case Outcome.SUCCESS:
            return End(StageState.SUCCESS)
        case Outcome.PAUSED | Outcome.DRAINED | Outcome.SNOOZED:
            return Again(tries=situation.tries, losses=situation.losses)
        case Outcome.CANCELLED:
            return _stopped(situation, StopAs.CANCELLED)
        case Outcome.LOST:
            return _after_loss(situation)
        case Outcome.FAILED:
            return _after_failure(situation)


def _after_failure(situation: Situation) -> Fate:
    tries = situation.tries + 1
    if situation.retry and situation.open_run and retry.tries_left(situation.stage, tries):
        wait = retry.delay(situation.stage, tries, situation.attempt)
        return Again(wait, tries=tries, losses=situation.losses)
    return _stopped(situation, StopAs.FAILED)


def _after_loss(situation: Situation) -> Fate:
    losses = situation.losses + 1
    if situation.open_run and retry.losses_left(losses):
        return Again(tries=situation.tries, losses=losses)
    return _stopped(situation, StopAs.FAILED)


def _after_restricted(situation: Situation) -> Fate:
    """After an attempt that could only apply, or give up, what its stage owed: it was no try."""
    end = situation.stop_as or StopAs.FAILED
    if situation.outcome == Outcome.SUCCESS or not situation.owed:
        return Clear() if end == StopAs.CLEARED else End(StageState(end.value))
    handed_back = situation.outcome in (Outcome.PAUSED, Outcome.DRAINED)
    losses = situation.losses + (situation.outcome == Outcome.LOST)
    if handed_back or (situation.outcome == Outcome.LOST and retry.losses_left(losses)):
        return Again(only=situation.only, stop_as=end, tries=situation.tries, losses=losses)
    return End(StageState.FAILED, unresolved=True)


def _stopped(situation: Situation, end: StopAs) -> Fate:
    if situation.owed:
        return Again(only="apply", stop_as=end, tries=situation.tries, losses=situation.losses)
    return Clear() if end == StopAs.CLEARED else End(StageState(end.value))
