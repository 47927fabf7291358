"""A real worker and its runners: what is asked of them, what they say, and how they die."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runs.states import StopAs
from orchestrator.store import hints, processes, rescue, runs, stage_runs
from tests.support.postgres import Cluster
from tests.support.site import Site, site


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose worker serves many tests; what is cancelled there has little time."""
    with site(tmp_path_factory.mktemp("shared")) as made:
        worker = made.worker(grace="200ms")
        yield made
        worker.end()


def chain(length: int, **settings: Any) -> dict[str, Any]:
    """Stages of ten rows, one after the other."""
    nodes: list[dict[str, Any]] = []
    config: dict[str, Any] = {"rows": 10}
    for n in range(length):
        rows: dict[str, Any] = {"id": f"in{n}", "type": "generate", "config": config}
        if n:
            rows["after"] = [f"out{n - 1}"]
        nodes.append(rows)
        nodes.append({"id": f"out{n}", "type": "discard", "kind": "output", "from": f"in{n}"})
    return {"id": "chain", "nodes": nodes, **settings}


def through(function: str, *, rows: int = 1, batch: int = 65_536, **more: Any) -> dict[str, Any]:
    """One stage: rows that go through a function. What is no argument of a node is one of the function."""
    own: dict[str, Any] = {
        name: more.pop(name) for name in ("retries", "execution_timeout", "retry_delay") if name in more
    }
    config: dict[str, Any] = {"function": f"tests.integration.stage_functions:{function}", "arguments": more}
    nodes: list[dict[str, Any]] = [
        {"id": "rows", "type": "generate", "config": {"rows": rows}},
        {"id": function, "type": "python", "kind": "processor", "from": "rows", "config": config, **own},
        {"id": "out", "type": "csv", "kind": "output", "from": function, "config": {"path": "out/rows.csv"}},
    ]
    return {"id": function, "nodes": nodes, "settings": {"batch_size": batch}}


def texts(lines: list[dict[str, Any]]) -> list[str]:
    return [line["text"] for line in lines]


def is_alive(pid: int) -> bool:
    return processes.start_time(pid) is not None


def ask_to_stop(place: Site, run: int) -> None:
    """What the verb cancel writes of a running stage (rule 8.9)."""
    with place.database.transaction() as connection:
        runs.change(connection, run, cancel_cause="user")
        for row in stage_runs.of_run(connection, run).values():
            stage_runs.change(connection, row.id, stop_as=StopAs.CANCELLED)
        hints.mark(connection, "ask")


def set_pause(place: Site, run: int, *, paused: bool) -> None:
    with place.database.transaction() as connection:
        runs.change(connection, run, paused=paused)
        hints.mark(connection, "ask")
        hints.mark(connection, "work")


def savepoint_is_asked(place: Site, run: int) -> bool:
    """Whether the newest attempt of the stage has heard of it."""
    return "asked to stop at a savepoint" in texts(place.log(run, "rows", place.attempts(run)[-1].id))


def test_a_run_of_the_services_is_executed_stage_by_stage(place: Site) -> None:
    worker = place.worker()
    run = place.run(chain(3))
    assert place.wait(run).state == "success"
    assert place.outcomes(run) == ["success"] * 3
    worker.end()
    assert [row.ended_at is not None for row in place.rows()] == [True]


def test_whatever_a_stage_says_is_in_its_log_with_time_level_and_node(shared: Site) -> None:
    run = shared.run(through("talks"))
    assert shared.wait(run).state == "success"
    lines = shared.log(run, "rows", shared.attempts(run)[0].id)
    said = {line["text"]: line for line in lines}
    assert said["printed"] | {"at": ""} == {
        "at": "", "level": "INFO", "node": "talks", "text": "printed", "stream": "stdout"
    }  # fmt: skip
    assert said["complained"]["level"] == "WARNING"
    assert said["logged by a library"]["node"] == "talks"
    assert {"said by C", "said by a child", "written to stderr", "without an end"} <= said.keys()
    assert all(line["at"] and line["level"] for line in lines)
    assert texts(lines)[0].startswith("attempt")
    assert texts(lines)[-1] == "success"


def test_native_code_that_crashes_leaves_its_last_lines_and_the_place(shared: Site) -> None:
    run = shared.run(through("talks", dies=True))
    assert shared.wait(run).state == "failed"
    first = shared.attempts(run)[0]
    said = texts(shared.log(run, "rows", first.id))
    assert {"printed", "said by C", "written to stderr"} <= set(said)
    assert any("Segmentation fault" in text for text in said)
    assert any("stage_functions.py" in text for text in said)
    assert said[-1] == "its process died of signal 11 (SIGSEGV)"
    heading, *frames = ((first.error or {})["message"]).splitlines()
    assert heading == "its process died of signal 11 (SIGSEGV); it said last:"
    assert frames[0].strip() == "Fatal Python error: Segmentation fault"
    assert "stage_functions.py" in frames[1]
    assert not any("orchestrator/" in frame or "Extension modules" in frame for frame in frames)


