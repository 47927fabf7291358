"""The loading of bundles at work: files are parsed by real processes, while they change."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection

from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError, UsageError
from orchestrator.scheduler.loading import loader as loader_module
from orchestrator.scheduler.loading import rounds, watching
from orchestrator.settings import Settings
from orchestrator.settings import load as load_settings
from orchestrator.store import bundles, dag_views, loading, schedules
from orchestrator.store.database import Database, open_database
from orchestrator.store.loading import Loaded
from orchestrator.store.tables import Dag
from tests.support.loaded import Loader, load_once

YAML = "id: {id}\ndoc_md: {text}\ninput: {{type: generate, config: {{rows: 5}}}}\noutput: {{type: discard}}\n"
PYTHON = """
from orchestrator import DAG
from operators import Discard, Generate
from team.rows import ROWS

with DAG("numbers"):
    Generate("n", rows=ROWS) >> Discard("d")
"""
ALONE = PYTHON.replace("from team.rows import ROWS", "ROWS = 1").replace('"numbers"', "{!r}")
READS = """
import json
from pathlib import Path
from orchestrator import DAG
from operators import Discard, Generate

for name in json.loads(Path(__file__).with_name("names.json").read_text()):
    with DAG(name):
        Generate("n", rows=1) >> Discard("d")
"""
HANGS = "import signal  # DAG\nsignal.pause()\n"


class Site:
    """A project with DAG files, and the store that they are loaded into."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "project", folder / "home"
        self.dags = self.folder / "dags"
        self.dags.mkdir(parents=True)
        self.database: Database = open_database(f"sqlite:///{self.home / 'fustgo.db'}", clock=SystemClock())

    def settings(self, **bundles: dict[str, Any]) -> Settings:
        """Those of one bundle, or of bundles by name."""
        found = {"bundle.path": str(self.folder), "bundle.poll": "100ms"}
        file = self.home / "settings.yaml"
        if bundles:
            found = {}
            file.write_text(repr({"bundles": bundles}))
        return load_settings(file if bundles else None, found, {"FUSTGO_HOME": str(self.home)})

    def write(self, **files: str) -> None:
        """`a__yaml` is a.yaml, `team_rows__py` team/rows.py."""
        for name, text in files.items():
            path = self.dags / name.replace("__", ".").replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def write_yaml(self, name: str, text: str = "first") -> None:
        self.write(**{f"{name}__yaml": YAML.format(id=name, text=text)})

    @property
    def rows(self) -> dict[str, Dag]:
        with self.database.read() as connection:
            return {view.dag.dag_id: view.dag for view in dag_views.list_dags(connection)}

    @property
    def ids(self) -> list[str]:
        """The DAGs that are not removed."""
        return [dag_id for dag_id, row in self.rows.items() if row.removed_at is None]

    def text(self, dag_id: str) -> str:
        with self.database.read() as connection:
            return str(dag_views.find_dag(connection, dag_id).version.document.get("doc_md"))

    @property
    def errors(self) -> dict[str, str]:
        with self.database.read() as connection:
            return {error.file: error.message for error in loading.load_errors(connection)}

    def bundle(self, name: str = "default") -> Any:
        with self.database.read() as connection:
            return bundles.get_bundle(connection, name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.database.close()


def test_a_hanging_file_delays_no_change_of_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "QUICK", 1.0)
    site.write_yaml("good")
    site.write(one__py=HANGS, two__py=HANGS, three__py=HANGS)
    with Loader(site.database, site.settings()) as loader:
        assert "1 DAG of " in (said := loader.serves())
        assert "3 files set aside" in said
        assert "has not ended after 1 s" in site.errors["one.py"]
        for word in ("second", "third"):
            began = monotonic()
            site.write_yaml("good", word)
            loader.until(lambda word=word: site.text("good") == word, "the change")  # type: ignore[misc]
            assert monotonic() - began < 10.0  # while all three are being read: they have a minute each
        site.write(one__py=ALONE.format("one"), two__py=ALONE.format("two"), three__py=ALONE.format("three"))
        loader.until(lambda: site.ids == ["good", "one", "three", "two"], "the files that no longer hang")
    assert site.errors == {}


def test_a_bundle_that_changes_more_often_than_a_file_parses_is_loaded_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENT", 0.1)
    site.write_yaml("gone")
    site.write(slow__py=f"import time\ntime.sleep(1)\n{ALONE.format('slow')}", data__json="0")
    with Loader(site.database, site.settings()) as loader:
        loader.serves()
        site.write(slow__py=f"import time\ntime.sleep(1)\n{ALONE.format('other')}")
        (site.dags / "gone.yaml").unlink()
        began, count = monotonic(), itertools.count()

        def changed_and_live() -> bool:
            site.write(data__json=str(next(count)))
            return site.ids == ["other"]

        loader.until(changed_and_live, "the file that takes long")
        assert monotonic() - began < 15.0


