"""Actions before, between and after data stages, as `fustgo run` executes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
from pathlib import Path
from threading import Event

import pytest

from tests.acceptance.test_run_command import wait_for
from tests.support.commands import Shell

PIPELINES = Path(__file__).parents[1] / "unit/authoring/pipelines"
ENVIRON = {"FUSTGO_VAR_COLOUR": "red"}


def wait_for_end(pid: int) -> None:
    """Wait until a process and all of its group have ended."""
    for _ in range(1000):
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        Event().wait(0.01)
    os.killpg(pid, signal.SIGKILL)
    raise AssertionError("a command outlives who started it")


def stages(shell: Shell, run: int = 1) -> dict[str, str]:
    shown = json.loads(shell.run("runs", "show", str(run), "--json").out)
    return {stage["stage"]: stage["state"] for stage in shown["stages"]}


def results(shell: Shell, run: int = 1) -> dict[str, object]:
    shown = json.loads(shell.run("runs", "show", str(run), "--json").out)
    return {name: value for stage in shown["stages"] for name, value in (stage["result"] or {}).items()}


@pytest.fixture
def work(shell: Shell) -> Shell:
    """A folder with a DAG of actions of every type, in Python and in YAML."""
    for name in ("notify.py", "notify.yaml"):
        shutil.copy(PIPELINES / name, shell.folder)
    return shell


@pytest.mark.parametrize("form", ["notify.py", "notify.yaml"])
def test_actions_run_around_data_and_pass_results_by_name(work: Shell, form: str) -> None:
    done = work.run("run", form, "--logical-date", "2026-01-31", environ=ENVIRON)
    assert done.code == 0, done
    succeeded = ("before", "people", "counted", "size", "many", "always", "again", "allowed", "told", "keep")
    assert stages(work) == {**dict.fromkeys(succeeded, "success"), "few": "skipped"}
    rows = len((work.folder / "out-10/a.csv").read_text().splitlines()) - 1
    found = results(work)
    assert (work.folder / "copy.csv").read_text() == (work.folder / "out-10/a.csv").read_text()
    assert found["many"] == f"many: {rows} on 2026-01-31 for red"
    assert found["size"] == ["many", "always"]
    assert found["always"] == f"{rows} rows after before, counted, grown, out, people, size"
    assert found["keep"] == {"rows": rows, "said": found["told"]}
    assert sqlite3.connect(work.folder / "x.db").execute("SELECT * FROM t").fetchall() == [
        (rows, "2026-01-31")
    ]
    assert "prepares out-10" in done.err


def test_what_a_branch_did_not_choose_and_what_comes_after_a_false_short_circuit_is_skipped(
    work: Shell,
) -> None:
    assert work.run("run", "notify.py", "--param", "allowed=false", environ=ENVIRON).code == 0
    skipped = {stage for stage, state in stages(work).items() if state == "skipped"}
    assert skipped == {"few", "told", "keep"}
    assert work.run("run", "notify.py", "--param", "limit=1000000", environ=ENVIRON).code == 0
    skipped = {stage for stage, state in stages(work, 2).items() if state == "skipped"}
    assert skipped == {"many", "always", "allowed", "told", "keep"}


def test_a_variable_of_the_store_is_read_and_the_environment_comes_before_it(work: Shell) -> None:
    assert work.run("run", "notify.py", environ=ENVIRON).code == 0
    (work.folder / "read.yaml").write_text(
        "id: read\nnodes:\n"
        "  - {id: say, type: bash, config: {command: 'echo $A', env: {A: '{{ var.Runs }}'}}}\n"
    )
    assert work.run("run", "read.yaml").code == 0
    assert work.run("run", "read.yaml", environ={"FUSTGO_VAR_RUNS": "mine"}).code == 0
    assert (results(work, 2)["say"], results(work, 3)["say"]) == ("1", "mine")


FAILING = """
from orchestrator import DAG, Context, action, branch
from operators import Bash

@action
def load(context: Context) -> None:
    rows = compute()

def compute():
    raise ValueError("nobody is there")

@branch
def pick() -> str:
    return "lfet"

with DAG("failing") as dag:
    load >> Bash("clean", command="echo cleans", env={"N": "{{ results.load }}"}, trigger_rule="all_done")
    pick >> [Bash("left", command="true"), Bash("right", command="true")]
