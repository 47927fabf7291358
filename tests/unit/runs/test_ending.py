"""What becomes of a stage when its attempt ends."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from orchestrator.dag.stages import Stage
from orchestrator.runs.ending import Again, Clear, End, Fate, Situation, fate
from orchestrator.runs.order import Only
from orchestrator.runs.states import Outcome, StageState, StopAs

STAGE = Stage("load", ("load",), retries=1, retry_delay=60)


def after(outcome: Outcome, **values: object) -> Fate:
    return fate(Situation(outcome, STAGE, **values))  # type: ignore[arg-type]


def test_success_ends_the_stage() -> None:
    assert after(Outcome.SUCCESS) == End(StageState.SUCCESS)


def test_a_failure_is_tried_again_after_its_delay_until_no_try_is_left() -> None:
    assert after(Outcome.FAILED) == Again(60, tries=1)
    assert after(Outcome.FAILED, tries=1) == End(StageState.FAILED)


def test_a_failure_that_another_try_cannot_mend_ends_the_stage() -> None:
    assert after(Outcome.FAILED, retry=False) == End(StageState.FAILED)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST])
def test_nothing_new_starts_in_a_run_that_ended_or_is_being_cancelled(outcome: Outcome) -> None:
    assert after(outcome, open_run=False) == End(StageState.FAILED)


def test_lost_attempts_are_counted_apart_from_failures() -> None:
    assert after(Outcome.LOST, tries=1) == Again(tries=1, losses=1)
    assert after(Outcome.LOST, losses=3) == End(StageState.FAILED)


@pytest.mark.parametrize("outcome", [Outcome.PAUSED, Outcome.DRAINED, Outcome.SNOOZED])
def test_what_was_handed_back_is_queued_again_and_costs_no_try(outcome: Outcome) -> None:
    assert after(outcome, tries=1, losses=2) == Again(tries=1, losses=2)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("end", [StopAs.FAILED, StopAs.CANCELLED, StopAs.REMOVED, StopAs.SUCCESS])
def test_what_a_verb_asked_for_takes_the_place_of_every_outcome(outcome: Outcome, end: StopAs) -> None:
    assert after(outcome, stop_as=end) == End(StageState(end.value))
    assert after(outcome, stop_as=StopAs.CLEARED) == Clear()


@pytest.mark.parametrize(
    ("outcome", "end"), [(Outcome.FAILED, StopAs.FAILED), (Outcome.CANCELLED, StopAs.CANCELLED)]
)
def test_while_a_decided_epoch_is_owed_it_is_applied_before_the_stage_ends(
    outcome: Outcome, end: StopAs
) -> None:
    assert after(outcome, owed=True, tries=1) == Again(only="apply", stop_as=end, tries=1)


def test_a_clear_waits_for_an_owed_epoch_too() -> None:
    apply_first = Again(only="apply", stop_as=StopAs.CLEARED)
    assert after(Outcome.PAUSED, stop_as=StopAs.CLEARED, owed=True) == apply_first
    assert after(Outcome.SUCCESS, only="apply", stop_as=StopAs.CLEARED) == Clear()


def test_when_owed_rows_cannot_be_applied_the_stage_ends_failed_and_unresolved() -> None:
    unresolved = End(StageState.FAILED, unresolved=True)
    assert after(Outcome.FAILED, only="apply", stop_as=StopAs.CANCELLED, owed=True) == unresolved
    assert after(Outcome.FAILED, only="abandon", stop_as=StopAs.FAILED, owed=True) == unresolved


def test_a_lost_apply_is_another_attempt_and_no_try() -> None:
    again = Again(only="apply", stop_as=StopAs.CANCELLED, tries=1, losses=1)
    assert after(Outcome.LOST, only="apply", stop_as=StopAs.CANCELLED, owed=True, tries=1) == again


def test_an_epoch_that_never_can_be_applied_is_given_up_before_the_stage_ends() -> None:
    giving_up = Again(only="abandon", stop_as=StopAs.FAILED)
    assert after(Outcome.FAILED, owed=True, give_up=True, retry=False) == giving_up


def test_no_stage_ends_while_a_decided_epoch_is_owed_unless_it_is_unresolved() -> None:
    restrictions: list[Only | None] = [None, *get_args(Only)]
    wanted: list[StopAs | None] = [None, *StopAs]
    for outcome, only, stop_as, open_run in product(Outcome, restrictions, wanted, (True, False)):
        if outcome == Outcome.SUCCESS:
            continue  # refused by the store while something is owed
        found = after(outcome, only=only, stop_as=stop_as, owed=True, open_run=open_run)
        assert not isinstance(found, Clear)
        assert not isinstance(found, End) or found.unresolved