@pytest.mark.parametrize("kind", [StoreError, OverflowError])
def test_a_dag_that_the_store_cannot_keep_costs_its_own_file_only(
    site: Site, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def set_but_b(connection: Connection, dag: Dag, entry: Loaded, now: datetime) -> None:
        if dag.dag_id == "b":
            raise kind("b does not fire: its zone is not known here")
        set_schedule(connection, dag, entry, now)

    set_schedule = schedules.set_schedule
    monkeypatch.setattr(schedules, "set_schedule", set_but_b)
    for name in ("a", "b", "c"):
        site.write_yaml(name)
    load_once(site.database, site.settings())
    assert site.ids == ["a", "c"]
    assert site.errors == {"b.yaml": f"{site.dags}/b.yaml: b does not fire: its zone is not known here"}


def test_a_file_has_the_time_that_is_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "QUICK", 0.5)
    site.write(hangs__py=HANGS)
    settings = site.settings(default={"path": str(site.folder), "parse_timeout": "1s"})
    with Loader(site.database, settings) as loader:
        loader.until(lambda: "after 1 s" in site.errors.get("hangs.py", ""), "the end of the file")
        assert site.errors["hangs.py"].startswith(f"{site.dags}/hangs.py: ")


def test_what_is_ignored_later_is_removed_and_a_broken_file_removes_nothing(site: Site) -> None:
    site.write(a__py=PYTHON, team_rows__py="ROWS = 1")
    site.write_yaml("b")
    with Loader(site.database, site.settings()) as loader:
        loader.serves()
        before = site.rows
        site.write(team_rows__py="ROWS = undefined")
        loader.until(lambda: bool(site.errors), "the error")
        loader.until(lambda: site.rows["b"].bundle_version != before["b"].bundle_version, "the new tree")
        assert site.rows["numbers"] == before["numbers"]
        (site.dags / ".fustgoignore").write_text("b.yaml\n")
        loader.until(lambda: site.ids == ["numbers"], "the end of b")
        (site.dags / ".fustgoignore").unlink()
        site.write(team_rows__py="ROWS = 2")
        loader.until(lambda: site.ids == ["b", "numbers"] and not site.errors, "all of it again")
        assert {dag_id: row.uid for dag_id, row in site.rows.items()} == {
            dag_id: row.uid for dag_id, row in before.items()
        }


def test_a_module_that_was_missing_mends_who_missed_it_and_a_new_tree_is_no_new_version(site: Site) -> None:
    site.write(a__py=PYTHON, odd__py="raise ValueError('\\0 \\udcff')  # DAG")
    with Loader(site.database, site.settings()) as loader:
        loader.serves()
        assert "No module named 'team'" in site.errors["a.py"]
        assert site.errors["odd.py"].endswith(r"ValueError: \u0000 \udcff")
        (site.dags / "odd.py").unlink()
        site.write(team_rows__py="ROWS = 1")
        loader.until(lambda: site.ids == ["numbers"] and not site.errors, "the DAG")
        before = site.rows["numbers"]
        site.write(team_rows__py="ROWS = 1  # as before")
        loader.until(lambda: site.rows["numbers"].bundle_version != before.bundle_version, "the new tree")
        assert site.rows["numbers"].version == before.version
        loader.until(lambda: site.bundle().version == site.rows["numbers"].bundle_version, "its version")


def test_data_that_a_file_reads_reloads_it(site: Site) -> None:
    site.write(many__py=READS, names__json='["x", "y"]')
    with Loader(site.database, site.settings()) as loader:
        loader.serves()
        assert site.ids == ["x", "y"]
        site.write(names__json='["y", "z"]')
        loader.until(lambda: site.ids == ["y", "z"], "what the data says now")


def test_a_folder_that_is_gone_later_is_told_and_what_was_loaded_goes_on(site: Site) -> None:
    site.write_yaml("a")
    with Loader(site.database, site.settings()) as loader:
        loader.serves()
        site.dags.rename(site.folder / "away")
        loader.until(lambda: "there is no folder" in (site.bundle().error or ""), "the error")
        assert site.ids == ["a"]
        (site.folder / "away").rename(site.dags)
        loader.until(lambda: site.bundle().error is None, "the end of the error")


def test_a_folder_that_is_not_there_at_the_first_start_is_an_error(site: Site) -> None:
    site.dags.rmdir()
    with pytest.raises(UsageError, match="there is no folder"):
        load_once(site.database, site.settings())


def test_a_folder_that_is_not_there_at_a_later_start_is_told_and_what_was_loaded_goes_on(site: Site) -> None:
    site.write_yaml("a")
    load_once(site.database, site.settings())
    site.dags.rename(site.folder / "away")
    assert "which cannot be read" in load_once(site.database, site.settings())
    assert site.ids == ["a"]
    assert "there is no folder" in (site.bundle().error or "")


