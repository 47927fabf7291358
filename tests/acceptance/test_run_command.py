"""`fustgo run` as a person meets it: pause and resume, two terminals, bad input, exit codes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.commands import KILLED, Running, Shell

SLOW = """
from orchestrator import DAG, processor
from operators import CsvInput, CsvOutput

@processor
def held(context, batch):
    with open("seen", "a") as seen:
        seen.write("x")
    while not __import__("os").path.exists("go") and not context.cancelled:
        __import__("threading").Event().wait(0.01)
    return batch

with DAG("slow", settings={"batch_size": 10}) as dag:
    CsvInput("people", path="people.csv") >> held >> CsvOutput("out", path="out/people.csv")
"""
CSV_OUT = "{type: csv, config: {path: out/adults.csv}}"
SMALL = "settings: {batch_size: 5, checkpoint: {every_batches: 1}}\n"
LINEAR = """
id: adults
input: {type: csv, config: {path: people.csv}}
processors:
  - {type: filter, config: {condition: "age > 18"}}
output: {type: csv, config: {path: out/adults.csv}}
"""


def wait_for(path: Path, running: Running, size: int = 1) -> None:
    """Wait until a file has so many bytes; the command must not end before."""
    from threading import Event

    for _ in range(3000):
        if path.exists() and path.stat().st_size >= size:
            return
        assert running.process.exitcode is None, running.wait()
        Event().wait(0.01)
    raise AssertionError(f"{path} did not come")


def adults(shell: Shell) -> list[str]:
    lines = (shell.folder / "people.csv").read_text().splitlines()
    return [lines[0], *(line for line in lines[1:] if int(line.split(",")[2]) > 18)]


def test_a_run_prints_a_summary_and_is_kept(shell: Shell) -> None:
    (shell.folder / "adults.yaml").write_text(LINEAR)
    result = shell.run("run", "adults.yaml")
    assert result.code == 0, result
    assert (shell.folder / "out/adults.csv").read_text().splitlines() == adults(shell)
    for word in ("adults@local: run 1", "success", "start", "elapsed", "input", "rows/s", "rejects"):
        assert word in result.out, word
    listed = json.loads(shell.run("runs", "list", "--json").out)
    assert [(run["number"], run["state"]) for run in listed] == [(1, "success")]
    shown = json.loads(shell.run("runs", "show", "1", "--json").out)
    assert shown["stages"][0]["nodes"]["output"]["rows_in"] == len(adults(shell)) - 1


def test_ctrl_c_pauses_at_a_savepoint_and_resume_goes_on(shell: Shell) -> None:
    (shell.folder / "slow.py").write_text(SLOW)
    running = shell.start("run", "slow.py")
    wait_for(shell.folder / "seen", running)
    running.signal(signal.SIGINT)
    (shell.folder / "go").touch()
    paused = running.wait()
    assert paused.code == 130, paused
    assert "savepoint" in paused.err
    assert not (shell.folder / "out/people.csv").exists()
    assert json.loads(shell.run("runs", "list", "--json").out)[0]["paused"] is True
    before = (shell.folder / "seen").stat().st_size
    resumed = shell.run("run", "slow.py", "--resume")
    assert resumed.code == 0, resumed
    assert (shell.folder / "out/people.csv").read_text() == (shell.folder / "people.csv").read_text()
    assert (shell.folder / "seen").stat().st_size == 4, f"{before} batches were read before"


def test_ctrl_c_twice_ends_at_once(shell: Shell) -> None:
    (shell.folder / "slow.py").write_text(SLOW)
    running = shell.start("run", "slow.py")
    wait_for(shell.folder / "seen", running)
    said = running.err.stat().st_size
    running.signal(signal.SIGINT)
    wait_for(running.err, running, said + len("stopping at a savepoint"))
    running.signal(signal.SIGINT)
    assert running.wait().code == 130
    (shell.folder / "go").touch()
    assert shell.run("run", "slow.py", "--resume").code == 0
    assert (shell.folder / "out/people.csv").read_text() == (shell.folder / "people.csv").read_text()


def test_a_pause_from_elsewhere_ends_the_command_as_ctrl_c_does(shell: Shell) -> None:
    after = """
    more = CsvInput("more", path="people.csv")
    more >> CsvOutput("last", path="out/last.csv")
    out.before(more)
