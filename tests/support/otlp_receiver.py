"""A collector for tests: takes OTLP over HTTP and prints each request, decoded, as one JSON line.

    python tests/support/otlp_receiver.py [STATUS]

The first line is the port. STATUS is what it answers (200 unless given); `hang` takes requests and never
answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any


@dataclass
class Receiver:
    """A running collector, and what it was sent."""

    endpoint: str
    _requests: SimpleQueue[str]
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    spans: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def take(self) -> None:
        """Wait for the next request; one that does not come within a minute fails the test."""
        request = json.loads(self._requests.get(timeout=60))
        self.headers.append(request["headers"])
        for one in request["body"].get("resourceMetrics", []):
            self.resources.append(plain(one["resource"]))
            found = [metric for scope in one["scopeMetrics"] for metric in scope["metrics"]]
            self.metrics |= {metric["name"]: metric for metric in found}
        for one in request["body"].get("resourceSpans", []):
            self.resources.append(plain(one["resource"]))
            self.spans += [span for scope in one["scopeSpans"] for span in scope["spans"]]
        for one in request["body"].get("resourceLogs", []):
            self.resources.append(plain(one["resource"]))
            self.logs += [record for scope in one["scopeLogs"] for record in scope["logRecords"]]


def plain(holder: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a resource, span, point or log record."""
    return {one["key"]: next(iter(one["value"].values())) for one in holder.get("attributes", [])}


@contextmanager
def collector(answer: str = "200") -> Iterator[Receiver]:
    """A collector in a process of its own."""
    command = [sys.executable, str(Path(__file__)), answer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        requests: SimpleQueue[str] = SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, requests))
        reader.start()
        try:
            yield Receiver(f"http://127.0.0.1:{port}", requests)
        finally:
            process.kill()
            reader.join()


def _read(lines: IO[str], requests: SimpleQueue[str]) -> None:
    for line in lines:
        requests.put(line)


def serve(answer: str) -> None:
    """Take requests until killed."""
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    kinds: dict[str, Any] = {
        "/v1/metrics": ExportMetricsServiceRequest,
        "/v1/traces": ExportTraceServiceRequest,
        "/v1/logs": ExportLogsServiceRequest,
    }
    printing = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            message = kinds[self.path]()
            message.ParseFromString(body)
            line = json.dumps({"headers": dict(self.headers), "body": MessageToDict(message)})
            with printing:
                print(line, flush=True)
            if answer == "hang":
                threading.Event().wait()
            self.send_response(int(answer))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: standard error is the test's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(*(sys.argv[1:] or ["200"]))
