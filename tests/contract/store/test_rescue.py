"""What the dead had is given to others, once, and their late writes bounce (rules 9.5 and 9.6)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from orchestrator.errors import AttemptLost
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.scheduler.rescuer import Rescuer
from orchestrator.store import processes, rescue, runners, steps, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import Run, Worker
from orchestrator.worker.heartbeat import Heartbeat
from tests.support.store import Command, ManualClock, gone_process, graph

ONE = graph({"a": ""}, retries=0)


@dataclass
class Service:
    """A worker service's row: of this process unless it is gone, here or on another host."""

    database: Database
    gone: bool = False
    host: str = ""
    id: int = field(init=False)

    def __post_init__(self) -> None:
        pid, started = gone_process() if self.gone else processes.this_process()
        with self.database.transaction() as connection:
            self.id = workers.register_worker(
                connection,
                host=self.host or processes.host(),
                pid=pid,
                start_time=started,
                kind="worker",
                slots=4,
                now=self.database.clock.now(),
            )

    def claim(self) -> int:
        (claimed,) = steps.claim(self.database, worker=self.id)
        return claimed.attempt

    def beat(self, *executing: int) -> workers.Beat:
        beating = Heartbeat(self.database, self.id, interval=10, executing=lambda: executing)
        return beating.beat()

    def row(self) -> Worker:
        with self.database.read() as connection:
            return workers.get(connection, self.id)


@pytest.fixture
def run(command: Command) -> Run:
    """A run of the services with one stage that has no tries to lose."""
    return command.start(ONE, held_by=None)


