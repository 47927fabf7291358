from __future__ import annotations

from datetime import datetime

from operators import CsvInput, CsvOutput, Filter, Mapping
from orchestrator import DAG

with DAG("adults", schedule="0 2 * * *", start_date=datetime(2026, 1, 1), tags=["demo"]) as dag:  # noqa: DTZ001
    people = CsvInput("people", path="data/people-{{ ds }}.csv")
    adults = Filter("adults", condition="age > 18")
    renamed = Mapping("renamed", mappings={"name": "full_name"})
    people >> adults >> renamed >> CsvOutput("out", path="out/adults-{{ ds }}.csv")
