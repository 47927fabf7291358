"""A report that the store refuses costs its own attempt, never the worker or what else it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.store import processes
from tests.integration.test_worker_drains import acting
from tests.support.postgres import Cluster
from tests.support.site import PATIENCE, Site, site

REFUSE = {
    "sqlite": ["CREATE TRIGGER refuse BEFORE INSERT ON variables BEGIN SELECT RAISE(ABORT, 'not this'); END"],
    "postgresql": [
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'not this' USING ERRCODE = '22000'; END $$""",
        "CREATE TRIGGER refuse BEFORE INSERT ON variables FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site whose store refuses every variable."""
    cluster: Cluster | None = None
    environ = {}
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgres")
        name = cluster.create()
        environ["FUSTGO_DATABASE__URL"] = cluster.url(name)
    with site(tmp_path, environ) as made:
        with made.database.transaction() as connection:
            for statement in REFUSE[request.param]:
                connection.execute(text(statement))
        yield made
    if cluster is not None:
        cluster.drop(name)


def returning(what: str) -> dict[str, Any]:
    """A DAG of one action, tried again where that may help."""
    config = {"function": "tests.integration.stage_functions:returns", "arguments": {"what": what}}
    node = {"id": "a", "type": "python", "kind": "action", "config": config, "retries": 2, "retry_delay": 0}
    return {"id": what, "nodes": [node]}


def test_one_refused_report_fails_its_attempt_without_a_retry_and_no_other(place: Site) -> None:
    worker = place.worker(slots=4)
    kinds = ["plain", "variable", "plain", "nul", "early", "plain", "surrogate", "raises"]
    numbers = [(what, place.run(returning(what))) for what in kinds]
    said = {}
    for what, number in numbers:
        ended = place.wait(number)
        assert ended.state == ("success" if what == "plain" else "failed"), what
        assert place.outcomes(number) == (["failed"] * 3 if what == "raises" else [str(ended.state)])
        said[what] = (place.stages(number)["a"].error or {}).get("message", "")
    assert "not this" in said["variable"]
    assert "U+0000" in said["nul"]
    assert "U+DC80" in said["surrogate"]
    assert "outside the years 2 to 9998" in said["early"]
    assert said["raises"].endswith("no such file: \\udc80")
    assert len(place.rows()) == 1
    worker.end()


def soon(true: Callable[[], bool], place: Site) -> None:
    """Wait for something that no store tells of."""
    until = monotonic() + PATIENCE
    while not true():
        assert monotonic() < until, place.said()
        threading.Event().wait(0.02)


def test_deadlines_hold_while_the_store_is_out_of_reach_and_nothing_that_ended_is_forgotten(
    tmp_path: Path, postgres: Cluster
) -> None:
    name = postgres.create()
    with site(tmp_path, {"FUSTGO_DATABASE__URL": postgres.url(name)}) as place:
        worker = place.worker(grace="100ms")
        hangs = place.run(acting("stands_still", folder=str(tmp_path), execution_timeout="3s"))
        ends = place.run(acting("takes_time", folder=str(tmp_path)))
        for mark in ("standing", "lingering"):
            place.until((tmp_path / mark).exists, mark)
        postgres.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        (tmp_path / "go").touch()
        pid = int((tmp_path / "standing").read_text())
        zygote = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        children = Path(f"/proc/{zygote}/task/{zygote}/children")
        soon(lambda: processes.start_time(pid) is None, place)
        soon(lambda: len(children.read_text().split()) == 2, place)  # another one in its place, without a row
        complaints = place.said().count("the store: ")
        soon(lambda: place.said().count("the store: ") > complaints + 1, place)
        postgres.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert place.wait(ends).state == "success"
        assert place.wait(hangs).state == "failed"
        assert (place.stages(hangs)["stands_still"].error or {})["message"] == "timed out after 3 s"
        assert (place.outcomes(ends), place.outcomes(hangs)) == (["success"], ["failed"])
        assert len(place.rows()) == 1
        worker.end()
    postgres.drop(name)
