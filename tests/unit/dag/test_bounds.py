"""Numbers and durations of a DAG file that no date, column or timer takes are refused where they stand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.dag.header import Header
from orchestrator.dag.timetable import parse_schedule
from orchestrator.sdk.operator import Operator
from orchestrator.units import LONGEST, MOST_BYTES, parse_duration, parse_size

HUGE = 10**20


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        *(
            (Operator, name, HUGE)
            for name in ("retries", "priority_weight", "pool_slots", "readers", "splits")
        ),
        *((Operator, name, "3000000d") for name in ("retry_delay", "max_retry_delay", "execution_timeout")),
        *((Header, name, HUGE) for name in ("max_active_runs", "max_active_tasks")),
        (Header, "dagrun_timeout", "3000000d"),
        (Header, "schedule", {"type": "cron_trigger", "cron": "@daily", "interval": "800000d"}),
    ],
)
def test_what_is_beyond_all_bounds_is_refused(model: type, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"(?s){name}.*(longer than 100 years|less than or equal)"):
        model(**{"id": "a", name: value})


@pytest.mark.parametrize("value", ["36501d", "9" * 400 + "d", float("inf"), 10**400])
def test_a_duration_is_at_most_a_hundred_years(value: object) -> None:
    with pytest.raises(ValueError, match="write at most 36500d"):
        parse_duration(value)
    assert parse_duration("36500d") == LONGEST


@pytest.mark.parametrize("value", ["9" * 400 + "TB", MOST_BYTES + 1])
def test_a_size_is_at_most_an_exbibyte(value: object) -> None:
    with pytest.raises(ValueError, match="larger than any disk"):
        parse_size(value)
    assert parse_size("1048576TiB") == MOST_BYTES


def test_an_interval_reaches_no_further_back_than_dates_do() -> None:
    schedule = {"type": "cron_trigger", "cron": "@daily", "interval": "36500d"}
    fire = datetime(50, 1, 1, tzinfo=UTC)
    assert parse_schedule(schedule).interval_of(fire) == (datetime(2, 1, 1, tzinfo=UTC), fire)
