"""Sends metrics, spans and log lines to an OpenTelemetry collector (OTLP over HTTP).

The only module that imports opentelemetry, and imported itself only where `telemetry.otlp_endpoint` is set.
Threads of the SDK do the sending; their queues are bounded and drop what a collector does not take. What
they complain about is told once in a while, and never more.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from uuid import uuid4

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator

from orchestrator.telemetry import names
from orchestrator.telemetry.logs import ROOT
from orchestrator.telemetry.masking import masked_text
from orchestrator.telemetry.names import Metric
from orchestrator.telemetry.service_logs import fields
from orchestrator.telemetry.traces import Span

_SCOPE = "fustgo"
_OWN_LOGGER = f"{ROOT}.telemetry"
_CLOSE_WITHIN = 3.0  # seconds that the end of a service may wait for a collector
_COMPLAIN_EVERY = 300.0  # seconds
# From a hop of the queue to a day's load.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200)


class Exporter:
    """The three providers of a service process."""

    def __init__(self, endpoint: str, interval: float, service: str) -> None:
        base = endpoint.rstrip("/")
        resource = _resource(service)
        self._complaints = _Complaints(masked_text(endpoint))
        self._complaints.listen()
        metrics, spans = OTLPMetricExporter(f"{base}/v1/metrics"), OTLPSpanExporter(f"{base}/v1/traces")
        lines = OTLPLogExporter(f"{base}/v1/logs")
        self._exporters = (metrics, spans, lines)
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=interval * 1000)
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._ids = _GivenIds()
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._tracers.add_span_processor(BatchSpanProcessor(spans))
        self._loggers = LoggerProvider(resource, shutdown_on_exit=False)
        self._loggers.add_log_record_processor(BatchLogRecordProcessor(lines))
        self._measures = _instruments(self._meters)
        self._tracer = self._tracers.get_tracer(_SCOPE)
        self._lines = _Lines(self._loggers)
        logging.getLogger().addHandler(self._lines)

    def measure(self, metric: Metric, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Add to a counter, record in a histogram, or set a gauge."""
        self._measures[metric.name](value, attributes)

    def tell(self, span: Span) -> None:
        """Hand a finished span to the sender."""
        self._ids.give(span)
        made = self._tracer.start_span(
            span.name,
            context=_inside(span),
            start_time=_nanoseconds(span.started),
            attributes=dict(span.attributes),
        )
        made.set_status(trace.StatusCode.ERROR if span.error else trace.StatusCode.OK, span.error or None)
        made.end(_nanoseconds(span.ended))

    def close(self) -> None:
        """Send what is left, as long as the collector takes it within three seconds."""
        logging.getLogger().removeHandler(self._lines)
        senders = [
            threading.Thread(target=provider.shutdown, daemon=True)
            for provider in (self._meters, self._tracers, self._loggers)
        ]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + _CLOSE_WITHIN
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        self._complaints.close()
        for exporter in self._exporters:  # ends what still waits to try again
            exporter.shutdown()


def _resource(service: str) -> Resource:
    """Who speaks, in OpenTelemetry's own words; OTEL_RESOURCE_ATTRIBUTES adds to it."""
    return Resource.create(
        {
            "service.namespace": "fustgo",
            "service.name": f"fustgo-{service}",
            "service.version": version("fustgo"),
            "service.instance.id": str(uuid4()),
            "host.name": platform.node(),
            "process.pid": os.getpid(),
        }
    )


def _instruments(provider: MeterProvider) -> dict[str, Callable[[float, Mapping[str, str] | None], None]]:
    """By the name of a metric, what takes its values."""
    meter = provider.get_meter(_SCOPE)
    found: dict[str, Callable[[float, Mapping[str, str] | None], None]] = {}
    for metric in names.METRICS:
        about = (metric.name, metric.unit, metric.description)
        if metric.kind == "counter":
            found[metric.name] = meter.create_counter(*about).add
        elif metric.kind == "gauge":
            found[metric.name] = meter.create_gauge(*about).set
        else:
            histogram = meter.create_histogram(*about, explicit_bucket_boundaries_advisory=_SECONDS)
            found[metric.name] = histogram.record
    return found


class _GivenIds(IdGenerator):
    """Gives the span that a thread makes next the ids that it says it has."""

    def __init__(self) -> None:
        self._here = threading.local()

    def give(self, span: Span) -> None:
        """This thread makes this span next."""
        self._here.span = span

    def generate_span_id(self) -> int:
        span: Span = self._here.span
        return span.id

    def generate_trace_id(self) -> int:
        span: Span = self._here.span
        return span.trace


def _inside(span: Span) -> Context:
    """A context in which the span's parent is current; an empty one where it has none."""
    if span.parent is None:
        return Context()
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.SpanContext(span.trace, span.parent, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


class _Lines(logging.Handler):
    """Hands log lines on, but for those about sending: they would go round in circles."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._logger = provider.get_logger(_SCOPE)
        self.addFilter(lambda record: not record.name.startswith((_OWN_LOGGER, "urllib3", "requests")))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            known = fields(record)
            about = {f"{_SCOPE}.{name}": _plain(value) for name, value in known.items() if name not in _SAID}
            if "exception" in known:
                about["exception.stacktrace"] = about.pop(f"{_SCOPE}.exception")
            self._logger.emit(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time.time_ns(),
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.INFO),
                severity_text=record.levelname,
                body=known["text"],
                attributes={names.LOGGER: record.name, **about},
            )
        except Exception:
            self.handleError(record)


_SAID = {"at", "level", "logger", "text"}
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


def _plain(value: object) -> str | bool | int | float:
    return value if isinstance(value, str | bool | int | float) else str(value)


class _Complaints(logging.Handler):
    """Takes what the SDK complains about, and tells the first and then one in five minutes."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(logging.WARNING)
        self._endpoint = endpoint
        self._untold = 0
        self._told_at = -_COMPLAIN_EVERY
        self._logger = logging.getLogger("opentelemetry")

    def listen(self) -> None:
        """From now on nobody else hears them."""
        self._logger.propagate, self._logger.handlers = False, [self]

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() < self._told_at + _COMPLAIN_EVERY:
            self._untold += 1
            return
        self._told_at = time.monotonic()
        logging.getLogger(_OWN_LOGGER).warning(
            "telemetry cannot be sent to %s: %s; the service goes on without (%d more such since)",
            self._endpoint,
            record.getMessage(),
            self._untold,
        )
        self._untold = 0

    def close(self) -> None:
        self._logger.handlers = [logging.NullHandler()]  # a sender that hangs may yet complain
        super().close()
