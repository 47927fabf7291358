"""What an author may write as a schedule, what is stored of it, and what is refused."""

# ruff: noqa: DTZ001, DTZ901 - naive dates are what is tested: they are of the DAG's zone

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from orchestrator.dag.timetable import (
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
    ScheduleLike,
    ScheduleProblem,
    Timetable,
    json_schema,
    parse_schedule,
    read_moment,
    read_schedule,
    zone_of,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("written", "document"),
    [
        (None, None),
        (" 0  2 * * mon ", "0 2 * * MON"),
        ("@daily", "@daily"),
        ("@midnight", "@daily"),
        ("@Once", "@once"),
        ("@continuous", "@continuous"),
        ("30m", "30m"),
        ("90 m", "1h30m"),
        ("1h 30m", "1h30m"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(seconds=1, microseconds=1), "1.000001s"),
        (["0 6 * * *", "@hourly"], ["0 6 * * *", "@hourly"]),
        (("0 6 * * *", "0  6 * * *"), "0 6 * * *"),
        (CronTriggerTimetable("0 2 * * *"), {"type": "cron_trigger", "cron": "0 2 * * *"}),
        (
            CronTriggerTimetable("@daily", timezone="Europe/Paris", interval=DAY),
            {"type": "cron_trigger", "cron": "@daily", "timezone": "Europe/Paris", "interval": "1d"},
        ),
        (
            CronTriggerTimetable("@daily", timezone=ZoneInfo("Europe/Paris"), interval="24h"),
            {"type": "cron_trigger", "cron": "@daily", "timezone": "Europe/Paris", "interval": "1d"},
        ),
        (
            MultipleCronTriggerTimetable("@daily", "0 6 * * *", timezone="UTC"),
            {"type": "multiple_cron_trigger", "crons": ["@daily", "0 6 * * *"], "timezone": "UTC"},
        ),
        (MultipleCronTriggerTimetable("@daily"), {"type": "multiple_cron_trigger", "crons": ["@daily"]}),
        (CronDataIntervalTimetable("@daily"), {"type": "cron_data_interval", "cron": "@daily"}),
        (DeltaTriggerTimetable(DAY), {"type": "delta_trigger", "delta": "1d"}),
        (
            DeltaTriggerTimetable("12h", interval=DAY),
            {"type": "delta_trigger", "delta": "12h", "interval": "1d"},
        ),
        (DeltaDataIntervalTimetable("7d"), {"type": "delta_data_interval", "delta": "7d"}),
    ],
)
def test_every_form_has_one_document_that_reads_back_equal(written: ScheduleLike, document: Any) -> None:
    timetable = parse_schedule(written, start_date=START)
    assert timetable.to_document() == document
    stored = json.loads(json.dumps(document))
    again = Timetable.from_document(stored, start_date=START)
    assert again == timetable
    assert again.to_document() == document
    jsonschema.validate(stored, json_schema())


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("", "names no time", "write null"),
        ("None", "names no time", "write null"),
        ("30", "number without a unit", "30m or 30s"),
        (30, "number without a unit", "30m or 30s"),
        (True, "is a bool", "write a cron"),
        (object, "is a type", "write a cron"),
        ("daily", "neither a cron, a preset nor a duration", '"@daily"'),
        ("-30m", "neither a cron, a preset nor a duration", "30m"),
        ("99999999999999999d", "is longer than 100 years", "36500d"),
        ({"type": "cron_trigger", "cron": "@daily", "interval": "800000d"}, "longer than 100", "36500d"),
        ("every day", "has 2 fields, not 5", "minute hour"),
        ("@fortnightly", "no preset '@fortnightly'", "@monthly"),
        ("0 0 30 2 *", "never fires", "1 to 28"),
        ("0s", "more often than each second", "@continuous"),
        (timedelta(milliseconds=1), "more often than each second", "@continuous"),
        (timedelta(days=-1), "is not a duration", "1d"),
        ([], "the list of crons is empty", "write a cron"),
        (["0 2 * * *", 5], "5 is not a cron text", "0 2 * * *"),
        (["0 2 * * *", "30m"], "cron '30m' has 1 field", "minute hour"),
        (["@once"], "@once is no cron", "as the schedule"),
        (["0 25 * * *"], "hour '25'", "0-23"),
        ({}, "there is no type", "cron_trigger"),
        ({"type": "cron_triger"}, "type 'cron_triger' is unknown", "'cron_trigger'"),
        ({"type": ["cron"]}, "is unknown", "known"),
        ({"type": "cron_trigger"}, "'cron' is missing", "Five fields"),
        ({"type": "cron_trigger", "cron": "* *"}, "has 2 fields", "minute hour"),
        ({"type": "cron_trigger", "cron": None}, "None is not a cron text", "0 2 * * *"),
        ({"type": "cron_trigger", "cron": "@daily", "tz": "UTC"}, "no field 'tz'", "timezone"),
        ({"type": "cron_data_interval", "cron": "@daily", "interval": "1d"}, "no field 'interval'", "cron"),
        ({"type": "cron_trigger", "cron": "@daily", "timezone": "Paris"}, "no time zone", "Europe/Paris"),
        ({"type": "cron_trigger", "cron": "@daily", "interval": 5}, "interval 5 is not a duration", "5m"),
        ({"type": "multiple_cron_trigger", "crons": "@daily"}, "is not a list", "0 18"),
        ({"type": "multiple_cron_trigger", "crons": []}, "is empty", "write a cron"),
        ({"type": "delta_trigger", "delta": 30}, "delta 30 is not a duration", "30s"),
        ({"type": "delta_data_interval", "delta": "0s"}, "more often than each second", "1s"),
    ],
)
def test_a_bad_schedule_says_what_and_what_to_write(written: Any, message: str, hint: str) -> None:
    with pytest.raises(ScheduleProblem) as caught:
        parse_schedule(written)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/paris", "did you mean 'Europe/Paris'?"),
        ("Europe/Pariss", "did you mean 'Europe/Paris'?"),
        ("New York", "did you mean 'America/New_York'?"),
        ("tokyo", "did you mean 'Asia/Tokyo'?"),
        ("Europe", "write an IANA name"),
        ("+02:00", "Etc/GMT-2"),
        ("GMT+2", "Etc/GMT-2"),
        ("CEST", "write an IANA name"),
        ("../../etc/passwd", "write an IANA name"),
        ("/etc/localtime", "write an IANA name"),
        ("localtime", "write an IANA name"),
        ("right/UTC", "'UTC'"),
        ("a\0b", "write an IANA name"),
        ("", "Europe/Paris"),
        (timezone(timedelta(hours=2)), "Europe/Paris"),
        (None, "Europe/Paris"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest_name(name: Any, hint: str) -> None:
    with pytest.raises(ScheduleProblem) as caught:
        parse_schedule("@daily", timezone=name)
    assert caught.value.message.startswith("timezone: ")
    assert hint in caught.value.hint


def test_a_time_zone_may_be_a_name_or_an_object() -> None:
    assert zone_of(UTC) == zone_of("UTC") == ZoneInfo("UTC")
    assert zone_of(ZoneInfo("Asia/Tokyo")).key == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 7, 1, 12), "2026-07-01T10:00:00+00:00"),
        (datetime(2026, 7, 1, 12, tzinfo=UTC), "2026-07-01T12:00:00+00:00"),
        (date(2026, 7, 1), "2026-06-30T22:00:00+00:00"),
        ("2026-07-01", "2026-06-30T22:00:00+00:00"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00+00:00"),
        (datetime(2026, 3, 29, 2, 30, 15, 7), "2026-03-29T01:00:00+00:00"),
        (datetime(2026, 10, 25, 2, 30), "2026-10-25T00:30:00+00:00"),
        (datetime(2026, 10, 25, 2, 30, fold=1), "2026-10-25T01:30:00+00:00"),
    ],
)
def test_a_naive_date_is_in_the_zone_of_the_dag(value: Any, expected: str) -> None:
    assert read_moment(value, ZoneInfo("Europe/Berlin")).isoformat() == expected


