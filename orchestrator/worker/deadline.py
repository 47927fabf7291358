"""The `execution_timeout` of an attempt in this thread: it is asked to stop, and cannot be made to."""

from __future__ import annotations

import threading
from typing import Self

from orchestrator.engine.signals import Signals
from orchestrator.runs.report import Report, timed_out
from orchestrator.runs.states import Outcome


class Deadline:
    """Within it, an attempt has so many seconds (None: no limit); `signals` are what it is to look at.

    What asks the whole process to stop, `outer`, asks the attempt too.
    """

    def __init__(self, seconds: float | None, outer: Signals) -> None:
        self._seconds = seconds
        self.signals = outer if seconds is None else Signals(outer)
        self._over = threading.Event()
        self._timer = threading.Timer(seconds or 0.0, self._end)
        self._timer.daemon = True

    def judged(self, report: Report) -> Report:
        """What the attempt's report is worth: where it has stopped because its time was over, a failure."""
        if self._seconds is not None and self.passed and report.outcome == Outcome.CANCELLED:
            return timed_out(self._seconds)
        return report

    @property
    def passed(self) -> bool:
        """Whether the time was over before the attempt was."""
        return self._over.is_set()

    def _end(self) -> None:
        self._over.set()
        self.signals.cancel()

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
