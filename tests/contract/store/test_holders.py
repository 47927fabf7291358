"""A command that is gone holds nothing up: its run fails, and says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import holders, processes, workers
from orchestrator.store.database import Database
from orchestrator.store.verbs import pausing
from tests.support.store import START, Command, ManualClock, graph, resume

CHAIN = graph({"a": "", "b": "a", "x": ""})


def release(database: Database) -> list[int]:
    with database.transaction() as connection:
        return holders.release_dead_holders(connection, START)


def test_a_killed_commands_run_ends_failed_and_nothing_is_inserted(
    killed: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.must_claim("a")
    assert release(database) == [run.number]
    assert killed.states(run.number) == {"a": "failed", "b": "upstream_failed", "x": "failed"}
    assert killed.run(run.number).state == RunState.FAILED
    assert killed.stages(run.number)["a"].error == {"message": "the command was killed"}
    with database.read() as connection:
        rows = connection.execute(text("SELECT outcome FROM attempts ORDER BY id")).scalars().all()
    assert rows == ["lost", "cancelled"]
    assert release(database) == []


def test_what_its_rule_would_let_run_after_a_failure_ends_with_the_killed_command_and_runs_after_a_resume(
    killed: Command, command: Command, database: Database
) -> None:
    rules = {"tidy": "all_done", "report": "all_failed"}
    run = killed.start(graph({"a": "", "tidy": "a", "report": ["tidy"]}, rules))
    killed.must_claim("a")
    assert release(database) == [run.number]
    assert set(killed.states(run.number).values()) == {"failed"}
    assert killed.run(run.number).state == RunState.FAILED
    assert killed.stages(run.number)["report"].error == {"message": "the command was killed"}
    assert release(database) == []
    resume(database, run, command)
    assert command.states(run.number) == {"a": "queued", "tidy": "none", "report": "none"}
    assert command.run_to_end() == ["a", "tidy"]
    assert command.states(run.number) == {"a": "success", "tidy": "success", "report": "skipped"}


def test_what_a_killed_command_owed_stays_owed(killed: Command, database: Database) -> None:
    run = killed.start(graph({"a": ""}, retries=3))
    killed.epoch(killed.must_claim("a").attempt, 1)
    release(database)
    row = killed.stages(run.number)["a"]
    assert (row.state, row.unresolved, row.stop_as) == ("failed", True, None)


def test_a_paused_run_of_a_command_that_is_gone_is_left_alone(killed: Command, database: Database) -> None:
    run = killed.start(CHAIN)
    attempt = killed.must_claim("a").attempt
    with database.transaction() as connection:
        pausing.pause_run(connection, run, now=START)
    killed.finish(attempt, Outcome.PAUSED)
    assert release(database) == []
    assert killed.states(run.number) == {"a": "queued", "b": "none", "x": "queued"}


def test_runs_of_the_living_and_of_the_services_are_not_touched(command: Command, database: Database) -> None:
    mine = command.start(CHAIN)
    services = command.start(CHAIN, held_by=None)
    assert release(database) == []
    for run in (mine, services):
        assert command.states(run.number) == {"a": "queued", "b": "none", "x": "queued"}


def test_a_process_is_known_by_its_pid_and_start_time(database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = processes.start_time(process.pid)
    assert started is not None
    living = Command(database, ManualClock(), process.pid, started)
    reused = Command(database, ManualClock(), process.pid, "another boot:1")
    assert lives(database, living) == workers.Life.ALIVE
    assert lives(database, reused) == workers.Life.DEAD
    process.kill()
    # Not waited for yet: a zombie executes nothing.
    Path(f"/proc/{process.pid}/stat").read_text()
    while processes.start_time(process.pid) is not None:
        pass
    assert lives(database, living) == workers.Life.DEAD
    process.communicate()
    assert processes.start_time(process.pid) is None


def test_a_worker_that_said_good_bye_is_dead_and_one_elsewhere_is_not_judged(
    command: Command, database: Database
) -> None:
    with database.transaction() as connection:
        worker = workers.get(connection, command.worker)
        assert workers.life(worker) == workers.Life.ALIVE
        worker.host = "elsewhere"
        assert workers.life(worker) == workers.Life.UNKNOWN
        workers.end_worker(connection, command.worker, START)
    assert lives(database, command) == workers.Life.DEAD


def lives(database: Database, command: Command) -> workers.Life:
    with database.read() as connection:
        return workers.life(workers.get(connection, command.worker))
