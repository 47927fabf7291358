"""The data interval of a run that somebody starts by hand."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.dag.model import Dag


def manual_interval(dag: Dag, date: datetime) -> tuple[datetime, datetime] | None:
    """From the last fire time before its date to that date; None for a DAG without a schedule.

    Also before `start_date` and after `end_date`, so that a DAG can be tried out. Of a trigger timetable it
    is its own `interval` up to the date, and empty for `@once` and `@continuous` (all as in Airflow).
    """
    if dag.schedule is None:
        return None
    from orchestrator.dag.timetable import parse_schedule

    return parse_schedule(
        dag.schedule, timezone=dag.timezone, start_date=dag.start_date, end_date=dag.end_date
    ).interval_of(date)
