"""The command line beside real services: a DAG is loaded, triggered, followed, paused, cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from tests.support.commands import Result, Shell
from tests.support.postgres import Cluster

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


def until(true: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if true():
            return
        Event().wait(0.05)
    raise AssertionError(f"{what} did not come")


class Site:
    """A project with a standalone under way, on either database."""

    def __init__(self, shell: Shell, url: str) -> None:
        self.shell, self.environ = shell, ({"FUSTGO_DATABASE__URL": url} if url else {})
        self.folder = shell.folder
        (self.folder / "dags").mkdir()
        (self.folder / "dags/people.py").write_text(DAG)
        self.said = self.folder / "said"
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "standalone"],
                cwd=self.folder,
                env=os.environ | {"FUSTGO_HOME": str(shell.home)} | self.environ,
                stdout=out,
                stderr=out,
            )

    def fustgo(self, *words: str) -> Result:
        return self.shell.run(*words, environ=self.environ)

    def json(self, *words: str) -> Any:
        done = self.fustgo(*words, "--json")
        assert done.code == 0, done
        return json.loads(done.out)

    def state(self, run: int, stage: str = "") -> str:
        view = self.json("runs", "show", str(run))
        found = {row["stage"]: row["shown"] for row in view["stages"]}
        return str(found[stage] if stage else view["state"])

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.said.read_text()


@pytest.fixture(params=["sqlite", "postgresql"])
def site(shell: Shell, postgres: Cluster, request: pytest.FixtureRequest) -> Iterator[Site]:
    name = postgres.create() if request.param == "postgresql" else ""
    found = Site(shell, postgres.url(name) if name else "")
    try:
        until(lambda: b"is ready" in found.said.read_bytes(), "the standalone")
        yield found
        found.end()
    finally:
        if found.process.poll() is None:
            found.process.kill()
        if name:
            postgres.drop(name)


def test_a_run_is_triggered_followed_looked_at_and_tried_again(site: Site) -> None:
    until(lambda: "people" in site.fustgo("dags", "list").out, "the DAG")
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
    assert (site.folder / "out/people.csv").read_text() == (site.folder / "people.csv").read_text()
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


def test_a_run_is_held_back_by_its_pool_and_why_says_so(site: Site) -> None:
    assert site.fustgo("pools", "set", "small", "0").code == 0
    site.json("dags", "trigger", "people")
    until(lambda: site.state(1, "out") == "queued", "the stage")
    reasons = site.json("runs", "why", "1", "held")
    (pool,) = [reason for reason in reasons if "pool" in reason["code"]]
    assert "small" in pool["text"]
    command = pool["remedy"][pool["remedy"].index("fustgo ") :].split(",")[0].split()
    assert site.fustgo(*command[1:]).code == 0
    until(lambda: site.state(1) == "success", "the run")


def test_a_running_stage_is_paused_resumed_and_a_run_cancelled(site: Site) -> None:
    (site.folder / "hold").touch()
    site.json("dags", "trigger", "people")
    until(lambda: "a batch of" in site.fustgo("runs", "logs", "1").out, "the first batch")
    asked = site.json("runs", "pause", "1", "--node", "held")
    assert any("is asked for a savepoint" in effect for effect in asked["effects"]), asked
    (site.folder / "hold").unlink()
    until(lambda: site.state(1, "out") == "paused", "the savepoint")
    assert site.fustgo("runs", "resume", "1", "--node", "held").code == 0
    until(lambda: site.state(1) == "success", "the run")
    assert (site.folder / "out/people.csv").read_text() == (site.folder / "people.csv").read_text()
    (site.folder / "hold").touch()
    site.json("dags", "trigger", "people", "--param", "name=other")
    until(lambda: "a batch of" in site.fustgo("runs", "logs", "2").out, "the first batch")
    assert site.fustgo("runs", "cancel", "2").code == 0
    until(lambda: site.state(2) == "cancelled", "the end")
    assert not (site.folder / "out/other.csv").exists()


def test_a_command_runs_a_loaded_dag_beside_the_services(site: Site) -> None:
    until(lambda: "people" in site.fustgo("dags", "list").out, "the DAG")
    done = site.fustgo("run", "people", "--param", "name=mine")
    assert done.code == 0, done
    assert (site.folder / "out/mine.csv").exists()
    assert site.json("runs", "show", "1")["held_by"] is not None
