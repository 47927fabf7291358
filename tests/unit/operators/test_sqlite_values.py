"""The SQL of sqlite takes values, and none of them is read as SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from operators.sqlite import SqliteInput, SqliteOutput
from orchestrator.dag.model import Node
from orchestrator.engine.plan import build_operator
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.template import TemplateProblem

REGISTRY = Registry(entries=()).with_operators(SqliteInput, SqliteOutput)
HOSTILE = "zz' or 'a'='a"


def built(kind: str, who: Any, **config: str) -> Any:
    node = Node("n", "sqlite", kind, {"path": "x.db", **config})
    return build_operator(node, REGISTRY, {"ds": "2026-03-01", "params": {"who": who}})


def test_a_query_finds_the_value_and_no_more() -> None:
    query = "select name from people where name = {{ params.who }} and day >= {{ ds }}"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table people (name, day)")
        rows = [("a", "2026-03-02"), (HOSTILE, "2026-03-02"), (HOSTILE, "2026-02-28")]
        connection.executemany("insert into people values (?, ?)", rows)
        found = connection.execute(built("input", HOSTILE, query=query).query).fetchall()
    assert found == [(HOSTILE,)]


def test_statements_before_and_after_run_with_values() -> None:
    output = built(
        "output", "x'; drop table t; --", table="t",
        pre_sql="delete from t where v = {{ params.who }};",
        post_sql="insert into t values ({{ params.who }});",
    )  # fmt: skip
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (v)")
        connection.executescript(output.post_sql)
        assert connection.execute("select v from t").fetchall() == [("x'; drop table t; --",)]
        connection.executescript(output.pre_sql)
        assert connection.execute("select count(*) from t").fetchone() == (0,)


def test_a_template_in_quotes_is_refused_in_the_run_too() -> None:
    with pytest.raises(TemplateProblem, match="quotes"):
        built("input", "a", query="select '{{ params.who }}'")
