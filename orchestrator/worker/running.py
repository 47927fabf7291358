"""One attempt that this worker executes, and what its end is told as: pure but for the values it holds."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.errors import FustgoError
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report, timed_out
from orchestrator.runs.states import Outcome
from orchestrator.sdk.secrets import Secrets, secrets_in
from orchestrator.worker.words import last_words

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.store.queue import Claimed
    from orchestrator.worker.runners import Runner

_ENDED_BY_US = (Outcome.CANCELLED, Outcome.PAUSED, Outcome.FAILED)


class Ending(Enum):
    """Why this worker wants an attempt to end.

    `TAKEN`: another process has ended it, so that nothing is told. `DRAINED`: the worker stops.
    """

    STOPPED = auto()
    TIMED_OUT = auto()
    OUT_OF_MEMORY = auto()
    DRAINED = auto()
    TAKEN = auto()


@dataclass(eq=False)
class Running:
    """An attempt under way, or waiting for its runner. Times are monotonic seconds.

    `timeout` is the stage's `execution_timeout`; at `kill_at` its runner is killed, `why` says more of that.
    """

    claimed: Claimed
    order: Order
    log: Path
    timeout: float | None
    claimed_at: float = 0.0
    runner: Runner | None = None
    began: float = 0.0
    deadline: float | None = None
    kill_at: float | None = None
    pausing: bool = False
    ending: Ending | None = None
    why: str = ""

    @property
    def attempt(self) -> int:
        """Its id."""
        return self.claimed.attempt

    @cached_property
    def secrets(self) -> Secrets:
        """What its words must not show."""
        return secrets_of(self.order)


def starts(order: Order, host: str, pid: int) -> str:
    """The first line of an attempt's log: of who comes first, its runner or its worker."""
    return f"attempt {order.attempt} of {order.stage} starts on {host}, process {pid}"


def secrets_of(order: Order) -> Secrets:
    """The secrets that an order carries."""
    return secrets_in(order.names, *order.connections.values())


def told(running: Running, report: Report) -> Report | None:
    """What the store is told of an attempt whose runner gave this report; None where nothing."""
    if running.ending is Ending.TAKEN or report.outcome == Outcome.LOST:
        return None
    if running.ending is Ending.TIMED_OUT and report.outcome in _ENDED_BY_US:
        return timed_out(running.timeout or 0.0)
    if running.ending is Ending.DRAINED and report.outcome in (Outcome.CANCELLED, Outcome.PAUSED):
        return replace(report, outcome=Outcome.DRAINED)
    return report


def told_of_death(running: Running, status: int, last_said: Sequence[str]) -> Report | None:
    """What the store is told of an attempt whose runner died: of an exit code, or minus a signal."""
    hint, cause = "", f"signal {-status}" if status < 0 else f"exit code {status}"
    match running.ending:
        case Ending.TAKEN:
            return None
        case Ending.STOPPED:
            return Report(
                Outcome.CANCELLED, "cancelled: it did not end by itself, and was killed", exit_code=130
            )
        case Ending.TIMED_OUT:
            return timed_out(running.timeout or 0.0)
        case Ending.DRAINED:
            return Report(Outcome.DRAINED, "its worker stopped")
        case Ending.OUT_OF_MEMORY:
            died, cause = f"was killed, out of memory: {running.why}", "out of memory"
            hint = "raise worker.memory_limit, or let it take less at once"
        case None:
            name = f" ({signal.Signals(-status).name})" if -status in _KNOWN else ""
            died = f"died of {cause}{name}" + (f", while {running.why}" if running.why else "")
    words = last_words(last_said)
    said = "; it said last:\n  " + "\n  ".join(words) if words else ""
    return Report(Outcome.LOST, f"its process {died}{said}", hint=hint, cause=cause, exit_code=1)


def refused(error: Exception) -> Report:
    """What is told in place of a report that the store does not take: another try would end the same."""
    if isinstance(error, FustgoError):
        return Report(Outcome.FAILED, error.message, hint=error.hint, retry=False, exit_code=1)
    said = str(error).partition("\n")[0]
    told = f"how it ended cannot be stored: {type(error).__name__}: {said}"
    return Report(Outcome.FAILED, told, hint="the worker's log has more", retry=False, exit_code=1)


_KNOWN = {number.value for number in signal.Signals}
