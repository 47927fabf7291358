"""What a resume, a clear and the hints after a failure may rely on when the file has changed meanwhile."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.test_run_command import CSV_OUT, LINEAR, SMALL, adults
from tests.support.commands import KILLED, Shell

DAG = LINEAR + SMALL
TWO = """
from orchestrator import DAG
from operators import CsvInput, Discard, Generate

with DAG("first"):
    Generate("n", rows=1) >> Discard("d")
with DAG("second"):
    CsvInput("i", path="missing-{{ run_id }}.csv") >> Discard("o", queue="gpu", pool="ghost")
"""


def kill_in_the_middle(shell: Shell, text: str = DAG, name: str = "adults.yaml") -> None:
    (shell.folder / name).write_text(text)
    assert shell.run("run", name, crash="epoch.applied@2").code == KILLED


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "path: out/adults.csv",
            'path: out/adults.csv, delimiter: ";"',
            'its delimiter was the default, it is ";"',
        ),
        ("path: out/adults.csv", "path: out/other.csv", "output output: its path was"),
        ("path: people.csv", "path: other.csv", "input input: its path was"),
        ("path: people.csv", "path: people.csv, null_values: [x]", "input input: its null_values was"),
    ],
)
def test_inputs_and_outputs_that_have_begun_are_not_gone_on_with_otherwise(
    shell: Shell, old: str, new: str, said: str
) -> None:
    """Half of the rows were read, or lie sealed, the old way: the target would be a mixture."""
    kill_in_the_middle(shell)
    (shell.folder / "adults.yaml").write_text(DAG.replace(old, new))
    refused = shell.run("run", "adults.yaml", "--resume")
    assert (refused.code, said in refused.err, "--clear 1" in refused.err) == (2, True, True), refused
    (shell.folder / "adults.yaml").write_text(DAG)
    assert shell.run("run", "adults.yaml", "--resume").code == 0
    assert (shell.folder / "out/adults.csv").read_text().splitlines() == adults(shell)


def test_a_processor_may_be_mended_before_going_on(shell: Shell) -> None:
    kill_in_the_middle(shell)
    (shell.folder / "adults.yaml").write_text(DAG.replace("age > 18", "age >= 19"))
    assert shell.run("run", "adults.yaml", "--resume").code == 0
    assert (shell.folder / "out/adults.csv").read_text().splitlines() == adults(shell)


def test_what_has_not_begun_may_change(shell: Shell) -> None:
    (shell.folder / "adults.yaml").write_text(DAG)
    assert shell.run("run", "adults.yaml", crash="restore.reopened").code == KILLED
    (shell.folder / "adults.yaml").write_text(DAG.replace("out/adults.csv", "out/other.csv"))
    assert shell.run("run", "adults.yaml", "--resume").code == 0
    assert (shell.folder / "out/other.csv").exists()


def test_a_run_is_gone_on_with_from_its_own_file_only(shell: Shell) -> None:
    """Two files may hold one id; a run belongs to the file that it was started from."""
    kill_in_the_middle(shell, name="adults.yaml")
    (shell.folder / "twin.yaml").write_text(DAG.replace("out/adults.csv", "out/twin.csv"))
    nothing = shell.run("run", "twin.yaml", "--resume")
    assert (nothing.code, "no run to go on with" in nothing.err) == (2, True), nothing
    for verb in ("--resume", "--clear", "--abandon"):
        refused = shell.run("run", "twin.yaml", verb, "1")
        assert refused.code == 2
        assert "adults.yaml, not from" in refused.err
    assert not (shell.folder / "out/twin.csv").exists()
    assert shell.run("run", "adults.yaml", "--resume").code == 0


def test_a_run_that_is_named_tells_which_dag_of_its_file_goes_on(shell: Shell) -> None:
    (shell.folder / "two.py").write_text(TWO)
    assert shell.run("run", "two.py", "--dag", "second").code == 1
    several = shell.run("run", "two.py")
    assert (several.code, "say which with --dag ID" in several.err) == (2, True), several
    again = shell.run("run", "two.py", "--resume", "1")
    assert (again.code, "second@" in again.err + again.out) == (1, True), again
    assert "not used by `fustgo run`: o.queue" in again.err
    assert "pool ghost: no limit, nobody has set it: fustgo pools set ghost N" in again.err


def test_the_hint_after_a_failure_can_be_pasted(shell: Shell) -> None:
    name = "my adults.yaml"
    text = DAG.replace("path: people.csv", "path: missing.csv")
    (shell.folder / name).write_text(text)
    failed = shell.run("run", name, "--project", ".")
    assert "go on with: fustgo run 'my adults.yaml' --project . --resume 1" in failed.err


def test_a_decided_epoch_that_cannot_be_applied_says_how_it_is_given_up(shell: Shell) -> None:
    dag = DAG.replace(CSV_OUT, "{type: sqlite, config: {path: out/a.db, table: t}}")
    (shell.folder / "adults.yaml").write_text(dag)
    assert shell.run("run", "adults.yaml", crash="epoch.decided@2").code == KILLED
    (shell.folder / "out/a.db").unlink()
    gone = shell.run("run", "adults.yaml", "--resume")
    assert gone.code == 1, gone
    assert "--abandon 1" in gone.err


def test_python_functions_know_the_run(shell: Shell) -> None:
    (shell.folder / "knows.py").write_text(
        "import json\n"
        "from orchestrator import DAG, processor\n"
        "from operators import CsvInput, CsvOutput, Discard\n"
        "@processor\n"
        "def write(context, batch, *, to: str):\n"
        "    start, end = context.data_interval\n"
        "    date = context.logical_date.isoformat()\n"
        "    seen = [date, start.isoformat(), context.params, dict(context.results)]\n"
        "    open(to, 'w').write(json.dumps(seen))\n"
        "    return batch\n"
        "with DAG('knows', schedule='0 2 * * *', params={'day': 'monday'}) as dag:\n"
        "    first = CsvInput('first', path='people.csv') >> CsvOutput('copy', path='out/copy.csv')\n"
        "    second = CsvInput('second', path='people.csv')\n"
        "    first.before(second)\n"
        "    (second >> write('note', to='note.json')).out['out'] >> Discard('d')\n"
    )
    result = shell.run("run", "knows.py", "--logical-date", "2026-03-05T12:00")
    assert result.code == 0, result
    date, start, params, results = json.loads((shell.folder / "note.json").read_text())
    assert (date, start) == ("2026-03-05T12:00:00+00:00", "2026-03-05T02:00:00+00:00")
    assert params == {"day": "monday"}
    assert results["copy"]["rows"] == 40


def test_rejects_that_nobody_routed_are_shown_where_they_lie(shell: Shell) -> None:
    rows = "".join(f"{n},name,{n}\n" for n in range(20_000))
    (shell.folder / "people.csv").write_text("id,name,age\n" + rows + "x,odd,1\n")
    (shell.folder / "adults.yaml").write_text(LINEAR + "default_args: {error_limit: {records: 1}}\n")
    result = shell.run("run", "adults.yaml")
    assert result.code == 0, result
    folder = result.out.split("rejects that nobody routed: ")[1].split("/*.jsonl")[0]
    from pathlib import Path

    [part] = Path(folder).glob("*.jsonl")
    [reject] = [json.loads(line) for line in part.read_text().splitlines()]
    assert (reject["node"], json.loads(reject["position"])["line"]) == ("input", 20_002)
