"""The twelve trigger rules, each verdict against a model that is stated over the upstreams one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import pytest

from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.runs.states import STAGE_ENDS, StageState
from orchestrator.runs.trigger_rules import RULES, Counts, Verdict, certain_early, judge
from tests.unit.runs.rule_model import EARLY, ENDS, verdict

OPEN = tuple(state for state in StageState if state not in STAGE_ENDS)


def completions(states: tuple[StageState, ...]) -> Iterator[tuple[StageState, ...]]:
    """Every way in which upstreams that stand so can all have ended."""
    return product(*(ENDS if state in OPEN else (state,) for state in states))


def test_authors_may_name_exactly_the_rules_that_are_judged() -> None:
    assert sorted(TRIGGER_RULES) == sorted(RULES) == sorted(EARLY)
    assert len(RULES) == 12


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_a_verdict_over_ended_upstreams_is_airflows(rule: str) -> None:
    for number in range(5):
        for ends in product(ENDS, repeat=number):
            assert judge(rule, Counts.of(ends)) == verdict(rule, ends), ends


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_a_verdict_is_given_early_where_every_end_of_the_others_would_give_it(rule: str) -> None:
    """And nowhere else: `all_done` alone waits for what cannot change its verdict any more."""
    for number in range(1, 5):
        for states in combinations_with_replacement((*ENDS, StageState.RUNNING), number):
            found = judge(rule, Counts.of(states))
            possible = {verdict(rule, ends) for ends in completions(states)}
            if rule == "all_done":
                assert found == (Verdict.WAIT if StageState.RUNNING in states else Verdict.RUN)
            else:
                assert found == (possible.pop() if len(possible) == 1 else Verdict.WAIT), states


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_a_verdict_comes_before_all_have_ended_after_the_ends_of_the_table_and_no_others(rule: str) -> None:
    for state in StageState:
        assert certain_early(rule, state) == (state in EARLY[rule]), state
    for states in combinations_with_replacement(ENDS, 3):
        decided = judge(rule, Counts.of((*states, StageState.RUNNING))) != Verdict.WAIT
        assert decided == (rule == "always" or any(state in EARLY[rule] for state in states)), states


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_it_does_not_matter_how_an_upstream_is_open_and_removed_ones_are_left_out(rule: str) -> None:
    for states in combinations_with_replacement(ENDS, 2):
        waiting = {judge(rule, Counts.of((*states, state))) for state in OPEN}
        assert len(waiting) == 1
        assert judge(rule, Counts.of((*states, StageState.REMOVED))) == judge(rule, Counts.of(states))
    assert judge(rule, Counts.of([StageState.REMOVED])) == judge(rule, Counts()) == Verdict.RUN


def test_cancelled_counts_as_failed() -> None:
    counts = Counts.of([StageState.REMOVED, StageState.CANCELLED, StageState.QUEUED, StageState.NONE])
    assert counts == Counts(failed=1, open=2)


@pytest.mark.parametrize(
    ("rule", "counts", "found"),
    [
        ("all_success", Counts(success=1, skipped=1, open=1), Verdict.WAIT),  # Airflow skips it here
        ("all_success", Counts(skipped=1, failed=1), Verdict.UPSTREAM_FAILED),
        ("one_success", Counts(skipped=2), Verdict.SKIP),
        ("one_success", Counts(skipped=2, failed=1), Verdict.UPSTREAM_FAILED),
        ("one_done", Counts(skipped=1, upstream_failed=1), Verdict.SKIP),
        ("none_failed", Counts(skipped=2), Verdict.RUN),
        ("none_failed_min_one_success", Counts(skipped=2), Verdict.SKIP),
        ("all_done_min_one_success", Counts(failed=2), Verdict.UPSTREAM_FAILED),
        ("always", Counts(open=3), Verdict.RUN),
    ],
)
def test_what_is_easily_taken_for_something_else(rule: str, counts: Counts, found: Verdict) -> None:
    assert judge(rule, counts) == found


def test_an_unknown_rule_is_no_silent_default() -> None:
    with pytest.raises(KeyError):
        judge("all_done_setup_success", Counts())
