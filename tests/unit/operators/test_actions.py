"""bash, sql, trigger_dag and set_variable, as a runner calls them."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from operators.actions.bash import Bash
from operators.actions.set_variable import StoreVariable
from operators.actions.sql import Sql, statements_of
from operators.actions.trigger_dag import TriggerDag
from orchestrator.engine.signals import Signals
from orchestrator.errors import OperatorError
from orchestrator.runs.states import Outcome
from orchestrator.sdk.connection import Connection
from orchestrator.sdk.context import Context
from tests.unit.operators.test_action_functions import attempt


def context(folder: Path, **values: Any) -> Context:
    return Context("node", folder, **values)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Every line that is logged, once, whatever other tests have done to our loggers."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("fustgo"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("fustgo"), "propagate", True)
    return caplog


def test_the_last_line_is_the_result_and_every_line_is_logged(
    tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    command = "echo one; echo error >&2; printf 'two\\r\\nthree'; exit 0"
    assert Bash("b", command=command).run(context(tmp_path)) == "three"
    assert sorted(record.message for record in logged.records) == ["error", "one", "three", "two"]
    assert Bash("b", command="true").run(context(tmp_path)) is None


def test_a_line_that_comes_in_pieces_is_cut_beside_a_secret(
    tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    crm = Connection(type="http", password=SecretStr("the-secret"))
    command = "printf 'x%.0s' {1..65530}; printf the-secret; printf 'y%.0s' {1..65530}"
    Bash("b", command=command).run(context(tmp_path, connections={"crm": crm}))
    said = [record.message for record in logged.records]
    assert len(said) > 1
    assert "".join(said).replace("***", "") == "x" * 65530 + "y" * 65530


def test_values_are_environment_variables_and_never_code(tmp_path: Path) -> None:
    node = Bash(
        "b", command='echo "$WHO-$N-$LIST"', env={"WHO": "{{ params.day }}", "N": 3, "LIST": ["a", True]}
    )
    evil = """'; touch hacked; echo "$(touch hacked)" `touch hacked`"""
    report = attempt(node, project=str(tmp_path), names={"params": {"day": evil}})
    assert report.results == {"b": f'{evil}-3-["a", true]'}
    assert not (tmp_path / "hacked").exists()


def test_our_own_variables_are_not_handed_to_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSTGO_CONN_CRM", "http://u:secret@crm")
    monkeypatch.setenv("PLACE", "here")
    assert Bash("b", command='echo "[$FUSTGO_CONN_CRM] $PLACE"').run(context(tmp_path)) == "[] here"


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        ("echo no luck >&2; exit 3", "ended with exit code 3", "no luck"),
        ("kill -9 $$", "was killed by SIGKILL", ""),
        ("exit 99", "ended with exit code 99", ""),
    ],
)
def test_a_command_that_fails_says_how_and_what_it_said(
    tmp_path: Path, command: str, message: str, hint: str
) -> None:
    with pytest.raises(OperatorError) as caught:
        Bash("b", command=command).run(context(tmp_path))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.retry


def test_a_cancel_ends_the_whole_process_group(tmp_path: Path) -> None:
    signals = Signals()
    command = "(sleep 1000 & echo $! > child; wait) & echo $$ > parent; cat child; wait; wait"
    threading.Timer(0.3, signals.cancel).start()
    started = time.monotonic()
    report = attempt(Bash("b", command=command), signals, project=str(tmp_path))
    assert report.outcome == Outcome.CANCELLED
    assert time.monotonic() - started < 5
    for name in ("parent", "child"):
        pid = int((tmp_path / name).read_text())
        assert _gone(pid), f"{name} is still there"


def _gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody waits for has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        threading.Event().wait(0.01)
    os.kill(pid, signal.SIGKILL)
    return False


