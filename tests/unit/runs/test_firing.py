"""When a schedule fires: worked cases, and schedules watched for weeks by schedulers that come and go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.timetable import (
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    Timetable,
    parse_schedule,
)
from orchestrator.runs.firing import BREATH, Firing, ScheduleFacts, Tick, decide, plan, upcoming

INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def facts(schedule: Any, *, now: datetime, start: Any = None, end: Any = None, **more: Any) -> ScheduleFacts:
    """A schedule that is loaded at a moment."""
    timetable = parse_schedule(schedule, start_date=start, end_date=end)
    loaded = ScheduleFacts(timetable, **more)
    return replace(loaded, next_fire_at=plan(loaded, now))


def fire(known: ScheduleFacts, now: datetime) -> tuple[list[Tick], ScheduleFacts]:
    """What one scheduler fires until nothing is due, each run having ended at once."""
    fired = []
    while (firing := decide(known, now)) is not None:
        fired += [firing.tick] if firing.tick else []
        known = replace(known.after(firing), active=0)
    return fired, known


def times(ticks: list[Tick]) -> list[datetime]:
    return [tick.fire_time for tick in ticks]


# --- worked cases (more of them: docs/scheduling.md) ------------------------------------------------


@pytest.mark.parametrize("catchup", [False, True])
def test_what_is_not_due_does_not_fire(catchup: bool) -> None:
    known = facts("0 2 * * *", now=at("03-10T15:00"), catchup=catchup)
    assert known.next_fire_at == at("03-11T02:00")
    assert decide(known, at("03-11T02:00") - INSTANT) is None
    assert decide(known, at("03-11T02:00")) == Firing(
        Tick(at("03-11T02:00"), at("03-11T02:00"), (at("03-10T02:00"), at("03-11T02:00"))),
        at("03-12T02:00"),
    )


def test_with_catchup_a_decision_fires_the_oldest_missed_tick_and_no_other() -> None:
    known = facts("0 2 * * *", now=at("03-01T00:00"), catchup=True)
    first = decide(known, at("03-03T02:00"))
    assert first
    assert first.tick
    assert (first.tick.fire_time, first.next_fire_at) == (at("03-01T02:00"), at("03-02T02:00"))
    fired, known = fire(known, at("03-03T02:00"))
    assert times(fired) == [at("03-01T02:00"), at("03-02T02:00"), at("03-03T02:00")]
    assert known.last_fire_at == at("03-03T02:00")
    assert known.next_fire_at == at("03-04T02:00")


def test_without_catchup_the_newest_missed_tick_fires_and_it_is_said_since_when_others_were_missed() -> None:
    known = facts("0 2 * * *", now=at("03-01T00:00"))
    firing = decide(known, at("03-03T12:00"))
    assert firing
    assert firing.tick
    assert firing.tick.fire_time == at("03-03T02:00")
    assert firing.missed_since == at("03-01T02:00")
    assert firing.next_fire_at == at("03-04T02:00")


def test_a_pause_changes_nothing_until_it_is_lifted() -> None:
    ran = facts("0 2 * * *", now=at("03-01T00:00"), last_fire_at=at("03-01T02:00"))
    paused = replace(ran, paused=True)
    assert decide(paused, at("03-05T12:00")) is None
    for catchup, days in ((False, [5]), (True, [2, 3, 4, 5])):
        lifted = replace(paused, catchup=catchup)
        next_fire_at = plan(lifted, at("03-05T12:00"))
        assert next_fire_at == at(f"03-{days[0]:02}T02:00")
        fired, _ = fire(replace(lifted, paused=False, next_fire_at=next_fire_at), at("03-05T12:00"))
        assert times(fired) == [at(f"03-{day:02}T02:00") for day in days]


@pytest.mark.parametrize("catchup", [False, True])
@pytest.mark.parametrize("schedule", ["0 2 * * *", CronDataIntervalTimetable("0 2 * * *")])
def test_what_never_fired_and_has_no_start_date_has_missed_nothing_while_paused(
    schedule: Any, catchup: bool
) -> None:
    known = facts(schedule, now=at("03-01T00:00"), paused=True, catchup=catchup)
    assert plan(known, at("03-05T12:00")) == at("03-06T02:00")


@pytest.mark.parametrize("catchup", [False, True])
def test_planning_again_between_a_tick_and_its_decision_does_not_lose_it(catchup: bool) -> None:
    """A file that is loaded again in the second in which its DAG is due."""
    known = facts("0 2 * * *", now=at("03-01T00:00"), catchup=catchup)
    late = at("03-01T02:00") + MINUTE
    again = replace(known, next_fire_at=plan(known, late))
    assert times(fire(again, late)[0]) == [at("03-01T02:00")]


def test_a_changed_schedule_goes_on_from_what_fired_last() -> None:
    daily = facts("0 2 * * *", now=at("03-01T00:00"), last_fire_at=at("03-10T02:00"), catchup=True)
    hourly = replace(daily, timetable=parse_schedule("0 */6 * * *"))
    fired, _ = fire(replace(hourly, next_fire_at=plan(hourly, at("03-10T13:00"))), at("03-10T13:00"))
    assert times(fired) == [at("03-10T06:00"), at("03-10T12:00")]
    by_hand = replace(daily, timetable=parse_schedule(None))
    assert plan(by_hand, at("03-10T13:00")) is None


@pytest.mark.parametrize("catchup", [False, True])
def test_a_next_fire_time_that_its_zone_no_longer_has_is_planned_again(catchup: bool) -> None:
    """A country gives up summer time, and the data of the zones is updated."""
    known = facts("0 2 * * *", now=at("03-10T03:00"), last_fire_at=at("03-10T02:00"), catchup=catchup)
    stale = replace(known, next_fire_at=at("03-11T03:00"))
    firing = decide(stale, at("03-11T03:00"))
    assert firing == Firing(None, at("03-11T02:00"))
    assert times(fire(stale, at("03-11T03:00"))[0]) == [at("03-11T02:00")]


def test_no_tick_fires_while_max_active_runs_are_active_and_the_newest_does_then() -> None:
    known = facts("@hourly", now=at("03-01T00:30"), active=2, max_active_runs=2)
    assert decide(known, at("03-01T05:30")) is None
    assert times(fire(replace(known, active=1), at("03-01T05:30"))[0]) == [at("03-01T05:00")]
    firing = decide(replace(known, active=1, catchup=True), at("03-01T05:30"))
    assert firing
    assert firing.missed_since is None
    assert known.after(firing).active == 3


def test_once_fires_once_whatever_it_is_asked() -> None:
    now = at("03-10T15:42")
    for start, fires_at in ((None, now), ("2026-03-01", at("03-01T00:00"))):
        for catchup in (False, True):
            known = facts("@once", now=now, start=start, catchup=catchup)
            fired, known = fire(known, now)
            assert fired == [Tick(fires_at, fires_at, (fires_at, fires_at))]
            assert known.next_fire_at is plan(known, now + DAY) is None
    moved = facts("@once", now=now, start="2026-04-01", last_fire_at=at("03-01T00:00"))
    assert moved.next_fire_at is None
    later = facts("@once", now=now, start="2026-04-01")
    assert later.next_fire_at == at("04-01T00:00")
    paused = facts("@once", now=now, paused=True)
    assert plan(paused, now + DAY) == now + DAY
    assert facts("@once", now=now, end="2026-03-01").next_fire_at is None


def test_continuous_fires_when_no_run_is_active_and_leaves_no_gap_in_its_intervals() -> None:
    now = at("03-10T15:00")
    known = facts("@continuous", now=now, start="2026-03-01", catchup=True)
    firing = decide(known, now)
    assert firing
    assert firing.tick == Tick(now, now, (at("03-01T00:00"), now))
    known = known.after(firing)
    assert decide(known, now + MINUTE) is None
    known = replace(known, active=0)
    assert decide(known, now + BREATH / 2) is None
    assert decide(known, now + BREATH)
    following = decide(known, now + MINUTE)
    assert following
    assert following.tick == Tick(now + MINUTE, now + MINUTE, (now, now + MINUTE))
    assert following.missed_since is None
    assert times(list(upcoming(known, now + MINUTE))) == [now + MINUTE]


def test_a_clock_that_was_once_ahead_silences_nothing_for_longer_than_until_it_is_planned_again() -> None:
    now = at("03-10T15:00")
    ahead = facts("0 2 * * *", now=now, last_fire_at=at("03-10T15:00") + 1500 * DAY)
    assert plan(ahead, now) == at("03-11T02:00")
    assert plan(replace(ahead, paused=True), now) == at("03-11T02:00")


def test_continuous_respects_its_bounds() -> None:
    known = facts("@continuous", now=at("03-10T15:00"), start="2026-03-12", end="2026-03-13")
    assert decide(known, at("03-11T00:00")) is None
    assert times(fire(known, at("03-12T10:00"))[0][:1]) == [at("03-12T10:00")]
    assert fire(known, at("03-13T00:01"))[0] == []
    first = facts("@continuous", now=at("03-10T15:00")).next_fire_at
    assert first == at("03-10T15:00")


def test_the_last_tick_before_the_end_fires_late_but_not_once_it_is_out_of_date() -> None:
    known = facts("0 2 * * *", now=at("03-03T12:00"), end="2026-03-04T12:00", last_fire_at=at("03-03T02:00"))
    assert times(fire(known, at("03-05T01:59"))[0]) == [at("03-04T02:00")]
    firing = decide(known, at("03-05T02:00"))
    assert firing == Firing(None, None, missed_since=at("03-04T02:00"))
    assert times(fire(replace(known, catchup=True), at("04-01T00:00"))[0]) == [at("03-04T02:00")]


def test_a_data_interval_fires_at_its_end_and_is_dated_by_its_start() -> None:
    known = facts(DeltaDataIntervalTimetable("6h"), now=at("03-01T00:00"), start="2026-03-01", catchup=True)
    fired, _ = fire(known, at("03-01T13:00"))
    assert [(tick.logical_date, tick.interval) for tick in fired] == [
        (at("03-01T00:00"), (at("03-01T00:00"), at("03-01T06:00"))),
        (at("03-01T06:00"), (at("03-01T06:00"), at("03-01T12:00"))),
    ]


def test_what_comes_next_is_what_would_fire() -> None:
    now = at("03-10T15:00")
    daily = facts("0 2 * * *", now=now, start="2026-03-08")
    assert times(list(islice(upcoming(daily, now), 2))) == [at("03-10T02:00"), at("03-11T02:00")]
    every = facts("0 2 * * *", now=now, start="2026-03-08", end="2026-03-11T12:00", catchup=True, active=99)
    assert times(list(upcoming(every, now))) == [at(f"03-{day:02}T02:00") for day in (8, 9, 10, 11)]
    paused = facts("0 2 * * *", now=at("03-01T00:00"), paused=True)
    assert times(list(islice(upcoming(paused, now), 1))) == [at("03-11T02:00")]
    assert list(upcoming(facts(None, now=now), now)) == []
    assert times(list(upcoming(facts("@once", now=now), now))) == [now]


# --- schedules watched for a while ------------------------------------------------------------------

schedules = st.sampled_from(
    [
        "*/20 * * * *",
        "0 2 * * *",
        "30 1,2 * * *",
        "7h",
        ["0 6 * * *", "0 */9 * * *"],
        CronDataIntervalTimetable("0 */5 * * *"),
        CronTriggerTimetable("@hourly", interval="1d"),
        DeltaDataIntervalTimetable("90m"),
    ]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"])
loaded_at = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
waits = st.lists(st.integers(1, 600).map(lambda minutes: minutes * MINUTE), min_size=1, max_size=12)


def ticks_of(timetable: Timetable, first: datetime | None, last: datetime) -> list[datetime]:
    found = []
    while first is not None and first <= last:
        found.append(first)
        first = timetable.next_after(first)
    return found


@given(schedules, zones, loaded_at, st.integers(-3, 3) | st.none(), waits, st.data())
def test_with_catchup_every_tick_fires_once_in_order_whoever_asks_when_and_however_stale(
    schedule: Any, zone: str, now: datetime, start: int | None, waits: list[timedelta], data: st.DataObject
) -> None:
    """Two schedulers; each may act on what it read earlier, and the comparison lets only one of them."""
    start_date = None if start is None else now + start * DAY
    timetable = parse_schedule(schedule, timezone=zone, start_date=start_date)
    loaded = ScheduleFacts(timetable, catchup=True)
    row = stale = replace(loaded, next_fire_at=plan(loaded, now))
    first = timetable.next_after((timetable.start or now) - INSTANT)
    fired: list[datetime] = []
    for wait in waits:
        now += wait
        for _ in range(4):
            read = data.draw(st.sampled_from([row, stale])) if row != stale else row
            firing = decide(read, now)
            if firing is not None and read.next_fire_at == row.next_fire_at:
                stale, row = row, replace(row.after(firing), active=0)
                fired += [firing.tick.fire_time] if firing.tick else []
    rest, row = fire(row, now)
    assert fired + times(rest) == ticks_of(timetable, first, now)
    assert row.next_fire_at is not None
    assert row.next_fire_at > now


@given(schedules, zones, loaded_at, st.integers(-3, 3) | st.none(), waits, st.integers(0, 5))
def test_without_catchup_each_asking_fires_the_newest_tick_if_it_has_not_fired(
    schedule: Any, zone: str, now: datetime, start: int | None, waits: list[timedelta], end: int
) -> None:
    start_date = None if start is None else now + start * DAY
    last = now + end * DAY
    timetable = Timetable(parse_schedule(schedule).schedule, parse_schedule(None, timezone=zone).zone)
    timetable = replace(timetable, start=start_date, end=max(last, start_date or last))
    known = replace(loaded := ScheduleFacts(timetable), next_fire_at=plan(loaded, now))
    fired: list[Tick] = []
    counts_from = timetable.start or now
    for wait in waits:
        now += wait
        newest = timetable.newest_at(now)
        due = newest is not None and newest >= counts_from and newest not in times(fired)
        new, known = fire(known, now)
        assert times(new) == ([newest] if due else [])
        assert known.next_fire_at is None or known.next_fire_at > now
        fired += new
    assert all(earlier.logical_date < later.logical_date for earlier, later in pairwise(fired))
    assert all(earlier.interval[1] <= later.interval[1] for earlier, later in pairwise(fired))
