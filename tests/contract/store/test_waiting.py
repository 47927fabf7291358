"""Why something waits: each reason is made to happen, named with who and what, and with its remedy."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import build_parser
from orchestrator.client import Client
from orchestrator.errors import UsageError
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.runs.why import Reason
from orchestrator.sdk.registry import Registry
from orchestrator.store import dags, pools, processes, runs, steps, workers
from orchestrator.store.database import Database
from orchestrator.store.queue import Claimed
from orchestrator.store.tables import Run, table_of
from orchestrator.store.tables.services import Backfill
from orchestrator.store.verbs import pausing
from tests.support.store import START, Command, ManualClock, graph


@dataclass
class Services:
    """The store as services see it: runs that nobody holds, workers that beat."""

    database: Database
    clock: ManualClock
    command: Command

    @property
    def client(self) -> Client:
        return Client(self.database, Registry(), self.clock, Path("/nowhere"), actor="ada")

    def start(self, stages: Any, state: RunState = RunState.RUNNING, **values: Any) -> Run:
        return self.command.start(stages, held_by=None, state=state, **values)

    def enter(self, kind: str = "worker", *, labels: tuple[str, ...] = (), slots: int = 1) -> int:
        pid, started = processes.this_process()
        with self.database.transaction() as connection:
            return workers.register_worker(
                connection, host=processes.host(), pid=pid, start_time=started, kind=kind, labels=labels,
                slots=slots, now=self.clock.now(),
            )  # fmt: skip

    def claim(self, worker: int, stage: str) -> Claimed:
        (claimed,) = steps.claim(self.database, worker=worker)
        assert claimed.stage_run.stage == stage
        return claimed

    def finish(self, claimed: Claimed, outcome: Outcome = Outcome.SUCCESS, **values: Any) -> None:
        assert steps.finish(self.database, {claimed.attempt: Report(outcome, **values)})[claimed.attempt]

    def limit(self, run: Run, **values: int) -> None:
        with self.database.transaction() as connection:
            connection.execute(dags.dags.update().where(dags.dags.c.id == run.dag).values(**values))

    def pool(self, name: str, slots: int) -> None:
        with self.database.transaction() as connection:
            pools.set_pool(connection, name, slots)

    def why(self, run: Run, node: str | None = None) -> dict[str, Reason]:
        found = self.client.why(str(run.number), node)
        for reason in found:
            assert reason.text
            assert reason.remedy
            must_be_commands(reason.remedy)
        return {reason.code: reason for reason in found}

    def only(self, run: Run, code: str, node: str | None = None) -> Reason:
        """The one reason that there is."""
        found = self.why(run, node)
        assert list(found) == [code]
        return found[code]


def must_be_commands(remedy: str) -> None:
    """What a remedy tells to type is something that can be typed."""
    for command in re.findall(r"fustgo ([^;,:]+)", remedy):
        words = shlex.split(command)
        if words not in (["standalone"], ["worker"]):  # they take nothing
            build_parser(words[0]).parse_args(words)


@pytest.fixture
def services(database: Database, clock: ManualClock, command: Command) -> Services:
    return Services(database, clock, command)


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


# Runs.


def test_a_queued_run_without_a_scheduler(services: Services, clock: ManualClock) -> None:
    run = services.start(TWO, RunState.QUEUED)
    assert "fustgo scheduler" in services.why(run)["no_scheduler"].remedy
    services.enter("scheduler")
    assert "no_scheduler" not in services.why(run)
    clock.forward(31)  # it has not beaten since
    assert "no_scheduler" in services.why(run)


def test_a_queued_run_of_a_dag_with_as_many_active_ones_as_it_may_have(services: Services) -> None:
    services.enter("scheduler")
    first, run = services.start(ONE), services.start(ONE, RunState.QUEUED)
    assert "about_to_start" in services.why(run)
    services.limit(run, max_active_runs=1)
    reason = services.why(run)["max_active_runs"]
    assert f"may have 1 active, and has run {first.number}" in reason.text
    assert "max_active_runs" in reason.remedy


def test_a_queued_run_behind_others(services: Services) -> None:
    services.enter("scheduler")
    first, run = services.start(ONE, RunState.QUEUED), services.start(ONE, RunState.QUEUED)
    services.limit(run, max_active_runs=1)
    assert f"behind run {first.number}" in services.why(run)["runs_before"].text


def test_a_run_of_a_paused_backfill(services: Services) -> None:
    services.enter("scheduler")
    run = services.start(ONE, RunState.QUEUED, run_type="backfill")
    with services.database.transaction() as connection:
        made = connection.execute(
            table_of(Backfill)
            .insert()
            .values(
                dag=run.dag, first=START, last=START, max_active_runs=1, paused=True, params={},
                created_by="ada", created_at=START,
            )
            .returning(table_of(Backfill).c.id)
        )  # fmt: skip
        runs.change(connection, run.number, backfill=made.scalar_one())
    assert "its backfill is paused" in services.only(run, "no_places").text


def test_a_paused_run_and_a_paused_stage(services: Services) -> None:
    services.enter()
    run = services.start(ONE)
    services.client.pause(str(run.number))
    assert services.why(run)["run_paused"].remedy == f"fustgo runs resume {run.number}"
    services.client.resume(str(run.number))
    services.client.pause(str(run.number), node="a")
    reason = services.why(run, "a")["stage_paused"]
    assert (reason.stage, reason.remedy) == ("a", f"fustgo runs resume {run.number} --node a")


def test_a_run_that_is_being_cancelled_waits_for_its_attempts(services: Services, clock: ManualClock) -> None:
    worker = services.enter()
    run = services.start(ONE)
    claimed = services.claim(worker, "a")
    services.client.cancel(str(run.number))
    found = services.why(run)
    assert set(found) == {"cancelling", "stopping"}
    assert f"attempt {claimed.attempt} of a" in found["cancelling"].text
    assert f"worker {worker} (process" in found["cancelling"].text
    assert "becomes cancelled" in found["stopping"].text
    clock.forward(31)
    assert "does not answer" in services.why(run)["cancelling"].remedy


def test_a_run_that_a_command_holds(services: Services, command: Command) -> None:
    run = command.start(graph({"a": "", "b": ""}))
    reason = services.why(run, "b")["held"]
    assert f"process {command.pid} on {processes.host()}" in reason.text
    assert f"fustgo run people.py --resume {run.number}" in reason.remedy


def test_a_paused_run_whose_command_is_gone(services: Services, killed: Command) -> None:
    """One that is not paused has failed by then: "the command was killed"."""
    run = killed.start(ONE)
    with services.database.transaction() as connection:
        pausing.pause_run(connection, run, now=services.clock.now())
    reason = services.why(run)["holder_gone"]
    assert f"process {killed.pid}" in reason.text
    assert reason.remedy == f"fustgo run people.py --resume {run.number}"


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


def test_what_may_only_apply_is_not_kept_by_a_pause(services: Services, command: Command) -> None:
    worker = services.enter()
    run = services.start(ONE)
    claimed = services.claim(worker, "a")
    command.epoch(claimed.attempt, 1)
    services.finish(claimed, Outcome.FAILED)
    services.client.pause(str(run.number), node="a")
    assert list(services.why(run)) == ["about_to_run"]
