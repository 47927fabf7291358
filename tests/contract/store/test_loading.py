"""Loading: what the files define now is what runs from now on; what is broken costs its own file only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.scheduler import loader
from orchestrator.scheduler.bundles import Interrupted, Tree
from orchestrator.scheduler.loader import Found, load
from orchestrator.settings import Settings
from orchestrator.settings import load as load_settings
from orchestrator.store import dags
from orchestrator.store.artifacts import bundle_tree
from orchestrator.store.database import Database
from orchestrator.store.loading import load_errors
from orchestrator.store.tables import Dag, table_of
from orchestrator.store.tables.entity import value

PYTHON = """
from orchestrator import DAG
from operators import Discard, Generate
from team.rows import ROWS

with DAG("numbers", max_active_runs=3) as dag:
    Generate("n", rows=ROWS) >> Discard("d")
"""
YAML = "id: short\ninput: {type: generate, config: {rows: 5}}\noutput: {type: discard}\n"
SLOW = """
from orchestrator import DAG
from operators import Discard, Generate

with DAG("slow"):
    Generate("n", rows=1) >> Discard("d")
"""
both_databases = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])


@pytest.fixture
def dialect() -> str:
    """Most of it is about files: one database is enough."""
    return "sqlite"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    write(folder, {"dags/a.py": PYTHON, "dags/team/rows.py": "ROWS = 10", "dags/short.yaml": YAML})
    return folder


@pytest.fixture
def settings(project: Path, tmp_path: Path) -> Settings:
    environ = {"FUSTGO_HOME": str(tmp_path / "home"), "FUSTGO_BUNDLE__PATH": str(project)}
    return load_settings(environ=environ)


@pytest.fixture
def quiet() -> Iterator[int]:
    """A descriptor that never becomes readable."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def stored(database: Database) -> dict[str, Dag]:
    table = table_of(Dag)
    with database.read() as connection:
        rows = connection.execute(select(table).where(table.c.space == dags.BUNDLE))
        return {row.dag_id: value(Dag, row) for row in rows}


def errors(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.file: row.message for row in load_errors(connection)}


def ids(found: Found) -> list[str]:
    return sorted(dag.dag_id for dag in found.dags)


@both_databases
def test_dags_are_stored_with_their_tree_their_project_and_their_limits(
    database: Database, settings: Settings, project: Path, quiet: int
) -> None:
    bundle, found = load(database, settings, quiet)
    assert (ids(found), found.errors) == (["numbers", "short"], {})
    numbers = stored(database)["numbers"]
    assert (numbers.file, numbers.bundle_version) == ("a.py", bundle.version)
    assert (numbers.project, numbers.max_active_runs) == (str(project), 3)
    with database.read() as connection:
        version = dags.get_version(connection, numbers.version or 0)
        assert [stage.id for stage in dags.graph_of(connection, version.id)] == ["n"]
    assert bundle.root == bundle_tree(settings.artifacts.path, bundle.version)


def test_a_changed_module_is_a_new_tree_of_the_same_definition_and_a_limit_taken_out_is_the_usual_one(
    database: Database, settings: Settings, project: Path, quiet: int
) -> None:
    load(database, settings, quiet)
    before = stored(database)["short"]
    write(project, {"dags/team/rows.py": "ROWS = 11", "dags/a.py": PYTHON.replace(", max_active_runs=3", "")})
    bundle, _ = load(database, settings, quiet)
    after = stored(database)
    assert (after["short"].version, after["short"].bundle_version) == (before.version, bundle.version)
    assert after["numbers"].max_active_runs == 16


@both_databases
def test_what_is_loaded_already_is_not_written_again(
    database: Database, settings: Settings, quiet: int
) -> None:
    first = load(database, settings, quiet)
    before = stored(database)
    assert load(database, settings, quiet) == first
    assert stored(database) == before


