"""`dag.test()` as an author meets it: in pytest, under a debugger, and as a script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

import pyarrow as pa
import pytest

from operators import CsvInput, CsvOutput
from orchestrator import DAG, Result, SetVariable, Snooze, TriggerRun, action, branch, processor
from orchestrator.errors import FustgoError, Problems, UsageError
from orchestrator.sdk.context import Context

TRIES: list[str] = []
SCRIPT = """
from operators import CsvInput, CsvOutput
from orchestrator import DAG, processor


@processor
def same(batch):
    return batch


with DAG("script") as dag:
    CsvInput("people", path="people.csv") >> same >> CsvOutput("out", path="out/script.csv")

if __name__ == "__main__":
    print(dag.test())
"""


@processor(rows=True)
def grown(context: Context, row: dict[str, Any], *, youngest: int = 18) -> dict[str, Any] | None:
    if row["age"] < youngest:
        context.reject(row, "young")
        return None
    context.result({"last": row["name"]})
    return row


@processor
def broken(batch: pa.RecordBatch) -> pa.RecordBatch:
    nothing: Any = None
    return batch.append_column("wrong", nothing["here"])


@processor
def flaky(batch: pa.RecordBatch) -> pa.RecordBatch:
    TRIES.append("try")
    if len(TRIES) < 3:
        raise ConnectionError("not yet")
    return batch


@processor(connections=["crm"])
def asked(context: Context, batch: pa.RecordBatch) -> pa.RecordBatch:
    context.result(context.connection("crm").password.get_secret_value())
    return batch


@action
def patient(context: Context) -> Any:
    TRIES.append("look")
    return "seen" if len(TRIES) > 2 else Snooze(seconds=3600)


@action
def endless(context: Context) -> None:
    TRIES.append("try")
    while not context.cancelled:
        Event().wait(0.01)
    raise InterruptedError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "people.csv").write_text("name,age\nAda,36\nBo,17\nChen,52\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_test_tells_states_figures_results_and_rejects(project: Path, home: Path) -> None:
    with DAG("adults") as dag:
        middle = grown("grown", error_limit={"records": 9})
        CsvInput("people", path="people.csv") >> middle >> CsvOutput("out", path="out/{{ ds }}.csv")
    result = dag.test(logical_date="2026-01-31")
    assert result.succeeded
    assert dict(result.stages) == {"grown": "success"}
    node = result.nodes["grown"]
    assert (node.rows_in, node.rows_out, node.rejects, node.result) == (3, 2, 1, {"last": "Chen"})
    assert [(reject["node"], reject["reason"]) for reject in result.rejects] == [("grown", "young")]
    assert (project / "out/2026-01-31.csv").read_text() == "name,age\nAda,36\nChen,52\n"
    assert "grown: success, 3 rows in, 2 out, 1 rejects" in str(result)
    assert not home.exists(), "nothing is kept"


def test_a_second_test_knows_nothing_of_the_first() -> None:
    dag = _twice()
    first, second = dag.test(params={"day": "a"}), dag.test(params={"day": "b"})
    assert first.nodes == second.nodes
    assert first.run_id != second.run_id
    assert sorted(path.name for path in Path("out").glob("*.csv")) == ["a.csv", "b.csv"]


def _twice() -> DAG:
    with DAG("twice", params={"day": "x"}) as dag:
        CsvInput("people", path="people.csv") >> CsvOutput("out", path="out/{{ params.day }}.csv")
    return dag


def test_what_user_code_raises_is_raised_with_its_own_lines() -> None:
    with DAG("broken") as dag:
        CsvInput("people", path="people.csv") >> broken >> CsvOutput("out", path="out/x.csv")
    with pytest.raises(TypeError) as caught:
        dag.test()
    last = caught.traceback[-1]
    assert (last.path, last.frame.code.name) == (Path(__file__), "broken")
    assert "node 'broken', batch 1" in "".join(caught.value.__notes__)
    assert not Path("out/x.csv").exists()


def test_a_failed_run_can_be_looked_at_instead() -> None:
    with DAG("broken") as dag:
        CsvInput("people", path="people.csv") >> broken >> CsvOutput("out", path="out/x.csv")
    result = dag.test(raises=False)
    assert (result.state, result.nodes["out"].state) == ("failed", "failed")
    assert [type(error) for error in result.errors] == [TypeError]


def test_a_debugger_stops_in_user_code() -> None:
    """A trace function of this thread sees every line of a function of the DAG, with its variables."""
    with DAG("traced") as dag:
        (
            CsvInput("people", path="people.csv")
            >> grown("grown", youngest=1)
            >> CsvOutput("out", path="out/x.csv")
        )
    seen = []

    def stop(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_code.co_name == "grown":
            seen.append(frame.f_locals["row"]["name"])
        return stop if frame.f_code.co_filename == __file__ else None

    before = sys.gettrace()
    sys.settrace(stop)
    try:
        dag.test()
    finally:
        sys.settrace(before)
    assert list(dict.fromkeys(seen)) == ["Ada", "Bo", "Chen"]


def test_a_patched_function_of_the_test_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with DAG("patched") as dag:
        CsvInput("people", path="people.csv") >> grown("grown") >> CsvOutput("out", path="out/x.csv")
    monkeypatch.setattr(sys.modules[__name__], "grown", processor(rows=True)(_kept))
    assert dag.test().nodes["grown"].rows_out == 3


def _kept(row: dict[str, Any], *, youngest: int = 18) -> dict[str, Any]:
    return row


def test_retries_wait_for_nothing() -> None:
    TRIES.clear()
    with DAG("flaky", retries=2, default_args={"retry_delay": "12h"}) as dag:
        CsvInput("people", path="people.csv") >> flaky >> CsvOutput("out", path="out/x.csv")
    result = dag.test()
    assert (result.state, len(TRIES), len(result.errors)) == ("success", 3, 2)


def test_connections_and_variables_are_given(project: Path) -> None:
    with DAG("given") as dag:
        CsvInput("people", path="{{ var.where }}") >> asked >> CsvOutput("out", path="out/x.csv")
    given = {"crm": {"type": "postgresql", "password": "secret"}}
    result = dag.test(connections=given, variables={"where": "people.csv"})
    assert result.nodes["asked"].result == "secret"
    with pytest.raises(UsageError, match="crm"):
        dag.test(variables={"where": "people.csv"})
    elsewhere = dag.test(
        connections={"crm": "postgresql://u:p@h/d"}, variables={"where": "people.csv"}, project=project
    )
    assert elsewhere.nodes["asked"].result == "p"


@action
def told(context: Context) -> Result:
    return Result(
        {"rows": context.results["people"]["rows"]}, SetVariable("last", "people.csv"), TriggerRun("other")
    )


@action
def wrong(context: Context) -> None:
    raise KeyError("nobody")


@branch
def chosen(context: Context) -> str:
    return "told"


def test_actions_and_branches_run_too_and_no_other_dag_is_triggered() -> None:
    with DAG("acting") as dag:
        people = CsvInput("people", path="people.csv")
        people >> CsvOutput("out", path="out/first.csv") >> chosen >> told
        chosen >> wrong
        again = CsvInput("again", path="{{ var.last }}", trigger_rule="none_failed")
        told >> again >> CsvOutput("copy", path="out/copy.csv")
    result = dag.test(variables={"last": "nothing.csv"})
    assert result.nodes["told"].result == {"rows": 3}
    assert (result.nodes["wrong"].state, result.nodes["copy"].rows_in) == ("skipped", 3)
    assert [effect["dag_id"] for effect in result.triggered] == ["other"]


def test_what_an_action_raises_is_raised() -> None:
    with DAG("failing") as dag:
        wrong("now")
    with pytest.raises(KeyError, match="nobody") as caught:
        dag.test()
    assert caught.traceback[-1].frame.code.name == "wrong"


def test_bad_use_says_what_to_do() -> None:
    with DAG("wrong") as dag:
        CsvInput("people", path="people.csv") >> CsvOutput("out", path="out/x.csv", trigger_rule="sometimes")
        with pytest.raises(UsageError, match="while it is being declared"):
            dag.test()
    with pytest.raises(Problems, match="sometimes"):
        dag.test()
    dag = _twice()
    for wrong in ({"params": {"other": 1}}, {"logical_date": "soon"}, {"project": "no/where"}):
        with pytest.raises(UsageError):
            dag.test(**wrong)
    with pytest.raises(UsageError, match="variable 'a'"):
        dag.test(variables={"a": object()})


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


def test_a_dag_file_tests_itself_as_a_script(project: Path) -> None:
    (project / "script.py").write_text(SCRIPT)
    done = run("script.py")
    assert done.returncode == 0, done.stderr
    assert "same: success, 3 rows in" in done.stdout
    assert (project / "out/script.csv").read_text() == (project / "people.csv").read_text()


def test_a_file_that_tests_itself_while_it_is_loaded_is_refused(project: Path) -> None:
    (project / "script.py").write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    done = run("-m", "orchestrator", "plan", "script.py")
    assert done.returncode == 2
    assert "script.py:15" in done.stderr
    assert "__main__" in done.stderr


def test_pytest_of_a_project_runs_its_dags_on_relative_data(project: Path) -> None:
    (project / "dags").mkdir()
    (project / "dags/script.py").write_text(SCRIPT)
    (project / "test_script.py").write_text(
        "from dags.script import dag\n\n"
        "def test_rows():\n    assert dag.test().nodes['out'].rows_in == 3\n\n"
        "def test_again():\n    assert dag.test().succeeded\n"
    )
    done = run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir=.", ".")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_snooze_is_not_waited_for_and_an_action_is_shown_without_rows() -> None:
    TRIES.clear()
    with DAG("patient") as dag:
        patient("sees")
    result = dag.test()
    assert (len(TRIES), result.nodes["sees"].result) == (3, "seen")
    assert str(result).splitlines()[1:] == ["  sees: success, gave 'seen'"]


def test_a_try_that_takes_longer_than_its_timeout_has_failed_and_is_made_again() -> None:
    TRIES.clear()
    with DAG("endless") as dag:
        endless("waits", execution_timeout="0.1s", retries=1)
    with pytest.raises(FustgoError, match="timed out after 0.1 s"):
        dag.test()
    assert len(TRIES) == 2
