"""When a stage is tried again, and after how long (rule 9.7)."""

from __future__ import annotations

from orchestrator.dag.stages import Stage

MAX_LOSSES = 3  # attempts that died without a word, after which the stage is taken for the cause
LONGEST_DELAY = 24 * 3600.0  # seconds; the cap of an exponential wait that names none, as in Airflow


def delay(stage: Stage, failures: int) -> float:
    """Seconds to wait after the `failures`-th failure (counted from 1) before the next try.

    `retry_delay`, or with `retry_exponential_backoff` that times 2 to the power of the failures before
    this one; never above `max_retry_delay` (a day where the author gave none).
    """
    if not stage.retry_exponential_backoff:
        return stage.retry_delay
    cap = LONGEST_DELAY if stage.max_retry_delay is None else stage.max_retry_delay
    doublings = min(failures - 1, 64)  # beyond any cap, and short of an overflow
    return min(cap, stage.retry_delay * 2.0**doublings)


def tries_left(stage: Stage, failures: int) -> bool:
    """Whether the stage may be tried again after this many failures of its code or data."""
    return failures <= stage.retries


def losses_left(losses: int) -> bool:
    """Whether the stage may be tried again after this many attempts were lost (counted from 1)."""
    return losses <= MAX_LOSSES
