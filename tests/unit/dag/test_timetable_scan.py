"""Cron text means what a scan of every minute finds: two years, three zones whose clocks change.

The scan knows nothing of the product. It walks through the minutes as a cron daemon would, looking at what
the clock shows and at what it jumped over; each cron's meaning is written out by hand or by the strategy.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dag.timetable import ScheduleProblem, Timetable, parse_cron, parse_schedule

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 2 * 365 * 24 * 60  # of 2026 and 2027
# By an hour at 02:00 and 03:00; by half an hour; at midnight.
ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "America/Havana")
# The days, in UTC, around each change of a clock: 2026, and 2027.
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25", "2027-03-28", "2027-10-31"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03", "2027-04-03", "2027-10-02"),
    "America/Havana": ("2026-03-08", "2026-11-01", "2027-03-14", "2027-11-07"),
}


@dataclass(frozen=True)
class Meaning:
    """What a cron names: minutes and hours as in its text, and whether it names a day."""

    minutes: Iterable[int]
    hours: Iterable[int]
    on_day: Callable[[date], bool]


EVERY = range(60)
MEANINGS = {
    "30 2 * * *": Meaning((30,), (2,), lambda d: True),
    "0 3 * * *": Meaning((0,), (3,), lambda d: True),
    "@daily": Meaning((0,), (0,), lambda d: True),
    "30 * * * *": Meaning((30,), range(24), lambda d: True),
    "15,45 0-2 * * *": Meaning((15, 45), (0, 1, 2), lambda d: True),
    "0 */2 * * *": Meaning((0,), range(0, 24, 2), lambda d: True),
    "*/7 * * 3,4,10,11 SUN": Meaning(
        range(0, 60, 7), range(24), lambda d: d.month in (3, 4, 10, 11) and d.isoweekday() == 7
    ),
    "* 0,2 1-10 3,4,10,11 *": Meaning(EVERY, (0, 2), lambda d: d.day <= 10 and d.month in (3, 4, 10, 11)),
    "59 23 13 * 5": Meaning((59,), (23,), lambda d: d.day == 13 or d.isoweekday() == 5),
    "0 1 */2 * 6": Meaning((0,), (1,), lambda d: d.day % 2 == 1 and d.isoweekday() == 6),
    "5 0 28-31 * *": Meaning((5,), (0,), lambda d: d.day >= 28),
}


@dataclass(frozen=True)
class Walk:
    """What the clock of a zone shows at each minute: minute of the day, day (an ordinal), second time or not.

    `jumps`: minutes at which it was put forward, each with the walls (day, minute of the day) it jumped over.
    """

    of_day: array[int]
    days: array[int]
    again: array[int]
    jumps: dict[int, list[tuple[int, int]]]


@cache
def walk(zone: str) -> Walk:
    place = ZoneInfo(zone)
    of_day, days, again = array("H"), array("l"), array("b")
    jumps: dict[int, list[tuple[int, int]]] = {}
    before = (START - MINUTE).astimezone(place).replace(tzinfo=None)
    for number in range(MINUTES):
        wall = (START + number * MINUTE).astimezone(place).replace(tzinfo=None)
        of_day.append(wall.hour * 60 + wall.minute)
        days.append(wall.toordinal())
        again.append(wall.fold)
        if wall - before > MINUTE:
            skipped = (before + n * MINUTE for n in range(1, (wall - before) // MINUTE))
            jumps[number] = [(skip.toordinal(), skip.hour * 60 + skip.minute) for skip in skipped]
        before = wall
    return Walk(of_day, days, again, jumps)


def scanned(meaning: Meaning, zone: str, first: int = 0, minutes: int = MINUTES) -> list[datetime]:
    """The instants at which the minutes from number `first` on are due."""
    seen = walk(zone)
    every_hour = len(set(meaning.hours)) == 24
    named = {hour * 60 + minute for hour in meaning.hours for minute in meaning.minutes}
    last = first + minutes
    on_day = {day: meaning.on_day(date.fromordinal(day)) for day in set(seen.days[first:last])}
    due = [
        number
        for number in range(first, last)
        if seen.of_day[number] in named
        and on_day[seen.days[number]]
        and (every_hour or not seen.again[number])
    ]
    if not every_hour:
        late = [
            number
            for number, skipped in seen.jumps.items()
            if first <= number < last and any(on_day[day] and minute in named for day, minute in skipped)
        ]
        due = sorted({*due, *late})
    return [START + number * MINUTE for number in due]


def fires(timetable: Timetable, start: datetime, end: datetime) -> Iterator[datetime]:
    """All fire times from `start` on and before `end`, asked one by one."""
    moment = start - INSTANT
    while (fire := timetable.next_after(moment)) is not None and fire < end:
        yield fire
        moment = fire


@pytest.mark.parametrize("zone", ZONES)
def test_the_clocks_change_when_the_scan_expects_it(zone: str) -> None:
    seen = walk(zone)
    forward = {(START + number * MINUTE).date().isoformat() for number in seen.jumps}
    assert len(forward) == 2
    assert forward < set(CHANGES[zone])
    assert sum(seen.again) == (60 if zone == "Australia/Lord_Howe" else 120)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", MEANINGS)
def test_fire_times_are_those_of_a_scan_of_every_minute(cron: str, zone: str) -> None:
    timetable = parse_schedule(cron, timezone=zone)
    expected = scanned(MEANINGS[cron], zone)
    assert len(expected) > 40
    assert list(fires(timetable, START, START + MINUTES * MINUTE)) == expected
    changes = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in CHANGES[zone]]
    near = [
        (earlier, later)
        for earlier, later in pairwise(expected)
        if any(abs(later - change) < 2 * DAY for change in changes)
    ]
    for earlier, later in near[:: len(near) // 30 + 1]:
        assert timetable.previous_before(later) == earlier


# --- any cron text, against the same scan ----------------------------------------------------------

NAMES = {
    "month": ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    "weekday": ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}
LIMITS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


@st.composite
def items(draw: st.DrawFn, field: str) -> tuple[str, set[int]]:
    """An item of a field's list and the values it names."""
    low, high = LIMITS[field]
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, high - low))
    named = field in NAMES and draw(st.booleans())
    one, other = (NAMES[field][value - low] if named else str(value) for value in (first, last))
    return draw(
        st.sampled_from(
            [
                ("*", set(range(low, high + 1))),
                (f"*/{step}", set(range(low, high + 1, step))),
                (one, {first}),
                (f"{one}-{other}", set(range(first, last + 1))),
                (f"{one}-{other}/{step}", set(range(first, last + 1, step))),
                (f"{one}/{step}", set(range(first, high + 1, step))),
            ]
        )
    )


