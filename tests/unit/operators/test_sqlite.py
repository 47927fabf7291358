"""sqlite: what may go wrong with a file, what a resumed reader gives, what a table holds after each mode."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from operators import sqlite as module
from operators.sqlite import SqliteInput, SqliteOutput
from orchestrator import crash
from orchestrator.errors import OperatorError
from orchestrator.sdk.context import Context
from orchestrator.sdk.input import InputChanged
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.output import LedgerGone
from orchestrator.sdk.testing import (
    as_rows,
    deliver,
    deliveries,
    make_context,
    read_all,
    read_split,
    read_with_resume,
)


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def run_sql(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    with database(path) as connection:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        return rows


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch(columns)


# Input


def test_types_follow_declarations_and_where_those_lie_the_values(tmp_path: Path) -> None:
    run_sql(
        tmp_path / "a.db",
        "CREATE TABLE t (i INT, f DOUBLE, b BOOLEAN, d DATE, a DATETIME, s VARCHAR(9), x, y NUMERIC, z INT)",
        "INSERT INTO t VALUES (1, 2, 1, '2024-02-29', '2024-02-29 01:02:03', 'a', 1, 1.5, 'odd')",
        "INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5)",
    )
    source, context = SqliteInput(path="a.db", table="T"), make_context(tmp_path)
    assert dict(zip("ifbdasxyz", source.discover(context).types, strict=True)) == {
        "i": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "d": pa.date32(), "a": pa.timestamp("us"),
        "s": pa.string(), "x": pa.int64(), "y": pa.float64(), "z": pa.string(),
    }  # fmt: skip
    assert [row["z"] for row in as_rows(read_all(source, context))] == ["odd", "5"]
    assert (
        SqliteInput(path="a.db", table="t", columns={"i": "int8"}).discover(context).field(0).type
        == pa.int8()
    )


def test_a_value_that_misfits_after_the_sample_is_a_reject_with_its_key(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (2), ('x'), (4)")
    context = make_context(tmp_path)
    source = SqliteInput(path="a.db", table="t", infer_rows=2)
    assert as_rows(read_with_resume(source, context)) == [{"n": 1}, {"n": 2}, {"n": 4}]
    [reject] = context.rejects
    assert (reject.position, reject.record, reject.source) == ({"rowid": 3}, '{"n": "x"}', "a.db")
    assert "'x' is no int64" in reject.reason


def test_rows_that_came_after_the_plan_are_not_read_and_deletes_between_pages_lose_none(
    tmp_path: Path,
) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (2), (3), (4), (5)")
    context = make_context(tmp_path, batch_rows=2)
    source = SqliteInput(path="a.db", table="t")
    [split] = source.plan(context)
    with closing(source.open(context, split, None)) as reader:
        first = reader.read()
        run_sql(tmp_path / "a.db", "DELETE FROM t WHERE n = 1", "INSERT INTO t VALUES (6)")
        rest = [reader.read(), reader.read()]
    assert first is not None
    assert [row["n"] for row in as_rows([first, *rest])] == [1, 2, 3, 4, 5]  # type: ignore[list-item]


def test_no_lock_is_held_between_pages_so_the_same_file_can_be_written(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (2), (3)")
    context = make_context(tmp_path, batch_rows=1)
    source = SqliteInput(path="a.db", table="t")
    with closing(source.open(context, source.plan(context)[0], None)) as reader:
        reader.read()
        deliver(SqliteOutput(path="a.db", table="u"), [[batch(n=[1])]], context)
        assert as_rows([reader.read()]) == [{"n": 2}]  # type: ignore[list-item]


def test_another_table_of_that_name_is_noticed(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (2), (3)")
    context = make_context(tmp_path)
    source = SqliteInput(path="a.db", table="t")
    [split] = source.plan(context)
    run_sql(tmp_path / "a.db", "INSERT INTO t VALUES (4)", "CREATE TABLE other (a)")
    source.open(context, split, [1]).close()
    run_sql(tmp_path / "a.db", "UPDATE t SET n = 30 WHERE n = 3")
    with pytest.raises(InputChanged, match="other rows"):
        source.open(context, split, [1])
    run_sql(tmp_path / "a.db", "DROP TABLE t", "CREATE TABLE t (m INTEGER)")
    with pytest.raises(InputChanged, match="column 'n' is gone"):
        source.open(context, split, [1])


def test_a_query_goes_on_where_it_is_ordered_and_else_cannot_rewind(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (3), (1), (2)")
    context = make_context(tmp_path, batch_rows=1)
    ordered = SqliteInput(path="a.db", query="SELECT n, n * 2 AS m FROM t WHERE n < 9;", order_by="n")
    assert ordered.replayable
    assert as_rows(read_with_resume(ordered, context)) == [{"n": n, "m": 2 * n} for n in (1, 2, 3)]
    plain = SqliteInput(path="a.db", query="SELECT n FROM t")
    assert not plain.replayable
    assert as_rows(read_all(plain, context)) == [{"n": 3}, {"n": 1}, {"n": 2}]
    with pytest.raises(OperatorError, match="cannot go on"):
        plain.open(context, plain.plan(context)[0], [2])


@pytest.mark.parametrize("values", ["(1), (1), (2)", "(NULL), (1)"])
def test_an_order_that_would_lose_rows_is_an_error(values: str, tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", f"INSERT INTO t VALUES {values}")
    for rows in (1, 10):
        context = make_context(tmp_path, batch_rows=rows)
        with pytest.raises(OperatorError, match="null or not unique"):
            read_all(SqliteInput(path="a.db", query="SELECT n FROM t", order_by="n"), context)


def test_keys_of_several_columns_and_kinds_resume(tmp_path: Path) -> None:
    run_sql(
        tmp_path / "a.db",
        "CREATE TABLE t (a TEXT, b BLOB, n INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID",
        "INSERT INTO t VALUES ('x', x'00ff', 1), ('x', x'01', 2), ('a', x'', 3), ('ž', x'02', 4)",
    )
    context = make_context(tmp_path, batch_rows=1)
    rows = as_rows(read_with_resume(SqliteInput(path="a.db", table="t"), context))
    assert [row["n"] for row in rows] == [3, 1, 2, 4]


def test_columns_named_like_the_rowid_do_not_hide_it(tmp_path: Path) -> None:
    run_sql(
        tmp_path / "a.db",
        'CREATE TABLE "t 1" (rowid TEXT, "q""x" INT)',
        "INSERT INTO \"t 1\" VALUES ('a', 1)",
    )
    source = SqliteInput(path="a.db", table="t 1")
    assert as_rows(read_with_resume(source, make_context(tmp_path))) == [{"rowid": "a", 'q"x': 1}]


def test_batches_are_bounded_by_bytes(tmp_path: Path) -> None:
    run_sql(
        tmp_path / "a.db",
        "CREATE TABLE t (s TEXT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
        "INSERT INTO t SELECT printf('%01000d', i) FROM n",
    )
    context = make_context(tmp_path, batch_bytes=100_000)
    sizes = [found.num_rows for found in read_all(SqliteInput(path="a.db", table="t"), context)]
    assert sum(sizes) == 4000
    assert max(sizes[1:]) <= 100


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "either `table` or `query`"),
        ({"table": "t", "query": "SELECT 1"}, "either `table` or `query`"),
        ({"table": "t", "order_by": "n"}, "belongs to a query"),
        ({"table": "t", "incremental": {"field": "n"}}, "`incremental` does not work yet"),
        ({"table": "t", "columns": {"n": "intt"}}, "did you mean 'int'"),
    ],
)
def test_a_wrong_configuration_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SqliteInput(path="a.db", **fields)


def make_wrong(kind: str, folder: Path) -> str:
    path = folder / "a.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("id,name\n1,Ann\n" * 100, encoding="utf-8")
    elif kind != "missing":
        run_sql(path, "CREATE TABLE people (n INTEGER)", "CREATE VIEW seen AS SELECT * FROM people")
    return "nowhere/a.db" if kind == "no folder" else "a.db"


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("missing", {"table": "t"}, "there is no file"),
        ("no folder", {"table": "t"}, "there is no folder"),
        ("folder", {"table": "t"}, "is a folder"),
        ("text", {"table": "t"}, "is not a SQLite database"),
        ("good", {"table": "peple"}, "did you mean 'people'?"),
        ("good", {"table": "seen"}, "is a view"),
        ("good", {"query": "SELECT x FROM people"}, "no such column: x"),
        ("good", {"query": "DELETE FROM people"}, "syntax error"),
        ("good", {"query": "SELECT 1; DROP TABLE people"}, "one statement"),
        ("good", {"query": "SELECT n FROM people", "order_by": "m"}, "which the query does not give"),
        ("good", {"table": "people", "columns": {"m": "int"}}, "which is not there"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(
    kind: str, fields: dict[str, Any], says: str, tmp_path: Path
) -> None:
    source = SqliteInput(path=make_wrong(kind, tmp_path), **fields)
    with pytest.raises(OperatorError) as caught:
        source.plan(make_context(tmp_path))
    assert says in str(caught.value)
    assert not caught.value.retry


def test_text_that_is_not_utf_8_is_an_error_that_says_so(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (s TEXT)", "INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
    with pytest.raises(OperatorError, match="UTF-8"):
        read_all(SqliteInput(path="a.db", table="t"), make_context(tmp_path))


def test_a_query_may_end_in_a_comment(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1)")
    source = SqliteInput(path="a.db", query="SELECT n FROM t -- all of them")
    assert as_rows(read_all(source, make_context(tmp_path))) == [{"n": 1}]


def test_a_reader_leaves_no_file_and_writes_none(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)")
    before = (tmp_path / "a.db").read_bytes()
    assert read_all(SqliteInput(path="a.db", table="t"), make_context(tmp_path)) == []
    assert (tmp_path / "a.db").read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".state", "a.db"]


# Output


def table_rows(path: Path, name: str = "t") -> list[tuple[Any, ...]]:
    return run_sql(path, f"SELECT * FROM {name} ORDER BY 1")


def test_values_lie_as_documented(tmp_path: Path) -> None:
    zoned = pa.array([datetime(2024, 7, 1, 12, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin"))
    rows = batch(
        flag=pa.array([True]), zoned=zoned, clock=pa.array([time(1, 2, 3)]), blob=pa.array([b"\0"]),
        small=pa.array([7], pa.int8()), real=pa.array([float("nan")]), none=pa.nulls(1),
    )  # fmt: skip
    deliver(SqliteOutput(path="a.db", table="t"), [[rows]], make_context(tmp_path))
    assert table_rows(tmp_path / "a.db") == [
        (1, "2024-07-01 12:00:00.000000+00:00", "01:02:03.000000", b"\0", 7, None, None)
    ]
    assert run_sql(tmp_path / "a.db", "SELECT datetime(zoned) FROM t") == [("2024-07-01 12:00:00",)]
    read = read_all(SqliteInput(path="a.db", table="t"), make_context(tmp_path))
    assert as_rows(read)[0]["zoned"] == datetime(2024, 7, 1, 12, tzinfo=UTC)


def test_an_existing_table_takes_the_rows_by_name_whatever_the_case(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (B TEXT DEFAULT 'b', A INTEGER, c DEFAULT 9)")
    deliver(SqliteOutput(path="a.db", table="T"), [[batch(a=[1], b=["x"])]], make_context(tmp_path))
    assert table_rows(tmp_path / "a.db") == [("x", 1, 9)]


def test_upsert_updates_by_key_and_the_last_of_a_key_wins(tmp_path: Path) -> None:
    output = SqliteOutput(path="a.db", table="t", mode="upsert", key=["k"])
    epochs = [[batch(k=[1, 2, 1], v=["a", "b", "c"])], [batch(k=[2], v=["d"])]]
    deliver(output, epochs, make_context(tmp_path))
    assert table_rows(tmp_path / "a.db") == [(1, "c"), (2, "d")]
    only_key = SqliteOutput(path="a.db", table="u", mode="upsert", key=["k"])
    deliver(only_key, [[batch(k=[1, 1, 2])]], make_context(tmp_path), writer="another")
    assert table_rows(tmp_path / "a.db", "u") == [(1,), (2,)]


def test_overwrite_shows_nothing_before_the_final_epoch_and_may_change_the_columns(tmp_path: Path) -> None:
    path, context = tmp_path / "a.db", make_context(tmp_path)
    run_sql(path, "CREATE TABLE t (n INTEGER)", "CREATE INDEX i ON t (n)", "INSERT INTO t VALUES (7)")
    output = SqliteOutput(path="a.db", table="t", mode="overwrite")
    first, second = deliveries(output, [[batch(n=[1])], [batch(n=[2])]], tmp_path / "p", writer="one")
    with closing(output.open(context)) as applier:
        applier.prepare_stage("one", 0)
        applier.apply(first)
        assert table_rows(path) == [(7,)]
        applier.apply(second)
    assert table_rows(path) == [(1,), (2,)]
    assert run_sql(path, "SELECT count(*) FROM sqlite_master WHERE name = 'i'") == [(1,)]
    deliver(output, [[batch(m=["x"])]], context, writer="two")
    assert run_sql(path, "SELECT m FROM t") == [("x",)]
    deliver(output, [[]], context, writer="three")
    assert table_rows(path) == []


def test_pre_sql_runs_once_and_again_after_a_clear_and_post_sql_at_the_end(tmp_path: Path) -> None:
    path, context = tmp_path / "a.db", make_context(tmp_path)
    run_sql(path, "CREATE TABLE log (what TEXT)")
    output = SqliteOutput(
        path="a.db",
        table="t",
        pre_sql="INSERT INTO log VALUES ('pre;'); -- one; two\nINSERT INTO log VALUES ('2')",
        post_sql="INSERT INTO log VALUES ('post')",
    )
    for base in (0, 0, 3):
        with closing(output.open(context)) as applier:
            applier.prepare_stage("w", base)
    assert [row[0] for row in run_sql(path, "SELECT what FROM log")] == ["pre;", "2", "pre;", "2"]
    assert run_sql(path, "SELECT epoch, base FROM fustgo_ledger") == [(3, 3)]
    deliver(output, [[batch(n=[1])]], context, writer="w", base=3)
    assert run_sql(path, "SELECT what FROM log")[-1] == ("post",)


def test_pre_sql_that_fails_enters_nothing(tmp_path: Path) -> None:
    output = SqliteOutput(path="a.db", table="t", pre_sql="CREATE TABLE x (a); SELECT * FROM nowhere")
    with closing(output.open(make_context(tmp_path))) as applier:
        with pytest.raises(OperatorError, match="no such table: nowhere"):
            applier.prepare_stage("w", 0)
        assert applier.held_epoch("w") is None
    assert run_sql(tmp_path / "a.db", "SELECT count(*) FROM sqlite_master") == [(0,)]


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    crash.arm("")


@pytest.mark.usefixtures("disarmed")
@pytest.mark.parametrize(("point", "seen"), [("ledger.before_commit", []), ("ledger.committed", [(1,)])])
def test_rows_and_ledger_change_together(point: str, seen: list[Any], tmp_path: Path) -> None:
    output, context = SqliteOutput(path="a.db", table="t"), make_context(tmp_path)
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)")
    [delivery] = deliveries(output, [[batch(n=[1])]], tmp_path / "p")
    with closing(output.open(context)) as applier:
        applier.prepare_stage("writer", 0)
        crash.arm(f"{point}=fail")
        with pytest.raises(crash.CrashPointFailure):
            applier.apply(delivery)
    assert table_rows(tmp_path / "a.db") == seen
    assert run_sql(tmp_path / "a.db", "SELECT epoch FROM fustgo_ledger") == [(len(seen),)]
    crash.arm("")
    with closing(output.open(context)) as applier:
        applier.apply(delivery)
        applier.apply(delivery)
    assert table_rows(tmp_path / "a.db") == [(1,)]


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    output, context = SqliteOutput(path="a.db", table="t"), make_context(tmp_path)
    [delivery] = deliveries(output, [[batch(n=[1])]], tmp_path / "p")
    with closing(output.open(context)) as applier:
        applier.prepare_stage("other", 0)
        with pytest.raises(LedgerGone, match="'writer'"):
            applier.apply(delivery)


def test_a_write_lock_is_waited_for_and_then_its_holder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)")
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with closing(SqliteOutput(path="a.db", table="t").open(make_context(tmp_path))) as applier:
            with pytest.raises(OperatorError) as caught:
                applier.prepare_stage("w", 0)
            assert f"process {holder.pid} (" in caught.value.message
            assert caught.value.retry
            holder.communicate()
            applier.prepare_stage("w", 0)


def test_a_full_disk_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    output, context = SqliteOutput(path="a.db", table="t"), make_context(tmp_path)
    deliver(output, [[batch(s=["first"])]], context)
    [delivery] = deliveries(output, [[batch(s=["x" * 9000] * 100)]], tmp_path / "p", writer="two")
    with closing(output.open(context)) as applier:
        applier.prepare_stage("two", 0)
        applier._connection.execute("PRAGMA max_page_count = 8")  # type: ignore[attr-defined]
        with pytest.raises(OperatorError, match="disk is full") as caught:
            applier.apply(delivery)
        assert caught.value.retry
        assert applier.held_epoch("two") == 0
    assert table_rows(tmp_path / "a.db") == [("first",)]


@pytest.mark.parametrize(
    ("kind", "fields", "rows", "says"),
    [
        ("folder", {}, batch(n=[1]), "is a folder"),
        ("text", {}, batch(n=[1]), "is not a SQLite database"),
        ("good", {"table": "people"}, batch(m=[1]), "has no column 'm'"),
        ("good", {"table": "seen"}, batch(n=[1]), "is a view"),
        ("good", {"table": "people", "mode": "upsert", "key": ["n"]}, batch(n=[1]), "CREATE UNIQUE INDEX"),
        ("good", {"mode": "upsert", "key": ["n"]}, batch(n=pa.array([1, None])), "1 rows have no 'n'"),
        ("good", {}, batch(n=pa.array([2**63], pa.uint64())), "64 bits"),
        ("good", {}, batch(n=pa.array([[1]])), "SQLite has no place for list"),
        ("good", {}, batch(n=[1], N=[2]), "'n' and 'N' are one column"),
        ("good", {"pre_sql": "SELECT 'x"}, batch(n=[1]), "ends inside a statement"),
    ],
)
def test_what_cannot_be_written_is_one_clear_error(
    kind: str, fields: dict[str, Any], rows: pa.RecordBatch, says: str, tmp_path: Path
) -> None:
    output = SqliteOutput(**{"path": make_wrong(kind, tmp_path), "table": "t", **fields})
    with pytest.raises(OperatorError) as caught:
        deliver(output, [[rows]], make_context(tmp_path))
    assert says in str(caught.value)
    assert not caught.value.retry


def accept(output: SqliteOutput, rows: pa.RecordBatch, context: Context) -> list[dict[str, Any]]:
    """What the output takes of a batch before it is sealed."""
    with closing(output.open(context)) as applier:
        applier.prepare_stage("writer", 0)
        return as_rows([applier.accept(rows), applier.accept(rows.slice(0, 0))])


def test_rows_without_their_key_are_refused_before_they_are_sealed(tmp_path: Path) -> None:
    output = SqliteOutput(path="a.db", table="t", mode="upsert", key=["id", "f"])
    rows = batch(
        id=pa.array([1, None, 3, 4]),
        f=pa.array([0.5, 1.5, float("nan"), None]),
        v=pa.array([None] * 4, "str"),
    )
    context = make_context(tmp_path)
    assert accept(output, rows, context) == [{"id": 1, "f": 0.5, "v": None}]
    assert [(reject.position, reject.code) for reject in context.rejects] == [
        ({"row": row}, "null") for row in (2, 3, 4)
    ]
    assert "'id', a key of the upsert, is null" in context.rejects[0].reason
    assert accept(output, rows.slice(1), context) == []
    assert context.rejects[0].record == '{"id": null, "f": 1.5, "v": null}'


def test_rows_that_the_table_could_not_hold_are_refused_before_they_are_sealed(tmp_path: Path) -> None:
    run_sql(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, Name TEXT NOT NULL, big INT,"
        " at TEXT NOT NULL DEFAULT 'x')",
    )
    rows = batch(
        id=pa.array([1, None, 3]), name=["a", "b", None], big=pa.array([2**63, 2**63 - 1, 5], pa.uint64())
    )
    context = make_context(tmp_path)
    output = SqliteOutput(path="a.db", table="t")
    kept = accept(output, rows, context)
    assert kept == [{"id": None, "name": "b", "big": 2**63 - 1}]
    assert [(reject.position["row"], reject.code) for reject in context.rejects] == [
        (1, "range"),
        (3, "null"),
    ]
    deliver(output, [[rows.slice(1, 1)]], context)
    assert table_rows(tmp_path / "a.db") == [(1, "b", 2**63 - 1, "x")]


@pytest.mark.parametrize(
    ("columns", "fields", "rows", "says"),
    [
        ("n INT", {}, batch(n=[1], w=[2]), "table 't' has no column 'w'"),
        ("n INT, k INT NOT NULL", {}, batch(n=[1]), "column 'k' of table 't' may not be null"),
        ("n INT", {"mode": "upsert", "key": ["n"]}, batch(n=[1]), "CREATE UNIQUE INDEX"),
        ("n INT", {}, batch(n=pa.array([[1]])), "SQLite has no place for list"),
        ("n INT", {}, batch(n=[1], N=[2]), "'n' and 'N' are one column"),
        ("n INTEGER", {}, batch(n=["x"]), "column 'n' holds string, but table 't' declares it INTEGER"),
        ("n DOUBLE", {}, batch(n=["x"]), "declares it DOUBLE"),
        ("n BOOLEAN", {}, batch(n=["x"]), "types: {n: bool}"),
        ("n DECIMAL(10, 2)", {}, batch(n=["x"]), "mapping"),
        ("n BIGINT", {"mode": "overwrite"}, batch(n=["x"]), "types: {n: int64}"),
    ],
)
def test_columns_that_do_not_fit_an_existing_table_are_found_at_the_first_batch(
    columns: str, fields: dict[str, Any], rows: pa.RecordBatch, says: str, tmp_path: Path
) -> None:
    run_sql(tmp_path / "a.db", f"CREATE TABLE t ({columns})")
    with pytest.raises(OperatorError) as caught:
        accept(SqliteOutput(path="a.db", table="t", **fields), rows, make_context(tmp_path))
    assert says in str(caught.value)
    assert not caught.value.retry


@pytest.mark.parametrize(
    "declared",
    [
        "TEXT",
        "",
        "VARCHAR(3)",
        "BLOB",
        "DATE",
        "DATETIME",
        "TIMESTAMPTZ",
        "DECIMAL_TEXT(3, 1)",
        "JSON",
        "ANY",
    ],
)
def test_text_goes_into_columns_that_keep_it(declared: str, tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", f"CREATE TABLE t (n {declared})")
    output = SqliteOutput(path="a.db", table="t")
    assert accept(output, batch(n=["x"]), make_context(tmp_path)) == [{"n": "x"}]


def test_numbers_go_into_any_column_and_other_columns_into_a_table_that_is_made_anew(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (a TEXT, b INTEGER, c DATE)")
    rows = batch(a=[1], b=[1.5], c=[True])
    assert accept(SqliteOutput(path="a.db", table="t"), rows, make_context(tmp_path)) == as_rows([rows])
    other = batch(b=["x"])
    overwrite = SqliteOutput(path="a.db", table="t", mode="overwrite")
    assert accept(overwrite, other, make_context(tmp_path)) == [{"b": "x"}]


def test_the_folder_of_the_file_is_made(tmp_path: Path) -> None:
    output = SqliteOutput(path="some/where/a.db", table="t")
    deliver(output, [[batch(n=[1])]], make_context(tmp_path))
    assert table_rows(tmp_path / "some/where/a.db") == [(1,)]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "some").write_text("a file")
    with pytest.raises(OperatorError, match="folder .*some cannot be made") as caught:
        SqliteOutput(path="some/where/a.db", table="t").open(make_context(tmp_path))
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mode": "replace_where"}, "mode replace_where does not work for tables yet"),
        ({"replace_where": "d = 1"}, "`replace_where` does not work yet"),
        ({"mode": "upsert"}, "needs `key`"),
        ({"key": ["a"]}, "only that mode takes it"),
        ({"table": "fustgo_ledger"}, "not for rows"),
        ({"table": "sqlite_x"}, "not for rows"),
        ({"mode": "both"}, "'append', 'overwrite' or 'upsert'"),
    ],
)
def test_an_output_that_cannot_work_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SqliteOutput(**{"path": "a.db", "table": "t", **fields})


def test_what_does_not_fit_the_schema_is_found_before_the_run() -> None:
    schema = batch(n=pa.array([[1]])).schema
    with pytest.raises(SchemaProblem, match="column 'n': SQLite has no place"):
        SqliteOutput(path="a.db", table="t").output_schemas({"in": schema})
    with pytest.raises(SchemaProblem, match="no column 'k'") as caught:
        SqliteOutput(path="a.db", table="t", mode="upsert", key=["k"]).output_schemas({"in": schema})
    assert caught.value.field == "key"


def test_what_a_killed_reader_had_not_given_is_given_by_the_next(tmp_path: Path) -> None:
    run_sql(tmp_path / "a.db", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (2), (3)")
    context = make_context(tmp_path, batch_rows=1)
    source = SqliteInput(path="a.db", table="t")
    [split] = source.plan(context)
    half = read_split(source, context, split, most=1)
    rest = read_split(source, context, split, half.positions[-1])
    assert as_rows([*half.batches, *rest.batches]) == [{"n": 1}, {"n": 2}, {"n": 3}]
