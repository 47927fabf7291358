"""`fustgo run`, killed with SIGKILL at every step and resumed, leaves the target of a straight run.

Row for row, with nothing of a dead attempt beside the target or among the run's artifacts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import KILLED, Shell

ROWS = 40
CSV = {"type": "csv", "kind": "output", "from": "kept", "config": {"path": "out/people.csv"}}
PARQUET = {"type": "parquet", "kind": "output", "from": "kept", "config": {"path": "out/people.parquet"}}
SQLITE = {
    "type": "sqlite", "kind": "output", "from": "kept",
    "config": {"path": "out/people.db", "table": "people"},
}  # fmt: skip
FOLDER = {"type": "csv", "kind": "output", "from": "kept", "config": {"path": "out/parts/"}}
TARGETS: Mapping[str, Mapping[str, Any]] = {
    "csv": {"csv": CSV},
    "parquet": {"parquet": PARQUET},
    "sqlite": {"sqlite": SQLITE},
    "all": {"csv": CSV, "parquet": PARQUET, "sqlite": SQLITE, "folder": FOLDER},
}
EVERYWHERE = (
    "restore.killed", "restore.prepared", "restore.staging_removed", "restore.checkpoint_read",
    "restore.reopened", "part.sealed", "folder.synced", "epoch.decided", "output.applied", "epoch.applied",
    "stage.finished", "staging.removed", "stage.success", "run.ended",
)  # fmt: skip
ONLY: Mapping[str, tuple[str, ...]] = {
    "csv": ("file.renamed",),
    "parquet": ("file.renamed",),
    "sqlite": ("restore.ledger_row", "ledger.before_commit", "ledger.committed"),
    "all": ("file.renamed", "restore.ledger_row", "ledger.before_commit", "ledger.committed"),
}
RESTORE = (
    "restore.killed", "restore.prepared", "restore.staging_removed", "restore.checkpoint_read",
    "restore.applied",
)  # fmt: skip


def write_dag(shell: Shell, target: str) -> str:
    nodes = [
        {"id": "people", "type": "csv", "kind": "input", "config": {"path": "people.csv"}},
        {"id": "kept", "type": "filter", "from": "people", "config": {"condition": "age > 18"}},
        *({"id": name, **entry} for name, entry in TARGETS[target].items()),
    ]
    settings = {"batch_size": 5, "checkpoint": {"every_batches": 2}}
    (shell.folder / "dag.json").write_text(json.dumps({"id": "people", "nodes": nodes, "settings": settings}))
    return "dag.json"


def expected() -> list[tuple[int, str, int]]:
    return [(n, f"name {n}", n * 7 % 60) for n in range(ROWS) if n * 7 % 60 > 18]


def read_csv(path: Path) -> list[tuple[Any, ...]]:
    lines = path.read_text().splitlines()
    assert lines[0] == "id,name,age"
    return [(int(a), b, int(c)) for a, b, c in (line.split(",") for line in lines[1:])]


def read_parquet(path: Path) -> list[tuple[Any, ...]]:
    import pyarrow.parquet as pq

    return [tuple(row.values()) for row in pq.read_table(path).to_pylist()]


def read_sqlite(path: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT id, name, age FROM people ORDER BY rowid").fetchall()
    finally:
        connection.close()


def read_folder(path: Path) -> list[tuple[Any, ...]]:
    return [row for part in sorted(path.glob("*.csv")) for row in read_csv(part)]


READERS: Mapping[str, tuple[str, Callable[[Path], list[tuple[Any, ...]]]]] = {
    "csv": ("people.csv", read_csv),
    "parquet": ("people.parquet", read_parquet),
    "sqlite": ("people.db", read_sqlite),
    "folder": ("parts", read_folder),
}


def assert_whole(shell: Shell, target: str) -> None:
    for output in TARGETS[target]:
        name, read = READERS[output]
        assert read(shell.folder / "out" / name) == expected(), output
    assert leftovers(shell) == []


def leftovers(shell: Shell) -> list[str]:
    """Hidden files beside the targets, and parts among the artifacts; the hidden folders' ids may stay."""
    hidden = [path for path in (shell.folder / "out").rglob("*") if ".fustgo" in path.parts]
    spooled = list((shell.home / "artifacts").rglob("parts/*"))
    return [str(path) for path in [*hidden, *spooled] if path.is_file() and path.name != "id"]


def points_of(target: str) -> list[tuple[str, int]]:
    listed = [(point, passing) for point in (*EVERYWHERE, *ONLY[target]) for passing in (1, 3)]
    # One epoch is applied by each output in turn, the hidden one for rejects included.
    each_output = [("output.applied", passing) for passing in range(4, len(TARGETS[target]) + 3)]
    return [*listed, ("output.applied", 2), *each_output]


def passes(shell: Shell, file: str) -> dict[str, int]:
    """How often a straight run passes each point; it leaves its targets, which are removed again."""
    log = shell.home.parent / "passed"
    result = shell.run("run", file, log=log)
    assert result.code == 0, result
    names = log.read_text().split()
    return {name: names.count(name) for name in names}


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """Hundreds of commands: other tests measure what they cover."""
    shell.measured = False
    return shell


@pytest.mark.parametrize("target", TARGETS)
def test_a_straight_run_passes_every_listed_point(shell: Shell, target: str) -> None:
    counts = passes(shell, write_dag(shell, target))
    assert_whole(shell, target)
    missing = [point for point in (*EVERYWHERE, *ONLY[target]) if point not in counts]
    assert missing == []


@pytest.mark.parametrize(
    ("target", "point", "passing"),
    [(target, point, passing) for target in TARGETS for point, passing in points_of(target)],
)
def test_killed_at_any_point_and_resumed(shell: Shell, target: str, point: str, passing: int) -> None:
    file = write_dag(shell, target)
    killed = shell.run("run", file, crash=f"{point}@{passing}")
    if killed.code == 0:
        assert passing > 1, f"{point} was not passed even once"
        assert_whole(shell, target)
        return
    assert killed.code == KILLED, killed
    resumed = shell.run("run", file, "--resume")
    if point in ("stage.success", "run.ended"):  # one transaction: the only stage's success ends the run
        assert resumed.code == 2, resumed
        assert "no run to go on with" in resumed.err
    else:
        assert resumed.code == 0, resumed
    assert_whole(shell, target)


@pytest.mark.parametrize("first", ["epoch.decided@2", "output.applied@3"])
@pytest.mark.parametrize("point", [*RESTORE, "restore.ledger_row", "restore.reopened"])
def test_killed_again_while_it_restores(shell: Shell, point: str, first: str) -> None:
    file = write_dag(shell, "all")
    assert shell.run("run", file, crash=first).code == KILLED
    assert shell.run("run", file, "--resume", crash=point).code == KILLED
    resumed = shell.run("run", file, "--resume")
    assert resumed.code == 0, resumed
    assert_whole(shell, "all")
