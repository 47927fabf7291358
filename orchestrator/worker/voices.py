"""Whatever Python says in a runner goes into the log of its attempt: prints, log lines, warnings.

Each line has the node that speaks: that of its logger, else the one whose code runs.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from orchestrator.engine.boundary import speaker
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.worker.logs import AttemptLog

NODE_LOGGER = "fustgo.node."
_GOOD = (Outcome.SUCCESS, Outcome.SNOOZED, Outcome.PAUSED, Outcome.DRAINED)


class Voices:
    """Takes over `sys.stdout`, `sys.stderr` and the root logger of this process.

    What is said after an attempt's end, by threads that it left, still goes into its log until the next.
    """

    def __init__(self, level: str) -> None:
        self._log: AttemptLog | None = None
        self._node = ""
        self._streams = [_Stream(self, "stdout", 1), _Stream(self, "stderr", 2)]
        sys.stdout, sys.stderr = self._streams
        sys.stdin = open("/dev/null", encoding="utf-8")  # noqa: SIM115  # for the life of the process
        root = logging.getLogger()
        root.handlers = [_Handler(self)]
        root.setLevel(logging.INFO)
        logging.getLogger("fustgo").setLevel(level)

    def listen(self, log: AttemptLog, node: str) -> None:
        """From now on lines go into this log; `node` speaks where no other is known to."""
        before, self._log, self._node = self._log, log, node
        if before is not None:
            before.close()

    def say(self, level: str, text: str, *, node: str | None = None, last: bool = False, **more: Any) -> None:
        """Write a line; nobody hears it where no attempt has begun."""
        if self._log is not None:
            self._log.write(
                level, text, node=speaker.node or self._node if node is None else node, last=last, **more
            )

    def finish(self) -> bool:
        """The attempt is over: lines without an end are whole now. Whether anything has been said."""
        for stream in self._streams:
            stream.finish()
        return self._log is not None and self._log.is_open

    def tell(self, report: Report) -> None:
        """The last line: how it ended."""
        good = report.outcome in _GOOD
        text = f"{report.outcome}: {report.message}" if report.message else str(report.outcome)
        self.say("INFO" if good else "ERROR", text, node=report.node, last=True)


class _Stream(io.TextIOBase):
    """Standard output or error: every line of it, as it is completed, is a line of the log."""

    def __init__(self, voices: Voices, name: str, descriptor: int) -> None:
        self._voices, self._name, self._descriptor = voices, name, descriptor
        self._rest = ""
        self.buffer = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115

    encoding = "utf-8"
    errors = "replace"

    def write(self, text: str) -> int:
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._say(line)
        return len(text)

    def finish(self) -> None:
        """A line without an end is a line."""
        if self._rest:
            self._say(self._rest)
            self._rest = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """The descriptor: what a child process writes to it comes into the log by the worker."""
        return self._descriptor

    def _say(self, line: str) -> None:
        level = "INFO" if self._name == "stdout" else "WARNING"
        self._voices.say(level, line, stream=self._name)


class _Handler(logging.Handler):
    def __init__(self, voices: Voices) -> None:
        super().__init__()
        self._voices = voices
        self.setFormatter(logging.Formatter("%(message)s"))  # with the traceback of an exception

    def emit(self, record: logging.LogRecord) -> None:
        try:
            name = record.name
            node = name.removeprefix(NODE_LOGGER) if name.startswith(NODE_LOGGER) else None
            self._voices.say(record.levelname, self.format(record), node=node, logger=name)
        except Exception:
            self.handleError(record)
