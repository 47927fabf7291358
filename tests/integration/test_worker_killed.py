"""A worker or its runner, killed with SIGKILL at a step: the target is that of a straight run.

The points in the worker end the whole worker, and another one takes over when it is taken for dead; those in
a runner cost a loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import rescue
from tests.support.site import Site, site

ROWS = 40
IN_THE_WORKER = ("restore.killed", "epoch.decided", "epoch.applied", "stage.success")
IN_A_RUNNER = ("restore.prepared", "restore.reopened", "part.sealed", "ledger.committed", "output.applied",
               "staging.removed")  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def document() -> dict[str, Any]:
    """Rows into a file and into a table, ten epochs of them, and a second stage."""
    table = {"path": "out/rows.db", "table": "kept"}
    nodes: list[dict[str, Any]] = [
        {"id": "rows", "type": "generate", "config": {"rows": ROWS}},
        {"id": "file", "type": "csv", "kind": "output", "from": "rows", "config": {"path": "out/rows.csv"}},
        {"id": "table", "type": "sqlite", "kind": "output", "from": "rows", "config": table},
        {"id": "again", "type": "generate", "config": {"rows": 3}, "after": ["file"]},
        {"id": "end", "type": "csv", "kind": "output", "from": "again", "config": {"path": "out/end.csv"}},
    ]
    return {"id": "kill", "nodes": nodes, "settings": {"batch_size": 4, "checkpoint": {"every_batches": 1}}}


def assert_whole(place: Site) -> None:
    import sqlite3

    assert (place.project / "out" / "rows.csv").read_text().split() == ["row", *map(str, range(ROWS))]
    assert (place.project / "out" / "end.csv").read_text().split() == ["row", "0", "1", "2"]
    connection = sqlite3.connect(place.project / "out" / "rows.db")
    try:
        found = connection.execute("SELECT row FROM kept ORDER BY row").fetchall()
    finally:
        connection.close()
    assert found == [(n,) for n in range(ROWS)]
    hidden = [path for path in (place.project / "out").rglob("*") if ".fustgo" in path.parts]
    spooled = list(place.artifacts.rglob("parts/*"))
    assert [path for path in (*hidden, *spooled) if path.is_file() and path.name != "id"] == []


@pytest.mark.parametrize("passing", [1, 2])
@pytest.mark.parametrize("point", IN_THE_WORKER)
def test_a_worker_killed_at_a_step(place: Site, point: str, passing: int) -> None:
    first = place.worker(crash=f"{point}@{passing}")
    run = place.run(document())
    place.until(lambda: first.process.poll() is not None, "the crash")
    [dead] = place.rows()
    rescue.lose(place.database, dead.id, dead.beat)
    second = place.worker()
    assert place.wait(run).state == "success"
    assert_whole(place)
    second.end()


@pytest.mark.parametrize("point", IN_A_RUNNER)
def test_a_runner_killed_at_a_step(place: Site, point: str) -> None:
    worker = place.worker(crash=f"{point}@2")
    run = place.run(document())
    assert place.wait(run).state == "success"
    assert place.outcomes(run).count("lost") == 1
    assert_whole(place)
    worker.end()


def test_every_step_of_a_worker_is_passed_where_it_should_be(place: Site) -> None:
    """The parametrised tests above kill somebody: a point that nobody passes would leave them waiting."""
    log = place.folder / "passed"
    with site(place.folder / "other", {"FUSTGO_CRASH_LOG": str(log)}) as other:
        worker = other.worker()
        assert other.wait(other.run(document())).state == "success"
        worker.end()
    assert {*IN_THE_WORKER, *IN_A_RUNNER} <= set(log.read_text().split())