"""
    (shell.folder / "slow.py").write_text(
        SLOW.replace("    CsvInput", "    out = CsvInput") + after.lstrip("\n")
    )
    running = shell.start("run", "slow.py")
    wait_for(shell.folder / "seen", running)
    paused = shell.run("runs", "pause", "1", "--yes")
    assert (paused.code, "is asked for a savepoint" in paused.out) == (0, True), paused
    (shell.folder / "go").touch()
    ended = running.wait()
    assert (ended.code, "--resume 1" in ended.err) == (130, True), ended
    assert not (shell.folder / "out/last.csv").exists()
    assert shell.run("run", "slow.py", "--resume").code == 0
    assert (shell.folder / "out/last.csv").read_text() == (shell.folder / "people.csv").read_text()


def test_two_terminals_run_one_file_and_one_is_killed(shell: Shell) -> None:
    """Both targets are right, and the other run is untouched."""
    text = SLOW.replace('"out/people.csv"', '"out/{{ params.name }}.csv"').replace(
        '"slow",', '"slow", params={"name": "x"},'
    )
    (shell.folder / "slow.py").write_text(text)
    first = shell.start("run", "slow.py", "--param", "name=a")
    second = shell.start("run", "slow.py", "--param", "name=b")
    wait_for(shell.folder / "seen", first, 2)
    first.signal(signal.SIGKILL)
    assert first.wait().code == KILLED
    (shell.folder / "go").touch()
    assert second.wait().code == 0
    resumed = shell.run("run", "slow.py", "--resume")
    assert resumed.code == 0, resumed
    for name in "ab":
        assert (shell.folder / f"out/{name}.csv").read_text() == (shell.folder / "people.csv").read_text()
    states = {
        run["params"]["name"]: run["state"] for run in json.loads(shell.run("runs", "list", "--json").out)
    }
    assert states == {"a": "success", "b": "success"}


def test_two_first_commands_on_an_empty_home_both_work(shell: Shell) -> None:
    (shell.folder / "adults.yaml").write_text(LINEAR)
    running = [shell.start("run", "adults.yaml") for _ in range(4)]
    for result in [command.wait() for command in running]:
        assert result.code == 0, result
    assert len(json.loads(shell.run("runs", "list", "--json").out)) == 4


def test_a_living_run_is_not_taken_over(shell: Shell) -> None:
    (shell.folder / "slow.py").write_text(SLOW)
    running = shell.start("run", "slow.py")
    wait_for(shell.folder / "seen", running)
    refused = shell.run("run", "slow.py", "--resume")
    assert refused.code == 2
    assert str(running.pid) in refused.err
    (shell.folder / "go").touch()
    assert running.wait().code == 0


def test_resume_refuses_an_input_that_changed(shell: Shell) -> None:
    (shell.folder / "adults.yaml").write_text(LINEAR + SMALL)
    assert shell.run("run", "adults.yaml", crash="epoch.applied@2").code == KILLED
    (shell.folder / "people.csv").write_text("id,name,age\n1,other,30\n")
    refused = shell.run("run", "adults.yaml", "--resume")
    assert refused.code == 1, refused
    assert "people.csv" in refused.err
    assert "changed" in refused.err
    cleared = shell.run("run", "adults.yaml", "--clear", "1")
    assert cleared.code == 0, cleared
    assert (shell.folder / "out/adults.csv").read_text() == "id,name,age\n1,other,30\n"


def test_resume_refuses_other_params_and_another_graph(shell: Shell) -> None:
    dag = LINEAR + "params: {day: one}\n" + SMALL
    (shell.folder / "adults.yaml").write_text(dag)
    assert shell.run("run", "adults.yaml", crash="epoch.applied@2").code == KILLED
    other = shell.run("run", "adults.yaml", "--resume", "--param", "day=two")
    assert (other.code, "params" in other.err) == (2, True), other
    (shell.folder / "adults.yaml").write_text(
        dag.replace("type: filter", "type: mapping").replace(
            'condition: "age > 18"', "mappings: {age: years}"
        )
    )
    misfit = shell.run("run", "adults.yaml", "--resume")
    assert (misfit.code, "--clear" in misfit.err) == (2, True), misfit


def test_clear_refuses_rows_that_would_come_twice(shell: Shell) -> None:
    dag = LINEAR.replace(
        "{type: csv, config: {path: out/adults.csv}}",
        "{type: sqlite, config: {path: out/a.db, table: t, mode: append}}",
    )
    (shell.folder / "adults.yaml").write_text(dag)
    assert shell.run("run", "adults.yaml").code == 0
    refused = shell.run("run", "adults.yaml", "--clear", "1")
    assert (refused.code, "--allow-duplicates" in refused.err) == (2, True), refused
    assert shell.run("run", "adults.yaml", "--clear", "1", "--allow-duplicates").code == 0


BAD = {
    "missing.yaml": (None, 2, "missing.yaml"),
    "folder.yaml": ("folder", 2, "folder"),
    "broken.yaml": ("id: [", 2, "broken.yaml:"),
    "binary.yaml": (b"\x00\x01\xff\xfe", 2, "binary.yaml"),
    "empty.yaml": ("", 2, "empty.yaml"),
    "syntax.py": ("with DAG(", 2, "syntax.py:1"),
    "raises.py": ("from orchestrator import DAG\n1 / 0\n", 2, "raises.py:2"),
    "none.py": ("x = 1\n", 2, "none.py"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_dag_file_is_one_clear_message(shell: Shell, name: str) -> None:
    content, code, said = BAD[name]
    path = shell.folder / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = shell.run("run", name)
    assert result.code == code, result
    assert said in result.err
    assert "Traceback" not in result.err


DATA = {
    "missing": (None, 1),
    "folder": ("folder", 1),
    "binary": (bytes(range(256)) * 20, 1),
    "empty": (b"", 1),
    "header only": (b"id,name,age\n", 0),
    "wrong types": (b"id,name,age\n" + b"1,a,20\n" * 20_000 + b"x,b,old\n", 3),
    "no final newline": (b"id,name,age\n1,a,20", 0),
}


@pytest.mark.parametrize("name", DATA)
def test_bad_data_ends_with_its_exit_code_and_nothing_half_written(shell: Shell, name: str) -> None:
    content, code = DATA[name]
    path = shell.folder / "people.csv"
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    (shell.folder / "adults.yaml").write_text(LINEAR)
    result = shell.run("run", "adults.yaml")
    assert result.code == code, result
    assert "Traceback" not in result.err
    assert (shell.folder / "out/adults.csv").exists() == (code == 0)
    if code:
        assert "people.csv" in result.err


def test_a_full_disk_is_named_and_resumable(shell: Shell, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test mounts a small file system: run the tests as root, or in a container")
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        lines = "".join(f"{n},name {n},{20 + n % 60}\n" for n in range(20_000))
        (shell.folder / "people.csv").write_text("id,name,age\n" + lines)
        (shell.folder / "adults.yaml").write_text(LINEAR.replace("out/adults.csv", str(disk / "adults.csv")))
        full = shell.run("run", "adults.yaml")
        assert full.code == 1, full
        assert "No space left" in full.err
        assert not (disk / "adults.csv").exists()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        resumed = shell.run("run", "adults.yaml", "--resume")
        assert resumed.code == 0, resumed
        assert (disk / "adults.csv").read_text() == (shell.folder / "people.csv").read_text()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("run",), "FILE"),
        (("run", "adults.yaml", "--param", "x"), "NAME=VALUE"),
        (("run", "adults.yaml", "--param", "x=1"), "x"),
        (("run", "adults.yaml", "--logical-date", "soon"), "soon"),
        (("run", "adults.yaml", "--logical-date", "0001-01-01T00:00+14:00"), "years 2 to 9998"),
        (("run", "adults.yaml", "--clear", "9"), "9"),
        (("run", "adults.yaml", "--resume"), "no run"),
        (("run", "adults.yaml", "--allow-duplicates"), "--clear"),
        (("runs", "show", "9"), "9"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_use_ends_with_two(shell: Shell, args: tuple[str, ...], said: str) -> None:
    (shell.folder / "adults.yaml").write_text(LINEAR)
    result = shell.run(*args)
    assert result.code == 2, result
    assert said in result.err


def test_abandon_gives_up_a_decided_epoch(shell: Shell) -> None:
    dag = LINEAR.replace(
        "{type: csv, config: {path: out/adults.csv}}", "{type: sqlite, config: {path: out/a.db, table: t}}"
    )
    (shell.folder / "adults.yaml").write_text(dag + SMALL)
    assert shell.run("run", "adults.yaml", crash="epoch.decided@2").code == KILLED
    refused = shell.run("run", "adults.yaml", "--clear", "1", "--allow-duplicates")
    assert (refused.code, "--abandon" in refused.err) == (2, True), refused
    killed = shell.run("run", "adults.yaml", "--abandon", "1", crash="output.given_up")
    assert killed.code == KILLED, killed
    # What is being given up can only be given up: whoever takes the run over ends that first.
    again = shell.run("run", "adults.yaml", "--resume")
    assert again.code == 1, again
    done = shell.run("run", "adults.yaml", "--abandon", "1")
    assert (done.code, "nothing is there to abandon" in done.err) == (2, True), done
    assert shell.run("run", "adults.yaml", "--clear", "1", "--allow-duplicates").code == 0


def test_abandon_gives_up_though_the_target_does_not_answer(shell: Shell) -> None:
    """And says that the rows may still appear there; the run can then be started over."""
    dag = LINEAR.replace(CSV_OUT, "{type: sqlite, config: {path: out/a.db, table: t}}")
    (shell.folder / "adults.yaml").write_text(dag + SMALL)
    assert shell.run("run", "adults.yaml", crash="epoch.decided@2").code == KILLED
    (shell.folder / "out/a.db").write_bytes(b"not a database at all, but long enough to be read as one" * 99)
    abandoned = shell.run("run", "adults.yaml", "--abandon", "1")
    assert abandoned.code == 0, abandoned
    assert "may still appear" in abandoned.err
    (shell.folder / "out/a.db").unlink()
    cleared = shell.run("run", "adults.yaml", "--clear", "1", "--allow-duplicates")
    assert cleared.code == 0, cleared