def test_a_broken_file_is_listed_at_its_line_and_its_last_good_version_stays(
    database: Database, settings: Settings, project: Path, quiet: int
) -> None:
    load(database, settings, quiet)
    before = stored(database)["numbers"]
    write(project, {"dags/a.py": PYTHON.replace("rows=ROWS", "rows=undefined")})
    _, found = load(database, settings, quiet)
    assert ids(found) == ["short"]
    assert errors(database) == found.errors
    assert found.errors["a.py"].startswith(f"{project}/dags/a.py:7: NameError: ")
    assert stored(database)["numbers"] == before
    write(project, {"dags/a.py": PYTHON})
    load(database, settings, quiet)
    assert errors(database) == {}


def test_a_file_that_ends_its_process_costs_no_other_file(
    database: Database, settings: Settings, project: Path, quiet: int
) -> None:
    killing = "import os, signal  # DAG\nos.kill(os.getpid(), signal.SIGKILL)\n"
    write(project, {"dags/aa.py": "import os  # DAG\nos._exit(3)\n", "dags/zz.py": killing})
    _, found = load(database, settings, quiet)
    assert ids(found) == ["numbers", "short"]
    assert "exit code 3" in found.errors["aa.py"]
    assert "signal 9" in found.errors["zz.py"]


def test_a_file_that_hangs_is_given_up(
    database: Database, settings: Settings, project: Path, quiet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "QUICK", 3.0)
    monkeypatch.setattr(loader, "PATIENCE", 4.0)
    write(project, {"dags/hangs.py": "import signal  # DAG\nsignal.pause()\n"})
    _, found = load(database, settings, quiet)
    assert ids(found) == ["numbers", "short"]
    assert "has not ended after 4 s" in found.errors["hangs.py"]


def test_others_are_loaded_before_a_file_that_takes_long(
    database: Database, settings: Settings, project: Path, quiet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "QUICK", 3.0)
    slow = "from pathlib import Path\nwhile not Path('go').exists():\n    pass\n" + SLOW
    write(project, {"dags/aa.py": slow})
    seen: list[tuple[set[str], dict[str, str]]] = []

    def begun(_: Tree, found: Found) -> None:
        assert found.slow == ["aa.py"]
        seen.append(({*stored(database)}, errors(database)))
        (project / "go").touch()

    _, found = load(database, settings, quiet, begun)
    ((first, broken),) = seen
    assert first == {"numbers", "short"}
    assert broken == {"aa.py": f"{project}/dags/aa.py: reading it has not ended after 3 s"}
    assert ({*stored(database)}, errors(database)) == ({"numbers", "short", "slow"}, {})
    assert found.slow == []


def test_who_is_told_to_stop_does_not_wait_for_a_file_that_hangs(
    database: Database, settings: Settings, project: Path
) -> None:
    write(project, {"dags/hangs.py": "import signal  # DAG\nsignal.pause()\n"})
    reading, writing = os.pipe()
    os.write(writing, b"s")
    with pytest.raises(Interrupted):
        load(database, settings, reading)
    os.close(reading)
    os.close(writing)


def test_a_second_dag_of_an_id_is_an_error_that_names_both_files(
    database: Database, settings: Settings, project: Path, quiet: int
) -> None:
    write(project, {"dags/team/again.yaml": YAML})
    _, found = load(database, settings, quiet)
    assert ids(found) == ["numbers", "short"]
    said = found.errors["team/again.yaml"]
    folder = project / "dags"
    assert said.startswith(
        f"{folder}/team/again.yaml: a second DAG 'short', the first is in {folder}/short.yaml"
    )


def test_files_that_hold_no_dag_are_no_error(
    database: Database, settings: Settings, project: Path, quiet: int
) -> None:
    aside = {"about.py": "# about DAGs", "list.yaml": "- 1", "config.yaml": "a: 1", "data.json": "[1]"}
    write(project / "dags", aside)
    _, found = load(database, settings, quiet)
    assert (ids(found), found.errors) == (["numbers", "short"], {})


def test_secrets_of_the_installation_are_not_shown_to_dag_files(
    database: Database, settings: Settings, project: Path, quiet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSTGO_CONN_CRM", "postgres://secret")
    write(project, {"dags/peeks.py": "import os  # DAG\nassert 'FUSTGO_CONN_CRM' not in os.environ\n"})
    _, found = load(database, settings, quiet)
    assert found.errors == {}
