"""A real worker tells a real collector what it did: metrics, the trace of the run, its log lines."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from uuid import UUID

from tests.support.otlp_receiver import Receiver, collector, plain
from tests.support.site import site

DAG = {
    "id": "people",
    "nodes": [
        {"id": "rows", "type": "generate", "config": {"rows": 10}},
        {"id": "out", "type": "csv", "kind": "output", "from": "rows", "config": {"path": "out/rows.csv"}},
        {"id": "more", "type": "generate", "config": {"rows": 5}, "after": ["out"]},
        {"id": "end", "type": "discard", "kind": "output", "from": "more"},
    ],
}


def total(received: Receiver, name: str, attribute: str = "") -> float:
    """The sum of a counter, or of those of its points that hold this attribute's value."""
    points = received.metrics[name]["sum"]["dataPoints"]
    wanted = [point for point in points if not attribute or attribute in plain(point).values()]
    return sum(float(point.get("asDouble") or point["asInt"]) for point in wanted)


def count(received: Receiver, name: str) -> int:
    return sum(int(point["count"]) for point in received.metrics[name]["histogram"]["dataPoints"])


def test_a_run_reaches_the_collector_whole(tmp_path: Path) -> None:
    with (
        collector() as received,
        site(tmp_path, {"FUSTGO_TELEMETRY__OTLP_ENDPOINT": received.endpoint}) as place,
    ):
        worker = place.worker()
        ended = place.wait(place.run(DAG))
        worker.end()
        while len(received.spans) < 7 or "fustgo.runs.ended" not in received.metrics:
            received.take()
        lines = (place.home / "logs/worker.jsonl").read_text().splitlines()
    assert all(json.loads(line)["service"] == "worker" for line in lines)

    assert total(received, "fustgo.attempts.finished", "success") == 2
    assert total(received, "fustgo.runs.ended", "success") == 1
    assert total(received, "fustgo.rows.moved", "read") == 15
    assert total(received, "fustgo.rows.moved", "written") == 15
    assert total(received, "fustgo.runners.started") >= 1
    for name in ("queue_delay", "pickup_delay", "duration"):
        assert count(received, f"fustgo.attempt.{name}") == 2
    (free,) = received.metrics["fustgo.slots.free"]["gauge"]["dataPoints"]
    assert int(free["asInt"]) == 0  # it drains

    spans = {span["name"]: span for span in received.spans}
    run = spans.pop("run people")
    assert run["traceId"] == base64.b64encode(UUID(ended.uid).bytes).decode()
    assert plain(run)["fustgo.run.id"] == ended.run_id
    for stage, nodes in (("rows", ("rows", "out")), ("more", ("more", "end"))):
        attempt = spans.pop(f"stage {stage}")
        assert attempt["parentSpanId"] == run["spanId"]
        for node in nodes:
            assert spans.pop(f"node {node}")["parentSpanId"] == attempt["spanId"]
    assert not spans