"""


def test_errors_name_node_line_and_remedy(shell: Shell) -> None:
    (shell.folder / "failing.py").write_text(FAILING)
    done = shell.run("run", "failing.py")
    assert done.code == 1
    for said in (
        "node 'load': ValueError: nobody is there",
        "failing.py:10 in compute: raise ValueError",
        "node 'clean' uses the result of 'load', which has none: its stage is failed",
        "node 'pick': it chose 'lfet', which does not directly follow it",
        "it may choose: left, right",
    ):
        assert said in done.err, done.err
    assert "orchestrator/engine" not in done.err


LEAKS = """
id: leaks
nodes:
  - id: tell
    type: bash
    kind: action
    config:
      command: echo "as $PASSWORD"; echo "$URL" >&2; exit 3
      env: {PASSWORD: "{{ conn.crm.password }}", URL: "{{ conn.crm.extra.token }}"}
"""


def test_a_password_shows_neither_on_the_terminal_nor_in_the_stored_error(shell: Shell) -> None:
    (shell.folder / "leaks.yaml").write_text(LEAKS)
    crm = "http://me:s3cr3tPW@crm/?token=t0k3nXYZ"
    done = shell.run("run", "leaks.yaml", environ={"FUSTGO_CONN_CRM": crm})
    assert done.code == 1, done
    assert re.search(r"^\d\d:\d\d:\d\d tell as \*\*\*$", done.err, re.MULTILINE), done
    shown = shell.run("runs", "show", "1", "--json").out
    assert "it said" in shown
    assert "as ***" in shown
    assert not re.search("s3cr3tPW|t0k3nXYZ", done.out + done.err + shown)


def test_a_killed_command_is_run_again_and_what_was_done_is_not(shell: Shell) -> None:
    (shell.folder / "kill.yaml").write_text(
        "id: kill\nnodes:\n"
        "  - {id: one, type: bash, config: {command: 'echo x >> one; cat one'}}\n"
        "  - {id: two, type: bash, after: [one], "
        "config: {command: 'echo $$ > two; test -e go || sleep 1000; echo y'}}\n"
    )
    running = shell.start("run", "kill.yaml")
    wait_for(shell.folder / "two", running, 2)
    running.signal(signal.SIGKILL)
    running.wait()
    wait_for_end(int((shell.folder / "two").read_text()))
    (shell.folder / "go").touch()
    assert shell.run("run", "kill.yaml", "--resume").code == 0
    assert (shell.folder / "one").read_text() == "x\n"
    assert results(shell) == {"one": "x", "two": "y"}


def test_a_command_that_was_asked_to_end_does_not_outlive_who_asked(shell: Shell) -> None:
    (shell.folder / "deaf.yaml").write_text(
        "id: deaf\nnodes:\n  - {id: n, type: bash, "
        "config: {command: 'trap \"\" TERM; echo $$ > pid; sleep 1000'}}\n"
    )
    running = shell.start("run", "deaf.yaml")
    wait_for(shell.folder / "pid", running, 2)
    group = int((shell.folder / "pid").read_text())
    os.killpg(group, signal.SIGTERM)  # as a cancel does, before its grace is over
    running.signal(signal.SIGKILL)
    running.wait()
    wait_for_end(group)


def test_an_unknown_dag_to_trigger_fails_the_node_and_names_it(shell: Shell) -> None:
    (shell.folder / "t.yaml").write_text(
        "id: t\nnodes:\n  - {id: start, type: trigger_dag, config: {dag_id: report}}\n"
    )
    done = shell.run("run", "t.yaml")
    assert done.code == 1
    assert "node 'start' cannot trigger DAG 'report': there is no DAG 'report'" in done.err


SENSOR = """
from pathlib import Path
from orchestrator import DAG, Snooze, action

@action
def waited() -> object:
    with Path("looks").open("a") as looks:
        looks.write("x")
    return "seen" if Path("looks").read_text() == "xxx" else Snooze(seconds=0.05)

@action
def after(*, said: str) -> str:
    return said

with DAG("sensor") as dag:
    waited >> after(said="{{ results.waited }}")
"""


def test_a_sensor_snoozes_until_it_sees_and_that_is_no_try(shell: Shell) -> None:
    (shell.folder / "sensor.py").write_text(SENSOR)
    done = shell.run("run", "sensor.py")
    assert done.code == 0, done
    shown = json.loads(shell.run("runs", "show", "1", "--json").out)["stages"]
    assert [attempt["outcome"] for attempt in shown[0]["attempts"]] == ["snoozed", "snoozed", "success"]
    assert (shown[0]["tries"], shown[1]["result"]) == (0, {"after": "seen"})
    table = shell.run("runs", "show", "1").out.splitlines()
    assert [" ".join(line.split()[:4]) for line in table if "snoozed" in line] == ["1..2 snoozed, 2 times"]
