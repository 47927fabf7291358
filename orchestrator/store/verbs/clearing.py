"""Starting over (rule 7.1): bases rise, positions and states go, the run and its writers stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.store import epochs, views
from orchestrator.store.tables import Run


def rows_to_repeat(connection: Connection, run: Run, nodes: Collection[str]) -> dict[str, int]:
    """Rows that a clear would bring again, of those outputs among `nodes` that have written any.

    `nodes` are the outputs that append to a table: all others replace what they wrote (rule 7.3).
    """
    counted = epochs.rows_since_base(connection, run.number, nodes)
    return {node: rows for node, rows in counted.items() if rows}


def refuse_duplicates(run: Run, again: Mapping[str, int]) -> None:
    """Raise RefusedError where rows would come a second time."""
    if again:
        counted = ", ".join(f"{rows:,} rows in {node}" for node, rows in again.items())
        raise RefusedError(
            f"clearing run {run.number} would write rows a second time: {counted}",
            hint="they were appended and stay; say --allow-duplicates if that is meant",
        )


def refuse_published(connection: Connection, run: Run, exclusive: Collection[str]) -> None:
    """Raise RefusedError where a file that must not exist was published by this very run: starting over
    could only fail (rule 4.3).
    """
    published = views.published(connection, run.number, exclusive)
    if published:
        raise RefusedError(
            f"run {run.number} has published {', '.join(sorted(published))} with mode error_if_exists",
            hint="start a new run with another path, or use mode: overwrite",
        )
