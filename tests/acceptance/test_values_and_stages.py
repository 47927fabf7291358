"""What a run is given (params, dates, variables, results), and how its stages follow each other."""

from __future__ import annotations

import json
import signal

from tests.acceptance.test_run_command import wait_for
from tests.support.commands import Shell

VALUES = """
id: values
schedule: "0 2 * * *"
start_date: 2026-01-01
timezone: Europe/Berlin
params: {day: {type: string, default: monday}, rows: 3}
template_env: [PLACE]
nodes:
  - {id: made, type: generate, config: {rows: "{{ params.rows }}"}}
  - id: out
    type: csv
    kind: output
    from: made
    config:
      path: >-
        out/{{ ds }}-{{ params.day }}-{{ var.colour }}-{{ env.PLACE }}-{{ conn.crm.host
        }}-{{ data_interval_start | strftime('%d') }}.csv
  - {id: again, type: csv, kind: input, after: [out], config: {path: people.csv}}
  - {id: second, type: csv, kind: output, from: again, config: {path: "out/{{ results.made.rows }}.csv"}}
"""
ENVIRON = {"FUSTGO_VAR_COLOUR": "red", "PLACE": "here", "FUSTGO_CONN_CRM": "http://u:secret@crm.example/"}


def test_templates_take_what_the_run_was_given(shell: Shell) -> None:
    (shell.folder / "values.yaml").write_text(VALUES)
    result = shell.run(
        "run", "values.yaml", "--param", "rows=7", "--logical-date", "2026-03-05T12:00", environ=ENVIRON
    )
    assert result.code == 0, result
    names = sorted(path.name for path in (shell.folder / "out").glob("*.csv"))
    # The interval began at the last fire time before noon: 02:00 of the same day.
    assert names == ["2026-03-05-monday-red-here-crm.example-05.csv", "7.csv"]
    assert len((shell.folder / "out" / names[0]).read_text().splitlines()) == 8
    shown = json.loads(shell.run("runs", "show", "1", "--json").out)
    assert [stage["stage"] for stage in shown["stages"]] == ["made", "again"]
    assert "secret" not in json.dumps(shown)


def test_a_variable_that_is_not_set_is_named_with_its_node(shell: Shell) -> None:
    (shell.folder / "values.yaml").write_text(VALUES)
    result = shell.run(
        "run", "values.yaml", environ={**ENVIRON, "FUSTGO_VAR_COLOUR": ""} | {"FUSTGO_VAR_COLOR": "x"}
    )
    assert result.code == 0, "an empty variable is set"
    missing = {name: value for name, value in ENVIRON.items() if name != "FUSTGO_VAR_COLOUR"}
    result = shell.run("run", "values.yaml", environ={**missing, "FUSTGO_VAR_COLOR": "x"})
    assert result.code == 1, result
    for word in ("node 'out'", "FUSTGO_VAR_COLOUR", "color"):
        assert word in result.err


def test_a_stage_whose_upstream_failed_does_not_run_and_goes_on_after_a_resume(shell: Shell) -> None:
    (shell.folder / "values.yaml").write_text(VALUES)
    (shell.folder / "people.csv").rename(shell.folder / "hidden.csv")
    assert shell.run("run", "values.yaml", environ=ENVIRON).code == 1
    states = {
        stage["stage"]: stage["state"]
        for stage in json.loads(shell.run("runs", "show", "1", "--json").out)["stages"]
    }
    assert states == {"made": "success", "again": "failed"}
    (shell.folder / "hidden.csv").rename(shell.folder / "people.csv")
    resumed = shell.run("run", "values.yaml", "--resume", environ=ENVIRON)
    assert resumed.code == 0, resumed
    assert (shell.folder / "out/3.csv").read_text() == (shell.folder / "people.csv").read_text()


ONE_EPOCH = """
from orchestrator import DAG, processor
from operators import CsvInput, CsvOutput

class Held:
    def process(self, batch):
        with open("seen", "a") as seen:
            seen.write("x")
        while not __import__("os").path.exists("go"):
            __import__("threading").Event().wait(0.01)
        yield batch

held = processor(Held)

with DAG("one", settings={"batch_size": 10}) as dag:
    CsvInput("people", path="people.csv") >> held >> CsvOutput("out", path="out/people.csv")
"""


def test_ctrl_c_on_a_stage_with_one_epoch_says_that_nothing_can_be_kept(shell: Shell) -> None:
    (shell.folder / "one.py").write_text(ONE_EPOCH)
    running = shell.start("run", "one.py")
    wait_for(shell.folder / "seen", running)
    running.signal(signal.SIGINT)
    (shell.folder / "go").touch()
    result = running.wait()
    assert result.code == 0, result
    assert "nothing to keep, 'held' cannot snapshot its state; press again" in result.err
    assert (shell.folder / "out/people.csv").read_text() == (shell.folder / "people.csv").read_text()


def test_ctrl_c_while_another_try_is_waited_for_pauses_the_run(shell: Shell) -> None:
    (shell.folder / "fail.py").write_text(
        "from orchestrator import DAG, processor\nfrom operators import Discard, Generate\n"
        "@processor\ndef bad(batch):\n    raise ValueError('no')\n"
        "with DAG('fail', default_args={'retries': 5, 'retry_delay': '1h'}) as dag:\n"
        "    Generate('g', rows=3) >> bad >> Discard('d')\n"
    )
    running = shell.start("run", "fail.py")
    wait_for(running.err, running, 120)
    running.signal(signal.SIGINT)
    result = running.wait()
    assert result.code == 130, result
    assert "another try is due" in result.err
    assert json.loads(shell.run("runs", "list", "--json").out)[0]["paused"] is True
