"""The verbs of `fustgo runs`, and `fustgo dags trigger`: processes, on runs that wait, run and have ended."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from orchestrator.runs.states import Outcome
from tests.support.commands import KILLED, Running, Shell
from tests.support.loaded import Services, load

FAILED = Outcome.FAILED
CHAIN = """
id: chain
params: {day: one, most: 3}
nodes:
  - {id: first, type: generate, config: {rows: 1}}
  - {id: kept, type: csv, kind: output, from: first, config: {path: out/kept.csv}}
  - {id: second, type: generate, after: [kept], config: {rows: 1}}
  - {id: told, type: csv, kind: output, from: second, config: {path: out/told.csv}}
"""


@pytest.fixture
def services(shell: Shell) -> Iterator[Services]:
    (shell.folder / "chain.yaml").write_text(CHAIN)
    load(shell.home, shell.folder, "chain.yaml")
    found = Services(shell.home)
    yield found
    found.close()


def shown(shell: Shell, run: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell.run("runs", "show", str(run), "--json").out)
    return found


def states(shell: Shell, run: int = 1) -> dict[str, str]:
    return {stage["stage"]: stage["state"] for stage in shown(shell, run)["stages"]}


def said_and_done(shell: Shell, *words: str) -> dict[str, Any]:
    """A verb dry and then real: the dry run changes nothing, and says the very same."""
    before = shown(shell)
    dry = json.loads(shell.run("runs", *words, "--dry-run", "--json").out)
    assert (dry["done"], shown(shell)) == (False, before)
    done = shell.run("runs", *words, "--json")
    assert done.code == 0, done
    real: dict[str, Any] = json.loads(done.out)
    assert (real["done"], real["effects"]) == (True, dry["effects"])
    return real


def trigger(shell: Shell, *words: str) -> dict[str, Any]:
    done = shell.run("dags", "trigger", "chain", "--json", *words)
    assert done.code == 0, done
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_trigger_makes_one_run_of_a_name_or_key(shell: Shell, services: Services) -> None:
    dry = trigger(shell, "--dry-run")
    assert (dry["done"], shell.run("runs", "list").out.strip()) == (False, "no runs yet")
    made = trigger(
        shell, "--param", "day=two", "--param", "most=5", "--logical-date", "2026-01-31", "--key", "k"
    )
    assert made["run"] == trigger(shell, "--param", "day=two", "--param", "most=5", "--key", "k")["run"]
    run = shown(shell, made["run"])
    assert (run["state"], run["params"]) == ("running", {"day": "two", "most": 5})
    assert run["logical_date"].startswith("2026-01-31T00:00:00")
    named = trigger(shell, "--run-id", "mine", "--note", "by hand")
    assert shown(shell, named["run"])["note"] == "by hand"
    other = shell.run("dags", "trigger", "chain", "--run-id", "mine", "--param", "day=x")
    assert (other.code, "day" in other.err) == (2, True), other


def test_a_run_is_named_by_number_dag_and_run_id_or_uid(shell: Shell, services: Services) -> None:
    made = trigger(shell, "--run-id", "mine")
    for name in (str(made["run"]), "chain/mine", made["uid"]):
        assert shell.run("runs", "note", name, f"named {name}").code == 0
        assert shown(shell)["note"] == f"named {name}"


def test_cancel_ends_a_run(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.promote()
    said_and_done(shell, "cancel", "1")
    assert shown(shell)["state"] == "cancelled"
    refused = shell.run("runs", "cancel", "1")
    assert (refused.code, "has ended" in refused.err) == (2, True), refused


def test_retry_goes_on_with_what_failed(shell: Shell, services: Services) -> None:
    trigger(shell)
    assert services.work({"second": FAILED}) == ["first", "second"]
    assert shown(shell)["state"] == "failed"
    done = said_and_done(shell, "retry", "1")
    assert any("stage second" in effect for effect in done["effects"]), done
    assert services.work() == ["second"]
    assert shown(shell)["state"] == "success"


def test_retry_of_a_node_acts_on_its_stage_and_says_so(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.work({"first": FAILED})
    done = said_and_done(shell, "retry", "1", "--node", "kept")
    assert "node kept: its stage 'first' (2 nodes)" in done["effects"]
    assert services.work() == ["first", "second"]


def test_clear_starts_stages_over_with_what_comes_after(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.work()
    said_and_done(shell, "clear", "1", "--node", "second")
    assert services.work() == ["second"]
    said_and_done(shell, "clear", "1", "--node", "kept", "--downstream")
    assert services.work() == ["first", "second"]
    said_and_done(shell, "clear", "1")
    assert services.work() == ["first", "second"]
    assert shell.run("runs", "clear", "1", "--downstream").code == 2


def test_mark_says_how_a_stage_ended(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.work({"first": FAILED})
    said_and_done(shell, "mark", "1", "--node", "first", "--as", "success")
    assert services.work() == ["second"]
    assert states(shell) == {"first": "success", "second": "success"}
    assert shell.run("runs", "mark", "1", "--node", "first", "--as", "skipped").code == 2


def test_pause_and_resume_of_a_run_and_of_a_stage(shell: Shell, services: Services) -> None:
    trigger(shell)
    said_and_done(shell, "pause", "1")
    assert (shown(shell)["paused"], services.work()) == (True, [])
    assert "paused" in shell.run("runs", "list").out
    said_and_done(shell, "resume", "1")
    said_and_done(shell, "pause", "1", "--node", "told")
    assert services.work() == ["first"]
    said_and_done(shell, "resume", "1", "--node", "told")
    assert services.work() == ["second"]


def test_pause_now_takes_away_what_runs(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.promote()
    assert list(services.claim()) == ["first"]
    done = said_and_done(shell, "pause", "1", "--now")
    assert any("is lost" in effect for effect in done["effects"]), done
    assert states(shell)["first"] == "queued"


def test_a_stage_that_waits_for_its_next_try_is_shown_so(shell: Shell, services: Services) -> None:
    (shell.folder / "patient.yaml").write_text(CHAIN.replace("id: chain", "id: chain\nretries: 1"))
    (shell.folder / "dags/chain.yaml").unlink()
    load(shell.home, shell.folder, "patient.yaml")
    trigger(shell)
    services.promote()
    services.finish(services.claim()["first"], FAILED, "not yet", retry=True)
    (first, second) = shown(shell)["stages"]
    assert (first["state"], first["shown"], second["shown"]) == ("queued", "up_for_retry", "none")
    assert "stage first: up_for_retry until " in shell.run("runs", "show", "1").out
    assert shell.run("runs", "pause", "1").code == 0
    assert shown(shell)["stages"][0]["shown"] == "paused"


def test_abandon_without_anything_owed_is_refused(shell: Shell, services: Services) -> None:
    trigger(shell)
    refused = shell.run("runs", "abandon", "1")
    assert (refused.code, "nothing to abandon" in refused.err) == (2, True), refused


def test_a_held_run_names_the_command_to_type(shell: Shell, services: Services) -> None:
    for words in (("run", "chain.yaml"), ("run", "chain")):
        killed = shell.run(*words, crash="epoch.applied@1")
        assert killed.code == KILLED
    for run, typed in (
        (1, f"fustgo run {shell.folder / 'chain.yaml'} --resume 1"),
        (2, "fustgo run chain --resume 2"),
    ):
        for verb in ("retry", "resume"):
            refused = shell.run("runs", verb, str(run))
            assert (refused.code, typed in refused.err) == (2, True), refused
        assert "logs to its own terminal" in shell.run("runs", "logs", str(run)).err
        cleared = shell.run("runs", "clear", str(run))
        assert typed.replace("--resume", "--clear") in cleared.err


@pytest.mark.parametrize("verb", ["cancel", "retry", "clear", "pause", "resume", "abandon", "why", "logs"])
def test_a_run_that_is_not_there_is_said(shell: Shell, services: Services, verb: str) -> None:
    refused = shell.run("runs", verb, "99")
    assert (refused.code, "no run '99'" in refused.err) == (2, True), refused


def test_why_says_what_keeps_a_run_and_each_remedy_is_a_command_that_exists(
    shell: Shell, services: Services
) -> None:
    trigger(shell)
    services.promote()
    assert shell.run("runs", "pause", "1").code == 0
    said = shell.run("runs", "why", "1")
    assert (said.code, "is paused" in said.out) == (0, True), said
    reasons = json.loads(shell.run("runs", "why", "1", "first", "--json").out)
    paused = next(reason for reason in reasons if reason["code"] == "run_paused")
    command = paused["remedy"][paused["remedy"].index("fustgo ") :].split()[1:]
    assert shell.run(*command).code == 0
    services.work()
    assert "nothing waits: run 1 is success" in shell.run("runs", "why", "1").out


def on_terminal(shell: Shell, answer: str, *words: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, and type an answer."""
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "orchestrator", *words]
    process = subprocess.Popen(
        command,
        cwd=shell.folder,
        env=os.environ | {"FUSTGO_HOME": str(shell.home)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(mine, answer.encode())
    said = b""
    try:
        while chunk := os.read(mine, 4096):
            said += chunk
    except OSError:  # the other end is closed
        pass
    os.close(mine)
    return process.wait(), said.decode()


def test_a_person_is_shown_the_effects_and_asked(shell: Shell, services: Services) -> None:
    trigger(shell)
    code, said = on_terminal(shell, "n\n", "runs", "cancel", "1")
    assert (code, shown(shell)["state"]) == (130, "running"), said
    assert "run 1: running, becomes cancelled" in said
    code, said = on_terminal(shell, "y\n", "runs", "cancel", "1")
    assert (code, shown(shell)["state"]) == (0, "cancelled"), said
    code, said = on_terminal(shell, "", "runs", "note", "1", "seen", "--yes")
    assert (code, shown(shell)["note"]) == (0, "seen"), said


def wait_for(path: Path, text: str, running: Running) -> None:
    """Wait until a command has said something; it must not end before."""
    for _ in range(3000):
        if path.exists() and text in path.read_text():
            return
        assert running.process.exitcode is None, running.wait()
        Event().wait(0.01)
    raise AssertionError(f"{text!r} was not said: {path.read_text()}")


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.SUCCESS, 0), (FAILED, 1)])
def test_a_trigger_waits_for_the_end(shell: Shell, services: Services, outcome: Outcome, code: int) -> None:
    running = shell.start("dags", "trigger", "chain", "--wait")
    wait_for(running.out, "run 1 is created", running)
    services.work({"second": outcome})
    done = running.wait()
    assert done.code == code, done
    for said in (
        "stage first: success",
        f"stage second: {outcome}",
        f"run 1: {'failed' if code else 'success'}",
    ):
        assert said in done.out, done