def sweeps(database: Database, clock: ManualClock, seconds: int) -> Rescuer:
    """A rescuer that has looked each two seconds for so long."""
    rescuer = Rescuer(database, lease=30)
    rescuer.sweep()
    for _ in range(seconds // 2):
        clock.forward(2)
        rescuer.sweep()
    return rescuer


def outcomes(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(text("SELECT outcome FROM attempts ORDER BY id")).scalars())


def test_a_worker_whose_process_is_gone_loses_what_it_ran_at_once_and_it_is_no_try(
    database: Database, clock: ManualClock, command: Command, run: Run
) -> None:
    dead = Service(database, gone=True)
    attempt = dead.claim()
    sweeps(database, clock, 0)
    assert outcomes(database) == ["lost", None]
    stage = command.stages(run.number)["a"]
    assert (stage.state, stage.tries, stage.losses) == ("queued", 0, 1)
    assert stage.error == {
        "message": f"worker {dead.id} (process {dead.row().pid} on {processes.host()}) died",
        "cause": "worker lost",
    }
    assert dead.row().ended_at == clock.now()
    assert Service(database).claim() != attempt


def test_a_worker_that_is_silent_for_a_lease_is_dead_wherever_it_is(
    database: Database, clock: ManualClock, run: Run
) -> None:
    silent = Service(database, host="elsewhere")
    silent.claim()
    rescuer = sweeps(database, clock, 28)
    assert outcomes(database) == [None]
    clock.forward(2)
    rescuer.sweep()
    assert outcomes(database) == ["lost", None]


def test_a_worker_that_beats_is_left_alone(database: Database, clock: ManualClock, run: Run) -> None:
    living = Service(database, host="elsewhere")
    attempt = living.claim()
    rescuer = Rescuer(database, lease=30)
    for _ in range(40):
        clock.forward(2)
        if clock.seconds % 10 == 0:
            living.beat(attempt)
        rescuer.sweep()
    assert outcomes(database) == [None]


def test_who_has_beaten_since_it_was_seen_keeps_what_it_runs(database: Database, run: Run) -> None:
    stopped = Service(database)
    attempt = stopped.claim()
    stopped.beat(attempt)
    assert rescue.lose(database, stopped.id, beat_seen=0) == []
    assert outcomes(database) == [None]
    assert rescue.lose(database, stopped.id, beat_seen=1) == [attempt]
    assert rescue.lose(database, stopped.id, beat_seen=1) == []


def test_the_late_writes_of_a_worker_that_was_stopped_past_its_lease_bounce(
    database: Database, command: Command, clock: ManualClock, run: Run
) -> None:
    stopped = Service(database)
    attempt = stopped.claim()
    sweeps(database, clock, 30)
    other = Service(database)
    second = other.claim()
    with pytest.raises(AttemptLost):
        command.epoch(attempt, 1)
    assert steps.finish(database, {attempt: Report(Outcome.SUCCESS)}) == {attempt: None}
    assert stopped.beat(attempt) == workers.Beat(ended=True)
    assert command.states(run.number) == {"a": "running"}
    assert steps.finish(database, {second: Report(Outcome.SUCCESS)})[second] is not None
    assert command.run(run.number).state == RunState.SUCCESS


def test_what_a_worker_claims_after_it_was_taken_for_dead_is_found_too(
    database: Database, clock: ManualClock, run: Run
) -> None:
    zombie = Service(database)
    sweeps(database, clock, 30)
    assert zombie.row().ended_at is not None
    zombie.claim()
    sweeps(database, clock, 0)
    assert outcomes(database) == ["lost", None]


def test_a_stage_that_kills_its_workers_stops_after_its_losses_with_the_cause(
    database: Database, clock: ManualClock, command: Command, run: Run
) -> None:
    for _ in range(10):
        if command.run(run.number).state != RunState.RUNNING:
            break
        Service(database, gone=True).claim()
        sweeps(database, clock, 0)
    stage = command.stages(run.number)["a"]
    assert (str(stage.state), stage.losses < 10) == ("failed", True)
    assert stage.error is not None
    assert stage.error["cause"] == "worker lost"


@contextmanager
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own group that waits for ever."""
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_runners_of_a_dead_worker_are_killed_before_its_attempts_may_start_again(
    database: Database, clock: ManualClock, run: Run
) -> None:
    dead = Service(database, gone=True)
    dead.claim()
    with sleeping() as runner, sleeping() as stranger:
        with database.transaction() as connection:
            for process, started in ((runner, ""), (stranger, "0")):  # the stranger was given the pid anew
                began = f"{processes.start_time(process.pid)}{started}"
                runners.add(connection, dead.id, process.pid, began, None, clock.now())
        sweeps(database, clock, 0)
        assert runner.wait(10) == -9
        assert stranger.poll() is None
    assert outcomes(database) == ["lost", None]
    with database.read() as connection:
        assert runners.left(connection, dead.id) == []


def test_runners_on_another_host_are_not_looked_for_here(
    database: Database, clock: ManualClock, run: Run
) -> None:
    dead = Service(database, host="elsewhere")
    dead.claim()
    with sleeping() as stranger:
        with database.transaction() as connection:
            began = processes.start_time(stranger.pid) or ""
            runners.add(connection, dead.id, stranger.pid, began, None, clock.now())
        sweeps(database, clock, 30)
        assert stranger.poll() is None
    assert outcomes(database) == ["lost", None]


def test_a_command_on_another_host_is_dead_by_its_silence_and_its_run_fails(
    database: Database, clock: ManualClock, command: Command
) -> None:
    held = command.start(ONE)
    command.must_claim("a")
    with database.transaction() as connection:
        connection.execute(text("UPDATE workers SET host = 'elsewhere'"))
    rescuer = sweeps(database, clock, 28)
    assert command.run(held.number).state == RunState.RUNNING
    clock.forward(2)
    rescuer.sweep()
    rescuer.sweep()
    assert command.run(held.number).state == RunState.FAILED
    assert outcomes(database) == ["lost"]


def test_a_command_that_was_suspended_on_this_host_is_left_alone(
    database: Database, clock: ManualClock, command: Command
) -> None:
    held = command.start(ONE)
    command.must_claim("a")
    sweeps(database, clock, 60)
    assert command.run(held.number).state == RunState.RUNNING


def test_a_claim_whose_answer_was_lost_is_given_back_after_two_beats(
    database: Database, command: Command, run: Run
) -> None:
    worker = Service(database)
    worker.claim()
    worker.beat()
    assert outcomes(database) == [None]
    worker.beat()
    assert outcomes(database) == ["drained", None]
    stage = command.stages(run.number)["a"]
    assert (str(stage.state), stage.tries, stage.losses) == ("queued", 0, 0)
    worker.beat()
    assert outcomes(database) == ["drained", None]


def test_a_process_beats_while_it_lives_whatever_it_does(database: Database, command: Command) -> None:
    heard = threading.Semaphore(0)
    beating = Heartbeat(database, command.worker, interval=0.01, heard=lambda _: heard.release())
    with beating:
        assert all(heard.acquire(timeout=30) for _ in range(3))
    with database.read() as connection:
        assert workers.get(connection, command.worker).beat >= 3


def test_a_beat_that_cannot_be_written_is_tried_again(database: Database, command: Command) -> None:
    heard = threading.Semaphore(0)
    beating = Heartbeat(database, command.worker, interval=0.01, heard=lambda _: heard.release())
    with database.transaction() as connection:
        connection.execute(text("ALTER TABLE workers RENAME TO away"))
    with beating:
        assert not heard.acquire(timeout=0.1)
        with database.transaction() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO workers"))
        assert heard.acquire(timeout=30)
