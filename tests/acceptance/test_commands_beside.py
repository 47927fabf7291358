"""`fustgo run` in two terminals beside a busy standalone on one home, one of them killed and gone on with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.commands import KILLED, Shell
from tests.support.services_site import ServicesSite, services_site

ROWS = 3000
BUSY = """
from operators import CsvInput, CsvOutput, Filter, SqliteOutput
from orchestrator import DAG, action


@action
def step():
    return 1


SMALL = {"batch_size": 100, "checkpoint": {"every_batches": 2}}

with DAG("busy", params={"name": "busy"}, settings=SMALL):
    people = CsvInput("people", path="people.csv")
    out = CsvOutput("out", path="out/{{ params.name }}.csv")
    people >> Filter("even", condition="id % 2 = 0") >> out >> step("after")
    again = CsvInput("again", path="out/{{ params.name }}.csv")
    out >> again >> SqliteOutput("table", path="out/people.db", table="busy", mode="append")
"""
JOB = """
id: NAME
settings: {batch_size: 100, checkpoint: {every_batches: 2}}
nodes:
  - {id: people, type: csv, kind: input, config: {path: people.csv}}
  - {id: third, type: filter, from: people, config: {condition: "id % 3 = REST"}}
  - {id: file, type: csv, kind: output, from: third, config: {path: out/NAME.csv}}
  - {id: table, type: sqlite, kind: output, from: third,
     config: {path: out/people.db, table: NAME, mode: append}}
"""


def lines(every: int, rest: int) -> list[str]:
    return [f"{n},name {n}" for n in range(ROWS) if n % every == rest]


def table(site: ServicesSite, name: str) -> list[str]:
    with closing(sqlite3.connect(site.project / "out/people.db")) as connection:
        return [f"{n},{text}" for n, text in connection.execute(f"SELECT id, name FROM {name}")]


def file(site: ServicesSite, name: str) -> list[str]:
    return (site.project / f"out/{name}.csv").read_text().splitlines()[1:]


def test_two_commands_beside_a_busy_standalone_one_killed_and_resumed(tmp_path: Path) -> None:
    with services_site(tmp_path, {"busy.py": BUSY}) as site:
        rows = "".join(f"{n},name {n}\n" for n in range(ROWS))
        (site.project / "people.csv").write_text("id,name\n" + rows)
        for name, rest in (("one", 1), ("two", 2)):
            (site.project / f"{name}.yaml").write_text(JOB.replace("NAME", name).replace("REST", str(rest)))
        standalone = site.serving(site.service("standalone"))
        busy = [site.trigger("busy", name=f"busy{n}") for n in range(4)]
        terminals = [Shell(site.project, site.home), site.shell]
        one = terminals[0].start("run", "one.yaml", crash="output.applied@4")
        two = terminals[1].start("run", "two.yaml")
        busy += [site.trigger("busy", name=f"busy{n}") for n in range(4, 8)]
        assert one.wait().code == KILLED
        assert two.wait().code == 0
        resumed = terminals[0].run("run", "one.yaml", "--resume", crash="ledger.committed@2")
        assert resumed.code == KILLED
        resumed = terminals[0].run("run", "one.yaml", "--resume")
        assert resumed.code == 0, resumed
        assert [site.wait(run).state for run in busy] == ["success"] * 8
        assert [site.outcomes(run) for run in busy] == [["success"] * 3] * 8  # nobody disturbed them
        for name, rest in (("one", 1), ("two", 2)):
            assert file(site, name) == lines(3, rest)
            assert sorted(table(site, name)) == sorted(lines(3, rest))
        for n in range(8):
            assert file(site, f"busy{n}") == lines(2, 0)
        assert sorted(table(site, "busy")) == sorted(lines(2, 0) * 8)
        standalone.end()
