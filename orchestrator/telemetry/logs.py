"""Log lines of a command: to standard error, one line each, with the node or part that speaks.

Everything logs through the standard library's loggers below `fustgo`. Services keep their lines:
`service_logs`.
"""

from __future__ import annotations

import logging
import sys
import time

from orchestrator.telemetry.masking import masked_text

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

    def __init__(self) -> None:
        super().__init__()
        self.formatter = _Line()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


class _Line(logging.Formatter):
    """Time in UTC, level where it is no plain one, node or part, text: as the log of an attempt is shown."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.gmtime(record.created))
        level = "" if record.levelno == logging.INFO else record.levelname
        speaker = record.name.removeprefix(f"{ROOT}.").removeprefix("node.")
        text = masked_text(super().format(record))  # with the traceback of an exception
        return " ".join(filter(None, (at, level, speaker, text)))
