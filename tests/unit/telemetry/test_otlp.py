"""What a service measures reaches a real collector, and a collector that fails disturbs nobody."""

from __future__ import annotations

import base64
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orchestrator import settings, telemetry
from orchestrator.telemetry import metrics, names, traces
from tests.support.otlp_receiver import collector, plain

UID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOW = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SCHEDULER = f"""
from datetime import datetime, timedelta
from orchestrator import settings, telemetry
from orchestrator.telemetry import traces

ended = datetime.fromisoformat("{NOW.isoformat()}")
with telemetry.start(settings.load(), "scheduler"):
    traces.run_ended("{UID}", dag="adults", run_id="r1", state="failed",
                     started=ended - timedelta(seconds=3), ended=ended)
"""
QUIET = """
import sys, time
from orchestrator import settings, telemetry
from orchestrator.telemetry import metrics, traces

with telemetry.start(settings.load(), "worker"):
    assert not traces.is_on()
    fastest = 1.0
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(1000):
            metrics.attempt_finished("success", 0.1, dag="adults")
        fastest = min(fastest, time.perf_counter() - started)
print(fastest / 1000 < 1e-6, [name for name in sys.modules if name.startswith(("opentelemetry", "requests"))])
"""


@contextmanager
def service(home: Path, endpoint: str | None, name: str = "worker") -> Iterator[None]:
    environ = {"FUSTGO_HOME": str(home), "FUSTGO_TELEMETRY__OTLP_ENDPOINT": endpoint or "none"}
    with telemetry.start(settings.load(environ=environ), name):
        yield


def measure_everything() -> None:
    metrics.attempt_finished("success", 0.02, dag="adults")
    metrics.attempt_finished("success", 0.04, dag="adults")
    metrics.attempt_finished("failed", 7.0, dag="adults")
    metrics.queue_delay(0.003)
    metrics.queue_delay(-0.001)  # clocks of two hosts
    metrics.pickup_delay(0.004)
    metrics.attempts_lost(2)
    metrics.slots(3, 1)
    metrics.slots(2, 2)
    metrics.runner_started()
    metrics.rescued("worker")
    metrics.schedule_delay(0.02, dag="adults")
    metrics.run_late(dag="adults")
    metrics.run_ended("failed", dag="adults")
    metrics.rows(1000, "read", dag="adults")
    metrics.rows(0, "written", dag="adults")
    metrics.file_parsed(0.02)
    metrics.import_errors(2, bundle="default")
    metrics.change_loaded(0.3, bundle="default")
    metrics.transaction(0.001)
    metrics.transaction_retried()


def test_every_metric_arrives_with_its_unit_and_attributes(home: Path) -> None:
    with collector() as received:
        with service(home, received.endpoint):
            measure_everything()
        while not received.metrics:
            received.take()
    assert received.metrics.keys() == {metric.name for metric in names.METRICS}
    for metric in names.METRICS:
        arrived = received.metrics[metric.name]
        assert (arrived["unit"], arrived["description"]) == (metric.unit, metric.description)
        assert {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}[metric.kind] in arrived
        for point in points(arrived):
            assert plain(point).keys() == set(metric.attributes)
    assert counted(received.metrics["fustgo.attempts.finished"]) == {
        ("success", "adults"): 2,
        ("failed", "adults"): 1,
    }
    assert counted(received.metrics["fustgo.attempts.lost"]) == {(): 2}
    assert counted(received.metrics["fustgo.attempts.running"]) == {(): 2}
    assert counted(received.metrics["fustgo.rows.moved"]) == {("read", "adults"): 1000}
    (delay,) = points(received.metrics["fustgo.attempt.queue_delay"])
    assert (int(delay["count"]), delay["sum"]) == (2, 0.003)
    assert delay["explicitBounds"][0] == 0.005


def points(metric: dict[str, Any]) -> list[dict[str, Any]]:
    kind = next(name for name in ("sum", "gauge", "histogram") if name in metric)
    found: list[dict[str, Any]] = metric[kind]["dataPoints"]
    return found


