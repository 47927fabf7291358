"""`fustgo dags` and `fustgo run DAG` on a store in which the services have loaded DAGs."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import KILLED, Shell
from tests.support.loaded import load

ADULTS = """
from orchestrator import DAG, processor
from operators import CsvInput, CsvOutput

@processor(rows=True)
def grown(row, *, youngest: int = {youngest}):
    return row if row["age"] > youngest else None

SMALL = {{"batch_size": 10, "checkpoint": {{"every_batches": 1}}}}

with DAG("adults", schedule="0 2 * * *", settings=SMALL) as dag:
    CsvInput("people", path="people.csv") >> grown >> CsvOutput("out", path="out/adults.csv")
"""


@pytest.fixture
def loaded(shell: Shell) -> Shell:
    (shell.folder / "adults.py").write_text(ADULTS.format(youngest=18))
    load(shell.home, shell.folder, "adults.py")
    (shell.folder / "adults.py").unlink()
    return shell


def rows(shell: Shell) -> int:
    return len((shell.folder / "out/adults.csv").read_text().splitlines()) - 1


def older(shell: Shell, age: int) -> int:
    lines = (shell.folder / "people.csv").read_text().splitlines()[1:]
    return sum(int(line.split(",")[2]) > age for line in lines)


def test_a_loaded_dag_runs_by_its_id_from_its_frozen_tree(loaded: Shell) -> None:
    done = loaded.run("run", "adults")
    assert done.code == 0, done
    assert rows(loaded) == older(loaded, 18)
    assert "adults: run 1 (manual__" in done.out
    shown = json.loads(loaded.run("runs", "show", "1", "--json").out)
    assert (shown["dag"], shown["file"]) == ("adults", "adults")
    assert (loaded.home / "artifacts" / "bundles" / shown["bundle_version"]).is_dir()
    assert f"type manual  code {shown['bundle_version'][:12]}" in loaded.run("runs", "show", "1").out


def test_a_killed_run_of_a_loaded_dag_goes_on_with_the_code_it_began_with(loaded: Shell) -> None:
    """Also where the services have loaded another version meanwhile; a new run takes that."""
    assert loaded.run("run", "adults", crash="epoch.applied@2").code == KILLED
    (loaded.folder / "adults.py").write_text(ADULTS.format(youngest=50))
    load(loaded.home, loaded.folder, "adults.py")
    resumed = loaded.run("run", "adults", "--resume")
    assert resumed.code == 0, resumed
    assert "run 1" in resumed.out
    assert rows(loaded) == older(loaded, 18)
    assert loaded.run("run", "adults", "--clear", "1").code == 0
    assert rows(loaded) == older(loaded, 18)
    assert loaded.run("run", "adults").code == 0
    assert rows(loaded) == older(loaded, 50)


def test_a_run_of_the_file_is_another_dag_than_the_loaded_one(loaded: Shell) -> None:
    (loaded.folder / "adults.py").write_text(ADULTS.format(youngest=18))
    assert loaded.run("run", "adults.py").code == 0
    refused = loaded.run("run", "adults", "--clear", "1")
    assert (refused.code, "adults@local" in refused.err) == (2, True), refused
    assert loaded.run("run", "adults", "--resume").code == 2


def test_dags_are_listed_with_their_last_run_and_what_could_not_be_loaded(loaded: Shell) -> None:
    assert loaded.run("run", "adults").code == 0
    (loaded.folder / "broken.yaml").write_text("id: broken\n\ninput: {type: cvs}\n")
    load(loaded.home, loaded.folder, "broken.yaml")
    listed = loaded.run("dags", "list")
    assert listed.code == 0, listed
    for word in ("adults", "0 2 * * *", "yes", "1 success", "adults.py"):
        assert word in listed.out, listed
    assert "not loaded: broken.yaml; `fustgo dags errors` says why" in listed.err
    assert "broken.yaml:3" in loaded.run("dags", "errors").out
    found = json.loads(loaded.run("dags", "list", "--json").out)
    assert [(dag["dag"], dag["schedule"], dag["last_run"]["number"]) for dag in found["dags"]] == [
        ("adults", "0 2 * * *", 1)
    ]
    assert [error["file"] for error in found["load_errors"]] == ["broken.yaml"]


def test_a_loaded_dag_is_shown_as_its_file_would_be(loaded: Shell) -> None:
    (loaded.folder / "adults.py").write_text(ADULTS.format(youngest=18))
    by_id, by_file = loaded.run("dags", "show", "adults"), loaded.run("dags", "show", "adults.py")
    assert (by_id.code, by_file.code) == (0, 0), by_id
    assert by_id.out.startswith(by_file.out.rstrip())
    assert "last run -" in by_id.out
    documents = [loaded.run("dags", "show", name, "--json").out for name in ("adults", "adults.py")]
    assert json.loads(documents[0]) == json.loads(documents[1])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("run", "adult"), "did you mean 'adults'?"),
        (("run", "nobody"), "a file is named with its ending: fustgo run nobody.py"),
        (("dags", "show", "nobody"), "there is no DAG 'nobody'"),
        (("run", "adults", "--dag", "adults"), "--dag"),
        (("run", "adults", "--param", "x=1"), "no param 'x'"),
    ],
)
def test_bad_use_is_refused(loaded: Shell, args: tuple[str, ...], said: str) -> None:
    refused = loaded.run(*args)
    assert (refused.code, said in refused.err) == (2, True), refused


def test_a_tree_that_is_gone_is_said_before_a_run_is_made(loaded: Shell) -> None:
    (loaded.home / "artifacts" / "bundles").rename(loaded.home / "elsewhere")
    refused = loaded.run("run", "adults")
    assert (refused.code, "is not on this host" in refused.err) == (2, True), refused
    assert json.loads(loaded.run("runs", "list", "--json").out) == []


def test_an_empty_store_says_how_dags_are_loaded(shell: Shell) -> None:
    assert "fustgo standalone" in shell.run("dags", "list").out
