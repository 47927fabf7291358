"""What the store tells about itself: transactions, and what they moved, after they have committed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import finishing, rescue, steps
from orchestrator.store.database import CollisionError, Database
from orchestrator.telemetry import metrics, traces
from orchestrator.telemetry.names import Metric
from orchestrator.telemetry.traces import Span
from tests.support.services import APPEND, Service, staged
from tests.support.store import START, ManualClock, graph


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, tuple[str, ...]]] = []
        self.spans: list[Span] = []

    def measure(self, metric: Metric, value: float, attributes: Mapping[str, str] | None = None) -> None:
        self.values.append((metric.name.removeprefix("fustgo."), value, tuple((attributes or {}).values())))

    def tell(self, span: Span) -> None:
        self.spans.append(span)

    def of(self, name: str) -> list[tuple[float, tuple[str, ...]]]:
        return [(value, attributes) for known, value, attributes in self.values if known == name]


@pytest.fixture
def told(database: Database) -> Iterator[Recorder]:
    recorder = Recorder()
    metrics.attach(recorder)
    traces.attach(recorder)
    yield recorder
    metrics.attach(None)
    traces.attach(None)


def test_a_committed_transaction_tells_its_time(database: Database, told: Recorder) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE pools SET slots = 7")
        assert told.values == []
    assert told.of("store.transaction.duration") == [(0.0, ())]


def test_what_was_rolled_back_or_only_read_is_not_told(
    service: Service, database: Database, told: Recorder
) -> None:
    attempt = begun(service, told)

    def work(connection: Connection) -> None:
        finishing.finish(connection, {attempt: Report(Outcome.SUCCESS)}, START)
        raise RuntimeError("not to be")

    with pytest.raises(RuntimeError, match="not to be"):
        database.run_transaction(work)
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert (told.values, told.spans) == ([], [])


def begun(service: Service, told: Recorder) -> int:
    """A running attempt, of which everything has been told."""
    service.begin(graph({"a": ""}))
    attempt = service.must_claim().attempt
    told.values.clear()
    told.spans.clear()
    return attempt


def test_a_transaction_that_collided_is_counted(database: Database, told: Recorder) -> None:
    collisions = [CollisionError("first"), CollisionError("second")]

    def work(_: Connection) -> None:
        if collisions:
            raise collisions.pop()

    database.run_transaction(work)
    assert len(told.of("store.transactions.retried")) == 2
    assert len(told.of("store.transaction.duration")) == 1


def test_a_run_is_told_from_its_first_claim_to_its_end(
    service: Service, clock: ManualClock, told: Recorder
) -> None:
    run = service.begin(staged({"s": ""}, {"s": ("people", "out")}), out=APPEND)
    clock.forward(2)
    claimed = service.must_claim()
    clock.forward(3)
    results = {"people": {"rows": 10, "rejects": 1}, "out": {"rows": 9, "bytes": 80, "rejects": 0}}
    service.finish(claimed.attempt, results=results)
    assert told.of("attempt.queue_delay") == [(2.0, ())]
    assert told.of("attempts.finished") == [(1, ("success", "people"))]
    assert told.of("attempt.duration") == [(3.0, ("success", "people"))]
    assert told.of("rows.moved") == [
        (10, ("read", "people")),
        (1, ("rejected", "people")),
        (9, ("written", "people")),
    ]
    assert told.of("runs.ended") == [(1, ("success", "people"))]
    spans = {span.name: span for span in told.spans}
    assert spans.keys() == {"run people", "stage s", "node people", "node out"}
    assert spans["run people"].attributes["fustgo.run.id"] == run.run_id
    assert (spans["run people"].started, spans["run people"].ended) == (START, START + timedelta(seconds=5))
    assert (spans["stage s"].started, spans["stage s"].ended) == (
        START + timedelta(seconds=2),
        START + timedelta(seconds=5),
    )
    assert spans["stage s"].parent == spans["run people"].id
    assert spans["node out"].attributes["fustgo.bytes"] == 80
    assert not any(span.error for span in told.spans)


def test_a_failure_names_its_node_and_a_repeat_of_its_report_is_told_once(
    service: Service, told: Recorder
) -> None:
    service.begin(staged({"s": ""}, {"s": ("people", "out")}), out=APPEND)
    attempt = service.must_claim().attempt
    for _ in range(2):
        service.finish(attempt, Outcome.FAILED, message="no route", node="out")
    assert told.of("attempts.finished") == [(1, ("failed", "people"))]
    assert told.of("runs.ended") == [(1, ("failed", "people"))]
    errors = {span.name: span.error for span in told.spans}
    assert errors == {
        "run people": "failed",
        "stage s": "no route",
        "node people": "",
        "node out": "no route",
    }


def test_every_try_is_told(service: Service, clock: ManualClock, told: Recorder) -> None:
    service.begin(graph({"a": ""}, retries=1, retry_delay=60.0))
    service.finish(service.must_claim().attempt, Outcome.FAILED, message="x")
    clock.forward(3600)
    service.finish(service.must_claim().attempt)
    assert [outcome for _, (outcome, _) in told.of("attempts.finished")] == ["failed", "success"]
    assert len({span.id for span in told.spans if span.name == "stage a"}) == 2
    assert told.of("attempt.queue_delay")[-1][0] > 3400  # not from when it was queued, but due


def test_what_a_dead_worker_had_is_lost(service: Service, database: Database, told: Recorder) -> None:
    begun(service, told)
    assert rescue.lose(database, service.worker, 0)
    assert told.of("attempts.lost") == [(1, ())]
    assert told.of("attempts.finished") == [(1, ("lost", "people"))]


def test_what_is_withdrawn_from_the_queue_was_no_attempt_at_anything(
    service: Service, told: Recorder
) -> None:
    run = service.begin(graph({"a": ""}))
    service.client.cancel(str(run.number))
    assert told.of("attempts.finished") == []
    assert told.of("runs.ended") == [(1, ("cancelled", "people"))]


def test_a_run_that_is_tried_again_ends_twice(service: Service, told: Recorder) -> None:
    run = service.begin(graph({"a": ""}))
    service.finish(service.must_claim().attempt, Outcome.FAILED)
    service.client.retry(str(run.number))
    service.promote()
    service.finish(service.must_claim().attempt)
    assert [state for _, (state, _) in told.of("runs.ended")] == ["failed", "success"]


def test_without_a_collector_nothing_is_looked_up(service: Service, database: Database) -> None:
    service.begin(graph({"a": ""}))
    with database.transaction() as connection:
        assert not any(name.startswith("fustgo.measures") for name in connection.info)
    assert steps.claim(database, worker=service.worker)


def test_what_cannot_be_measured_disturbs_nobody(
    service: Service, told: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = begun(service, told)
    monkeypatch.setattr(told, "tell", None)
    monkeypatch.setattr(logging.getLogger("fustgo"), "propagate", True)  # a command of another test took it
    assert service.finish(attempt).run == RunState.SUCCESS
    assert "could not be measured" in caplog.text
