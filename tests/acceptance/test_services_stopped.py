"""Workers that are stopped in the middle of runs: others go on, every run ends right."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import processes
from tests.support.postgres import Cluster
from tests.support.services_site import ServicesSite, services_site, stops_inside

MIXED = """
from pathlib import Path
from threading import Event

from orchestrator import DAG, Result, SetVariable, TriggerRun, action


@action
def step(context, *, seconds: float = 0.02):
    Event().wait(seconds)
    return 1


@action
def tells(context):
    return Result(2, TriggerRun("child"), SetVariable("last", context.params["n"]))


@action
def waits(context, *, folder: str):
    (Path(folder) / f"waiting{context.params['n']}").touch()
    while not (Path(folder) / f"go{context.params['n']}").exists():
        Event().wait(0.02)


with DAG("fans", params={"n": 0}):
    step("first") >> [step(f"middle{n}") for n in range(5)] >> tells("last", trigger_rule="all_success")

with DAG("child"):
    step("only")

with DAG("long", params={"n": 0}, max_active_runs=4):
    waits("hold", folder="FOLDER") >> step("then")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServicesSite]:
    """A store on either database, with DAGs."""
    environ = {}
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        name = cluster.create()
        environ["FUSTGO_DATABASE__URL"] = cluster.url(name)
    with services_site(tmp_path, {"mixed.py": MIXED.replace("FOLDER", str(tmp_path))}, environ) as made:
        yield made
    if request.param == "postgresql":
        cluster.drop(name)


def test_a_worker_that_was_stopped_past_its_lease_finds_its_work_taken(site: ServicesSite) -> None:
    site.serving(site.scheduler())
    stopped = site.service("worker", slots=1)
    run = site.trigger("long", n=1)
    site.until((site.folder / "waiting1").exists, "the attempt")
    stopped.signal(signal.SIGSTOP)
    (site.folder / "waiting1").unlink()
    other = site.service("worker", slots=1)
    site.until((site.folder / "waiting1").exists, "the same stage on another worker")
    stopped.signal(signal.SIGCONT)
    (site.folder / "go1").touch()
    assert site.wait(run).state == "success"
    assert site.outcomes(run) == ["lost", "success", "success"]
    live = [row for row in site.rows() if row.kind == "worker" and row.ended_at is None]
    assert len(live) == 2  # the stopped one has registered anew
    stopped.end()
    other.end()


def test_a_worker_that_is_stopped_inside_a_transaction_holds_nobody_up(site: ServicesSite) -> None:
    site.serving(site.scheduler())
    mark = site.folder / "inside"
    stopping = site.service("worker", before=stops_inside(mark))
    run = site.trigger("fans", n=3)
    site.until(mark.exists, "the transaction")
    site.until(lambda: processes.is_stopped(stopping.process.pid), "the stop")
    other = site.service("worker")
    assert site.wait(run).state == "success"
    lost = site.outcomes(run).count("lost")
    assert 1 <= lost <= 2, site.outcomes(run)
    if site.url.startswith("sqlite"):
        assert stopping.wait() == -signal.SIGKILL  # who waited a lease ended it
        assert f"process {stopping.process.pid} was stopped while it wrote to the store" in site.said()
        assert "others waited for 5 s, the lease" in site.said()
    other.end()
