"""Stages that kill their process, pauses, late words of a worker: what people see, and what is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import processes
from orchestrator.store.tables import Epoch, Run
from orchestrator.store.tables.services import Audit
from tests.support.postgres import Cluster
from tests.support.services_site import ServicesSite, services_site

DAGS = """
import os
import signal
from threading import Event

from operators import CsvInput, CsvOutput
from orchestrator import DAG, Context, Result, SetVariable, TriggerRun, action, processor


def mark(context, name):
    (context.project / name).touch()


def wait_for(context, name):
    while not (context.project / name).exists():
        Event().wait(0.01)


@processor
def waits(context: Context, batch):
    for row in context.params["waits_at"]:
        if row in batch["id"].to_pylist():
            mark(context, f"waiting{row}")
            wait_for(context, f"go{row}")
    return batch


@action
def late(context: Context):
    mark(context, "waiting")
    wait_for(context, "go")
    return Result(1, SetVariable("late", 1), TriggerRun("child"))


@action
def dies(context: Context):
    how = context.params["how"]
    if how == "memory":
        taken = bytearray(b"x") * (400 << 20)
        Event().wait()
    print("about to die")
    os.kill(os.getpid(), signal.SIGKILL) if how == "signal" else os._exit(3)


@action
def only():
    return 1


SMALL = {"batch_size": 10, "checkpoint": {"every_batches": 1}}

with DAG("people", params={"name": "people", "waits_at": []}, settings=SMALL):
    out = CsvOutput("out", path="out/{{ params.name }}.csv")
    CsvInput("people", path="people.csv") >> waits("held") >> out

with DAG("late", params={"name": "late", "waits_at": [15]}, settings=SMALL):
    out = CsvOutput("out", path="out/{{ params.name }}.csv")
    CsvInput("people", path="people.csv") >> waits("held") >> out
    late("late")

with DAG("poison", params={"how": "signal"}):
    dies("dies") >> only("after")

with DAG("child"):
    only("only")
"""
WISH = "asked to stop at a savepoint"
LIMITED = {"FUSTGO_WORKER__MEMORY_LIMIT": "200MiB"}


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, postgres: Cluster, request: pytest.FixtureRequest) -> Iterator[ServicesSite]:
    """A scheduler at work, with forty people in a file."""
    name = postgres.create() if request.param == "postgresql" else ""
    environ = {"FUSTGO_DATABASE__URL": postgres.url(name)} if name else {}
    with services_site(tmp_path, {"all.py": DAGS}, {**LIMITED, **environ}) as made:
        rows = "".join(f"{n},name {n},{n * 7 % 60}\n" for n in range(40))
        (made.project / "people.csv").write_text("id,name,age\n" + rows)
        made.serving(made.scheduler())
        yield made
    if name:
        postgres.drop(name)


def words(site: ServicesSite, run: int, stage: str) -> list[str]:
    """What is in the logs of a stage's attempts."""
    mine = [one.id for one in site.attempts(run) if one.stage_run == site.stages(run)[stage].id]
    return [line["text"] for attempt in mine for line in site.log(run, stage, attempt)]


def test_what_a_worker_says_after_its_lease_bounces(site: ServicesSite) -> None:
    """Its runners go on while it stands still: one has ended with effects, one wants an epoch decided."""
    stopped = site.serving(site.service("worker"))
    run = site.trigger("late")
    for name in ("waiting", "waiting15"):
        site.until((site.project / name).exists, f"the mark {name}")
    stopped.signal(signal.SIGSTOP)
    site.until(lambda: processes.is_stopped(stopped.process.pid), "the stop")
    decided = {epoch.number for epoch in site.table(Epoch)}
    for name in ("go", "go15"):
        (site.project / name).touch()
    site.until(lambda: "success" in words(site, run, "late"), "the end that nobody hears")
    other = site.service("worker")
    assert site.wait(run).state == "success"
    before = (site.table(Epoch), site.attempts(run))
    stopped.signal(signal.SIGCONT)
    site.until(lambda: [row.pid for row in site.rows()].count(stopped.process.pid) == 2, "its new row")
    stopped.end()
    other.end()
    assert (site.table(Epoch), site.attempts(run)) == before
    assert sorted(site.outcomes(run)) == ["lost", "lost", "success", "success"]
    lost = {one.id for one in site.attempts(run) if one.outcome == "lost"}
    assert {epoch.number for epoch in site.table(Epoch) if epoch.attempt in lost} == decided
    assert (site.project / "out/late.csv").read_text() == (site.project / "people.csv").read_text()
    effects = [row.verb for row in site.table(Audit) if row.actor == "node late"]
    assert sorted(effects) == ["set variable", "trigger"]
    assert [one.run_type for one in site.table(Run)] == ["manual", "triggered"]


def test_a_stage_paused_and_resumed_three_times_gives_the_bytes_of_a_straight_run(site: ServicesSite) -> None:
    worker = site.serving(site.service("worker"))
    straight = site.trigger("people", name="straight")
    assert site.wait(straight).state == "success"
    run = site.trigger("people", name="paused", waits_at=[5, 18, 33])
    for times, row in enumerate((5, 18, 33), 1):
        site.until((site.project / f"waiting{row}").exists, f"row {row}")
        asked = site.json("runs", "pause", str(run), "--node", "held")
        assert any("is asked for a savepoint" in effect for effect in asked["effects"]), asked
        site.until(lambda n=times: words(site, run, "out").count(WISH) == n, "the wish")  # type: ignore[misc]
        (site.project / f"go{row}").touch()
        site.until(lambda: site.outcomes(run)[-1] == "queued", "the savepoint")
        assert site.state(run, "out") == "paused"
        assert site.fustgo("runs", "resume", str(run), "--node", "held").code == 0
    assert site.wait(run).state == "success"
    assert site.outcomes(run) == ["paused", "paused", "paused", "success"]
    found, wanted = ((site.project / f"out/{name}.csv").read_bytes() for name in ("paused", "straight"))
    assert found == wanted
    worker.end()


def test_stages_that_kill_their_process_stop_after_their_losses_and_show_why(site: ServicesSite) -> None:
    worker = site.serving(site.service("worker"))
    causes = {"signal": "signal 9", "exit": "exit code 3", "memory": "out of memory"}
    runs = {how: site.trigger("poison", how=how) for how in causes}
    for how, run in runs.items():
        assert site.wait(run).state == "failed"
        assert site.outcomes(run) == ["lost"] * 4
        assert causes[how] in site.fustgo("runs", "show", str(run)).out
        assert site.state(run, "dies") == "failed"
        assert site.state(run, "after") == "upstream_failed"
    worker.end()
