"""Why something waits: each reason is made to happen, named with who and what, and with its remedy."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.errors import UsageError
from orchestrator.runs.states import Outcome
from orchestrator.store import steps, workers
from orchestrator.store.database import Database
from tests.support.asking import Services
from tests.support.store import Command, ManualClock, graph

ONE = graph({"a": ""})
TWO = graph({"a": "", "b": "a"})


def test_nothing_keeps_a_run_that_has_ended_or_does_all_it_can(services: Services) -> None:
    worker = services.enter()
    run = services.start(ONE)
    assert services.only(run, "about_to_run").stage == "a"
    claimed = services.claim(worker, "a")
    assert services.why(run) == {}
    services.finish(claimed)
    assert services.why(run) == {}


def test_a_node_that_is_not_there_is_refused_with_those_that_are(services: Services) -> None:
    run = services.start(TWO)
    with pytest.raises(UsageError, match="no node 'x'") as caught:
        services.why(run, "x")
    assert "a, b" in caught.value.hint


# Stages that are not judged yet.


def test_a_stage_waits_for_upstreams(services: Services) -> None:
    worker = services.enter(slots=3)
    run = services.start(graph({"a": "", "b": "a", "c": "ab"}))
    claimed = services.claim(worker, "a")
    assert services.only(run, "upstreams", "c").text == "c waits for a (running), b (waiting)"
    services.finish(claimed)
    assert services.only(run, "upstreams", "c").text == "c waits for b (queued)"


def test_a_stage_waits_for_a_choice(services: Services) -> None:
    services.enter()
    run = services.start(graph({"b": "", "m": "b", "x": "m"}, {"x": "always"}, {"b": "short_circuit"}))
    found = services.why(run, "x")
    assert found["branch"].text == "x waits for b (queued), whose choice may skip it"
    assert found["upstreams"].text == "x waits for m (waiting)"


def test_a_stage_that_nobody_judged(services: Services, database: Database) -> None:
    """What only a defect, or a hand in the database, can leave: it is named, with what mends it."""
    services.enter()
    run = services.start(TWO)
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE stage_runs SET state = 'none' WHERE stage = 'a'")
    assert "fustgo db check --runs" in services.only(run, "not_judged", "a").remedy


def test_of_many_stages_that_wait_alike_the_first_are_told_and_the_others_counted(services: Services) -> None:
    services.enter()
    below = dict.fromkeys("bcdefghi", "a")
    run = services.start(graph({"a": "", **below}))
    found = [reason for reason in services.client.why(str(run.number)) if reason.code == "upstreams"]
    assert [reason.stage for reason in found] == [*"bcdef", None]
    assert found[-1].text == "3 stages more: upstreams"
    assert services.only(run, "upstreams", "i").stage == "i"


# Attempts that are not due.


def test_an_attempt_that_is_not_due(services: Services, clock: ManualClock) -> None:
    worker = services.enter()
    run = services.start(graph({"a": ""}, retries=2, retry_delay=60))
    services.finish(services.claim(worker, "a"), Outcome.FAILED)
    reason = services.only(run, "retry")
    assert reason.text == "a failed once; try 2 of 3 is due at 2026-01-01T00:01:00+00:00"
    clock.forward(60)
    services.finish(services.claim(worker, "a"), Outcome.FAILED)
    assert "failed 2 times; try 3 of 3" in services.only(run, "retry").text


def test_a_snoozed_attempt(services: Services, clock: ManualClock) -> None:
    worker = services.enter()
    run = services.start(ONE)
    until = clock.now() + timedelta(minutes=5)
    services.finish(services.claim(worker, "a"), Outcome.SNOOZED, until=until)
    assert services.only(run, "snoozed").text == "a is snoozed until 2026-01-01T00:05:00+00:00"


# Pools and limits.


def test_a_pool_that_is_full(services: Services) -> None:
    services.pool("db", 3)
    worker = services.enter(slots=9)
    first, run = (services.start(graph({"a": ""}, pool="db", pool_slots=2)) for _ in range(2))
    services.claim(worker, "a")
    reason = services.only(run, "pool_full")
    assert "1 of 3 are free" in reason.text
    assert f"held by a of run {first.number}" in reason.text
    assert "fustgo pools set db 4" in reason.remedy


def test_a_stage_that_asks_for_more_than_its_pool_has(services: Services) -> None:
    services.pool("db", 1)
    services.enter()
    run = services.start(graph({"a": ""}, pool="db", pool_slots=2))
    reason = services.only(run, "pool_too_small")
    assert "asks for 2 slots of pool 'db', which has 1" in reason.text
    assert "fustgo pools set db 2" in reason.remedy


def test_a_pool_that_nobody_has_set(services: Services) -> None:
    services.enter()
    run = services.start(graph({"a": ""}, pool="ghost"))
    found = services.why(run)
    assert list(found) == ["about_to_run", "pool_unset"]
    assert found["pool_unset"].remedy == "fustgo pools set ghost 1, or more"


def test_a_pool_that_an_earlier_candidate_closed(services: Services) -> None:
    services.pool("db", 3)
    worker = services.enter(slots=9)
    services.start(graph({"a": ""}, pool="db", pool_slots=2))
    services.claim(worker, "a")
    wide, run = (
        services.start(graph({"w": ""}, pool="db", pool_slots=2)),
        services.start(graph({"a": ""}, pool="db")),
    )
    reason = services.only(run, "pool_closed")
    assert f"w of run {wide.number} comes first and needs 2 slots" in reason.text
    assert steps.claim(services.database, worker=worker) == []  # and so it is


def test_a_dag_that_runs_as_many_stages_as_it_may(services: Services) -> None:
    worker = services.enter(slots=9)
    run = services.start(graph({"a": "", "b": ""}))
    services.limit(run, max_active_tasks=1)
    services.claim(worker, "a")
    reason = services.only(run, "max_active_tasks", "b")
    assert f"may run 1 stages at once, and runs a of run {run.number}" in reason.text


# Workers.


def test_no_worker(services: Services, clock: ManualClock) -> None:
    run = services.start(ONE)
    assert "fustgo worker" in services.only(run, "no_worker").remedy
    worker = services.enter()
    with services.database.transaction() as connection:
        workers.ask_to_drain(connection, worker)
    assert f"worker {worker}" in services.only(run, "no_worker").text
    assert "is draining" in services.only(run, "no_worker").text
    clock.forward(31)
    assert "is offline" in services.only(run, "no_worker").text


def test_no_worker_with_the_label(services: Services) -> None:
    services.enter(labels=("cpu",))
    run = services.start(graph({"a": ""}, queue="gpu"))
    reason = services.only(run, "no_label")
    assert "label 'gpu'" in reason.text
    services.enter(labels=("gpu",))
    services.only(run, "about_to_run")


def test_what_nobody_can_run_keeps_nobody(services: Services) -> None:
    services.pool("db", 2)
    worker = services.enter(slots=9)
    services.start(graph({"a": ""}, pool="db"))
    services.claim(worker, "a")
    services.start(graph({"g": ""}, pool="db", pool_slots=2, queue="gpu"))  # would close the pool
    run = services.start(graph({"a": ""}, pool="db"))
    services.only(run, "about_to_run")
    services.claim(worker, "a")


def test_all_workers_are_busy_and_others_come_first(services: Services) -> None:
    worker = services.enter()
    services.start(ONE)
    services.claim(worker, "a")
    high, run = services.start(graph({"h": ""}, weight=9)), services.start(ONE)
    found = services.why(run)
    assert list(found) == ["workers_busy", "priority"]
    assert f"worker {worker}" in found["workers_busy"].text
    assert "1 of 1" in found["workers_busy"].text
    assert found["priority"].text == f"1 stage before a by priority and age: h of run {high.number}"
    assert list(services.why(high)) == ["workers_busy"]


def test_a_backfill_under_live_load(services: Services) -> None:
    worker = services.enter()
    services.start(ONE)
    services.claim(worker, "a")
    run, live = services.start(ONE, run_type="backfill"), services.start(ONE)
    assert f"1 stage of live runs before it, a of run {live.number}" in services.why(run)["live_first"].text


# Attempts that run.


def test_a_running_attempt_that_was_asked_to_pause(services: Services) -> None:
    worker = services.enter()
    run = services.start(ONE)
    claimed = services.claim(worker, "a")
    services.client.pause(str(run.number))
    found = services.why(run)
    assert set(found) == {"run_paused", "pausing"}
    assert f"attempt {claimed.attempt} on worker {worker}" in found["pausing"].text


def test_a_running_attempt_whose_worker_is_silent(services: Services, clock: ManualClock) -> None:
    worker = services.enter()
    run = services.start(ONE)
    services.claim(worker, "a")
    clock.forward(31)
    assert f"a is on worker {worker}" in services.only(run, "worker_silent").text


# What is decided and not applied.


def test_a_decided_epoch_that_did_not_reach_its_targets(services: Services, command: Command) -> None:
    worker = services.enter()
    run = services.start(ONE)
    claimed = services.claim(worker, "a")
    command.epoch(claimed.attempt, 1)
    services.finish(claimed, Outcome.FAILED)
    services.finish(services.claim(worker, "a"), Outcome.FAILED)  # the attempt that may only apply
    reason = services.only(run, "unresolved")
    assert f"fustgo runs retry {run.number} --node a" in reason.remedy
    assert f"fustgo runs abandon {run.number} --node a" in reason.remedy
    services.client.abandon(str(run.number))
    assert "is being given up" in services.why(run)["unresolved"].remedy


def test_of_a_held_run_the_command_is_named(services: Services, command: Command) -> None:
    run = command.start(ONE)
    claimed = command.must_claim("a")
    command.epoch(claimed.attempt, 1)
    command.finish(claimed.attempt, Outcome.FAILED)
    command.finish(command.must_claim("a").attempt, Outcome.FAILED)
    assert f"fustgo run people.py --resume {run.number}" in services.only(run, "unresolved").remedy


def test_a_held_run_that_waits_for_its_next_try_is_ended_where_it_is_executed(
    services: Services, command: Command
) -> None:
    run = command.start(graph({"a": ""}, retries=1, retry_delay=60))
    command.finish(command.must_claim("a").attempt, Outcome.FAILED)
    assert services.why(run)["retry"].remedy == "wait, or end it there with Ctrl-C"


def test_what_may_only_apply_is_not_kept_by_a_pause(services: Services, command: Command) -> None:
    worker = services.enter()
    run = services.start(ONE)
    claimed = services.claim(worker, "a")
    command.epoch(claimed.attempt, 1)
    services.finish(claimed, Outcome.FAILED)
    services.client.pause(str(run.number), node="a")
    assert list(services.why(run)) == ["about_to_run"]
