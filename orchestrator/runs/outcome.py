"""How an attempt ended, as its runner tells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """The ways in which a runner can say that an attempt ended."""

    SUCCESS = "success"
    FAILED = "failed"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True)
class Outcome:
    """An ending, and where it is a failure its message, hint and culprit.

    `retry` is False where another try cannot help. `exit_code` is what the command ends with.
    `gives_up` says that the final decided epoch can never be applied and ends with the stage.
    """

    ending: Ending
    message: str = ""
    hint: str = ""
    node: str = ""
    retry: bool = True
    exit_code: int = 0
    gives_up: bool = False