def test_what_an_attempt_leaves_running_is_ended_and_speaks_in_no_other_log(
    place: Site, tmp_path: Path
) -> None:
    worker = place.worker(slots=1)
    both = [place.run(through("lingers", folder=str(tmp_path))) for _ in range(2)]
    assert [place.wait(run).state for run in both] == ["success"] * 2
    first, second = (texts(place.log(run, "rows", place.attempts(run)[0].id)) for run in both)
    assert {"said by C", "without an end"} <= set(first)
    assert any("it has left 1 thread" in text for text in first)
    assert len(second) == 2  # how it began, and how it ended
    assert first[0].rpartition("process ")[2] != second[0].rpartition("process ")[2]
    worker.end()


def test_a_runner_serves_many_attempts_that_leave_nothing(place: Site) -> None:
    worker = place.worker(slots=1)
    command = {"id": "said", "type": "bash", "kind": "action", "config": {"command": "echo said"}}
    documents = [through("talks"), {"id": "bash", "nodes": [command]}, through("talks")]
    numbers = [place.run(document) for document in documents]
    assert [place.wait(run).state for run in numbers] == ["success"] * 3
    logs = [place.log(run, next(iter(place.stages(run))), place.attempts(run)[0].id) for run in numbers]
    assert len({texts(lines)[0].rpartition("process ")[2] for lines in logs}) == 1
    worker.end()


def test_a_silent_attempt_that_is_killed_has_a_beginning_and_an_end_in_its_log(
    shared: Site, tmp_path: Path
) -> None:
    run = shared.run(through("hangs", folder=str(tmp_path), execution_timeout="1s"))
    assert shared.wait(run).state == "failed"
    attempt = shared.attempts(run)[0]
    first, *_, last = texts(shared.log(run, "rows", attempt.id))
    assert first.startswith(f"attempt {attempt.id} of rows starts on ")
    assert last == "timed out after 1 s"


def test_a_runner_that_is_killed_costs_a_loss_and_no_row(shared: Site, tmp_path: Path) -> None:
    run = shared.run(through("dies", folder=str(tmp_path), rows=5))
    assert shared.wait(run).state == "success"
    assert shared.outcomes(run) == ["lost", "success"]
    assert shared.stages(run)["rows"].tries == 0
    assert (shared.project / "out" / "rows.csv").read_text().splitlines()[1:]


@pytest.mark.parametrize(("code", "cause"), [(0, "signal 9"), (3, "exit code 3")])
def test_a_poison_stage_fails_after_its_losses_and_names_the_cause(
    shared: Site, tmp_path: Path, code: int, cause: str
) -> None:
    run = shared.run(through("dies", folder=str(tmp_path), times=100, code=code))
    assert shared.wait(run).state == "failed"
    assert shared.outcomes(run) == ["lost"] * 4
    error = shared.stages(run)["rows"].error or {}
    assert error["cause"] == cause
    assert cause in error["message"]
    assert "about to die, time 3" in error["message"]


def test_an_attempt_above_its_memory_limit_is_killed_and_says_so(place: Site) -> None:
    worker = place.worker(memory_limit="100MiB")
    run = place.run(through("grows", size=300 << 20))
    assert place.wait(run).state == "failed"
    error = place.stages(run)["rows"].error or {}
    assert error["cause"] == "out of memory"
    took = re.search(r"out of memory: it took (\S+) MiB, worker.memory_limit is 100MiB", error["message"])
    assert took is not None, error
    assert float(took[1]) >= 100
    worker.end()


def test_an_attempt_that_runs_too_long_is_killed_with_its_children(shared: Site, tmp_path: Path) -> None:
    document = through("hangs", folder=str(tmp_path), execution_timeout="2s", retries=1, retry_delay=0)
    run = shared.run(document)
    assert shared.wait(run).state == "success", shared.outcomes(run)
    assert shared.outcomes(run) == ["failed", "success"]
    error = shared.attempts(run)[0].error or {}
    assert error["message"] == "timed out after 2 s"
    assert not any(map(is_alive, map(int, (tmp_path / "child").read_text().split())))


def test_a_cancelled_attempt_that_does_not_listen_is_killed_after_the_grace_period(
    shared: Site, tmp_path: Path
) -> None:
    run = shared.run(through("hangs", folder=str(tmp_path)))
    shared.until((tmp_path / "child").exists, "the hanging child")
    ask_to_stop(shared, run)
    assert shared.wait(run).state == "cancelled"
    assert shared.outcomes(run) == ["cancelled"]
    assert not any(map(is_alive, map(int, (tmp_path / "child").read_text().split())))
    again = shared.run(chain(1))  # the runner was replaced
    assert shared.wait(again).state == "success"