def test_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    started = time.monotonic()
    assert Bash("b", command="sleep 30 & echo $! > pid; echo done").run(context(tmp_path)) == "done"
    assert time.monotonic() - started < 10
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_long_line_comes_in_pieces_and_odd_bytes_do_no_harm(tmp_path: Path) -> None:
    command = "head -c 200000 /dev/zero | tr '\\0' x; echo; printf '\\xff\\n'"
    assert Bash("b", command=command).run(context(tmp_path)) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"A-B": "1"}, "no name of an environment variable"),
        ({"A": None}, "is null"),
        ({"A": "\0"}, "zero byte"),
    ],
)
def test_variables_that_cannot_be_are_refused(env: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Bash("b", command="true", env=env)


def test_a_null_from_a_template_and_an_absent_folder_are_clear_errors(tmp_path: Path) -> None:
    report = attempt(Bash("b", command="true", env={"A": "{{ params.x }}"}), names={"params": {"x": None}})
    assert "'A' is null" in report.message
    with pytest.raises(OperatorError, match="there is no folder"):
        Bash("b", command="true", cwd="nowhere").run(context(tmp_path))


def test_sql_binds_values_and_gives_rows_or_their_number(tmp_path: Path) -> None:
    statement = "CREATE TABLE t (a, b); INSERT INTO t VALUES (:a, 'x;y'), (:b, null);"
    bind = {"a": "{{ params.day }}", "b": "{{ results.load.rows }}"}
    made = Sql("s", path="new/x.db", statement=statement, bind=bind)
    assert attempt(made, project=str(tmp_path)).results == {"s": {"rows": 2}}
    read = Sql("r", path="new/x.db", statement=["-- all of them\nSELECT * FROM t ORDER BY b"], rows=1)
    assert attempt(read, project=str(tmp_path)).results == {"r": [{"a": 7, "b": None}]}
    changed = Sql(
        "c", path="new/x.db", statement=["UPDATE t SET a = 1", "DELETE FROM t WHERE b IS NULL RETURNING b"]
    )
    assert attempt(changed, project=str(tmp_path)).results == {"c": [{"b": None}]}
    assert sqlite3.connect(tmp_path / "new/x.db").execute("SELECT * FROM t").fetchall() == [(1, "x;y")]


def test_sql_takes_a_connection_by_name(tmp_path: Path) -> None:
    found = Connection(type="sqlite", database=str(tmp_path / "x.db"))
    node = Sql("s", connection="here", statement="SELECT 1 AS one")
    assert node.connection_names() == ("here",)
    assert node.run(context(tmp_path, connections={"here": found})) == [{"one": 1}]
    with pytest.raises(OperatorError, match="is no SQLite database: its type is 'http'"):
        node.run(context(tmp_path, connections={"here": Connection(type="http")}))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            ["CREATE TABLE u (a)", "INSERT INTO nowhere VALUES (1)"],
            "the database refused: no such table: nowhere",
        ),
        (["CREATE TABLE u (a)", "SELECT :missing"], "the database refused"),
        (["CREATE TABLE u (a)", "SELECT x'00' AS bytes"], "its result is no JSON"),
    ],
)
def test_sql_that_fails_changes_nothing(tmp_path: Path, statement: list[str], message: str) -> None:
    report = attempt(Sql("s", path="x.db", statement=statement), project=str(tmp_path))
    assert report.outcome == Outcome.FAILED
    assert message in report.message
    assert not report.retry
    assert sqlite3.connect(tmp_path / "x.db").execute("SELECT * FROM sqlite_master").fetchall() == []


def test_statements_are_parted_where_sqlite_parts_them() -> None:
    text = """
    CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; SELECT ';'; END;
    -- a note; with a semicolon
    SELECT 'a;b'; ;
    SELECT 2
    """
    found = [" ".join(statement.split()) for statement in statements_of(text)]
    assert found == [
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; SELECT ';'; END",
        "-- a note; with a semicolon SELECT 'a;b'",
        "SELECT 2",
    ]


@pytest.mark.parametrize("values", [{}, {"path": "a", "connection": "b"}])
def test_sql_wants_one_database_and_a_statement(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either `path` or `connection`"):
        Sql("s", statement="SELECT 1", **values)
    with pytest.raises(ValidationError, match="holds no statement"):
        Sql("s", statement=" ;; -- nothing", path="a")


def test_trigger_dag_and_set_variable_leave_it_to_their_effects() -> None:
    node = TriggerDag("t", dag_id="report", params={"n": "{{ results.load.rows }}"}, logical_date="{{ ts }}")
    report = attempt(node, names={"results": {"load": {"rows": 7}}, "ts": "2026-01-31T00:00:00+00:00"})
    assert report.effects == (
        {
            "effect": "trigger_run",
            "dag_id": "report",
            "params": {"n": 7},
            "logical_date": "2026-01-31T00:00:00+00:00",
            "run_id": None,
        },
    )
    value = {"is": "{{ results.load.rows }}", "day": "on {{ params.day }}"}
    kept = {"is": 7, "day": "on monday"}
    report = attempt(StoreVariable("v", key="Last", value=value))
    assert report.results == {"v": kept}
    assert report.effects == ({"effect": "set_variable", "key": "last", "value": kept},)
