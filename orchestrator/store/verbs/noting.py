"""Notes that people write on runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import UsageError
from orchestrator.runs.effects import Extra
from orchestrator.store import runs
from orchestrator.store.tables import Run

LONGEST = 10_000  # characters


def write_note(connection: Connection, run: Run, now: datetime, *, text: str) -> Iterable[Extra]:
    """Write a note on a run, in place of what is there; raises UsageError for one that is too long."""
    if len(text) > LONGEST:
        raise UsageError(f"a note of {len(text):,} characters: at most {LONGEST:,} are kept")
    runs.change(connection, run.number, note=text)
    return ()
