"""Log files, metrics and traces of one service process."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from orchestrator.telemetry import metrics, traces
from orchestrator.telemetry.service_logs import LogSettings, ServiceLogs

if TYPE_CHECKING:
    from orchestrator.telemetry.otlp import Exporter


class SendingSettings(Protocol):
    """The section `telemetry` of the settings."""

    @property
    def otlp_endpoint(self) -> str | None: ...
    @property
    def interval(self) -> timedelta: ...


class Settings(Protocol):
    """The settings that telemetry needs."""

    @property
    def log(self) -> LogSettings: ...
    @property
    def telemetry(self) -> SendingSettings: ...


class Telemetry:
    """What `telemetry.start` has begun; ended by `close`, or as a context."""

    def __init__(self, settings: Settings, service: str) -> None:
        self._logs = ServiceLogs(settings.log, service)
        self._exporter = _exporter(settings.telemetry, service)
        metrics.attach(self._exporter)
        traces.attach(self._exporter)

    def close(self) -> None:
        """Send what is left (at most three seconds), and close the log file."""
        metrics.attach(None)
        traces.attach(None)
        if self._exporter is not None:
            self._exporter.close()
        self._logs.close()

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _exporter(settings: SendingSettings, service: str) -> Exporter | None:
    if settings.otlp_endpoint is None:
        return None
    from orchestrator.telemetry.otlp import Exporter

    return Exporter(settings.otlp_endpoint, settings.interval.total_seconds(), service)
