"""What travels along an edge, in one order: batches, barriers and the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before it belongs to this epoch, everything after it to the next."""

    epoch: int


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """Nothing follows. Counts as having delivered every later barrier."""


END = EndOfStream()
Message = Union["pa.RecordBatch", Barrier, EndOfStream]
