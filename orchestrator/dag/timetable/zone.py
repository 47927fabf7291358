"""Wall time and instants. Where clocks are put forward some wall times do not exist; where they are
put back some come twice. Instants are UTC; wall times are naive.

Which of two equal wall times is meant is the `fold` of PEP 495: 0 the first, 1 the second.
"""

from __future__ import annotations

import datetime as dt
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from orchestrator.dag.timetable.problem import ScheduleProblem

# They exist on some machines only, or count leap seconds: the same DAG would fire at other times.
_NOT_PORTABLE = ("localtime", "posixrules", "posix/", "right/")
_SECOND = timedelta(seconds=1)


def zone_of(name: str | dt.tzinfo) -> ZoneInfo:
    """The time zone of an IANA name such as `Europe/Paris`; a `ZoneInfo` or `datetime.UTC` passes.

    Raises ScheduleProblem with the nearest name for what is none.
    """
    key = "UTC" if name is UTC else name.key if isinstance(name, ZoneInfo) else name
    if not isinstance(key, str) or not key:
        raise ScheduleProblem(
            f"timezone: {name!r} is not the name of a time zone", "write it as in Europe/Paris"
        )
    if not key.startswith(_NOT_PORTABLE):
        try:
            return ZoneInfo(key)
        except (KeyError, ValueError, OSError):  # unknown, a path, a folder of zones
            pass
    raise ScheduleProblem(f"timezone: there is no time zone {key!r}", _nearest_zone(key))


def _nearest_zone(name: str) -> str:
    """A hint with the zone that was meant. Only places are guessed: EST for CEST, or Etc/GMT+2 (which
    is two hours *behind* UTC) for GMT+2, would fire at another hour without a word."""
    zones = {
        zone.lower(): zone for zone in sorted(available_timezones(), reverse=True) if zone != "localtime"
    }
    wanted = name.strip().lower().replace(" ", "_").removeprefix("posix/").removeprefix("right/")
    places = [lower for lower in zones if "/" in lower and not lower.startswith("etc/")]
    cities = [lower for lower in places if lower.rpartition("/")[2] == wanted]
    close = get_close_matches(wanted, places, n=1, cutoff=0.8)
    for found in ([wanted] if wanted in zones else []) + cities + close:
        return f"did you mean {zones[found]!r}?"
    return "write an IANA name such as Europe/Paris, or Etc/GMT-2 for a fixed two hours ahead of UTC"


def read_moment(value: object, zone: ZoneInfo, name: str = "start_date") -> datetime:
    """The instant of a datetime, a date (its midnight) or an ISO 8601 text; a naive one is in `zone`.

    A wall time that is skipped there is the next that exists; of a repeated one its `fold` decides.
    Raises ScheduleProblem, starting with `name`, for anything else and outside the years 2-9998.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - naive: of the DAG's zone
    if not isinstance(moment, datetime):
        raise ScheduleProblem(
            f"{name}: {value!r} is not a date or a time", "write 2026-01-31, or 2026-01-31T02:00:00"
        )
    if not 2 <= moment.year <= 9998:
        raise ScheduleProblem(
            f"{name}: {value} is outside the years 2 to 9998", f"leave {name} out for no bound"
        )
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    return instant_of(moment, zone, moment.fold)


def wall_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clock in `zone` shows at an instant."""
    return instant.astimezone(zone).replace(tzinfo=None)


def instant_of(wall: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """When the clock shows `wall`; where it is skipped, the first instant after the gap."""
    return shown_at(wall, zone, fold) or _end_of_gap(wall, zone)


def shown_at(wall: datetime, zone: ZoneInfo, fold: int) -> datetime | None:
    """When the clock shows `wall` for the first (`fold` 0) or last (1) time; None where it never does."""
    if repeated_by(wall, zone) < timedelta(0):
        return None
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def repeated_by(wall: datetime, zone: ZoneInfo) -> timedelta:
    """How long after its first time the clock shows `wall` again: 0 ordinarily, below 0 if skipped."""
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset()
    assert before is not None
    assert after is not None
    return before - after


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the clock was put forward over `wall`: found by halving, to the second."""
    wall = wall.replace(microsecond=0)
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + _SECOND * ((after - before) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
