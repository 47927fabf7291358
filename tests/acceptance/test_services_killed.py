"""Schedulers and workers killed, stopped and started again in the middle of runs: every run ends right."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.store import processes
from tests.support.postgres import Cluster
from tests.support.services_site import ServicesSite, services_site, stops_inside

MIXED = """
from pathlib import Path
from threading import Event

from orchestrator import DAG, Result, SetVariable, TriggerRun, action
from operators import CsvInput, CsvOutput, Filter


@action
def step(context, *, seconds: float = 0.02):
    Event().wait(seconds)
    return 1


@action
def fails(context):
    raise ValueError("on purpose")


@action
def tells(context):
    return Result(2, TriggerRun("child"), SetVariable("last", context.params["n"]))


@action
def waits(context, *, folder: str):
    (Path(folder) / f"waiting{context.params['n']}").touch()
    while not (Path(folder) / f"go{context.params['n']}").exists():
        Event().wait(0.02)


with DAG("moves", params={"n": 0}, settings={"batch_size": 100, "checkpoint": {"every_batches": 2}}):
    read = CsvInput("read", path="people.csv")
    kept = Filter("kept", condition="id % 2 = 0")
    wrote = CsvOutput("wrote", path="out/{{ params.n }}.csv")
    read >> kept >> wrote
    step("before") >> read
    wrote >> step("after")

with DAG("fans", params={"n": 0}):
    step("first") >> [step(f"middle{n}") for n in range(5)] >> tells("last", trigger_rule="all_success")

with DAG("breaks", params={"n": 0}):
    fails("broken", retries=1, retry_delay="0s") >> step("never")

with DAG("child"):
    step("only")

with DAG("long", params={"n": 0}, max_active_runs=4):
    waits("hold", folder="FOLDER") >> step("then")
"""

ROWS = 2000
EXPECTED = {"moves": "success", "fans": "success", "breaks": "failed", "child": "success"}


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServicesSite]:
    """A store on either database, with DAGs and a file of rows."""
    environ = {}
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        name = cluster.create()
        environ["FUSTGO_DATABASE__URL"] = cluster.url(name)
    with services_site(tmp_path, {"mixed.py": MIXED.replace("FOLDER", str(tmp_path))}, environ) as made:
        rows = "".join(f"{n},name {n}\n" for n in range(ROWS))
        (made.project / "people.csv").write_text("id,name\n" + rows)
        yield made
    if request.param == "postgresql":
        cluster.drop(name)


def finished(site: ServicesSite) -> int:
    with site.database.read() as connection:
        return int(
            connection.execute(text("SELECT count(*) FROM attempts WHERE outcome = 'success'")).scalar_one()
        )


def ends(site: ServicesSite) -> list[tuple[str, str]]:
    query = "SELECT dags.dag_id, runs.state FROM runs JOIN dags ON runs.dag = dags.id ORDER BY runs.number"
    with site.database.read() as connection:
        return [(row[0], row[1]) for row in connection.execute(text(query))]


def test_workers_and_schedulers_killed_in_the_middle_of_mixed_runs(site: ServicesSite) -> None:
    chance = random.Random(7)
    scheduler = site.serving(site.scheduler())
    workers = [site.service("worker") for _ in range(2)]
    kinds = ["moves", "fans", "breaks"] * 5
    for n, dag in enumerate(kinds):
        site.trigger(dag, n=n)
    for _ in range(4):  # with each, some attempts under way die; none more often than it may
        goal = finished(site) + 12
        site.until(lambda goal=goal: finished(site) >= goal, "progress")  # type: ignore[misc]
        index = chance.randrange(2)
        site.kill(workers[index])
        workers[index] = site.service("worker")
        if chance.random() < 0.5:
            site.kill(scheduler)
            scheduler = site.scheduler()
    fans = kinds.count("fans")
    site.until(
        lambda: (
            len(found := ends(site)) == len(kinds) + fans
            and all(state == EXPECTED[dag] for dag, state in found)
        ),
        "the right end of every run",
    )
    with site.database.read() as connection:
        twice = connection.execute(
            text("SELECT stage_run FROM attempts WHERE outcome = 'success' GROUP BY 1 HAVING count(*) > 1")
        )
        assert twice.all() == []
        lost = connection.execute(text("SELECT count(*) FROM attempts WHERE outcome = 'lost'")).scalar_one()
        running = connection.execute(text("SELECT count(*) FROM attempts WHERE state != 'done'")).scalar_one()
    assert lost > 0, "nothing was killed in the middle"
    assert running == 0
    assert Counter(dag for dag, _ in ends(site)) == {**Counter(kinds), "child": fans}
    right = ["id,name", *(f"{n},name {n}" for n in range(0, ROWS, 2))]
    for n, dag in enumerate(kinds):
        if dag == "moves":
            assert (site.project / "out" / f"{n}.csv").read_text().splitlines() == right
    for worker in workers:
        worker.end()
    scheduler.signal(signal.SIGTERM)
    assert scheduler.wait() == 0


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
