"""A verb and a claim, a finish or another verb at once, on PostgreSQL, in both orders.

One session stands inside its transaction while the other begins; that one is seen to wait, or to pass by.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import finishing, queue, runs, steps
from orchestrator.store.database import Database
from orchestrator.store.tables import Run
from orchestrator.store.verbs import cancelling, clearing, marking, pausing
from tests.contract.store.test_interleavings import until_it_waits
from tests.support.services import Service
from tests.support.store import START, graph

# SQLite has one writer: nothing interleaves there.
pytestmark = pytest.mark.parametrize("dialect", ["postgresql"])
CHAIN = graph({"a": "", "b": "a"})
Aside = Callable[[Callable[[], Any]], Future[Any]]


VERBS: dict[str, Callable[[Connection, Run, Any], Any]] = {
    "cancel": cancelling.cancel_run,
    "clear": partial(clearing.clear_run, nodes=["a"]),
    "mark": partial(marking.mark_stage, node="a", state="failed", actor="ada"),
    "pause": partial(pausing.pause, at_once=True),
}


def do(connection: Connection, verb: str, run: Run) -> None:
    """A verb inside a transaction that stays open."""
    VERBS[verb](connection, runs.lock(connection, run.number), START)


def call(database: Database, verb: str, run: Run) -> None:
    database.run_transaction(lambda connection: do(connection, verb, run))


@pytest.mark.parametrize(
    ("verb", "states", "ended"),
    [
        ("cancel", {"a": "cancelled", "b": "cancelled"}, RunState.CANCELLED),
        ("clear", {"a": "queued", "b": "none"}, RunState.RUNNING),
        ("mark", {"a": "failed", "b": "upstream_failed"}, RunState.FAILED),
        ("pause", {"a": "queued", "b": "none"}, RunState.RUNNING),
    ],
)
def test_a_finish_waits_for_a_verb_and_ends_as_that_says(
    service: Service, aside: Aside, verb: str, states: dict[str, str], ended: RunState
) -> None:
    run = service.begin(CHAIN)
    attempt = service.must_claim("a").attempt
    with service.database.transaction() as connection:
        do(connection, verb, run)
        late = aside(lambda: steps.finish(service.database, {attempt: Report(Outcome.SUCCESS)}))
        until_it_waits(service.database, late)
    assert (late.result()[attempt] is None) == (verb == "pause")  # taken away: it bounces
    assert service.states(run.number) == states
    assert service.run(run.number).state == ended
    service.must_be_sound()


@pytest.mark.parametrize(
    ("verb", "states"),
    [
        ("cancel", {"a": "success", "b": "cancelled"}),
        ("clear", {"a": "queued", "b": "none"}),
        ("mark", {"a": "failed", "b": "upstream_failed"}),
        ("pause", {"a": "success", "b": "queued"}),
    ],
)
def test_a_verb_waits_for_a_finish_and_acts_on_what_that_left(
    service: Service, aside: Aside, verb: str, states: dict[str, str]
) -> None:
    run = service.begin(CHAIN)
    attempt = service.must_claim("a").attempt
    with service.database.transaction() as connection:
        finishing.finish(connection, {attempt: Report(Outcome.SUCCESS)}, START)
        late = aside(lambda: call(service.database, verb, run))
        until_it_waits(service.database, late)
    late.result()
    assert service.states(run.number) == states
    service.must_be_sound()


def test_a_cancel_that_comes_after_the_last_end_is_refused(service: Service, aside: Aside) -> None:
    run = service.begin(graph({"a": ""}))
    attempt = service.must_claim("a").attempt
    with service.database.transaction() as connection:
        finishing.finish(connection, {attempt: Report(Outcome.SUCCESS)}, START)
        late = aside(lambda: service.client.cancel(str(run.number)))
        until_it_waits(service.database, late)
    with pytest.raises(RefusedError, match="has ended"):
        late.result()
    assert service.run(run.number).state == RunState.SUCCESS


@pytest.mark.parametrize(
    ("verb", "asked"), [("cancel", "cancelled"), ("clear", "cleared"), ("mark", "failed")]
)
def test_a_verb_waits_for_a_claim_and_asks_what_that_took(
    service: Service, aside: Aside, verb: str, asked: str
) -> None:
    run = service.begin(CHAIN)
    with service.database.transaction() as connection:
        assert queue.claim(connection, worker=service.worker, limit=1, held=False, now=START)
        late = aside(lambda: call(service.database, verb, run))
        until_it_waits(service.database, late)
    late.result()
    assert service.states(run.number)["a"] == "running"
    assert service.stages(run.number)["a"].stop_as == asked


@pytest.mark.parametrize("verb", ["cancel", "clear", "mark", "pause"])
def test_a_claim_passes_by_a_run_that_a_verb_holds(service: Service, aside: Aside, verb: str) -> None:
    run = service.begin(CHAIN)
    with service.database.transaction() as connection:
        do(connection, verb, run)
        assert aside(service.claim).result(60) is None
    claimed = service.claim()
    assert (claimed is not None) == (verb == "clear")
    service.must_be_sound()


def test_of_two_verbs_the_second_acts_on_what_the_first_left(service: Service, aside: Aside) -> None:
    run = service.begin(CHAIN)
    attempt = service.must_claim("a").attempt
    with service.database.transaction() as connection:
        do(connection, "clear", run)
        late = aside(lambda: call(service.database, "cancel", run))
        until_it_waits(service.database, late)
    late.result()
    assert service.stages(run.number)["a"].stop_as == "cancelled"
    service.finish(attempt)
    assert service.run(run.number).state == RunState.CANCELLED


def test_two_triggers_of_one_run_id_at_once_are_one_run(service: Service) -> None:
    service.load(CHAIN)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: service.client.trigger("people", run_id="once"), range(8)))
    assert len({one.run.number for one in done}) == 1
    assert sum(bool(one.effects.changes) for one in done) == 1