def test_pausing_and_resuming_three_times_gives_the_straight_result(shared: Site, tmp_path: Path) -> None:
    run = shared.run(through("waits", rows=40, batch=5, folder=str(tmp_path), rows_of=[10, 20, 30]))
    for row in (10, 20, 30):
        shared.until((tmp_path / f"waiting{row}").exists, f"row {row}")
        set_pause(shared, run, paused=True)
        shared.until(lambda: savepoint_is_asked(shared, run), "the wish")
        (tmp_path / f"go{row}").touch()
        shared.until(lambda: shared.outcomes(run)[-1] == "queued", "the savepoint")
        set_pause(shared, run, paused=False)
    assert shared.wait(run).state == "success"
    assert shared.outcomes(run) == ["paused", "paused", "paused", "success"]
    lines = (shared.project / "out" / "rows.csv").read_text().split()
    assert lines == ["row", *map(str, range(40))]


def test_a_dead_workers_runners_die_and_another_worker_goes_on(place: Site) -> None:
    first = place.worker()
    run = place.run(through("hangs", folder=str(place.folder)))
    place.until((place.folder / "child").exists, "the hanging child")
    first.signal(signal.SIGKILL)
    first.wait()
    pids = [*map(int, (place.folder / "child").read_text().split())]
    place.until(lambda: not any(map(is_alive, pids)), "the end of its runners")
    [dead] = place.rows()
    assert rescue.lose(place.database, dead.id, dead.beat) == [place.attempts(run)[0].id]
    second = place.worker()
    assert place.wait(run).state == "success"
    assert place.outcomes(run) == ["lost", "success"]
    second.end()


def test_a_runner_that_outlived_its_worker_is_killed_before_its_stage_runs_again(place: Site) -> None:
    """Stopped processes read no end-of-file: the zygote and the runner stand still when the worker dies."""
    first = place.worker()
    run = place.run(through("hangs", folder=str(place.folder)))
    place.until((place.folder / "child").exists, "the hanging child")
    runner = int((place.folder / "child").read_text().split()[0])
    zygote = int(Path(f"/proc/{runner}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(zygote, signal.SIGSTOP)
    os.kill(runner, signal.SIGSTOP)
    first.signal(signal.SIGKILL)
    first.wait()
    assert is_alive(runner)
    [dead] = place.rows()
    second = place.worker()
    place.until(lambda: len(place.rows()) == 2, "the second worker")
    place.until(lambda: not is_alive(runner), "the end of the orphan")
    rescue.lose(place.database, dead.id, dead.beat)
    assert place.wait(run).state == "success"
    os.kill(zygote, signal.SIGKILL)
    second.end()


def test_a_worker_taken_for_dead_says_nothing_more_of_what_it_ran(place: Site) -> None:
    worker = place.worker(heartbeat_interval="100ms")
    run = place.run(through("waits", rows=20, batch=5, folder=str(place.folder), rows_of=[10]))
    place.until((place.folder / "waiting10").exists, "row 10")
    worker.signal(signal.SIGSTOP)
    [row] = place.rows()
    place.until(lambda: processes.is_stopped(worker.process.pid), "the stop")
    beat = place.rows()[0].beat
    assert len(rescue.lose(place.database, row.id, beat)) == 1
    (place.folder / "go10").touch()
    worker.signal(signal.SIGCONT)
    assert place.wait(run).state == "success"
    first, *handed_back, last = place.outcomes(run)
    assert (first, last) == ("lost", "success")
    assert set(handed_back) <= {"drained"}  # claimed before it knew
    lines = (place.project / "out" / "rows.csv").read_text().split()
    assert lines == ["row", *map(str, range(20))]
    assert len(place.rows()) == 2  # it registered anew
    worker.end()


def test_a_stage_whose_variable_is_not_set_fails_and_names_it(shared: Site) -> None:
    document = chain(1)
    document["nodes"][0]["config"]["rows"] = "{{ var.many }}"
    run = shared.run(document)
    assert shared.wait(run).state == "failed"
    assert "'many'" in (shared.stages(run)["in0"].error or {})["message"]


def test_a_worker_on_postgresql(tmp_path: Path, postgres: Cluster) -> None:
    name = postgres.create()
    with site(tmp_path, {"FUSTGO_DATABASE__URL": postgres.url(name)}) as place:
        worker = place.worker(slots=3)
        numbers = [place.run(chain(4)) for _ in range(3)]
        assert [place.wait(number).state for number in numbers] == ["success"] * 3
        run = place.run(through("waits", rows=20, batch=5, folder=str(place.folder), rows_of=[10]))
        place.until((place.folder / "waiting10").exists, "row 10")
        ask_to_stop(place, run)
        (place.folder / "go10").touch()
        assert place.wait(run).state == "cancelled"
        worker.end()
    postgres.drop(name)


def test_a_runner_that_grew_is_replaced_after_its_attempt(place: Site) -> None:
    worker = place.worker(slots=1, recycle_above="1MiB")  # less than any runner takes
    numbers = [place.run(through("talks")) for _ in range(2)]
    assert [place.wait(run).state for run in numbers] == ["success"] * 2
    first, second = (texts(place.log(run, "rows", place.attempts(run)[0].id))[0] for run in numbers)
    assert first.rpartition("process ")[2] != second.rpartition("process ")[2]
    worker.end()
