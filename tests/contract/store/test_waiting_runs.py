"""Why a run waits: each reason is made to happen, named with who and what, and with its remedy."""

from __future__ import annotations

from orchestrator.runs.states import RunState
from orchestrator.store import processes, runs
from orchestrator.store.tables import table_of
from orchestrator.store.tables.services import Backfill
from orchestrator.store.verbs import pausing
from tests.support.asking import Services
from tests.support.store import START, Command, ManualClock, graph

ONE = graph({"a": ""})
TWO = graph({"a": "", "b": "a"})


def test_a_queued_run_without_a_scheduler(services: Services, clock: ManualClock) -> None:
    run = services.start(TWO, RunState.QUEUED)
    assert "fustgo scheduler" in services.why(run)["no_scheduler"].remedy
    services.enter("scheduler")
    assert "no_scheduler" not in services.why(run)
    clock.forward(31)  # it has not beaten since
    assert "no_scheduler" in services.why(run)


def test_a_queued_run_of_a_dag_with_as_many_active_ones_as_it_may_have(services: Services) -> None:
    services.enter("scheduler")
    first, run = services.start(ONE), services.start(ONE, RunState.QUEUED)
    assert "about_to_start" in services.why(run)
    services.limit(run, max_active_runs=1)
    reason = services.why(run)["max_active_runs"]
    assert f"may have 1 active, and has run {first.number}" in reason.text
    assert "max_active_runs" in reason.remedy


def test_a_queued_run_of_a_schedule_says_when_it_was_due(services: Services) -> None:
    services.enter("scheduler")
    run = services.start(ONE, RunState.QUEUED, run_type="scheduled", due_at=START)
    due = f"run {run.number}, due {START.isoformat()}"
    assert services.only(run, "about_to_start").text == f"{due}, is queued; nothing keeps it"
    with services.database.transaction() as connection:
        runs.change(connection, run.number, late=True)
    assert services.only(run, "about_to_start").text == f"{due} and late, is queued; nothing keeps it"


def test_a_queued_run_behind_others(services: Services) -> None:
    services.enter("scheduler")
    first, run = services.start(ONE, RunState.QUEUED), services.start(ONE, RunState.QUEUED)
    services.limit(run, max_active_runs=1)
    assert f"behind run {first.number}" in services.why(run)["runs_before"].text


def test_a_run_of_a_paused_backfill(services: Services) -> None:
    services.enter("scheduler")
    run = services.start(ONE, RunState.QUEUED, run_type="backfill")
    with services.database.transaction() as connection:
        made = connection.execute(
            table_of(Backfill)
            .insert()
            .values(
                dag=run.dag, first=START, last=START, max_active_runs=1, paused=True, params={},
                created_by="ada", created_at=START,
            )
            .returning(table_of(Backfill).c.id)
        )  # fmt: skip
        runs.change(connection, run.number, backfill=made.scalar_one())
    assert "its backfill is paused" in services.only(run, "no_places").text


def test_a_paused_run_and_a_paused_stage(services: Services) -> None:
    services.enter()
    run = services.start(ONE)
    services.client.pause(str(run.number))
    assert services.why(run)["run_paused"].remedy == f"fustgo runs resume {run.number}"
    services.client.resume(str(run.number))
    services.client.pause(str(run.number), node="a")
    reason = services.why(run, "a")["stage_paused"]
    assert (reason.stage, reason.remedy) == ("a", f"fustgo runs resume {run.number} --node a")


def test_a_run_that_is_being_cancelled_waits_for_its_attempts(services: Services, clock: ManualClock) -> None:
    worker = services.enter()
    run = services.start(ONE)
    claimed = services.claim(worker, "a")
    services.client.cancel(str(run.number))
    found = services.why(run)
    assert set(found) == {"cancelling", "stopping"}
    assert f"attempt {claimed.attempt} of a" in found["cancelling"].text
    assert f"worker {worker} (process" in found["cancelling"].text
    assert "becomes cancelled" in found["stopping"].text
    clock.forward(31)
    assert "does not answer" in services.why(run)["cancelling"].remedy


def test_a_run_that_a_command_holds(services: Services, command: Command) -> None:
    run = command.start(graph({"a": "", "b": ""}))
    reason = services.why(run, "b")["held"]
    assert f"process {command.pid} on {processes.host()}" in reason.text
    assert f"fustgo run people.py --resume {run.number}" in reason.remedy


def test_a_paused_run_whose_command_is_gone(services: Services, killed: Command) -> None:
    """One that is not paused has failed by then: "the command was killed"."""
    run = killed.start(ONE)
    with services.database.transaction() as connection:
        pausing.pause_run(connection, run, now=services.clock.now())
    reason = services.why(run)["holder_gone"]
    assert f"process {killed.pid}" in reason.text
    assert reason.remedy == f"fustgo run people.py --resume {run.number}"
