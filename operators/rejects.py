"""Finding the rows of a batch that fail, and refusing them one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.context import Context, Reject

if TYPE_CHECKING:
    import pyarrow as pa


def failing(rows: int, fails: Callable[[int, int], str]) -> Iterator[tuple[int, str]]:
    """The rows that fail alone, in order, with why, by halving: `fails(start, stop)` tells of a range.

    Costs about `2 * log2(rows)` calls a failing row; each row is given as soon as it is found.
    """
    ranges = [(0, rows)]
    while ranges:
        start, stop = ranges.pop()
        reason = fails(start, stop) if start < stop else ""
        if reason and stop - start == 1:
            yield start, reason
        elif reason:
            middle = (start + stop) // 2
            ranges += [(middle, stop), (start, middle)]


def reject_row(context: Context, batch: pa.RecordBatch, row: int, reason: str, code: str) -> None:
    """Refuse one row of a batch; its position counts rows of the batch from 1."""
    [record] = batch.slice(row, 1).to_pylist()
    reject_record(context, record, reason, code, {"row": row + 1})


def reject_record(
    context: Context,
    record: Mapping[str, Any],
    reason: str,
    code: str,
    position: Mapping[str, Any],
    source: str = "",
) -> None:
    """Refuse one record; what JSON does not know is written as text."""
    import json

    text = json.dumps(record, default=str, ensure_ascii=False)
    context.reject(Reject(code, reason, source, position, text))
