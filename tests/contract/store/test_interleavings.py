"""Two sessions of PostgreSQL at once, in both orders: who waits for whom, and what each then finds.

One session stands inside its transaction while the other begins; that one is seen to wait, or not to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from sqlalchemy import text

from orchestrator.errors import AttemptLost
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import attempts, finishing, promotion, queue, runs, steps, transitions
from orchestrator.store.database import CollisionError, Database
from orchestrator.store.verbs import pausing
from tests.support.store import START, Command, graph

T = TypeVar("T")
# SQLite has one writer: nothing interleaves there.
pytestmark = pytest.mark.parametrize("dialect", ["postgresql"])
JOIN = graph({"a": "", "b": "", "c": "ab"})
FREE = graph(dict.fromkeys("ab", ""))
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def until_it_waits(database: Database, other: Future[Any]) -> None:
    """Return when another session waits for a lock; fails where it ended instead."""
    pause = threading.Event()
    while True:
        with database.read() as connection:
            if connection.execute(WAITING).scalar():
                return
        assert not other.done(), f"it did not wait: {other.result()}"
        pause.wait(0.01)


def claim(database: Database, command: Command) -> queue.Claimed | None:
    return next(iter(steps.claim(database, worker=command.worker)), None)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_stages_that_end_at_once_the_second_sees_the_first(
    command: Command, database: Database, aside: Any, order: tuple[int, int]
) -> None:
    run = command.start(JOIN, held_by=None)
    both = [claim(database, command), claim(database, command)]
    first, second = (claimed.attempt for claimed in (both[order[0]], both[order[1]]) if claimed)
    with database.transaction() as connection:
        finishing.finish(connection, {first: Report(Outcome.SUCCESS)}, START)
        other = aside(lambda: steps.finish(database, {second: Report(Outcome.SUCCESS)}))
        until_it_waits(database, other)
    other.result()
    assert command.states(run.number) == {"a": "success", "b": "success", "c": "queued"}
    with database.read() as connection:
        assert len(attempts.open_attempts(connection, run.number)) == 1


def test_a_claim_goes_on_while_another_stage_of_the_run_ends(
    command: Command, database: Database, aside: Any
) -> None:
    command.start(FREE, held_by=None)
    ending = claim(database, command)
    assert ending is not None
    with database.transaction() as connection:
        finishing.finish(connection, {ending.attempt: Report(Outcome.SUCCESS)}, START)
        claimed = aside(lambda: claim(database, command)).result(60)
        assert claimed is not None
    assert claimed.stage_run.stage != ending.stage_run.stage


def test_a_claim_passes_over_a_run_that_a_verb_changes(
    command: Command, database: Database, aside: Any
) -> None:
    paused = command.start(FREE, held_by=None)
    other = command.start(FREE, held_by=None)
    with database.transaction() as connection:
        pausing.pause_run(connection, paused, now=START)
        claimed = aside(lambda: claim(database, command)).result(60)
        assert claimed.run.number == other.number
    assert claim(database, command) is not None
    assert claim(database, command) is None
    assert command.states(paused.number) == {"a": "queued", "b": "queued"}


def test_a_verb_waits_for_a_claim_and_finds_what_it_took(
    command: Command, database: Database, aside: Any
) -> None:
    run = command.start(graph({"a": ""}), held_by=None)

    def states_under_lock() -> list[str]:
        with database.transaction() as connection:
            locked = runs.lock(connection, run.number)
            return [str(attempt.state) for attempt in attempts.open_attempts(connection, locked.number)]

    with database.transaction() as connection:
        assert queue.claim(connection, worker=command.worker, now=START)
        verb = aside(states_under_lock)
        until_it_waits(database, verb)
    assert verb.result() == ["running"]


def test_of_two_claims_the_second_counts_the_first(command: Command, database: Database, aside: Any) -> None:
    command.start(FREE, held_by=None)
    with database.transaction() as connection:
        connection.execute(text("UPDATE dags SET max_active_tasks = 1"))
    with database.transaction() as connection:
        assert queue.claim(connection, worker=command.worker, now=START)
        second = aside(lambda: claim(database, command))
        until_it_waits(database, second)
    assert second.result() is None


def test_what_an_attempt_writes_while_it_is_taken_away_bounces(
    command: Command, database: Database, aside: Any
) -> None:
    command.start(FREE, held_by=None)
    claimed = claim(database, command)
    assert claimed is not None
    with database.transaction() as connection:
        finishing.finish(connection, {claimed.attempt: Report(Outcome.LOST)}, START)
        zombie = aside(lambda: command.epoch(claimed.attempt, 1))
        until_it_waits(database, zombie)
    with pytest.raises(AttemptLost):
        zombie.result()


@pytest.mark.parametrize("outcomes", [(Outcome.LOST, Outcome.SUCCESS), (Outcome.SUCCESS, Outcome.LOST)])
def test_of_an_end_and_a_loss_of_one_attempt_the_first_counts_and_the_second_bounces(
    command: Command, database: Database, aside: Any, outcomes: tuple[Outcome, Outcome]
) -> None:
    run = command.start(JOIN, held_by=None)
    claimed = claim(database, command)
    assert claimed is not None
    first, second = ({claimed.attempt: Report(outcome)} for outcome in outcomes)
    with database.transaction() as connection:
        finishing.finish(connection, first, START)
        other = aside(lambda: steps.finish(database, second))
        until_it_waits(database, other)
    assert other.result() == {claimed.attempt: None}
    ended = "queued" if outcomes[0] == Outcome.LOST else "success"
    assert command.states(run.number)["a"] == ended


def test_ends_of_several_runs_in_any_order_do_not_collide(
    command: Command, database: Database, aside: Any
) -> None:
    started = [command.start(FREE, held_by=None).number for _ in range(6)]
    claimed = steps.claim(database, worker=command.worker, limit=12)
    halves = claimed[::2], claimed[1::2][::-1]
    reports = [{one.attempt: Report(Outcome.SUCCESS) for one in half} for half in halves]
    other = aside(lambda: steps.finish(database, reports[1]))
    steps.finish(database, reports[0])
    other.result()
    assert database.retried == 0
    assert {command.run(number).state for number in started} == {RunState.SUCCESS}


@pytest.mark.parametrize("limit", [1, 2])
def test_of_two_promotions_at_once_the_second_counts_the_first(
    command: Command, database: Database, aside: Any, limit: int
) -> None:
    for _ in range(3):
        dag = command.start(FREE, held_by=None, state=RunState.QUEUED).dag
    with database.transaction() as connection:
        connection.execute(text("UPDATE dags SET max_active_runs = :limit"), {"limit": limit})
    with database.transaction() as connection:
        first = promotion._promote(connection, dag, START)
        second = aside(lambda: promotion.promote(database, dag))
        until_it_waits(database, second)
    assert (len(first), second.result()) == (limit, [])


def test_a_promotion_waits_for_a_verb_and_finds_what_it_did(
    command: Command, database: Database, aside: Any
) -> None:
    run = command.start(FREE, held_by=None, state=RunState.QUEUED)
    with database.transaction() as connection:
        runs.lock(connection, run.number)
        promoted = aside(lambda: promotion.promote(database, run.dag))
        until_it_waits(database, promoted)
        values = {"now": START, "ended_at": START}
        transitions.move_run(connection, run.number, RunState.QUEUED, RunState.CANCELLED, **values)
    assert promoted.result() == []
    assert command.run(run.number).state == RunState.CANCELLED


def test_two_commands_that_store_one_dag_at_once_share_it(
    command: Command, database: Database, aside: Any
) -> None:
    two = [aside(lambda: command.start(FREE)), None]
    first = command.start(FREE)
    assert first.dag == two[0].result().dag
    with database.read() as connection:
        names = connection.execute(text("SELECT run_id FROM runs")).scalars().all()
    assert len(set(names)) == 2


def lock_two(
    database: Database, first: str, second: str, meanwhile: Callable[[], object]
) -> Callable[[], None]:
    statement = text("SELECT 1 FROM pools WHERE name = :name FOR UPDATE")

    def work() -> None:
        def inside(connection: Any) -> None:
            connection.execute(statement, {"name": first})
            meanwhile()
            connection.execute(statement, {"name": second})

        database.run_transaction(inside)

    return work


def test_a_deadlock_is_run_again_and_counted(database: Database, aside: Any) -> None:
    with database.transaction() as connection:
        connection.execute(text("INSERT INTO pools VALUES ('other', 1, '')"))
    met = threading.Barrier(2)
    rounds = {"here": 0, "there": 0}

    def meet(who: str) -> None:
        rounds[who] += 1
        if rounds[who] == 1:
            met.wait(60)

    there = aside(lock_two(database, "other", "default", lambda: meet("there")))
    lock_two(database, "default", "other", lambda: meet("here"))()
    there.result()
    # Mostly one of them gives way once; on a busy machine both may, or the same one again.
    assert database.retried == sum(rounds.values()) - 2 >= 1


def test_a_deadlock_outside_of_what_can_be_run_again_is_told(database: Database) -> None:
    def collide() -> None:
        with database.transaction() as connection:
            connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))

    with pytest.raises(CollisionError):
        collide()
