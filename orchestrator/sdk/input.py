"""Inputs: what produces batches and can say from where it would go on.

An input gives `splits` once (`plan`); they are stored with the first checkpoint, so that a retry
reads the same things. For each split a `Reader` gives batches and, between any two of them, the
JSON value from which another reader resumes without loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.context import Context


class EndOfInput(Exception):
    """Raised by `Reader.read` when a split has no more rows."""


class InputChanged(ValueError):
    """What an input reads is not what it was when the run began."""


class Reader(ABC):
    """Reads one split, on one thread."""

    schema: pa.Schema

    @abstractmethod
    def read(self) -> pa.RecordBatch | None:
        """The next batch; None where there is nothing now (unbounded inputs, within a second).

        Raises `EndOfInput` after the last one, and again when called again. Rows it cannot give are
        handed to `context.reject` before the batch they would have stood in is returned.
        """

    @property
    @abstractmethod
    def position(self) -> Any:
        """The JSON value from which another reader gives exactly what this one has not given yet."""

    def applied(self, epoch: int) -> None:
        """All outputs hold what was read up to that epoch's barrier: the place to acknowledge."""

    def close(self) -> None:
        """Let go of everything; called once, whatever happened."""


class Input(Operator):
    """Produces batches.

    `bounded`: it ends by itself. `replayable`: the same rows come again from a position; where not,
    its stage has one epoch.
    """

    kind: ClassVar[Kind] = Kind.INPUT

    def discover(self, context: Context) -> pa.Schema | None:
        """The schema as the source shows it now, for `plan` and `run`; None where it cannot be known."""
        return None

    def plan(self, context: Context) -> Sequence[Any]:
        """The splits to read, in order, as JSON values; called once a stage run.

        A split should hold what proves that its source is unchanged (size, time), which `open` checks.
        """
        return [None]

    @abstractmethod
    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        """A reader of one split, from its start (None) or from a position.

        Raises `InputChanged` where the source is not what `plan` saw.
        """
