"""A report that the store refuses costs its own attempt, never the worker or what else it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.postgres import Cluster
from tests.support.site import Site, site

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
