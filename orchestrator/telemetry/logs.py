"""Log lines of a command: to standard error, one line each, with the node or part that speaks.

Everything logs through the standard library's loggers below `fustgo`; structlog renders. It is imported
with the first line only, so that a command that logs nothing does not pay for it.
"""

from __future__ import annotations

import logging
import sys

ROOT = "fustgo"


def configure(level: str) -> None:
    """Show lines of at least this level (`DEBUG` to `ERROR`) on standard error; may be called again."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False
    logger.handlers = [_Terminal()]


class _Terminal(logging.Handler):
    """Writes to wherever standard error is when the line comes."""

    _formatter: logging.Formatter | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._formatter is None:
            self._formatter = _formatter()
        try:
            sys.stderr.write(self._formatter.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _formatter() -> logging.Formatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "logger", "event"]),
        ],
    )
