"""Verbs on runs of the services: marks, pauses, and what holds for all of them."""

from __future__ import annotations

import select as sockets
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.client import Done
from orchestrator.errors import FustgoError, RefusedError
from orchestrator.runs.states import Outcome, RunState, StageState
from orchestrator.store import hints, runs, timeouts
from orchestrator.store.database import open_database
from orchestrator.store.tables import table_of
from orchestrator.store.tables.services import Audit
from tests.support.services import Service
from tests.support.store import Command, graph

CHAIN = graph({"a": "", "b": "a", "c": "b"})


# mark


@pytest.mark.parametrize(("state", "ends"), [("success", "queued"), ("failed", "upstream_failed")])
def test_a_mark_fixes_what_follows(service: Service, state: str, ends: str) -> None:
    run = service.begin(CHAIN)
    service.client.mark(str(run.number), "a", state)  # type: ignore[arg-type]
    assert service.states(run.number)["b"] == ends
    assert service.states(run.number)["a"] == state
    service.must_be_sound()


def test_marking_a_failed_stage_success_goes_on_with_the_run(service: Service) -> None:
    run = service.begin(CHAIN)
    service.run_to_end({"a": Outcome.FAILED})
    assert service.client.mark(str(run.number), "a", "success").run.state == RunState.QUEUED
    service.promote()
    assert service.run_to_end() == ["b", "c"]
    assert service.run(run.number).state == RunState.SUCCESS


def test_a_stage_that_runs_is_marked_when_it_has_stopped_and_the_last_verb_holds(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": "a"}))
    attempt = service.must_claim().attempt
    service.client.mark(str(run.number), "a", "failed")
    service.client.mark(str(run.number), "a", "success")
    service.finish(attempt, Outcome.CANCELLED)
    assert service.states(run.number) == {"a": "success", "b": "queued"}


@pytest.mark.parametrize(("outcome", "instead"), [(Outcome.SUCCESS, "--clear"), (Outcome.FAILED, "--resume")])
def test_a_mark_of_a_commands_run_says_what_its_command_can_do(
    service: Service, command: Command, outcome: Outcome, instead: str
) -> None:
    run = command.start(graph({"a": ""}))
    command.run_to_end({"a": outcome})
    with pytest.raises(RefusedError, match="belongs to the command that started it") as refused:
        service.client.mark(str(run.number), "a", "failed")
    assert f"fustgo run people.py {instead} {run.number}" in refused.value.hint


# pause and resume


def test_pausing_keeps_what_is_queued_and_resuming_goes_on(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": ""}))
    attempt = service.must_claim().attempt
    done = service.client.pause(str(run.number))
    assert f"attempt {attempt} of a is asked for a savepoint" in done.effects.lines()
    service.finish(attempt, Outcome.PAUSED)
    assert service.claim() is None
    with pytest.raises(RefusedError, match="nothing to retry"):
        service.client.retry(str(run.number))
    service.client.resume(str(run.number))
    assert sorted(service.run_to_end()) == ["a", "b"]
    with pytest.raises(RefusedError, match="has ended"):
        service.client.pause(str(run.number))


def test_a_single_stage_is_paused_while_the_others_go_on(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": ""}))
    service.client.pause(str(run.number), node="a")
    assert service.run_to_end() == ["b"]
    (said,) = service.client.resume(str(run.number)).effects.lines()
    assert said == f"run {run.number} is not paused; its stage a is: resume that"
    service.client.resume(str(run.number), node="a")
    assert service.run_to_end() == ["a"]


def test_a_pause_at_once_takes_away_what_runs_and_says_what_is_lost(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": ""}))
    first, second = service.must_claim("a").attempt, service.must_claim("b").attempt
    service.whole_epoch(first, 1)
    lines = service.client.pause(str(run.number), now=True).effects.lines()
    assert "stage a: what it did after epoch 1 is lost, it goes on from there" in lines
    assert "stage b: all that it did is lost, it starts from its beginning" in lines
    assert f"attempt {second} of b is taken away" in lines
    with pytest.raises(FustgoError, match="was taken away"):
        service.finish(first)
    service.client.resume(str(run.number))
    assert service.run_to_end() == ["a", "b"]


def test_timeouts_stand_still_while_a_run_is_paused(service: Service) -> None:
    run = service.begin(CHAIN)
    with service.database.transaction() as connection:
        soon = service.clock.now() + timedelta(seconds=10)
        runs.change(connection, run.number, timeout_at=soon)
    service.client.pause(str(run.number))
    service.clock.forward(90)
    timeouts.end_late(service.database)
    assert service.run(run.number).state == RunState.RUNNING
    service.client.resume(str(run.number))
    assert service.run(run.number).timeout_at == service.clock.now() + timedelta(seconds=10)
    service.clock.forward(9)
    timeouts.end_late(service.database)
    assert service.run(run.number).state == RunState.RUNNING
    service.clock.forward(1)
    timeouts.end_late(service.database)
    assert (service.run(run.number).state, service.run(run.number).cancel_cause) == ("failed", "timeout")


# all


def test_a_run_that_a_command_holds_is_refused_with_the_command_to_type(
    service: Service, command: Command
) -> None:
    run = command.start(CHAIN)
    name, client = str(run.number), service.client
    verbs: dict[str, list[Callable[[], Done]]] = {
        "--resume": [
            lambda: client.retry(name),
            lambda: client.resume(name),
            lambda: client.mark(name, "a", "success"),
        ],
        "--clear": [lambda: client.clear(name)],
        "--abandon": [lambda: client.abandon(name)],
    }
    for flag, refused in verbs.items():
        for verb in refused:
            with pytest.raises(RefusedError) as error:
                verb()
            assert error.value.hint == f"type fustgo run people.py {flag} {name}"
    client.pause(name)
    assert command.run(run.number).paused
    client.cancel(name)
    assert command.run(run.number).state == RunState.CANCELLED


def test_every_verb_is_one_row_of_the_audit_log(service: Service) -> None:
    run = service.begin(CHAIN)
    service.client.note(str(run.number), "look at this")
    service.client.pause(str(run.number), dry_run=True)
    service.client.cancel(str(run.number))
    table = table_of(Audit)
    with service.database.read() as connection:
        rows = connection.execute(select(table).order_by(table.c.id)).all()
    assert [(row.actor, row.verb, row.target) for row in rows] == [
        ("ada", verb, f"run {run.number}") for verb in ("trigger", "note", "cancel")
    ]
    assert rows[-1].detail["changed"] == {"run": 1, "stage": 3, "attempt": 1}
    assert service.run(run.number).note == "look at this"
    assert service.states(run.number)["a"] == StageState.CANCELLED


def test_verbs_wake_those_whom_they_concern(service: Service, url: str) -> None:
    run = service.begin(CHAIN)
    service.must_claim("a")
    name = str(run.number)
    other = open_database(url, clock=service.clock)
    listener = hints.listen(other)
    try:
        service.client.cancel(name, dry_run=True)
        service.client.note(name, "nobody need wake for this")
        service.client.pause(name)
        assert "ask" in heard(listener)
        service.client.resume(name)
        assert "work" in heard(listener)
        service.client.mark(name, "a", "failed")
        assert "ask" in heard(listener)
        service.client.pause(name, now=True)
        assert "ask" in heard(listener)
    finally:
        listener.close()
        other.close()


def heard(listener: hints.Listener) -> set[str]:
    """The next topics."""
    while sockets.select([listener], [], [], 10.0)[0]:
        if topics := listener.take():
            return topics
    return set()
