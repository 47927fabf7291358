"""Log lines of a command: to standard error, one line each, with the node or part that speaks.

Everything logs through the standard library's loggers below `fustgo`; structlog renders. It is imported
with the first line only, so that a command that logs nothing does not pay for it. Services keep their
lines: `service_logs`.
"""

from __future__ import annotations

import logging
import sys

ROOT = "fustgo"
_in_service = False


def configure(level: str) -> None:
    """Show lines of at least this level (`DEBUG` to `ERROR`) on standard error; may be called again.

    In a service process, whose lines go further already, it sets the level and no more.
    """
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    if not _in_service:
        logger.propagate = False
        logger.handlers = [Terminal()]


def serve(yes: bool) -> None:
    """Say whether this process is a service, which has handlers of its own."""
    global _in_service
    _in_service = yes


class Terminal(logging.Handler):
    """Writes to wherever standard error is when the line comes."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.formatter is None:
            self.formatter = _logfmt()
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _logfmt() -> logging.Formatter:
    import structlog

    from orchestrator.telemetry.masking import masked

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            lambda _logger, _name, event: masked(event),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "logger", "event"]),
        ],
    )
