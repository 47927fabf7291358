"""What a stage has moved so far: values to read, counted without a lock on the hot path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

from orchestrator.runs.figures import Figures


@dataclass(frozen=True)
class Progress:
    """One edge. Bytes are Arrow memory; times are seconds.

    `queued` rows lie in the channel; `busy` is the consumer at work on this edge's batches, `blocked`
    the producer waiting for room, `waiting` the consumer waiting for batches. One thread never queues,
    blocks or waits.
    """

    rows: int = 0
    bytes: int = 0
    queued: int = 0
    busy: float = 0.0
    blocked: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True)
class NodeProgress(Figures):
    """One node's figures, and the seconds that it was at work."""

    busy: float = 0.0


@dataclass(frozen=True)
class StageProgress:
    """All edges (`source.port>target.port`) and nodes of a stage; `epoch` is the last applied one."""

    edges: Mapping[str, Progress] = field(default_factory=dict)
    nodes: Mapping[str, NodeProgress] = field(default_factory=dict)
    epoch: int = 0


class Stopwatch:
    """Exclusive working time by owner: entering one owner stops the clock of the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._owner = ""
        self._since = perf_counter()

    def enter(self, owner: str) -> str:
        """Hand the clock to `owner`; returns who had it, to be handed back."""
        now, before = perf_counter(), self._owner
        self.seconds[before] = self.seconds.get(before, 0.0) + now - self._since
        self._owner, self._since = owner, now
        return before
