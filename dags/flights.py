"""Departures from New York in 2013 that were more than an hour late, from one CSV into three targets.

`make demo` fetches the data (336,776 flights) and runs this.
"""

from __future__ import annotations

from operators import CsvInput, CsvOutput, Filter, Mapping, ParquetOutput, SqliteOutput
from orchestrator import DAG

with DAG("flights", tags=["demo"], doc_md=__doc__) as dag:
    flights = CsvInput("flights", path=".demo/data/flights.csv", null_values=["NA"])
    late = Filter("late", condition="dep_delay > 60")
    shaped = Mapping(
        "shaped",
        mappings={"dep_delay": "minutes_late", "dest": "destination"},
        columns={"miles_per_hour": "distance * 60.0 / air_time"},
    )
    flights >> late >> shaped
    shaped >> CsvOutput("as_csv", path=".demo/out/late.csv")
    shaped >> ParquetOutput("as_parquet", path=".demo/out/late.parquet")
    shaped >> SqliteOutput("as_table", path=".demo/out/late.db", table="late_flights", mode="overwrite")
