"""The command line beside real services: a DAG is loaded, triggered, followed, paused, cancelled."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Cluster
from tests.support.services_site import ServicesSite, services_site

DAG = """
import logging
import os
from threading import Event

from operators import CsvInput, CsvOutput
from orchestrator import DAG, action, processor
from orchestrator.sdk.context import Context


@processor
def held(context, batch):
    context.log.info("a batch of %s", batch.num_rows)
    while os.path.exists("hold") and not context.cancelled:
        Event().wait(0.02)
    return batch


@action
def told(context: Context) -> dict[str, int]:
    print("printed by the action")
    context.log.info("%s rows", context.results["out"]["rows"])
    if context.params["fails"]:
        raise ValueError("as it was asked to")
    return {"rows": context.results["out"]["rows"]}


SMALL = {"batch_size": 10, "checkpoint": {"every_batches": 1}}

with DAG("people", params={"fails": False, "name": "people"}, settings=SMALL) as dag:
    out = CsvOutput("out", path="out/{{ params.name }}.csv")
    CsvInput("people", path="people.csv") >> held("held", pool="small") >> out >> told
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, postgres: Cluster, request: pytest.FixtureRequest) -> Iterator[ServicesSite]:
    """A project with a standalone under way, on either database."""
    name = postgres.create() if request.param == "postgresql" else ""
    environ = {"FUSTGO_DATABASE__URL": postgres.url(name)} if name else {}
    try:
        with services_site(tmp_path, {"people.py": DAG}, environ) as found:
            lines = "".join(f"{n},name {n},{n * 7 % 60}\n" for n in range(40))
            (found.project / "people.csv").write_text("id,name,age\n" + lines)
            standalone = found.serving(found.service("standalone"))
            yield found
            standalone.signal(signal.SIGTERM)
            assert standalone.wait() == 0, found.said()
    finally:
        if name:
            postgres.drop(name)


def test_a_run_is_triggered_followed_looked_at_and_tried_again(site: ServicesSite) -> None:
    site.until(lambda: "people" in site.fustgo("dags", "list").out, "the DAG")
    followed = site.fustgo("dags", "trigger", "people", "--follow")
    assert followed.code == 0, followed
    for said in (
        "stage out: success",
        "stage told: success",
        "held a batch of 10",
        "printed by the action",
        "told 40 rows",
    ):
        assert said in followed.out, followed
    assert (site.project / "out/people.csv").read_text() == (site.project / "people.csv").read_text()
    lines = [
        line["text"]
        for line in map(json.loads, site.fustgo("runs", "logs", "1", "told", "--json").out.splitlines())
    ]
    assert {"printed by the action", "40 rows"} <= set(lines)
    failed = site.fustgo("dags", "trigger", "people", "--param", "fails=true", "--wait")
    assert (failed.code, "as it was asked to" in failed.out) == (1, True), failed
    assert site.fustgo("runs", "mark", "2", "--node", "told", "--as", "success").code == 0
    assert site.state(2) == "success"
    (worker,) = [row for row in site.json("workers", "list") if row["kind"] == "worker"]
    assert worker["state"] == "online"


def test_a_run_is_held_back_by_its_pool_and_why_says_so(site: ServicesSite) -> None:
    assert site.fustgo("pools", "set", "small", "0").code == 0
    site.json("dags", "trigger", "people")
    site.until(lambda: site.state(1, "out") == "queued", "the stage")
    reasons = site.json("runs", "why", "1", "held")
    (pool,) = [reason for reason in reasons if "pool" in reason["code"]]
    assert "small" in pool["text"]
    command = pool["remedy"][pool["remedy"].index("fustgo ") :].split(",")[0].split()
    assert site.fustgo(*command[1:]).code == 0
    site.until(lambda: site.state(1) == "success", "the run")


def test_a_running_stage_is_paused_resumed_and_a_run_cancelled(site: ServicesSite) -> None:
    (site.project / "hold").touch()
    site.json("dags", "trigger", "people")
    site.until(lambda: "a batch of" in site.fustgo("runs", "logs", "1").out, "the first batch")
    asked = site.json("runs", "pause", "1", "--node", "held")
    assert any("is asked for a savepoint" in effect for effect in asked["effects"]), asked
    (site.project / "hold").unlink()
    site.until(lambda: site.state(1, "out") == "paused", "the savepoint")
    assert site.fustgo("runs", "resume", "1", "--node", "held").code == 0
    site.until(lambda: site.state(1) == "success", "the run")
    assert (site.project / "out/people.csv").read_text() == (site.project / "people.csv").read_text()
    (site.project / "hold").touch()
    site.json("dags", "trigger", "people", "--param", "name=other")
    site.until(lambda: "a batch of" in site.fustgo("runs", "logs", "2").out, "the first batch")
    assert site.fustgo("runs", "cancel", "2").code == 0
    site.until(lambda: site.state(2) == "cancelled", "the end")
    assert not (site.project / "out/other.csv").exists()


def test_a_command_runs_a_loaded_dag_beside_the_services(site: ServicesSite) -> None:
    site.until(lambda: "people" in site.fustgo("dags", "list").out, "the DAG")
    done = site.fustgo("run", "people", "--param", "name=mine")
    assert done.code == 0, done
    assert (site.project / "out/mine.csv").exists()
    assert site.json("runs", "show", "1")["held_by"] is not None
