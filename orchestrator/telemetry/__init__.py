"""What the program tells about itself: log lines, metrics, traces.

A service process calls `start` once. Where it is not called (commands), or no collector is configured, the
functions of `metrics` and `traces` do nothing and cost nothing; opentelemetry is not even imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.telemetry.service import Settings, Telemetry


def start(settings: Settings, service: str) -> Telemetry:
    """Log to `log.folder/SERVICE.jsonl` and standard error from now on, and send metrics, traces and log
    lines to `telemetry.otlp_endpoint` where that is set. `service` is `scheduler`, `worker`, `web`, ...

    Never to be called in a process that forks without exec: threads do the sending.
    Raises SettingsError where the log folder cannot be written.
    """
    from orchestrator.telemetry.service import Telemetry

    return Telemetry(settings, service)
