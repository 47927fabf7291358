"""Dates as people give them for a run."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.errors import UsageError
from orchestrator.kept import instant

_WRITE = "write it like 2026-01-31 or 2026-01-31T02:00:00+00:00"


def given_date(given: datetime | str | None, timezone: str) -> datetime | None:
    """A logical date; ISO text, or a time, without an offset is in the DAG's zone. None stays None.

    Raises UsageError where the text is no date, or the date is outside the years 2 to 9998.
    """
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        raise UsageError(f"{given!r} is not a date", hint=_WRITE) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    try:
        instant(moment)
    except ValueError as error:
        raise UsageError(f"logical date {error}", hint=_WRITE) from None
    return moment
