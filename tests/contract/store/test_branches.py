"""Branches in runs of the services: a choice is stored with the end of its stage, and holds through verbs."""

from __future__ import annotations

from typing import Any

from orchestrator.runs.states import Outcome, RunState
from tests.support.services import Service
from tests.support.store import graph

FORK = graph({"b": "", "x": "b", "y": "b", "join": "xy"}, {"join": "none_failed"}, {"b": "branch"})
SHORT = graph(
    {"s": "", "m": "s", "other": "", "x": ("m", "other")}, {"x": "one_success"}, {"s": "short_circuit"}
)


def finish(service: Service, stage: str, result: Any = None, outcome: Outcome = Outcome.SUCCESS) -> None:
    """The next stage that can be claimed ends so; `result` is its node's."""
    claimed = service.must_claim(stage)
    service.finish(claimed.attempt, outcome, results={} if result is None else {stage: result})


def test_what_a_branch_did_not_choose_is_skipped(service: Service) -> None:
    run = service.begin(FORK)
    finish(service, "b", ["y"])
    assert service.states(run.number) == {"b": "success", "x": "skipped", "y": "queued", "join": "none"}
    finish(service, "y")
    finish(service, "join")
    assert service.run(run.number).state == RunState.SUCCESS
    service.must_be_sound()


def test_a_false_short_circuit_skips_all_below_and_a_true_one_lets_the_rules_decide(service: Service) -> None:
    """`x` could run when `other` has succeeded: it waits for the choice, and is no child of who makes it."""
    for truth, state in ((False, "skipped"), (True, "queued")):
        run = service.begin(SHORT)
        claimed = {one.stage_run.stage: one.attempt for one in (service.must_claim(), service.must_claim())}
        service.finish(claimed["other"])
        assert service.states(run.number)["x"] == "none"
        service.finish(claimed["s"], results={"s": truth})
        assert service.states(run.number)["x"] == state
        service.must_be_sound()
        service.run_to_end()
        assert service.run(run.number).state == RunState.SUCCESS


def test_a_branch_that_failed_chose_nothing_and_forbids_nothing(service: Service) -> None:
    stages = graph({"b": "", "x": "b", "y": "b"}, {"x": "all_done"}, {"b": "branch"})
    run = service.begin(stages)
    finish(service, "b", outcome=Outcome.FAILED)
    assert service.states(run.number) == {"b": "failed", "x": "queued", "y": "upstream_failed"}
    service.client.mark(str(run.number), "b", "success")
    assert service.states(run.number) == {"b": "success", "x": "queued", "y": "queued"}
    service.must_be_sound()


def test_a_choice_holds_when_what_it_forbids_is_cleared(service: Service) -> None:
    run = service.begin(FORK)
    finish(service, "b", ["y"])
    service.client.clear(str(run.number), nodes=["x"])
    assert service.states(run.number)["x"] == "skipped"
    service.must_be_sound()


def test_a_cleared_branch_may_choose_otherwise(service: Service) -> None:
    run = service.begin(FORK)
    finish(service, "b", ["y"])
    service.run_to_end()
    service.client.clear(str(run.number), nodes=["b"], downstream=True)
    service.promote()
    assert service.states(run.number) == {"b": "queued", "x": "none", "y": "none", "join": "none"}
    finish(service, "b", ["x"])
    assert service.states(run.number) == {"b": "success", "x": "queued", "y": "skipped", "join": "none"}
    service.must_be_sound()


def test_a_branch_that_never_ran_lets_go_of_what_waited_for_it(service: Service) -> None:
    stages = graph({"a": "", "b": "a", "m": "b", "x": "m"}, {"x": "always"}, {"b": "short_circuit"})
    run = service.begin(stages)
    assert service.states(run.number)["x"] == "none"
    finish(service, "a", outcome=Outcome.FAILED)
    assert service.states(run.number) == {
        "a": "failed", "b": "upstream_failed", "m": "upstream_failed", "x": "queued",
    }  # fmt: skip
    service.must_be_sound()
