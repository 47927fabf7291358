"""The supervisor: services that die start again, and none outlives it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SCRIPT = """
import os, signal, sys
from orchestrator.cli import supervisor
from orchestrator.errors import UsageError

def waiting(name):
    def serve(ready):
        signal.signal(signal.SIGTERM, lambda *_: os.write(1, f"{name} asked\\n".encode()) and os._exit(0))
        ready(str(os.getpid()))
        while True:
            signal.pause()
    return serve

def stubborn(ready):
    signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"stubborn asked\\n"))
    ready(str(os.getpid()))
    while True:
        signal.pause()

def wrong(ready):
    raise UsageError("there is no folder dags", hint="create it")

def brief(ready):
    ready(str(os.getpid()))
    return 1

def drained(ready):
    ready(str(os.getpid()))
    return 0

kinds = {"one": waiting("one"), "two": waiting("two"), "stubborn": stubborn, "wrong": wrong, "brief": brief}
kinds["drained"] = drained
supervisor.FIRST_WAIT = 0.05
chosen = {name: kinds[name] for name in sys.argv[1:]}
sys.exit(supervisor.Supervisor(chosen, lambda: os.write(1, b"all ready\\n")).run())
"""


@contextmanager
def supervised(*services: str) -> Iterator[subprocess.Popen[str]]:
    """A supervisor, killed in the end; its services end with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *services],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return sorted(process.stdout.readline().strip() for _ in range(count))


def complaints(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


def pid_of(line: str) -> int:
    return int(line.partition(": ")[2])


def is_gone(pid: int, seconds: float = 10) -> bool:
    """Wait for the end of a process that is not ours."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], seconds)[0])
    finally:
        os.close(watched)


def test_services_are_asked_to_end_and_waited_for() -> None:
    with supervised("one", "two") as process:
        ready, one, two = lines(process, 3)
        assert (ready, one[:4], two[:4]) == ("all ready", "one:", "two:")
        process.send_signal(signal.SIGTERM)
        assert lines(process, 2) == ["one asked", "two asked"]
        assert process.wait(10) == 0
        assert is_gone(pid_of(one))
        assert is_gone(pid_of(two))


def test_a_service_that_is_killed_starts_again() -> None:
    with supervised("one") as process:
        _, one = lines(process, 2)
        os.kill(pid_of(one), signal.SIGKILL)
        (again,) = lines(process, 1)
        assert again[:4] == "one:"
        assert again != one
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "one ended (signal 9); it starts again in 0.05 s" in complaints(process)


def test_a_service_that_was_drained_stays_away_and_the_last_one_ends_the_command() -> None:
    with supervised("drained") as process:
        assert process.wait(20) == 0
        assert complaints(process) == "drained was drained; it starts again with this command\n"


def test_one_that_dies_again_and_again_is_started_later_each_time() -> None:
    with supervised("brief") as process:
        lines(process, 5)
        process.kill()
        waits = [line.rpartition("in ")[2].split()[0] for line in complaints(process).splitlines()]
        assert waits[:3] == ["0.05", "0.1", "0.2"]


def test_services_end_when_the_supervisor_is_killed() -> None:
    with supervised("one", "two") as process:
        _, one, two = lines(process, 3)
        process.kill()
        assert is_gone(pid_of(one))
        assert is_gone(pid_of(two))


def test_a_service_whose_settings_are_wrong_ends_all_with_its_code() -> None:
    with supervised("one", "wrong") as process:
        assert process.wait(20) == 2
        said = complaints(process)
        assert "error: wrong: there is no folder dags" in said
        assert "starts again" not in said


def test_who_does_not_end_when_asked_twice_is_killed() -> None:
    with supervised("stubborn") as process:
        _, stubborn = lines(process, 2)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            assert lines(process, 1) == ["stubborn asked"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert is_gone(pid_of(stubborn))
