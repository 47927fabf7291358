"""Fire times, intervals and logical dates, at tables of worked dates and as properties."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.timetable import (
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
    Timetable,
    parse_schedule,
)

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(timetable: Timetable, start: datetime, end: datetime) -> list[datetime]:
    """All fire times from `start` on and before `end`, asked one by one."""
    found: list[datetime] = []
    moment = start - INSTANT
    while (fire := timetable.next_after(moment)) is not None and fire < end:
        assert fire > moment
        found.append(fire)
        moment = fire
    return found


def walls(timetable: Timetable, start: str, end: str) -> list[str]:
    """The fire times from a day to before another, as the clock there shows them, with the offset."""
    zone = timetable.zone
    first, last = (datetime.fromisoformat(day).replace(tzinfo=zone) for day in (start, end))
    return [f"{fire.astimezone(zone):%d %H:%M %z}" for fire in fires(timetable, first, last)]


WORKED = [
    # Berlin, 29 March 2026: 02:00 becomes 03:00.
    ("Europe/Berlin", "30 2 * * *", "2026-03-28", "2026-03-31",
     ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]),
    ("Europe/Berlin", "10,40 2 * * *", "2026-03-29", "2026-03-30", ["29 03:00 +0200"]),
    ("Europe/Berlin", "0 2,3 * * *", "2026-03-29", "2026-03-30", ["29 03:00 +0200"]),
    ("Europe/Berlin", "0 */2 * * *", "2026-03-29", "2026-03-30",
     ["29 00:00 +0100", "29 03:00 +0200"] + [f"29 {hour:02}:00 +0200" for hour in range(4, 24, 2)]),
    ("Europe/Berlin", "30 * 29 3 *", "2026-03-29", "2026-03-30",
     ["29 00:30 +0100", "29 01:30 +0100"] + [f"29 {hour:02}:30 +0200" for hour in range(3, 24)]),
    ("Europe/Berlin", "30 2 29 3 0", "2026-03-29", "2026-03-30", ["29 03:00 +0200"]),
    # Berlin, 25 October 2026: 03:00 becomes 02:00.
    ("Europe/Berlin", "30 2 * * *", "2026-10-24", "2026-10-27",
     ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]),
    ("Europe/Berlin", "*/30 1-3 * * *", "2026-10-25", "2026-10-26",
     ["25 01:00 +0200", "25 01:30 +0200", "25 02:00 +0200", "25 02:30 +0200", "25 03:00 +0100",
      "25 03:30 +0100"]),
    ("Europe/Berlin", "0,30 * 25 10 *", "2026-10-25", "2026-10-26",
     ["25 00:00 +0200", "25 00:30 +0200", "25 01:00 +0200", "25 01:30 +0200", "25 02:00 +0200",
      "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"]
     + [f"25 {hour:02}:{minute:02} +0100" for hour in range(3, 24) for minute in (0, 30)]),
    ("Europe/Berlin", "@hourly", "2026-10-25", "2026-10-26",
     ["25 00:00 +0200", "25 01:00 +0200", "25 02:00 +0200"]
     + [f"25 {hour:02}:00 +0100" for hour in range(2, 24)]),
    # New York, 8 March and 1 November 2026, at 02:00.
    ("America/New_York", "0 2 * * *", "2026-03-07", "2026-03-10",
     ["07 02:00 -0500", "08 03:00 -0400", "09 02:00 -0400"]),
    ("America/New_York", "15 1 * * *", "2026-11-01", "2026-11-02", ["01 01:15 -0400"]),
    # Lord Howe shifts by half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April, 02:00 becomes 01:30.
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-04", "2026-10-05", ["04 02:30 +1100"]),
    ("Australia/Lord_Howe", "45 * * * *", "2026-04-05", "2026-04-06",
     ["05 00:45 +1100", "05 01:45 +1100"] + [f"05 {hour:02}:45 +1030" for hour in range(1, 24)]),
    # Havana changes at midnight: 8 March 2026, 00:00 becomes 01:00; 1 November, 01:00 becomes 00:00.
    ("America/Havana", "@daily", "2026-03-07", "2026-03-10",
     ["07 00:00 -0500", "08 01:00 -0400", "09 00:00 -0400"]),
    ("America/Havana", "@daily", "2026-10-31", "2026-11-03",
     ["31 00:00 -0400", "01 00:00 -0400", "02 00:00 -0500"]),
    # Samoa had no 30 December 2011: two midnights fall on one instant.
    ("Pacific/Apia", "@daily", "2011-12-28", "2012-01-02",
     ["28 00:00 -1000", "29 00:00 -1000", "31 00:00 +1400", "01 00:00 +1400"]),
    # Leap years, weekdays, either day.
    ("UTC", "0 0 29 2 *", "2026-01-01", "2034-01-01", ["29 00:00 +0000"] * 2),
    ("UTC", "0 0 28-31 2 *", "2028-01-01", "2029-01-01", ["28 00:00 +0000", "29 00:00 +0000"]),
    ("UTC", "0 0 13 * 5", "2026-02-10", "2026-02-28",
     ["13 00:00 +0000", "20 00:00 +0000", "27 00:00 +0000"]),
    ("UTC", "0 0 13 * FRI", "2026-01-10", "2026-01-24",
     ["13 00:00 +0000", "16 00:00 +0000", "23 00:00 +0000"]),
    ("UTC", "0 0 * * 7", "2026-01-01", "2026-01-15", ["04 00:00 +0000", "11 00:00 +0000"]),
    ("UTC", "0 0 31 * *", "2026-01-01", "2026-06-01", ["31 00:00 +0000"] * 3),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "cron", "start", "end", "expected"), WORKED)
def test_worked_dates(zone: str, cron: str, start: str, end: str, expected: list[str]) -> None:
    assert walls(parse_schedule(cron, timezone=zone), start, end) == expected


# --- properties ------------------------------------------------------------------------------------

fields = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5-10", "*"]),
    st.sampled_from(["*", "2", "0-3", "*/5", "23"]),
    st.sampled_from(["*", "1", "29-31", "*/9", "29"]),
    st.sampled_from(["*", "2", "3,10", "*/5", "11"]),
    st.sampled_from(["*", "0", "1-5", "*/3", "SUN"]),
).map(" ".join)
zones = st.sampled_from(
    ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "America/New_York", "Africa/Cairo",
     "Asia/Kathmandu", "Pacific/Apia", "UTC"]
)  # fmt: skip
instants = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
spans = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
schedules = st.one_of(
    fields,
    st.lists(fields, min_size=2, max_size=3),
    spans,
    fields.map(CronDataIntervalTimetable),
    spans.map(DeltaDataIntervalTimetable),
    st.builds(CronTriggerTimetable, fields, interval=spans),
)


def timetable_of(schedule: Any, zone: str, start: datetime | None = None) -> Timetable:
    return parse_schedule(schedule, timezone=zone, start_date=start)


@given(schedules, zones, instants)
def test_next_and_previous_are_each_others_inverse(schedule: Any, zone: str, moment: datetime) -> None:
    timetable = timetable_of(schedule, zone)
    later = timetable.next_after(moment)
    earlier = timetable.previous_before(moment)
    assert later is not None
    assert earlier is not None
    assert earlier < moment < later
    assert later.utcoffset() == earlier.utcoffset() == timedelta(0)
    between = timetable.next_after(earlier)
    assert between == (later if between != moment else moment)
    assert timetable.previous_before(later) == (earlier if between != moment else moment)
    assert timetable.next_after(later - INSTANT) == later
    assert timetable.previous_before(earlier + INSTANT) == earlier


@given(schedules, zones, instants)
def test_intervals_follow_each_other_and_end_at_the_fire_time(
    schedule: Any, zone: str, moment: datetime
) -> None:
    timetable = timetable_of(schedule, zone)
    fire = timetable.next_after(moment)
    assert fire is not None
    start, end = timetable.interval_of(fire)
    assert end == fire
    if isinstance(schedule, CronTriggerTimetable):
        assert end - start == schedule.interval
        assert timetable.logical_date_of(fire) == start
        return
    assert start == timetable.previous_before(fire)
    data_interval = isinstance(schedule, (CronDataIntervalTimetable, DeltaDataIntervalTimetable))
    assert timetable.logical_date_of(fire) == (start if data_interval else fire)
    following = timetable.next_after(fire)
    assert following is not None
    assert timetable.interval_of(following)[0] == end


@given(schedules, zones, instants, st.integers(0, 3000), instants)
def test_nothing_fires_outside_start_and_end(
    schedule: Any, zone: str, start: datetime, days: int, moment: datetime
) -> None:
    end = start + days * DAY
    timetable = Timetable(parse_schedule(schedule).schedule, ZoneInfo(zone), start, end)
    for fire in (timetable.next_after(moment), timetable.previous_before(moment)):
        if fire is None:
            continue
        if isinstance(schedule, CronTriggerTimetable):
            assert start <= fire <= end
        else:
            assert start <= timetable.logical_date_of(fire) <= end
    last = timetable.previous_before(at("2300-01-01"))
    first = timetable.next_after(at("1500-01-01"))
    assert (first is None) == (last is None)
    if first is not None and last is not None:
        assert first <= last
        assert timetable.previous_before(first) is timetable.next_after(last) is None


# --- what a run covers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "logical", "interval"),
    [
        ("0 2 * * *", "2026-03-10T02:00", ("2026-03-09T02:00", "2026-03-10T02:00")),
        ("1d", "2026-03-10T02:00", ("2026-03-09T02:00", "2026-03-10T02:00")),
        (
            ["0 2 * * *", "0 1 * * *"],
            "2026-03-10T02:00",
            ("2026-03-10T01:00", "2026-03-10T02:00"),
        ),
        (CronTriggerTimetable("0 2 * * *"), "2026-03-10T02:00", ("2026-03-10T02:00",) * 2),
        (
            CronTriggerTimetable("0 2 * * *", interval="3d"),
            "2026-03-07T02:00",
            ("2026-03-07T02:00", "2026-03-10T02:00"),
        ),
        (
            MultipleCronTriggerTimetable("0 2 * * *", "0 1 * * *", interval="1h"),
            "2026-03-10T01:00",
            ("2026-03-10T01:00", "2026-03-10T02:00"),
        ),
        (
            CronDataIntervalTimetable("0 2 * * *"),
            "2026-03-09T02:00",
            ("2026-03-09T02:00", "2026-03-10T02:00"),
        ),
        (DeltaTriggerTimetable("1d"), "2026-03-10T02:00", ("2026-03-10T02:00",) * 2),
        (DeltaDataIntervalTimetable("1d"), "2026-03-09T02:00", ("2026-03-09T02:00", "2026-03-10T02:00")),
    ],
)
def test_logical_date_and_interval_of_each_kind(
    schedule: Any, logical: str, interval: tuple[str, str]
) -> None:
    timetable = parse_schedule(schedule, start_date="2026-01-01T02:00")
    fire = at("2026-03-10T02:00")
    assert timetable.next_after(fire - INSTANT) == fire
    assert timetable.logical_date_of(fire) == at(logical)
    assert timetable.interval_of(fire) == (at(interval[0]), at(interval[1]))


@pytest.mark.parametrize(
    ("schedule", "start"),
    [
        ("0 2 * * *", "2026-03-10T02:00"),
        (CronDataIntervalTimetable("0 2 * * *"), "2026-03-10T02:00"),
        ("@hourly", "2026-03-10T15:00"),
        (None, "2026-03-10T15:42"),
        ("@once", "2026-03-10T15:42"),
        ("@continuous", "2026-03-10T15:42"),
        (CronTriggerTimetable("@daily", interval="1h"), "2026-03-10T14:42"),
    ],
)
def test_a_manual_run_covers_the_time_since_the_last_fire_time(schedule: Any, start: str) -> None:
    """Also before `start_date`, where nothing fires."""
    logical = at("2026-03-10T15:42")
    for start_date in ("2026-01-01", "2027-01-01"):
        timetable = parse_schedule(schedule, start_date=start_date)
        assert timetable.interval_of(logical) == (at(start), logical)


# --- start, end and the presets --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        ("0 2 * * *", "2026-01-01T02:00", "2026-01-05T02:00"),
        (CronTriggerTimetable("0 2 * * *", interval="1d"), "2026-01-01T02:00", "2026-01-05T02:00"),
        (CronDataIntervalTimetable("0 2 * * *"), "2026-01-02T02:00", "2026-01-06T02:00"),
        ("36h", "2026-01-01T02:00", "2026-01-04T02:00"),
        (DeltaDataIntervalTimetable("36h"), "2026-01-02T14:00", "2026-01-05T14:00"),
        ("@once", "2026-01-01T02:00", "2026-01-01T02:00"),
        ("@continuous", "2026-01-01T02:00", "2026-01-05T02:00"),
    ],
)
def test_start_and_end_are_included(schedule: Any, first: str, last: str) -> None:
    """They bound the fire times of a trigger, and the start of a data interval."""
    timetable = parse_schedule(schedule, start_date="2026-01-01T02:00", end_date="2026-01-05T02:00")
    assert timetable.next_after(at("2000-01-01")) == at(first)
    assert timetable.previous_before(at("2100-01-01")) == at(last)
    assert timetable.next_after(at(last)) is None
    assert timetable.previous_before(at(first)) is None


def test_once_without_a_start_date_fires_at_the_moment_asked_from() -> None:
    """It has no fire time of its own; whether it has fired already is for who asks to know."""
    now = at("2026-03-10T15:42")
    timetable = parse_schedule("@once", end_date="2026-03-11")
    assert timetable.fires
    assert timetable.once
    assert timetable.first_from(now) == now
    assert timetable.logical_date_of(now) == now
    assert timetable.first_from(at("2026-03-12")) is None
    assert timetable.next_after(now) is timetable.previous_before(now) is timetable.newest_at(now) is None
    started = parse_schedule("@once", start_date="2026-03-01")
    assert started.first_from(at("2026-02-01")) == started.newest_at(now) == at("2026-03-01")
    assert started.first_from(now) is None


def test_the_newest_fire_time_is_out_of_date_once_one_after_the_end_has_come() -> None:
    timetable = parse_schedule("0 2 * * *", start_date="2026-03-01", end_date="2026-03-05")
    assert timetable.newest_at(at("2026-03-01T01:59")) is None
    assert timetable.newest_at(at("2026-03-01T02:00")) == at("2026-03-01T02:00")
    assert timetable.newest_at(at("2026-03-05T01:59")) == at("2026-03-04T02:00")
    assert timetable.newest_at(at("2026-03-05T02:00")) is None
    assert timetable.previous_before(at("2026-03-06")) == at("2026-03-04T02:00")


def test_without_a_schedule_nothing_fires() -> None:
    timetable = parse_schedule(None, start_date="2026-01-01")
    assert timetable.next_after(at("2026-01-01")) is timetable.previous_before(at("2027-01-01")) is None
    assert not timetable.fires


def test_continuous_fires_again_at_once() -> None:
    timetable = parse_schedule("@continuous", start_date="2026-01-01")
    ended = at("2026-03-01T12:34:56")
    fire = timetable.next_after(ended)
    assert timetable.continuous
    assert fire == ended + INSTANT
    assert timetable.logical_date_of(fire) == fire
    assert not parse_schedule("@daily").continuous


def test_a_duration_counts_elapsed_time_from_the_start_date() -> None:
    """Over the change of the clock it keeps its length, not its hour."""
    timetable = parse_schedule("12h", timezone="Europe/Berlin", start_date="2026-03-28T06:00")
    assert walls(timetable, "2026-03-28", "2026-03-30") == [
        "28 06:00 +0100", "28 18:00 +0100", "29 07:00 +0200", "29 19:00 +0200",
    ]  # fmt: skip
    no_start = parse_schedule("1d", timezone="Asia/Tokyo")
    assert walls(no_start, "2026-01-01", "2026-01-03") == ["01 00:00 +0900", "02 00:00 +0900"]


def test_a_cron_is_in_its_own_zone_and_dates_in_that_of_the_dag() -> None:
    schedule = CronTriggerTimetable("0 9 * * *", timezone="Asia/Tokyo")
    timetable = parse_schedule(schedule, timezone="Europe/Berlin", start_date="2026-01-01T01:00")
    assert timetable.next_after(at("2025-01-01")) == at("2026-01-01T00:00")


def test_several_crons_fire_once_where_they_meet() -> None:
    timetable = parse_schedule(["0 */6 * * *", "0 */4 * * *"])
    fired = fires(timetable, at("2026-01-01"), at("2026-01-02"))
    assert [fire.hour for fire in fired] == [0, 4, 6, 8, 12, 16, 18, 20]


def test_weekends_on_29_february_are_found_both_ways_over_centuries() -> None:
    """The rarest dates there are, also before 1970, and fast."""
    timetable = parse_schedule("0 0 29 2 */6")
    leap_days = [at(f"{year}-02-29") for year in range(1804, 2200, 4) if year not in (1900, 2100)]
    expected = [day for day in leap_days if day.isoweekday() in (6, 7)]
    assert max(later.year - earlier.year for earlier, later in pairwise(expected)) >= 12
    began = time.monotonic()
    assert fires(timetable, at("1801-01-01"), at("2200-01-01")) == expected
    assert [timetable.previous_before(later) for later in expected[1:]] == expected[:-1]
    assert time.monotonic() - began < 5


def test_the_end_of_the_calendar_is_none_and_not_an_error() -> None:
    for schedule in ("@yearly", "@hourly", "30m", ["@daily", "@hourly"]):
        timetable = parse_schedule(schedule, timezone="Asia/Tokyo")
        assert timetable.next_after(at("9999-12-31T23:59:59")) is None
        assert timetable.previous_before(at("0001-01-01")) is None
    assert parse_schedule("@hourly").previous_before(at("0001-01-01T00:00:30")) is None
    beyond = parse_schedule("0 0 29 2 *", start_date="9996-03-01")
    assert beyond.next_after(at("2026-01-01")) is None
    rare = parse_schedule("0 0 29 2 *", start_date="9996-01-01", end_date="9998-01-01")
    assert rare.next_after(at("2026-01-01")) == at("9996-02-29")


def test_a_moment_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    timetable = parse_schedule("@daily")
    for question in (timetable.next_after, timetable.previous_before, timetable.interval_of):
        with pytest.raises(ValueError, match="no time zone"):
            question(naive)
