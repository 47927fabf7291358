"""Kills at any time, not only at named steps: a run killed again and again ends as if it never was."""

from __future__ import annotations

import json
import random
import sqlite3
from threading import Event

import pyarrow.parquet as pq
import pytest

from tests.support.commands import KILLED, Shell

ROWS = 400_000
COLUMNS = {"n": "row", "half": "row / 2.0"}
DOCUMENT = {
    "id": "all",
    "settings": {"batch_size": 1000, "checkpoint": {"every_batches": 9}},
    "nodes": [
        {"id": "made", "type": "generate", "config": {"rows": ROWS, "columns": COLUMNS}},
        {"id": "kept", "type": "filter", "from": "made", "config": {"condition": "n % 3 <> 0"}},
        *(
            {"id": name, "type": type_name, "kind": "output", "from": "kept", "config": config}
            for name, type_name, config in (
                ("csv", "csv", {"path": "out/a.csv"}),
                ("parts", "csv", {"path": "out/parts/"}),
                ("parquet", "parquet", {"path": "out/a.parquet"}),
                ("table", "sqlite", {"path": "out/a.db", "table": "t"}),
            )
        ),
    ],
}


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_is_killed_at_random_ends_as_if_it_never_was(shell: Shell, seed: int) -> None:
    shell.measured = False
    rng = random.Random(seed)
    (shell.folder / "all.json").write_text(json.dumps(DOCUMENT))
    arguments: tuple[str, ...] = ("run", "all.json")
    kills = 0
    for _ in range(12):
        running = shell.start(*arguments)
        Event().wait(rng.uniform(0.05, 0.5))
        running.process.kill()
        result = running.wait()
        kills += result.code == KILLED
        if result.code == 0:
            break
        started = json.loads(shell.run("runs", "list", "--json").out)
        arguments = ("run", "all.json", "--resume") if started else ("run", "all.json")
        if started and started[0]["state"] == "success":
            break
    else:
        assert shell.run(*arguments).code == 0
    assert kills, "nothing was killed"
    expected = [n for n in range(ROWS) if n % 3]
    assert pq.read_table(shell.folder / "out/a.parquet")["n"].to_pylist() == expected
    lines = (shell.folder / "out/a.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines[1:]] == expected
    connection = sqlite3.connect(shell.folder / "out/a.db")
    assert [n for (n,) in connection.execute("SELECT n FROM t ORDER BY rowid")] == expected
    connection.close()
    files = sorted((shell.folder / "out/parts").glob("*.csv"))
    rows = [line for file in files for line in file.read_text().splitlines()[1:]]
    assert [int(line.split(",")[0]) for line in rows] == expected
