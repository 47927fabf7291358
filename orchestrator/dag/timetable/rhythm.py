"""The endless series of instants behind a schedule, without start or end. All instants are UTC.

APScheduler answers one question, over wall time that it takes for UTC: which minute named by the
cron comes next. What clocks do to that minute is decided here:

- An hour field that holds something back: a skipped wall time fires once, at the first instant after
  the gap (several that fall on one instant are one); a repeated one fires the first time.
- The hour field `*`: whatever the clock really shows fires, in a repeated hour twice, in a skipped
  hour never; so work that is due each hour is due each real hour.

Steps of a duration are elapsed time, which no clock change touches. They are computed here: whole
numbers of microseconds are exact in both directions, where APScheduler's interval rounds seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from orchestrator.dag.timetable.cron import Cron
from orchestrator.dag.timetable.zone import instant_of, repeated_by, shown_at, wall_time

_INSTANT = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
# A 29 February on a given weekday comes again at the latest after 40 years; nothing is rarer.
_RAREST = timedelta(days=366 * 80)
# APScheduler begins in 1970. The calendar repeats, weekdays too, every 400 years.
_CALENDAR = timedelta(days=146_097)
_FIRST_YEAR = 1970


class Rhythm(Protocol):
    """A series of instants; both answers are strictly later or earlier than the moment asked about."""

    def after(self, moment: datetime) -> datetime | None: ...

    def before(self, moment: datetime) -> datetime | None: ...


@dataclass(frozen=True)
class CronRhythm:
    """The instants of a cron in a time zone."""

    cron: Cron
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        try:
            return self._after(moment)
        except OverflowError:  # the end of the calendar, year 9999
            return None

    def before(self, moment: datetime) -> datetime | None:
        return _last_before(moment, self.after)

    def _after(self, moment: datetime) -> datetime | None:
        wall = wall_time(moment, self.zone)
        if not self.cron.every_hour:
            return self._first(wall, moment, partial(instant_of, zone=self.zone))
        first_pass = self._first(wall, moment, partial(shown_at, zone=self.zone, fold=0))
        repeated = repeated_by(wall, self.zone)
        if repeated <= timedelta(0):
            return first_pass
        second_pass = self._first(wall - repeated, moment, partial(shown_at, zone=self.zone, fold=1))
        return _earliest((first_pass, second_pass))

    def _first(
        self, wall: datetime, moment: datetime, instant_when: Callable[[datetime], datetime | None]
    ) -> datetime | None:
        """The first of the named walls after `wall` whose instant is later than `moment`."""
        for named in self._walls_after(wall):
            instant = instant_when(named)
            if instant is not None and instant > moment:
                return instant
        return None

    def _walls_after(self, wall: datetime) -> Iterator[datetime]:
        shift = _CALENDAR if wall.year < _FIRST_YEAR else timedelta(0)
        minute = wall.replace(second=0, microsecond=0, fold=0, tzinfo=UTC) + shift
        while found := _earliest(t.get_next_fire_time(None, minute + _MINUTE) for t in self._triggers):
            minute = found
            yield found.replace(tzinfo=None) - shift

    @cached_property
    def _triggers(self) -> list[Any]:
        """APScheduler's triggers: one, or two where either day field will do, as it joins them by AND."""
        days = _listed(self.cron.days, 31)
        weekdays = _listed({(day - 1) % 7 for day in self.cron.weekdays}, 7)  # its 0 is Monday
        if self.cron.either_day:
            return [_trigger(self.cron, days=days), _trigger(self.cron, weekdays=weekdays)]
        return [_trigger(self.cron, days=days, weekdays=weekdays)]


@dataclass(frozen=True)
class DeltaRhythm:
    """Every `step` of elapsed time, counted from `anchor` in both directions."""

    anchor: datetime
    step: timedelta

    def after(self, moment: datetime) -> datetime | None:
        return self._tick((moment - self.anchor) // self.step + 1)

    def before(self, moment: datetime) -> datetime | None:
        return self._tick(-((self.anchor - moment) // self.step) - 1)

    def _tick(self, number: int) -> datetime | None:
        try:
            return self.anchor + number * self.step
        except OverflowError:
            return None


@dataclass(frozen=True)
class SeveralRhythms:
    """The instants of all of them; one that several name is one."""

    rhythms: tuple[Rhythm, ...]

    def after(self, moment: datetime) -> datetime | None:
        return _earliest(rhythm.after(moment) for rhythm in self.rhythms)

    def before(self, moment: datetime) -> datetime | None:
        return max((found for each in self.rhythms if (found := each.before(moment))), default=None)


@dataclass(frozen=True)
class Once:
    """A single instant."""

    instant: datetime

    def after(self, moment: datetime) -> datetime | None:
        return self.instant if moment < self.instant else None

    def before(self, moment: datetime) -> datetime | None:
        return self.instant if moment > self.instant else None


class Continuous:
    """Every instant there is: whoever asks for the next, as soon as a run has ended, gets it at once."""

    def after(self, moment: datetime) -> datetime | None:
        return moment + _INSTANT

    def before(self, moment: datetime) -> datetime | None:
        return moment - _INSTANT


class Never:
    """No instant: the DAG runs by hand."""

    def after(self, moment: datetime) -> datetime | None:
        return None

    def before(self, moment: datetime) -> datetime | None:
        return None


def _trigger(cron: Cron, *, days: str = "*", weekdays: str = "*") -> Any:
    # Imported here: it takes a tenth of a second, and most commands never ask for a fire time.
    from apscheduler.triggers.cron import CronTrigger

    return CronTrigger(
        month=_listed(cron.months, 12),
        day=days,
        day_of_week=weekdays,
        hour=_listed(cron.hours, 24),
        minute=_listed(cron.minutes, 60),
        second="0",
        timezone=UTC,
    )


def _listed(values: Iterable[int], full: int) -> str:
    ordered = sorted(values)
    return "*" if len(ordered) == full else ",".join(map(str, ordered))


def _earliest(found: Iterable[datetime | None]) -> datetime | None:
    return min((instant for instant in found if instant is not None), default=None)


def _last_before(moment: datetime, after: Callable[[datetime], datetime | None]) -> datetime | None:
    """The last instant before `moment`, of a series that can only be asked forward.

    Asks from a start that doubles its distance back until something lies between, then halves what
    lies between: some fifty questions at most, however long ago it was.
    """
    found = _any_before(moment, after)
    if found is None:
        return None
    last, bound = found, moment  # nothing of the series lies from `bound` to `moment`
    while bound - last > _MINUTE:
        middle = last + (bound - last) / 2
        later = after(middle)
        if later is not None and later < moment:
            last = later
        else:
            bound = middle
    while (later := after(last)) is not None and later < moment:
        last = later
    return last


def _any_before(moment: datetime, after: Callable[[datetime], datetime | None]) -> datetime | None:
    distance = _MINUTE
    while distance < _RAREST:
        try:
            found = after(moment - distance)
        except OverflowError:  # before year 1
            return None
        if found is not None and found < moment:
            return found
        distance *= 2
    return None