def test_a_bundle_that_another_scheduler_has_loaded_is_forgotten_when_it_stays_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that restarts is soon back; one that has another name now is no second one."""
    monkeypatch.setattr(loader_module, "RETIRE_EVERY", 0.1)
    site.write_yaml("a")
    (site.folder / "other").mkdir()
    (site.folder / "other" / "b.yaml").write_text(YAML.format(id="b", text="theirs"))
    theirs = {"path": str(site.folder), "dags": "other"}
    load_once(site.database, site.settings(theirs=theirs))
    with Loader(site.database, site.settings(mine={"path": str(site.folder)})) as loader:
        loader.serves()
        assert site.ids == ["a", "b"]
        monkeypatch.setattr(loader_module, "RETIRE_AFTER", 0.3)
        loader.until(lambda: site.ids == ["a"], "the end of the bundle of the other")
    load_once(site.database, site.settings(renamed={"path": str(site.folder)}))
    assert (site.ids, site.errors) == (["a"], {})


def test_a_file_that_failed_for_a_passing_reason_is_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "RETRY_AFTER", 0.1)
    monkeypatch.setattr(rounds, "LOOK_EVERY", 0.1)
    away = site.folder / "away"
    site.write(a__py=f"open({str(away)!r})\n{ALONE.format('a')}")
    with Loader(site.database, site.settings()) as loader:
        loader.serves()
        assert "away" in site.errors["a.py"]
        away.touch()
        loader.until(lambda: site.ids == ["a"] and not site.errors, "the file that is no longer broken")


def test_a_dag_of_two_bundles_is_loaded_by_the_second_once_the_first_has_it_no_more(site: Site) -> None:
    site.write_yaml("a")
    site.write_yaml("keeps")
    other = site.folder / "other"
    other.mkdir()
    (other / "x.yaml").write_text(YAML.format(id="a", text="theirs"))
    both = {
        "one": {"path": str(site.folder), "poll": "100ms"},
        "two": {"path": str(site.folder), "dags": "other", "poll": "100ms"},
    }
    load_once(site.database, site.settings(one=both["one"]))
    uid = site.rows["a"].uid
    with Loader(site.database, site.settings(**both)) as loader:
        said = loader.serves()
        assert said.startswith("one: 2 DAGs of ")
        assert "; two: 0 DAGs of " in said
        assert "the first is in a.yaml of bundle one" in site.errors["x.yaml"]
        (site.dags / "a.yaml").unlink()
        loader.until(lambda: site.rows["a"].bundle == "two", "the DAG of the other bundle")
        assert (site.rows["a"].uid, site.text("a")) == (uid, "theirs")
        loader.until(lambda: not site.errors, "the end of the error")


def test_a_bundle_that_is_called_otherwise_has_the_same_dags_and_old_trees_go(site: Site) -> None:
    site.write_yaml("a")
    load_once(site.database, site.settings())
    before = site.rows["a"]
    left = site.home / "artifacts" / "bundles" / ("0" * 20)
    left.mkdir()
    for tree in left.parent.iterdir():
        os.utime(tree, (0, 0))
    load_once(site.database, site.settings(team={"path": str(site.folder)}))
    after = site.rows["a"]
    assert (after.uid, after.bundle, after.removed_at) == (before.uid, "team", None)
    assert site.bundle() is None
    assert not left.exists()
    assert (left.parent / str(after.bundle_version)).is_dir()


def test_a_repository_that_cannot_be_read_keeps_no_scheduler_from_beginning(site: Site) -> None:
    repository = site.folder / "repository"
    settings = site.settings(default={"path": str(site.folder), "git": str(repository), "poll": "1s"})
    with Loader(site.database, settings) as loader:
        assert loader.serves() == f"no DAGs of {repository}@HEAD, which cannot be read"
        assert str(repository) in site.bundle().error
        site.write_yaml("a")
        git = ("git", "-C", str(repository), "-c", "user.name=ada", "-c", "user.email=ada@example.org")
        repository.mkdir()
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
            shutil.copytree(site.dags, repository / "dags", dirs_exist_ok=True)
            subprocess.run([*git, *words], check=True)
        loader.until(lambda: site.bundle().version is not None, "the commit")
        assert site.rows["a"].bundle_version == site.bundle().version
        assert site.bundle().error is None


def test_a_scheduler_loads_what_another_gives_back(site: Site) -> None:
    site.write_yaml("a")
    with ExitStack() as stack:
        first = stack.enter_context(Loader(site.database, site.settings()))
        first.serves()
        with Loader(site.database, site.settings()) as second:
            assert f"are loaded by scheduler {first.worker} on " in second.serves()
            stack.close()
            second.until(lambda: site.bundle().loader == second.worker, "the bundle")
            site.write_yaml("a", "second")
            second.until(lambda: site.text("a") == "second", "the change")