def fields(field: str) -> st.SearchStrategy[tuple[str, set[int]]]:
    return st.lists(items(field), min_size=1, max_size=2).map(
        lambda parts: (",".join(text for text, _ in parts), set().union(*(values for _, values in parts)))
    )


@settings(max_examples=150)
@given(st.tuples(*map(fields, LIMITS)), st.sampled_from(ZONES), st.integers(0, 3), st.integers(0, 2))
def test_any_cron_text_fires_as_it_reads_where_clocks_change(
    parts: tuple[tuple[str, set[int]], ...], zone: str, change: int, days_before: int
) -> None:
    (_, minutes), (_, hours), (day_text, days), (_, months), (weekday_text, weekdays) = parts
    either = not day_text.startswith("*") and not weekday_text.startswith("*")

    def on_day(day: date) -> bool:
        by_date, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        return day.month in months and (by_date or by_weekday if either else by_date and by_weekday)

    text = " ".join(text for text, _ in parts)
    if not any(on_day(date(2024, 1, 1) + n * DAY) for n in range(366 * 28)):
        with pytest.raises(ScheduleProblem, match="never fires"):
            parse_cron(text)
        return
    cron = parse_cron(text)
    assert [set(named) for named in (cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays)] == [
        values for _, values in parts
    ]
    start = datetime.fromisoformat(CHANGES[zone][change]).replace(tzinfo=UTC) - days_before * DAY
    expected = scanned(Meaning(minutes, hours, on_day), zone, (start - START) // MINUTE, 3 * 1440)
    found = fires(parse_schedule(text, timezone=zone), start, start + 3 * DAY)
    assert list(islice(found, 300)) == expected[:300]
