"""A value in SQL is one literal, whatever it holds and wherever it stands."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.sdk.sql_template import check_sql, render_sql
from orchestrator.sdk.template import TemplateProblem

MOMENT = datetime(2026, 3, 1, 5, tzinfo=timezone(timedelta(hours=2)))


def literal(value: Any, dialect: str = "sql") -> str:
    return render_sql("{{ params.x }}", {"params": {"x": value}}, dialect).strip()


@pytest.mark.parametrize(
    ("value", "sql", "sqlite"),
    [
        ("zz' or 'a'='a", "'zz'' or ''a''=''a'", "'zz'' or ''a''=''a'"),
        (-3, "-3", "-3"),
        (1.5, "1.5", "1.5"),
        (Decimal("1.50"), "1.50", "1.50"),
        (True, "true", "true"),
        (date(2026, 3, 1), "date '2026-03-01'", "'2026-03-01'"),
        (MOMENT, "timestamp '2026-03-01 05:00:00'", "'2026-03-01 03:00:00.000000+00:00'"),
        (["a", 1], "'a', 1", "'a', 1"),
    ],
)
def test_each_value_is_a_literal_of_its_kind(value: Any, sql: str, sqlite: str) -> None:
    assert (literal(value), literal(value, "sqlite")) == (sql, sqlite)


@pytest.mark.parametrize(
    ("value", "says"),
    [(None, r"params\.x is null"), ({}, "no SQL value"), ([], "empty list"), (float("nan"), "no SQL value")],
)
def test_what_is_no_value_is_refused(value: Any, says: str) -> None:
    with pytest.raises(TemplateProblem, match=says):
        literal(value)


@pytest.mark.parametrize(
    "text",
    [
        "name = '{{ ds }}'",
        "name = 'it''s {{ ds }}'",
        'select "{{ ds }}"',
        "select `{{ ds }}`",
        "select ['a', {{ ds }}]",
        "select 1 -- {{ ds }}\n",
        "select 1 /* {{ ds }} */",
        "'{% if ds %}' = {{ ds }} or '{% endif %}",
    ],
)
def test_a_template_inside_quotes_or_a_comment_is_refused(text: str) -> None:
    with pytest.raises(TemplateProblem, match="quotes|comment"):
        check_sql(text)
    with pytest.raises(TemplateProblem, match="quotes|comment"):
        render_sql(text, {"ds": "2026-03-01"}, "sql")


@pytest.mark.parametrize(
    "value", ["x' or 1=1 --", "'", "''", '"', "\\'", "-- x", "/*", "x\n;drop table t;", "é☃"]
)
@pytest.mark.parametrize("text", ["select {{ params.x }}", "select 'a' ={{ params.x }}or 1,{{ params.x }}"])
def test_a_database_reads_back_the_value_itself(value: str, text: str) -> None:
    made = render_sql(text, {"params": {"x": value}}, "sqlite")
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute(made).fetchone()[-1] == value
    connection.close()


def test_signs_and_prefixes_do_not_touch_a_literal() -> None:
    names = {"params": {"n": -3, "s": "a"}}
    assert render_sql("5-{{ params.n }}", names, "sql") == "5- -3 "
    assert render_sql("e{{ params.s }}{{ params.s }}", names, "sql") == "e 'a'  'a' "


def test_a_name_is_quoted_as_a_name_and_branches_work() -> None:
    names = {"params": {"t": 'my "t"'}, "ds": "2026-03-01"}
    text = "select 'x' from {{ params.t | identifier }}{% if ds %} where d >= date {{ ds }}{% endif %}"
    made = " ".join(render_sql(text, names, "sql").split())
    assert made == 'select \'x\' from "my ""t""" where d >= date \'2026-03-01\''
