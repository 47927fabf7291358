"""`fustgo pools` and `fustgo workers` on a real store."""

from __future__ import annotations

import json

import pytest

from orchestrator.store import processes, workers
from tests.support.commands import Shell
from tests.support.loaded import load, open_home

POOLED = """
id: pooled
input: {type: csv, config: {path: people.csv}}
output: {type: csv, config: {path: out/people.csv}, pool: small}
"""


def test_pools_are_set_listed_and_deleted(shell: Shell) -> None:
    assert shell.run("pools", "set", "small", "2", "--description", "slow disk").code == 0
    assert shell.run("pools", "set", "small", "3").code == 0
    found = json.loads(shell.run("pools", "list", "--json").out)
    assert [
        (pool["name"], pool["slots"], pool["description"]) for pool in found if pool["name"] == "small"
    ] == [("small", 3, "slow disk")]
    assert "default" in shell.run("pools", "list").out
    assert shell.run("pools", "delete", "small").code == 0
    assert "small" not in shell.run("pools", "list").out


def test_a_pool_that_is_asked_for_is_not_deleted(shell: Shell) -> None:
    (shell.folder / "pooled.yaml").write_text(POOLED)
    assert shell.run("pools", "set", "small", "2").code == 0
    load(shell.home, shell.folder, "pooled.yaml")
    refused = shell.run("pools", "delete", "small")
    assert refused.code == 2
    assert "stage input of DAG pooled" in refused.err
    assert "pools set small 0" in refused.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("delete", "default"), "that of every stage that names none"),
        (("delete", "defalt"), "did you mean 'default'?"),
        (("set", "small", "-1"), "-1"),
        (("set", "small", "many"), "many"),
        (("set", "small", "9" * 30), "0 to 2,147,483,647"),
        (("set", "", "1"), "cannot be the name of a pool"),
        (("set", "a b/ü", "1"), "cannot be the name of a pool"),
        (("set", "small", "1", "--description", "bad\udcff"), "the argument bad\\xff is not text"),
    ],
)
def test_bad_use_of_pools_is_refused(shell: Shell, args: tuple[str, ...], said: str) -> None:
    refused = shell.run("pools", *args)
    assert (refused.code, said in refused.err) == (2, True), refused


def enter(shell: Shell, kind: str) -> int:
    """Register this very process as a worker."""
    database = open_home(shell.home)
    pid, started = processes.this_process()
    with database.transaction() as connection:
        worker = workers.register_worker(
            connection,
            host=processes.host(),
            pid=pid,
            start_time=started,
            kind=kind,
            labels=["gpu"],
            slots=4,
            now=database.clock.now(),
        )
    database.close()
    return worker


def test_workers_are_listed_and_drained(shell: Shell) -> None:
    assert "no workers" in shell.run("workers", "list").out
    worker = enter(shell, "worker")
    listed = shell.run("workers", "list")
    for word in (str(worker), "online", "gpu", "0/4", str(processes.this_process()[0])):
        assert word in listed.out, listed
    assert shell.run("workers", "drain", str(worker)).code == 0
    (found,) = json.loads(shell.run("workers", "list", "--json").out)
    assert (found["state"], found["draining"], found["running"]) == ("draining", True, 0)


def test_what_cannot_drain_is_said(shell: Shell) -> None:
    command = enter(shell, "command")
    for number, said in ((command, "is a command"), (99, "no worker 99")):
        refused = shell.run("workers", "drain", str(number))
        assert (refused.code, said in refused.err) == (2, True), refused


def test_a_run_by_a_number_that_no_store_keeps_is_not_found(shell: Shell) -> None:
    refused = shell.run("runs", "show", "9" * 20)
    assert (refused.code, "there is no run" in refused.err) == (2, True), refused
    refused = shell.run("runs", "list", "--limit", "9" * 20)
    assert (refused.code, "is not a whole number from 1 to" in refused.err) == (2, True), refused


def test_a_pool_that_nobody_has_set_is_named_where_it_could_be_missed(shell: Shell) -> None:
    (shell.folder / "pooled.yaml").write_text(POOLED)
    said = "small: no limit, nobody has set it: fustgo pools set small N"
    assert said in shell.run("plan", "pooled.yaml").out  # there is no store yet, and none is made
    assert not (shell.home / "fustgo.db").exists()
    load(shell.home, shell.folder, "pooled.yaml")
    assert f"{said} (asked for by stage input of DAG pooled)" in shell.run("pools", "list").out
    for words in (("plan", "pooled.yaml"), ("dags", "show", "pooled"), ("dags", "show", "pooled.yaml")):
        shown = shell.run(*words)
        assert said in shown.out + shown.err, shown
    assert {"name": "small", "slots": None}.items() <= json.loads(shell.run("pools", "list", "--json").out)[
        -1
    ].items()
    assert shell.run("pools", "set", "small", "2").code == 0
    assert said not in shell.run("pools", "list").out + shell.run("plan", "pooled.yaml").out
