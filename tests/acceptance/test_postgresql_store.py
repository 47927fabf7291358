"""`fustgo run` with its store on PostgreSQL: killed and resumed as on SQLite; SQLite pays nothing for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.commands import KILLED, Result, Shell
from tests.support.postgres import Cluster

KEPT = [f"{n},name {n},{n * 7 % 60}" for n in range(40) if n * 7 % 60 > 18]
NODES = [
    {"id": "people", "type": "csv", "kind": "input", "config": {"path": "people.csv"}},
    {"id": "kept", "type": "filter", "from": "people", "config": {"condition": "age > 18"}},
    {"id": "file", "type": "csv", "kind": "output", "from": "kept", "config": {"path": "out/people.csv"}},
]
LOADED = """
import sys
from orchestrator.cli.main import main
code = main(["run", "dag.json"])
loaded = sorted(name for name in sys.modules if "psycopg" in name or "postgresql" in name)
print(code, loaded, file=sys.stderr)
"""


@pytest.fixture
def url(postgres: Cluster) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def shell(shell: Shell) -> Shell:
    settings = {"batch_size": 5, "checkpoint": {"every_batches": 2}}
    document = {"id": "people", "nodes": NODES, "settings": settings}
    (shell.folder / "dag.json").write_text(json.dumps(document))
    return shell


@pytest.mark.parametrize(
    "point", ["restore.checkpoint_read", "epoch.decided@2", "epoch.applied@3", "output.applied@2"]
)
def test_a_killed_run_is_resumed_to_the_same_target(shell: Shell, url: str, point: str) -> None:
    def fustgo(*words: str, crash: str = "") -> Result:
        return shell.run(*words, crash=crash, environ={"FUSTGO_DATABASE__URL": url})

    assert fustgo("run", "dag.json", crash=point).code == KILLED
    assert "failed" in fustgo("runs", "list").out
    resumed = fustgo("run", "dag.json", "--resume")
    assert resumed.code == 0, resumed
    assert (shell.folder / "out/people.csv").read_text().splitlines() == ["id,name,age", *KEPT]
    assert "success" in fustgo("runs", "show", "1").out
    assert not (shell.home / "fustgo.db").exists()


def test_a_server_that_is_not_there_is_one_clear_error(shell: Shell) -> None:
    nowhere = {"FUSTGO_DATABASE__URL": "postgresql://me:secret@/x?host=%2Fnowhere"}
    said = shell.run("run", "dag.json", environ=nowhere)
    assert said.code == 2, said
    assert "is the server up" in said.err
    assert "secret" not in said.err + said.out


def test_a_run_on_sqlite_loads_nothing_of_postgresql(shell: Shell) -> None:
    said = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=shell.folder, capture_output=True, text=True, check=True
    )
    assert said.stderr.splitlines()[-1] == "0 []"
