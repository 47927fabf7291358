"""Every date in the tables of docs/scheduling.md is what the code says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.dag import timetable as timetables
from orchestrator.dag.manual import manual_interval
from orchestrator.dag.model import Dag
from orchestrator.dag.timetable import parse_schedule
from orchestrator.runs.firing import ScheduleFacts, decide, plan
from orchestrator.units import parse_duration

PAGE = (Path(__file__).parents[3] / "docs" / "scheduling.md").read_text(encoding="utf-8")
NAMES = {name: getattr(timetables, name) for name in timetables.__all__ if name.endswith("Timetable")}
INSTANT = timedelta(microseconds=1)


def table(name: str) -> list[list[str]]:
    """The rows of a proved table, cell by cell, without their backquotes."""
    _, _, text = PAGE.partition(f"<!-- proved: {name} -->\n")
    lines = re.match(r"(?:\|.*\|\n)+", text)
    assert lines, f"the page has no table {name!r}"
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]
    ]


def schedule(text: str) -> Any:
    """A schedule as the page writes it, in Python."""
    return eval(text, {"__builtins__": {}}, NAMES)


def moment(text: str, zone: str = "UTC") -> datetime:
    """A time of the page: of 2026 where it names no year."""
    dated = text if text.startswith("2026-") else f"2026-{text}"
    return datetime.fromisoformat(dated).replace(tzinfo=ZoneInfo(zone))


def optional(text: str) -> datetime | None:
    return moment(text) if text else None


def test_the_page_has_its_tables() -> None:
    tables = ["intervals", "by hand", "missed", "held back", "clocks"]
    assert re.findall(r"<!-- proved: (.+) -->", PAGE) == tables


@pytest.mark.parametrize("row", table("intervals"), ids=lambda row: row[0])
def test_what_a_scheduled_run_covers(row: list[str]) -> None:
    text, logical_date, start, end = row
    timetable = parse_schedule(schedule(text), start_date="2026-01-01T02:00")
    fire = moment("03-10 02:00")
    assert timetable.first_from(fire) == fire
    assert timetable.logical_date_of(fire) == moment(logical_date)
    assert timetable.interval_of(fire) == (moment(start), moment(end))


@pytest.mark.parametrize("row", table("by hand"), ids=lambda row: row[0])
@pytest.mark.parametrize("start_date", [None, "2026-01-01T02:00", "2027-01-01"])
def test_what_a_run_by_hand_covers(row: list[str], start_date: str | None) -> None:
    text, start, end = row
    dag = Dag.model_validate({"id": "d", "schedule": schedule(text), "start_date": start_date, "nodes": []})
    expected = None if start == "none" else (moment(start), moment(end))
    assert manual_interval(dag, moment("03-10 15:42")) == expected


@pytest.mark.parametrize("row", table("missed"), ids=lambda row: " ".join(row[:5]))
def test_what_fires_of_what_was_missed(row: list[str]) -> None:
    text, catchup, start, end, last, fires, following = row
    now = moment("03-10 15:00")
    timetable = parse_schedule(schedule(text), start_date=optional(start), end_date=optional(end))
    known = ScheduleFacts(timetable, {"yes": True, "no": False}[catchup], last_fire_at=optional(last))
    known = replace(known, next_fire_at=plan(replace(known, paused=True), now))
    fired = []
    while (firing := decide(known, now)) is not None:
        known = known.after(firing)
        fired += [f"{firing.tick.fire_time:%m-%d %H:%M}"] if firing.tick else []
    assert ", ".join(fired) == fires
    assert known.next_fire_at == (None if following == "over" else moment(following))


@pytest.mark.parametrize("row", table("held back"), ids=lambda row: " ".join(row[:3]))
def test_what_fires_behind_slow_runs(row: list[str]) -> None:
    """From moment to moment: a run ends, or a tick comes."""
    text, catchup, most, takes, fires = row
    now, end = moment("03-10 00:00"), moment("03-10 08:00")
    known = ScheduleFacts(parse_schedule(schedule(text)), catchup == "yes", max_active_runs=int(most))
    known = replace(known, next_fire_at=now)
    ends, fired = list[datetime](), list[str]()
    while now < end:
        ends = [one for one in ends if one > now]
        known = replace(known, active=len(ends))
        while (firing := decide(known, now)) is not None:
            known = known.after(firing)
            assert firing.tick is not None
            fired.append(f"{firing.tick.fire_time:%H:%M} at {now:%H:%M}")
            ends.append(now + parse_duration(takes))
        assert known.next_fire_at is not None
        now = min(one for one in (*ends, known.next_fire_at) if one > now)
    assert ", ".join(fired) == fires


@pytest.mark.parametrize("row", table("clocks"), ids=lambda row: " ".join(row[:3]))
def test_what_fires_where_the_clocks_change(row: list[str]) -> None:
    zone, text, first, last, fires = row
    timetable = parse_schedule(schedule(text), timezone=zone)
    now, end = moment(first, zone).astimezone(UTC) - INSTANT, moment(last, zone)
    found = []
    while (fire := timetable.next_after(now)) is not None and fire < end:
        found.append(f"{fire.astimezone(ZoneInfo(zone)):%m-%d %H:%M %z}")
        now = fire
    assert ", ".join(found) == fires
