"""An attempt is claimed once, by who may, in the right order, within pools."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

from sqlalchemy import Connection, text

from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import attempts, dags, pools, queue, runs, stage_runs
from orchestrator.store.database import Database
from orchestrator.store.definitions import Definitions
from orchestrator.store.verbs import pausing
from tests.support.store import START, Command, ManualClock, graph

FREE = graph(dict.fromkeys("abcd", ""))

CLAIM_ALL = """
import sys, json
from orchestrator.clock import SystemClock
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.store import processes, steps, workers
from orchestrator.store.database import open_database
store = open_database(sys.argv[1], clock=SystemClock())
with store.transaction() as connection:
    pid, started = processes.this_process()
    worker = workers.register_worker(connection, host=processes.host(), pid=pid, start_time=started,
                                     kind="worker", now=store.clock.now())
sys.stdin.readline()
mine = []
while claimed := steps.claim(store, worker=worker, limit=2):
    mine += [one.attempt for one in claimed]
    steps.finish(store, {one.attempt: Report(Outcome.SUCCESS) for one in claimed})
print(json.dumps(mine))
"""


def one(connection: Connection, command: Command) -> queue.Claimed | None:
    """The next attempt of those that nobody holds."""
    return next(iter(queue.claim(connection, worker=command.worker, now=START)), None)


def test_several_processes_claim_every_attempt_once(command: Command, url: str) -> None:
    for _ in range(5):
        command.start(graph(dict.fromkeys("abcdefgh", "")), held_by=None)
    many = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    claimed = [attempt for process in many for attempt in json.loads(process.communicate("go\n", 120)[0])]
    assert sorted(claimed) == list(range(1, 41))
    assert [command.run(number).state for number in range(1, 6)] == [RunState.SUCCESS] * 5


def test_a_command_claims_only_what_it_holds_and_one_at_a_time(command: Command, database: Database) -> None:
    command.start(FREE, held_by=None)
    mine = command.start(FREE)
    claimed = command.must_claim()
    assert claimed.run.number == mine.number
    assert command.claim() is None
    command.finish(claimed.attempt)
    assert command.must_claim().run.number == mine.number


def test_services_do_not_claim_what_a_command_holds(command: Command, database: Database) -> None:
    command.start(FREE)
    with database.transaction() as connection:
        assert one(connection, command) is None


def test_a_claim_carries_what_an_order_is_made_from(command: Command, database: Database) -> None:
    run = command.start(graph({"a": ""}), params={"day": "2026-01-01"})
    claimed = command.must_claim()
    assert (claimed.run.number, claimed.stage_run.stage, claimed.base, claimed.only) == (
        run.number,
        "a",
        0,
        None,
    )
    assert (claimed.dag.dag_id, claimed.run.params) == ("people", {"day": "2026-01-01"})
    assert Definitions(database).document(claimed.version)["nodes"][0]["id"] == "a"
    assert Definitions(database).nodes(claimed.version, "a") == ("a",)
    assert claimed.stage_run.started_at == START


def test_nothing_of_a_paused_run_is_claimed_but_what_is_owed(command: Command, database: Database) -> None:
    run = command.start(graph({"a": "", "b": ""}))
    attempt = command.must_claim("a").attempt
    command.epoch(attempt, 1)
    with database.transaction() as connection:
        pausing.pause_run(connection, run, now=START)
    command.finish(attempt, Outcome.FAILED)
    applying = command.must_claim("a")
    assert applying.only == "apply"
    command.finish(applying.attempt, Outcome.FAILED)
    assert command.claim() is None


def test_nothing_of_a_paused_stage_is_claimed(command: Command, database: Database) -> None:
    run = command.start(graph({"a": "", "b": ""}))
    with database.transaction() as connection:
        stage_runs.change(connection, command.stages(run.number)["a"].id, paused=True)
    command.must_claim("b")


def test_live_goes_before_backfill_then_priority_then_the_order_of_runs(
    command: Command, database: Database
) -> None:
    back = command.start(graph({"a": ""}, weight=9), run_type="backfill", held_by=None)
    low = command.start(graph({"a": ""}, weight=1), held_by=None)
    high = command.start(graph({"a": ""}, weight=5), held_by=None)
    later = command.start(graph({"a": ""}, weight=5), held_by=None)
    order = []
    with database.transaction() as connection:
        while (claimed := one(connection, command)) is not None:
            order.append(claimed.run.number)
    assert order == [high.number, later.number, low.number, back.number]


def test_what_does_not_fit_closes_its_pool_and_no_other(command: Command, database: Database) -> None:
    with database.transaction() as connection:
        pools.set_pool(connection, "db", 2)
    command.start(graph({"a": ""}, weight=9, pool="db", pool_slots=1), held_by=None)
    big = command.start(graph({"a": ""}, weight=8, pool="db", pool_slots=2), held_by=None)
    small = command.start(graph({"a": ""}, weight=7, pool="db", pool_slots=1), held_by=None)
    other = command.start(graph({"a": ""}, weight=1), held_by=None)
    with database.transaction() as connection:
        first, second, third = (one(connection, command) for _ in range(3))
        assert first is not None
        assert second is not None
        assert (second.run.number, third) == (other.number, None)  # `small` fits, but does not overtake `big`
        finished = first.attempt
    command.finish(finished)
    with database.transaction() as connection:
        claimed = one(connection, command)
        assert claimed is not None
        assert claimed.run.number == big.number
    assert command.states(small.number) == {"a": "queued"}


def test_a_stage_that_never_can_fit_its_pool_closes_it_for_nobody(
    command: Command, database: Database
) -> None:
    with database.transaction() as connection:
        pools.set_pool(connection, "db", 2)
    command.start(graph({"a": ""}, weight=9, pool="db", pool_slots=3), held_by=None)
    small = command.start(graph({"a": ""}, pool="db"), held_by=None)
    with database.transaction() as connection:
        claimed = one(connection, command)
    assert claimed is not None
    assert claimed.run.number == small.number


def test_a_pool_that_is_not_known_here_does_not_limit(command: Command) -> None:
    command.start(graph({"a": ""}, pool="warehouse", pool_slots=1000))
    command.must_claim("a")


def test_a_dag_at_its_cap_of_running_attempts_is_left_out(command: Command, database: Database) -> None:
    command.start(FREE, held_by=None)
    with database.transaction() as connection:
        connection.execute(text("UPDATE dags SET max_active_tasks = 2"))
        found = [one(connection, command) for _ in range(3)]
    assert [claimed is not None for claimed in found] == [True, True, False]


def test_what_a_dag_at_its_cap_leaves_is_filled_by_others_in_the_same_claim(
    command: Command, database: Database
) -> None:
    capped = command.start(FREE, held_by=None)
    other = command.start(FREE, held_by=None)
    with database.transaction() as connection:
        connection.execute(text("UPDATE dags SET max_active_tasks = 1"))
        dag = dags.ensure_dag(connection, space="/elsewhere", dag_id="others", now=START)
        runs.change(connection, other.number, dag=dag.id)
    with database.transaction() as connection:
        found = queue.claim(connection, worker=command.worker, limit=2, now=START)
    assert [claimed.run.number for claimed in found] == [capped.number, other.number]


def test_a_stage_that_asks_for_a_label_waits_for_a_worker_that_has_it(
    command: Command, database: Database
) -> None:
    command.start(graph({"a": ""}, queue="gpu"), held_by=None)
    with database.transaction() as connection:
        assert one(connection, command) is None
        connection.exec_driver_sql("UPDATE workers SET labels = '[\"gpu\"]'")
        assert one(connection, command) is not None


def test_a_command_runs_its_own_stages_whatever_label_they_ask_for(command: Command) -> None:
    command.start(graph({"a": ""}, queue="gpu"))
    command.must_claim("a")


def test_the_next_due_time_is_that_of_the_earliest_attempt_that_may_be_claimed(
    command: Command, database: Database, clock: ManualClock
) -> None:
    run = command.start(graph({"a": "", "b": ""}, retries=1, retry_delay=60.0))
    for _ in range(2):
        command.finish(command.must_claim().attempt, Outcome.FAILED)
        clock.forward(5)
    with database.transaction() as connection:
        assert queue.next_due(connection, worker=command.worker, held=True) == START + timedelta(seconds=60)
        runs.change(connection, run.number, paused=True)
        assert queue.next_due(connection, worker=command.worker, held=True) is None
        assert len(attempts.open_attempts(connection, run.number)) == 2