def counted(metric: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {
        tuple(plain(point).values()): float(point.get("asDouble") or point["asInt"])
        for point in points(metric)
    }


def test_spans_of_two_processes_join_in_the_trace_of_their_run(home: Path) -> None:
    begun = NOW - timedelta(seconds=3)
    with collector() as received:
        with service(home, received.endpoint, "worker"):
            traces.attempt_ended(
                UID, 7, dag="adults", stage="people", outcome="failed", started=begun, ended=NOW,
                nodes={"people": {"rows": 5, "bytes": 80, "note": "x"}, "out": None},
                error="disk", culprit="out",
            )  # fmt: skip
        environ = {"FUSTGO_HOME": str(home), "FUSTGO_TELEMETRY__OTLP_ENDPOINT": received.endpoint}
        subprocess.run([sys.executable, "-c", SCHEDULER], env=environ, check=True)
        while len(received.spans) < 4:
            received.take()
    spans = {span["name"]: span for span in received.spans}
    run, stage, node, out = (
        spans[name] for name in ("run adults", "stage people", "node people", "node out")
    )
    trace = base64.b64encode(UUID(UID).bytes).decode()
    assert {span["traceId"] for span in received.spans} == {trace}
    assert "parentSpanId" not in run
    assert stage["parentSpanId"] == run["spanId"]
    assert node["parentSpanId"] == out["parentSpanId"] == stage["spanId"]
    assert len({span["spanId"] for span in received.spans}) == 4
    assert int(stage["startTimeUnixNano"]) == int(begun.timestamp() * 1000) * 1_000_000
    assert int(stage["endTimeUnixNano"]) - int(stage["startTimeUnixNano"]) == 3_000_000_000
    assert plain(stage)["fustgo.outcome"] == "failed"
    assert plain(node)["fustgo.rows"] == "5"
    assert (stage["status"], out["status"]) == ({"message": "disk", "code": "STATUS_CODE_ERROR"},) * 2
    assert node["status"] == {"code": "STATUS_CODE_OK"}
    assert run["status"]["message"] == "failed"
    assert {resource["service.name"] for resource in received.resources} == {
        "fustgo-worker",
        "fustgo-scheduler",
    }


def test_log_lines_arrive_without_secrets_and_say_who_speaks(home: Path) -> None:
    with collector() as received:
        with service(home, received.endpoint):
            log = logging.getLogger("fustgo.worker.claims")
            log.debug("below the level")
            log.warning("no room for %s, password=abc", "run 3", extra={"run": 3, "token": "xyz"})
            try:
                raise ValueError("three")
            except ValueError:
                log.exception("broken")
            logging.getLogger("somebody.else").error("heard too")
        while len(received.logs) < 3:
            received.take()
    warning, broken, other = received.logs
    assert warning["body"] == {"stringValue": "no room for run 3, password=***"}
    assert (warning["severityText"], warning["severityNumber"]) == ("WARNING", "SEVERITY_NUMBER_WARN")
    said = {"fustgo.logger": "fustgo.worker.claims", "fustgo.run": "3", "fustgo.token": "***"}
    assert plain(warning) == said
    assert "ValueError: three" in plain(broken)["exception.stacktrace"]
    assert other["body"] == {"stringValue": "heard too"}


def test_who_speaks_is_said_in_opentelemetrys_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc")
    with collector() as received:
        with service(home, f"{received.endpoint}/"):
            metrics.runner_started()
        received.take()
    (resource,) = received.resources
    assert resource["service.name"] == "fustgo-worker"
    assert resource["deployment.environment.name"] == "test"
    assert {"service.version", "service.instance.id", "host.name", "process.pid"} <= resource.keys()
    assert received.headers[0]["authorization"] == "Basic abc"


def test_metrics_arrive_while_the_service_runs(home: Path) -> None:
    with collector() as received:
        environ = {
            "FUSTGO_HOME": str(home),
            "FUSTGO_TELEMETRY__OTLP_ENDPOINT": received.endpoint,
            "FUSTGO_TELEMETRY__INTERVAL": "1s",
        }
        with telemetry.start(settings.load(environ=environ), "worker"):
            metrics.runner_started()
            received.take()
            assert counted(received.metrics["fustgo.runners.started"]) == {(): 1}


def busy_service(home: Path, endpoint: str) -> tuple[float, float, list[str]]:
    """Seconds that work and end of a service took, and the lines about sending."""
    with service(home, endpoint):
        started = time.monotonic()
        for attempt in range(5_000):  # more than any queue holds
            metrics.attempt_finished("success", 0.1, dag="adults")
            traces.run_ended(UID, dag="d", run_id=str(attempt), state="success", started=NOW, ended=NOW)
        logging.getLogger("fustgo.worker").info("at work")
        worked = time.monotonic()
    closed = time.monotonic()
    lines = (home / "logs/worker.jsonl").read_text().splitlines()
    assert any('"at work"' in line for line in lines)
    return worked - started, closed - worked, [line for line in lines if "telemetry cannot be sent" in line]


def test_an_absent_collector_disturbs_nobody_and_is_said_once(home: Path) -> None:
    with socket.socket() as taken:  # bound, not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        worked, closed, said = busy_service(home, f"http://ada:secret@127.0.0.1:{taken.getsockname()[1]}")
    assert worked < 3
    assert closed < 4
    assert len(said) == 1
    assert "secret" not in said[0]
    assert "the service goes on" in said[0]


@pytest.mark.parametrize("answer", ["503", "400", "hang"])
def test_a_collector_that_refuses_or_hangs_disturbs_nobody(home: Path, answer: str) -> None:
    with collector(answer) as received:
        worked, closed, said = busy_service(home, received.endpoint)
    assert worked < 3
    assert closed < 4
    assert len(said) <= 1


def test_without_a_collector_nothing_of_opentelemetry_is_imported_and_calls_are_cheap(home: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", QUIET],
        env={"FUSTGO_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["True", "[]"]
