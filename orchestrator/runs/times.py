"""Dates as people give them for a run."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.errors import UsageError


def given_date(text: str | None, timezone: str) -> datetime | None:
    """A logical date from ISO text; one without an offset is in the DAG's zone. None stays None.

    Raises UsageError where the text is no date.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a date", hint="write it like 2026-01-31 or 2026-01-31T02:00:00+00:00"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(timezone))
