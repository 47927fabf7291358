"""A worker that is asked to go: what has a savepoint is handed back, what cannot keep one runs to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import hints, runners, workers
from tests.integration.test_worker import is_alive, savepoint_is_asked, set_pause, texts, through
from tests.support.site import Site, site


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def acting(function: str, **more: Any) -> dict[str, Any]:
    """One action that calls a function."""
    own = {name: more.pop(name) for name in ("execution_timeout",) if name in more}
    config = {"function": f"tests.integration.stage_functions:{function}", "arguments": more}
    node = {"id": function, "type": "python", "kind": "action", "config": config, **own}
    return {"id": function, "nodes": [node]}


def logged(place: Site, run: int, stage: str) -> list[str]:
    """What the newest attempt of a run has logged so far."""
    return texts(place.log(run, stage, place.attempts(run)[-1].id))


def test_a_worker_that_drains_hands_back_at_a_savepoint_without_a_try(place: Site) -> None:
    first = place.worker()
    run = place.run(through("waits", rows=40, batch=5, folder=str(place.folder), rows_of=[10]))
    place.until((place.folder / "waiting10").exists, "row 10")
    first.signal(signal.SIGTERM)
    place.until(lambda: savepoint_is_asked(place, run), "the wish")
    (place.folder / "go10").touch()
    assert first.wait() == 0, first.said.read_text()
    assert place.outcomes(run) == ["drained", "queued"]
    second = place.worker()
    assert place.wait(run).state == "success"
    stage = place.stages(run)["rows"]
    assert (stage.tries, stage.losses) == (0, 0)
    second.end()


@pytest.mark.parametrize("asked", ["signal", "verb", "pause"])
def test_what_cannot_keep_a_savepoint_runs_to_its_end(place: Site, asked: str) -> None:
    """No grace period kills it, and no try is used (rule 10)."""
    worker = place.worker(grace="1ms", heartbeat_interval="100ms")
    run = place.run(acting("takes_time", folder=str(place.folder)))
    place.until((place.folder / "lingering").exists, "the action")
    if asked == "pause":
        set_pause(place, run, paused=True)
    elif asked == "verb":
        with place.database.transaction() as connection:
            assert workers.ask_to_drain(connection, place.rows()[0].id)
    else:
        worker.signal(signal.SIGTERM)
    place.until(lambda: "savepoint" in " ".join(logged(place, run, "takes_time")), "the wish")
    beat = place.rows()[0].beat
    place.until(lambda: place.rows()[0].beat > beat + 2, "time for a kill")
    assert place.outcomes(run) == ["running"]
    (place.folder / "go").touch()
    assert place.wait(run).state == "success"
    assert place.outcomes(run) == ["success"]
    worker.end() if asked == "pause" else worker.wait()


def test_what_drains_is_ended_by_its_timeout_all_the_same(place: Site) -> None:
    worker = place.worker(grace="1ms")
    run = place.run(acting("takes_time", folder=str(place.folder), execution_timeout="1s"))
    place.until((place.folder / "lingering").exists, "the action")
    worker.end()
    assert place.get(run).state == "failed"
    assert (place.stages(run)["takes_time"].error or {})["message"] == "timed out after 1 s"


def test_a_worker_that_is_asked_to_drain_does_so_with_its_next_beat(place: Site) -> None:
    worker = place.worker(heartbeat_interval="100ms")
    place.until(lambda: len(place.rows()) == 1, "the worker")
    with place.database.transaction() as connection:
        assert workers.ask_to_drain(connection, place.rows()[0].id)
    assert worker.wait() == 0, worker.said.read_text()
    [row] = place.rows()
    assert row.ended_at is not None
    with place.database.read() as connection:
        assert runners.left(connection, row.id) == []


def test_an_idle_worker_hears_that_it_is_asked_to_drain(place: Site) -> None:
    worker = place.worker(heartbeat_interval="10m", lease="1h")
    place.until(lambda: len(place.rows()) == 1, "the worker")
    with place.database.transaction() as connection:
        assert workers.ask_to_drain(connection, place.rows()[0].id)
        hints.mark(connection, "ask")
    assert worker.wait() == 0, worker.said.read_text()


def test_a_second_signal_kills_and_what_is_killed_is_handed_back(place: Site) -> None:
    first = place.worker()
    run = place.run(through("hangs", folder=str(place.folder)))
    place.until((place.folder / "child").exists, "the hanging child")
    first.signal(signal.SIGTERM)
    place.until(lambda: place.rows()[0].draining, "the drain")
    first.end()
    assert place.outcomes(run) == ["drained", "queued"]
    assert not any(map(is_alive, map(int, (place.folder / "child").read_text().split())))
    assert (place.stages(run)["rows"].tries, place.stages(run)["rows"].losses) == (0, 0)
