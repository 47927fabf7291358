"""Actions that do nothing, or tell the time."""

from __future__ import annotations

import time

from orchestrator import action


@action
def noop() -> None:
    """Nothing."""


@action
def tells_the_time() -> float:
    """Seconds since the epoch, taken as soon as the action is called."""
    return time.time()
