"""Workers beat; what they no longer execute is given back; their rows say who lives."""

from __future__ import annotations

import pytest

from orchestrator.store import processes, runners, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import Worker
from orchestrator.store.workers import Beat
from tests.support.store import START, Command, ManualClock, gone_process, graph


def register(database: Database, *, host: str = "", gone: bool = False) -> int:
    pid, started = gone_process() if gone else processes.this_process()
    with database.transaction() as connection:
        return workers.register_worker(
            connection,
            host=host or processes.host(),
            pid=pid,
            start_time=started,
            kind="worker",
            labels=["gpu"],
            slots=4,
            now=START,
        )


def beat(database: Database, worker: int, *executing: int) -> Beat:
    with database.transaction() as connection:
        return workers.beat(connection, worker, executing, database.clock.now())


def row(database: Database, worker: int) -> Worker:
    with database.read() as connection:
        return workers.get(connection, worker)


def test_a_beat_counts_and_names_its_time(database: Database, clock: ManualClock) -> None:
    worker = register(database)
    clock.forward(10)
    assert beat(database, worker) == Beat()
    assert (row(database, worker).beat, row(database, worker).beat_at) == (1, clock.now())
    assert (row(database, worker).labels, row(database, worker).slots) == (["gpu"], 4)


def test_what_was_not_executed_in_two_beats_running_is_given_back(
    database: Database, command: Command
) -> None:
    command.start(graph({"a": ""}))
    attempt = command.must_claim("a").attempt
    assert beat(database, command.worker) == Beat()  # the answer to the claim may be under way
    assert beat(database, command.worker, attempt) == Beat()
    assert beat(database, command.worker) == Beat()
    assert beat(database, command.worker) == Beat(given_back=(attempt,))


def test_a_command_executes_all_that_it_claims(database: Database, command: Command) -> None:
    command.start(graph({"a": ""}))
    command.must_claim("a")
    with database.transaction() as connection:
        beats = [workers.beat(connection, command.worker, None, START) for _ in range(3)]
    assert beats == [Beat()] * 3


def test_what_another_worker_runs_is_not_given_back(database: Database, command: Command) -> None:
    command.start(graph({"a": ""}))
    command.must_claim("a")
    worker = register(database)
    assert [beat(database, worker) for _ in range(3)] == [Beat()] * 3


def test_a_worker_that_was_taken_for_dead_hears_it_with_its_next_beat(database: Database) -> None:
    worker = register(database)
    with database.transaction() as connection:
        assert workers.end_dead(connection, worker, 0, START)
    assert beat(database, worker) == Beat(ended=True)


def test_a_worker_that_has_beaten_since_is_not_dead(database: Database) -> None:
    worker = register(database)
    beat(database, worker)
    with database.transaction() as connection:
        assert not workers.end_dead(connection, worker, 0, START)
    assert row(database, worker).ended_at is None


def test_a_worker_is_asked_to_drain_and_hears_it_with_its_next_beat(database: Database) -> None:
    worker = register(database)
    with database.transaction() as connection:
        assert workers.ask_to_drain(connection, worker)
    assert beat(database, worker) == Beat(draining=True)
    with database.transaction() as connection:
        workers.end_worker(connection, worker, START)
        assert not workers.ask_to_drain(connection, worker)


def test_the_list_shows_who_has_not_ended_and_what_each_runs(database: Database, command: Command) -> None:
    command.start(graph({"a": "", "b": ""}))
    command.must_claim()
    worker = register(database)
    with database.transaction() as connection:
        workers.end_worker(connection, worker, START)
    with database.read() as connection:
        assert [(found.worker.id, found.running) for found in workers.list_workers(connection)] == [
            (command.worker, 1)
        ]
        assert [found.worker.id for found in workers.list_workers(connection, ended=True)] == [
            command.worker,
            worker,
        ]


@pytest.mark.parametrize(
    ("host", "gone", "silence", "shown"),
    [
        ("", False, 0, "online"),
        ("", True, 0, "offline"),
        ("elsewhere", True, 0, "online"),
        ("elsewhere", False, 31, "offline"),
        ("", False, 31, "offline"),
    ],
)
def test_people_see_who_is_offline(
    database: Database, clock: ManualClock, host: str, gone: bool, silence: int, shown: str
) -> None:
    worker = row(database, register(database, host=host, gone=gone))
    clock.forward(silence)
    assert workers.shown_as(worker, clock.now(), lease=30) == shown


def test_runners_are_left_until_they_are_seen_to_end(database: Database) -> None:
    worker, other = register(database), register(database)
    with database.transaction() as connection:
        first = runners.add(connection, worker, 4711, "boot:1", "abc", START)
        second = runners.add(connection, worker, 4712, "boot:2", None, START)
        runners.add(connection, other, 4713, "boot:3", None, START)
        runners.end(connection, [first], START)
        runners.end(connection, [], START)
    with database.read() as connection:
        assert [(found.id, found.pid) for found in runners.left(connection, worker)] == [(second, 4712)]
