"""How an attempt ended, as its runner tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.kept import readable
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.states import Outcome


@dataclass(frozen=True)
class Report:
    """An outcome, and where it is a failure its message, hint and culprit.

    `retry` is False where another try cannot help. `exit_code` is what a command ends with.
    `gives_up` says that the final decided epoch can never be applied and ends with the stage.
    `results` are those of the nodes, by id. `effects` are what an action wants done with its success, each
    as JSON. `until` is when a snoozed one looks again. `cause` says what its process died of. Whatever an
    error says, its texts can be kept: what cannot stands in them as an escape.
    """

    outcome: Outcome
    message: str = ""
    hint: str = ""
    node: str = ""
    retry: bool = True
    exit_code: int = 0
    gives_up: bool = False
    results: Mapping[str, Json] = field(default_factory=dict)
    effects: tuple[Json, ...] = ()
    until: datetime | None = None
    cause: str = ""

    def __post_init__(self) -> None:
        for name in ("message", "hint", "node", "cause"):
            object.__setattr__(self, name, readable(getattr(self, name)))


def timed_out(seconds: float) -> Report:
    """The report of an attempt that took longer than its `execution_timeout`."""
    return Report(
        Outcome.FAILED,
        f"timed out after {seconds:g} s",
        hint="raise its execution_timeout, or make it faster",
        exit_code=1,
    )
