from __future__ import annotations

from datetime import timedelta

from operators import CsvInput, CsvOutput, Discard, Route, SqliteOutput
from orchestrator import DAG, ErrorLimit, Param, TaskGroup

with DAG(
    "scores",
    timezone="Europe/Berlin",
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"day": Param("2026-01-31", type="string", format="date"), "limit": 90},
    settings={"batch_size": 10_000, "checkpoint": {"every_seconds": 5}},
) as dag:
    people = CsvInput("people", path="data/{{ params.day }}.csv", error_limit=ErrorLimit(records=100))
    route = Route("route", routes={"high": "score > 90", "low": "score < 10"}, default="rest", drop=["rest"])
    people >> route
    people.rejects >> CsvOutput("refused", path="out/refused.csv")

    with TaskGroup("load"):
        best = CsvOutput("best", path="out/best.csv", pool="disk")
        table = SqliteOutput("table", path="out/scores.db", table="best")
    route["high"] >> [best, table]
    route["low"] >> Discard("worst")

    again = CsvInput("again", path="out/best.csv")
    best.before(again)
    again >> CsvOutput("copy", path="out/copy.csv", queue="fast")
