"""Checkpoints: when a barrier is due, who has acknowledged it, and what was decided; pure.

An epoch goes trigger -> snapshots and seals -> decide -> apply -> applied, and the next is decided
only after that (rule 2.6). `StagePort` is how the engine reaches the store for it: a worker
implements it, over a connection or straight on the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.engine.progress import StageProgress
from orchestrator.runs.checkpoint import Checkpoint, Decision, NodeState, Token


class StagePort(Protocol):
    """What the store does on the runner's word; each verb raises `AttemptLost` where it was taken away."""

    def opened(self) -> Checkpoint:
        """The targets are ready (restore steps 1-3): the checkpoint from which to go on."""

    def decide(self, decision: Decision) -> None:
        """All parts are sealed: make this epoch the truth."""

    def applied(self, epoch: int) -> None:
        """All outputs hold the epoch."""

    def progress(self, progress: StageProgress) -> None:
        """What has moved so far, epochs still open included."""

    def cannot_pause(self, reason: str) -> None:
        """A savepoint was asked for, but this stage has one epoch: it goes on."""


@dataclass(frozen=True)
class Trigger:
    """When a barrier is due: after seconds, after batches, or when a spool holds too many bytes."""

    every_seconds: float = 10.0
    every_batches: int | None = None
    spool_bytes: int = 64_000_000

    def due(self, seconds: float, batches: int, spooled: int) -> bool:
        """Whether an epoch that has been open so long, over so much, should end."""
        if batches == 0:
            return False
        if self.every_batches is not None and batches >= self.every_batches:
            return True
        return seconds >= self.every_seconds or spooled >= self.spool_bytes


@dataclass(frozen=True)
class Acknowledgement:
    """A node's share of an epoch."""

    counters: Any
    position: Any = None
    inputs: Any = None
    state: NodeState | None = None
    result: Any = None
    tokens: tuple[Token, ...] = ()


@dataclass
class Epoch:
    """The epoch under way: complete when every node has acknowledged it."""

    number: int
    final: bool
    missing: set[str]
    acknowledged: dict[str, Acknowledgement] = field(default_factory=dict)

    def acknowledge(self, node: str, share: Acknowledgement) -> bool:
        """Take a node's share; true when it was the last one missing."""
        self.missing.discard(node)
        self.acknowledged[node] = share
        return not self.missing

    def decision(self) -> Decision:
        """The record of a complete epoch."""
        if self.missing:
            raise RuntimeError(f"epoch {self.number} is not complete: {', '.join(sorted(self.missing))}")
        shares = self.acknowledged
        return Decision(
            epoch=self.number,
            final=self.final,
            positions={node: share.position for node, share in shares.items() if share.position is not None},
            inputs={node: share.inputs for node, share in shares.items() if share.inputs is not None},
            states={node: share.state for node, share in shares.items() if share.state is not None},
            counters={node: share.counters for node, share in shares.items()},
            results={node: share.result for node, share in shares.items() if share.result is not None},
            tokens=tuple(token for share in shares.values() for token in share.tokens),
        )


class Coordinator:
    """Numbers the epochs of one attempt and holds the one under way."""

    def __init__(self, nodes: Iterable[str], highest: int, trigger: Trigger | None) -> None:
        """`highest` is the last number ever used; without a trigger there is only the final epoch."""
        self._nodes = frozenset(nodes)
        self._trigger = trigger
        self.next_epoch = highest + 1
        self.epoch: Epoch | None = None

    def due(self, seconds: float, batches: int, spooled: int) -> bool:
        """Whether to draw a barrier now."""
        return (
            self._trigger is not None and self.epoch is None and self._trigger.due(seconds, batches, spooled)
        )

    @property
    def one_epoch(self) -> bool:
        """Whether the stage has the final epoch only."""
        return self._trigger is None

    def begin(self, *, final: bool = False) -> Epoch:
        """Start the next epoch; the one before must be applied."""
        if self.epoch is not None:
            raise RuntimeError(f"epoch {self.epoch.number} is still under way")
        self.epoch = Epoch(self.next_epoch, final, set(self._nodes))
        self.next_epoch += 1
        return self.epoch

    def applied(self) -> None:
        """The epoch under way was applied by every output."""
        self.epoch = None