def test_who_waits_may_leave_and_the_run_goes_on(shell: Shell, services: Services) -> None:
    running = shell.start("dags", "trigger", "chain", "--wait")
    wait_for(running.out, "\nstage first: ", running)
    running.signal(signal.SIGINT)
    left = running.wait()
    assert (left.code, "goes on without you" in left.err) == (130, True), left
    assert shown(shell)["state"] == "running"


def test_follow_shows_log_lines_as_they_come(shell: Shell, services: Services) -> None:
    running = shell.start("dags", "trigger", "chain", "--follow")
    wait_for(running.out, "run 1 is created", running)
    services.promote()
    claimed = services.claim()["first"]
    services.log(claimed, "beginning")
    wait_for(running.out, "beginning", running)
    services.log(claimed, "still at it", node="kept")
    wait_for(running.out, "12:00:01 kept still at it", running)
    services.finish(claimed)
    services.work()
    assert running.wait().code == 0


def test_logs_are_shown_by_node_and_attempt(shell: Shell, services: Services) -> None:
    trigger(shell)
    assert "has logged nothing here yet" in shell.run("runs", "logs", "1").err
    services.promote()
    first = services.claim()["first"]
    services.log(first, "of the stage")
    services.log(first, "of kept", node="kept")
    services.log(first, "of first", node="first")
    services.finish(first, FAILED, "no")
    assert shell.run("runs", "retry", "1").code == 0
    services.promote()
    again = services.claim()["first"]
    services.log(again, "once more")
    services.finish(again)
    of_node = shell.run("runs", "logs", "1", "kept", "--attempt", str(first.attempt)).out
    assert of_node.splitlines() == ["12:00:01 of the stage", "12:00:01 kept of kept"]
    newest = shell.run("runs", "logs", "1", "kept").out
    assert newest.splitlines() == ["12:00:01 once more"]
    assert shell.run("runs", "logs", "1").out.splitlines()[-1:] == ["12:00:01 once more"]
    assert "of kept" not in shell.run("runs", "logs", "1").out
    everything = shell.run("runs", "logs", "1", "--all-attempts", "--json").out.splitlines()
    assert [(json.loads(line)["attempt"], json.loads(line)["text"]) for line in everything] == [
        (first.attempt, "of the stage"),
        (first.attempt, "of kept"),
        (first.attempt, "of first"),
        (again.attempt, "once more"),
    ]
    for words, said in ((("keep",), "did you mean 'kept'?"), (("kept", "--attempt", "99"), "no attempt 99")):
        refused = shell.run("runs", "logs", "1", *words)
        assert (refused.code, said in refused.err) == (2, True), refused


