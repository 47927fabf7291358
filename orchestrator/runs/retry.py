"""When a stage is tried again, and after how long (rule 9.7)."""

from __future__ import annotations

from orchestrator.dag.stages import Stage

MAX_LOSSES = 3  # attempts that died without a word, after which the stage is taken for the cause
_WORD = 2**64 - 1
LONGEST_DELAY = 24 * 3600.0  # seconds; the cap of an exponential wait that names none, as in Airflow


def delay(stage: Stage, failures: int, attempt: int) -> float:
    """Seconds to wait after the `failures`-th failure (counted from 1) before the next try.

    `retry_delay`. With `retry_exponential_backoff` that times 2 to the power of the failures before this one,
    never above `max_retry_delay` (a day where the author gave none), of which between a half and the whole is
    waited: stages that failed together do not come back together, and none at once ("equal jitter", AWS
    Architecture Blog, 2015). The attempt that failed decides which time it is.
    """
    if not stage.retry_exponential_backoff:
        return stage.retry_delay
    cap = LONGEST_DELAY if stage.max_retry_delay is None else stage.max_retry_delay
    doublings = min(failures - 1, 64)  # beyond any cap, and short of an overflow
    return min(cap, stage.retry_delay * 2.0**doublings) * (0.5 + scatter(attempt) / 2)


def scatter(number: int) -> float:
    """A number in [0, 1) as if by chance, always the same for a number (splitmix64, Steele et al. 2014)."""
    mixed = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _WORD
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _WORD
    return (mixed ^ (mixed >> 31)) / (_WORD + 1)


def tries_left(stage: Stage, failures: int) -> bool:
    """Whether the stage may be tried again after this many failures of its code or data."""
    return failures <= stage.retries


def losses_left(losses: int) -> bool:
    """Whether the stage may be tried again after this many attempts were lost (counted from 1)."""
    return losses <= MAX_LOSSES