@pytest.mark.parametrize("value", ["yesterday", "2026-02-30", 5, True, datetime.min, datetime.max, ""])
def test_what_is_no_date_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ScheduleProblem, match="^end_date: "):
        parse_schedule("@daily", end_date=value)


def test_a_window_without_a_fire_time_is_refused() -> None:
    with pytest.raises(ScheduleProblem, match="end_date 2026-01-01 is before start_date 2026-02-01"):
        parse_schedule("@daily", start_date="2026-02-01", end_date="2026-01-01")
    for schedule in ("0 0 29 2 *", ["0 0 29 2 *", "0 0 1 3 *"], CronDataIntervalTimetable("0 0 1 1 *")):
        with pytest.raises(ScheduleProblem, match="never fires between start_date 2026-01-02"):
            parse_schedule(schedule, start_date="2026-01-02", end_date="2026-02-28")
    assert parse_schedule(None, start_date="2026-01-02", end_date="2026-02-28").fires is False
    assert parse_schedule("@once", start_date="2026-01-02", end_date="2026-01-02").fires


def test_a_schedule_reads_as_itself() -> None:
    named = CronDataIntervalTimetable("@daily")
    assert read_schedule(named) is named
    assert named != read_schedule("@daily")
    assert len({named, CronDataIntervalTimetable("@daily"), CronTriggerTimetable("@daily")}) == 2


def test_validating_a_schedule_does_not_load_apscheduler() -> None:
    """Only a question about fire times does."""
    program = (
        "import sys; from orchestrator.dag.timetable import parse_schedule as p;"
        "t = p('0 2 * * MON', timezone='Europe/Paris', start_date='2026-01-01'); p(['@daily', '0 3 1 * 1']);"
        "loaded = lambda: any(m.partition('.')[0] in ('apscheduler', 'asyncio') for m in sys.modules);"
        "assert not loaded(); t.next_after(t.start); assert loaded()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