def test_an_error_of_many_lines_is_one_in_the_table_and_whole_elsewhere(
    shell: Shell, services: Services
) -> None:
    trigger(shell)
    services.promote()
    message = "its process died; it said last:\n  one\n  two"
    services.finish(services.claim()["first"], FAILED, message)
    said = shell.run("runs", "show", "1").out.splitlines()
    (row,) = [line for line in said if line.endswith("its process died; it said last:...")]
    assert "failed" in row
    assert said.count("    one") == 1  # with the stage
    assert shown(shell)["stages"][0]["attempts"][0]["error"]["message"] == message


def test_how_a_silent_attempt_ended_is_told_from_the_store(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.promote()
    first = services.claim()["first"]
    services.finish(first, Outcome.LOST, "worker 7 died")
    said = shell.run("runs", "logs", "1", "kept").err
    assert f"attempt {first.attempt} of first has logged nothing; its end was: lost, worker 7 died" in said
    services.promote()
    services.log(services.claim()["first"], "once more")
    everything = shell.run("runs", "logs", "1")
    assert "once more" in everything.out
    assert everything.err == said


def test_logs_are_followed_until_the_stage_has_ended(shell: Shell, services: Services) -> None:
    trigger(shell)
    services.promote()
    first = services.claim()["first"]
    running = shell.start("runs", "logs", "1", "kept", "-f")
    services.log(first, "begun")
    wait_for(running.out, "begun", running)
    services.log(first, "done")
    services.finish(first)
    done = running.wait()
    assert done.code == 0, done
    assert done.out.splitlines() == [
        f"-- stage first, attempt {first.attempt}",
        "12:00:01 begun",
        "12:00:01 done",
    ]
