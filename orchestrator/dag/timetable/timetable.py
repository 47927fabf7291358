"""A schedule bound to a time zone, a start and an end: the questions that firing, backfill and
manual runs ask. Nothing here knows what time it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.dag.timetable.problem import ScheduleProblem
from orchestrator.dag.timetable.rhythm import Rhythm
from orchestrator.dag.timetable.schedule import Covers, Schedule, ScheduleLike, read_schedule
from orchestrator.dag.timetable.zone import read_moment, zone_of

_INSTANT = timedelta(microseconds=1)
_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)  # the first that the store keeps


@dataclass(frozen=True)
class Timetable:
    """When a DAG fires and what each run covers. Moments must have a zone; answers are in UTC.

    `start` and `end`, both included, bound the logical dates where a run is a data interval, and the
    fire times otherwise. Intervals are not cut: the first may begin before `start`.
    """

    schedule: Schedule
    zone: ZoneInfo
    start: datetime | None = None
    end: datetime | None = None

    @property
    def fires(self) -> bool:
        """Whether it ever fires by itself: False for the schedule `None`."""
        return self.schedule.fires

    @property
    def once(self) -> bool:
        """Whether it fires a single time: at `start`, or, without one, at the moment asked from."""
        return self.schedule.special == "@once"

    @property
    def continuous(self) -> bool:
        """Whether a run follows the last at once: `next_after` is then the next microsecond."""
        return self.schedule.special == "@continuous"

    def next_after(self, moment: datetime) -> datetime | None:
        """The first fire time later than `moment`; None after the last one."""
        moment = _in_utc(moment)
        if self.start is not None:
            if self._first is None:
                return None
            if moment < self._first:
                moment = self._first - _INSTANT
        fire = self._rhythm.after(moment)
        return fire if fire is not None and self._within(fire) else None

    def first_from(self, moment: datetime) -> datetime | None:
        """The first fire time at or after `moment`; `@once` without `start` fires at `moment` itself."""
        moment = _in_utc(moment)
        if self.once and self.start is None:
            return moment if self.end is None or moment <= self.end else None
        return self.next_after(moment - _INSTANT)

    def newest_at(self, moment: datetime) -> datetime | None:
        """The last fire time up to `moment`, which makes older ones out of date.

        None before the first, and as soon as a time has come that `end` forbids: then the last one that
        it allows is out of date as well. (`previous_before` goes on to find that one.)
        """
        fire = self._rhythm.before(_in_utc(moment) + _INSTANT)
        return fire if fire is not None and self._within(fire) else None

    def previous_before(self, moment: datetime) -> datetime | None:
        """The last fire time earlier than `moment`; None before the first one."""
        moment = _in_utc(moment)
        if self.end is not None:
            if self._last is None:
                return None
            if moment > self._last:
                moment = self._last + _INSTANT
        fire = self._rhythm.before(moment)
        return fire if fire is not None and self._within(fire) else None

    def interval_of(self, fire_time: datetime) -> tuple[datetime, datetime]:
        """Start and end of the data that the run of a fire time covers.

        For a manual run ask with its logical date: from the last fire time before it to it. It is
        empty without a schedule, for `@once` and `@continuous`, and for a trigger without `interval`.
        """
        end = _in_utc(fire_time)
        if self.schedule.covers is Covers.FIXED:
            return end - min(self.schedule.interval, max(end - _EARLIEST, timedelta(0))), end
        return self._rhythm.before(end) or end, end

    def logical_date_of(self, fire_time: datetime) -> datetime:
        """The logical date of a scheduled run: its fire time, or the start of its data interval."""
        if self.schedule.covers is Covers.SINCE_LAST:
            return _in_utc(fire_time)
        return self.interval_of(fire_time)[0]

    def to_document(self) -> Any:
        """The schedule as canonical JSON, without zone, start and end, which are the DAG's own."""
        return self.schedule.document()

    @classmethod
    def from_document(
        cls,
        document: Any,
        *,
        timezone: str | tzinfo = "UTC",
        start_date: datetime | date | str | None = None,
        end_date: datetime | date | str | None = None,
    ) -> Timetable:
        """The timetable of a stored schedule; raises as `parse_schedule` does."""
        return parse_schedule(document, timezone=timezone, start_date=start_date, end_date=end_date)

    @cached_property
    def _rhythm(self) -> Rhythm:
        return self.schedule.rhythm(self.zone, self.start)

    @cached_property
    def _first(self) -> datetime | None:
        """The first fire time that `start` allows."""
        assert self.start is not None
        tick = self._rhythm.after(self.start - _INSTANT)
        if tick is not None and self.schedule.covers is Covers.INTERVAL:
            return self._rhythm.after(tick)  # the interval that begins at `tick` fires at its end
        return tick

    @cached_property
    def _last(self) -> datetime | None:
        """The last fire time that `end` allows."""
        assert self.end is not None
        if self.schedule.covers is Covers.INTERVAL:
            return self._rhythm.after(self.end)
        return self._rhythm.before(self.end + _INSTANT)

    def _within(self, fire: datetime) -> bool:
        return (self.start is None or (self._first is not None and fire >= self._first)) and (
            self.end is None or (self._last is not None and fire <= self._last)
        )


def parse_schedule(
    schedule: ScheduleLike,
    *,
    timezone: str | tzinfo = "UTC",
    start_date: datetime | date | str | None = None,
    end_date: datetime | date | str | None = None,
) -> Timetable:
    """The timetable of a DAG's `schedule`, which may be its stored document. Naive dates are in the
    DAG's zone, its crons in theirs where they name one.

    Raises ScheduleProblem for a schedule, zone or date that is wrong, and for what never fires.
    """
    zone = zone_of(timezone)
    start = None if start_date is None else read_moment(start_date, zone, "start_date")
    end = None if end_date is None else read_moment(end_date, zone, "end_date")
    if start is not None and end is not None and end < start:
        raise ScheduleProblem(
            f"end_date {end_date} is before start_date {start_date}", "swap them or leave one out"
        )
    read = read_schedule(schedule)
    timetable = Timetable(read, zone_of(read.timezone or zone), start, end)
    _refuse_empty(timetable, start_date, end_date)
    return timetable


def _refuse_empty(timetable: Timetable, start_date: object, end_date: object) -> None:
    start, end = timetable.start, timetable.end
    if start is None or end is None or not timetable.fires:
        return
    if timetable.next_after(start - _INSTANT) is None:
        raise ScheduleProblem(
            f"schedule {timetable.to_document()!r} never fires between start_date {start_date}"
            f" and end_date {end_date}",
            "move one of them, or write null for a DAG that runs by hand",
        )


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: a timetable answers about instants")
    return moment.astimezone(UTC)
