"""Storing what DAG files hold: who may, what becomes of it, and that nothing is written twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from orchestrator.errors import RefusedError
from orchestrator.scheduler.service import register
from orchestrator.store import bundles, loading, workers
from orchestrator.store.bundles import BundleLost, Claim
from orchestrator.store.dags import BUNDLE, ensure_dag, ensure_version, graph_of
from orchestrator.store.database import Database
from orchestrator.store.loading import Loaded, Place, Stored
from orchestrator.store.tables import Dag, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Schedule
from orchestrator.store.verbs.triggering import loaded_dag
from tests.support.store import ManualClock, document, graph

STAGES = graph({"n": ()})


def loaded(dag_id: str, file: str = "", text: int = 1, **more: Any) -> Loaded:
    """A DAG of one stage; another `text` is another definition."""
    content = {**document(STAGES), "id": dag_id, "text": text, **more}
    stages = STAGES.to_json()
    return Loaded(dag_id, file or f"{dag_id}.py", f"hash {dag_id} {content}", content, stages)


class Bundle:
    """A bundle that a scheduler loads."""

    def __init__(self, database: Database, name: str = "default", *, paused: bool = True) -> None:
        self.database, self.worker = database, register(database)
        assert bundles.claim_bundle(database, name, f"/{name}", self.worker)
        self.place = Place(Claim(name, self.worker), "v1", f"/{name}", "/project", paused)

    def store(self, *dags: Loaded, errors: Mapping[str, str | None] | None = None) -> Stored:
        good = dict.fromkeys(dag.file for dag in dags)
        return loading.store_files(self.database, self.place, dags, {**good, **(errors or {})})

    def settle(self, ids: Iterable[str], stay: Iterable[str] = (), files: Iterable[str] = ()) -> list[str]:
        known = {*files} or {f"{dag_id}.py" for dag_id in ids}
        return loading.settle(self.database, self.place, ids={*ids}, files=known, stay={*stay})

    def load(self, *dags: Loaded) -> list[str]:
        """Store what its files hold, all of them; what was removed."""
        self.store(*dags)
        return self.settle([dag.dag_id for dag in dags], files=[dag.file for dag in dags])

    def at(self, version: str) -> Bundle:
        """The same with another tree."""
        self.place = replace(self.place, version=version)
        return self


@pytest.fixture
def bundle(database: Database) -> Bundle:
    return Bundle(database)


def stored(database: Database) -> dict[str, Dag]:
    table = table_of(Dag)
    with database.read() as connection:
        rows = connection.execute(table.select().where(table.c.space == BUNDLE))
        return {row.dag_id: value(Dag, row) for row in rows}


def errors(database: Database, bundle: str = "default") -> dict[str, str]:
    with database.read() as connection:
        return {row.file: row.message for row in loading.load_errors(connection, bundle)}


def written(database: Database, bundle: Bundle, *dags: Loaded) -> list[str]:
    """The statements that write while these are loaded."""
    found = []

    def hear(*happened: Any) -> None:
        if happened[2].startswith(("INSERT", "UPDATE", "DELETE")):
            found.append(happened[2])

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        bundle.load(*dags)
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    return found


def test_a_dag_is_stored_with_its_tree_its_project_its_limits_and_its_schedule(
    database: Database, bundle: Bundle
) -> None:
    done = bundle.store(loaded("a", max_active_runs=3, schedule="0 5 * * *"))
    assert (done.added, done.changed) == (["a"], [])
    dag = stored(database)["a"]
    assert (dag.bundle, dag.file, dag.bundle_version) == ("default", "a.py", "v1")
    assert (dag.project, dag.max_active_runs, dag.max_active_tasks, dag.paused) == ("/project", 3, 16, True)
    with database.read() as connection:
        assert [stage.id for stage in graph_of(connection, dag.version or 0)] == ["n"]
        [row] = connection.execute(table_of(Schedule).select())
    assert (row.dag, row.timetable) == (dag.id, "0 5 * * *")
    assert bundle.store(loaded("a", text=2)).changed == ["a"]
    assert stored(database)["a"].max_active_runs == 16  # a limit that was taken out is the usual one


def test_new_dags_start_paused_or_not_as_is_set_and_stay_as_people_leave_them(database: Database) -> None:
    bundle = Bundle(database, paused=False)
    bundle.load(loaded("a"))
    bundle.place = replace(bundle.place, paused=True)
    bundle.load(loaded("a", text=2), loaded("b"))
    assert {dag_id: dag.paused for dag_id, dag in stored(database).items()} == {"a": False, "b": True}


def test_what_is_loaded_already_is_not_written_again(database: Database, bundle: Bundle) -> None:
    dags = [loaded("a"), loaded("b")]
    bundle.load(*dags)
    assert written(database, bundle, *dags) == []
    moved = written(database, bundle.at("v2"), *dags)
    assert sum("UPDATE dags" in statement for statement in moved) == 1
    assert {dag.bundle_version for dag in stored(database).values()} == {"v2"}
    assert not any("dag_versions" in statement for statement in moved)


def test_a_new_tree_is_that_of_all_dags_but_of_broken_files(
    database: Database, bundle: Bundle, clock: ManualClock
) -> None:
    bundle.load(loaded("a"), loaded("b"), loaded("c"))
    bundle.at("v2").store(loaded("a", text=2), errors={"b.py": "b.py:1: wrong"})
    assert bundle.settle(["a", "b", "c"], stay=["b.py"]) == []
    assert {dag_id: dag.bundle_version for dag_id, dag in stored(database).items()} == {
        "a": "v2",
        "b": "v1",
        "c": "v2",
    }
    assert errors(database) == {"b.py": "b.py:1: wrong"}
    with database.read() as connection:
        row = bundles.get_bundle(connection, "default")
    assert row is not None
    assert (row.source, row.version, row.error, row.loaded_at) == ("/default", "v2", None, clock.now())
    bundle.at("v3").load(loaded("a", text=2), loaded("b"), loaded("c"))
    assert errors(database) == {}
    assert {dag.bundle_version for dag in stored(database).values()} == {"v3"}


def test_an_error_is_forgotten_with_its_file(database: Database, bundle: Bundle) -> None:
    bundle.store(errors={"b.py": "wrong"})
    bundle.settle([])
    assert errors(database) == {}


def test_a_dag_that_is_gone_is_marked_and_is_itself_when_it_comes_back(
    database: Database, bundle: Bundle, clock: ManualClock
) -> None:
    bundle.load(loaded("a", schedule="0 5 * * *"), loaded("b"))
    before = stored(database)["a"]
    assert bundle.load(loaded("b")) == ["a"]
    gone = stored(database)["a"]
    assert gone == before.model_copy(update={"removed_at": clock.now()})
    with database.read() as connection, pytest.raises(RefusedError, match="of bundle 'default'"):
        loaded_dag(connection, "a")
    assert bundle.store(loaded("a", file="other.py", schedule="0 5 * * *")).added == ["a"]
    assert stored(database)["a"] == before.model_copy(update={"file": "other.py"})


def test_a_dag_that_moves_to_another_file_is_the_same(database: Database, bundle: Bundle) -> None:
    bundle.load(loaded("a"))
    before = stored(database)["a"]
    assert bundle.load(loaded("a", file="team/a.py")) == []
    assert stored(database)["a"] == before.model_copy(update={"file": "team/a.py"})


def test_an_id_of_another_bundle_is_an_error_until_it_is_removed_there(
    database: Database, bundle: Bundle
) -> None:
    other = Bundle(database, "team")
    bundle.load(loaded("a"))
    before = stored(database)["a"]
    done = other.store(loaded("a", file="x.py"), loaded("mine", file="x.py"))
    assert done.added == ["mine"]
    said = "/team/x.py: a second DAG 'a', the first is in a.py of bundle default"
    assert done.elsewhere == {"x.py": f"{said}\n  hint: give one of them another id"}
    assert errors(database, "team") == done.elsewhere
    assert stored(database)["a"] == before
    with database.read() as connection:
        assert loading.taken_elsewhere(connection, "team", ["a", "mine"]) == {"a"}
    bundle.load()
    with database.read() as connection:
        assert loading.taken_elsewhere(connection, "team", ["a", "mine"]) == set()
    assert other.store(loaded("a", file="x.py")).added == ["a"]
    after = stored(database)["a"]
    assert (after.uid, after.bundle, after.file, after.removed_at) == (before.uid, "team", "x.py", None)
    assert errors(database, "team") == {}


def test_two_bundles_that_bring_one_id_at_once_do_not_both_have_it(database: Database) -> None:
    one, two = Bundle(database, "one"), Bundle(database, "two")
    dags = [loaded(f"d{number}") for number in range(40)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda bundle: bundle.store(*dags), (one, two))
    assert sorted([*first.added, *second.added]) == sorted(dag.dag_id for dag in dags)
    assert {*first.elsewhere} == {f"{dag_id}.py" for dag_id in second.added}


def test_a_dag_that_was_made_without_a_file_keeps_its_id(
    database: Database, bundle: Bundle, clock: ManualClock
) -> None:
    with database.transaction() as connection:
        dag = ensure_dag(connection, space=BUNDLE, dag_id="job", now=clock.now())
        content = loaded("job")
        ensure_version(
            connection, dag, hash="h", document=content.document, stages=content.stages, now=clock.now()
        )
    done = bundle.store(loaded("job"))
    assert "a second DAG 'job', the first was made without a file" in done.elsewhere["job.py"]


def test_one_scheduler_loads_a_bundle_until_it_is_gone(
    database: Database, bundle: Bundle, clock: ManualClock
) -> None:
    other = register(database)
    assert not bundles.claim_bundle(database, "default", "/default", other)
    assert bundles.claim_bundle(database, "default", "/default", bundle.worker)
    with database.read() as connection:
        loader = bundles.loader_of(connection, "default")
    assert loader is not None
    assert loader.id == bundle.worker
    database.run_transaction(lambda connection: workers.end_worker(connection, bundle.worker, clock.now()))
    assert bundles.claim_bundle(database, "default", "/elsewhere", other)


def test_of_many_that_want_a_bundle_one_gets_it(database: Database) -> None:
    wanting = [register(database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        got = [*pool.map(lambda worker: bundles.claim_bundle(database, "b", "/b", worker), wanting)]
    assert got.count(True) == 1


def test_who_has_lost_a_bundle_writes_nothing_more_of_it(
    database: Database, bundle: Bundle, clock: ManualClock
) -> None:
    bundle.load(loaded("a"))
    before = stored(database)
    database.run_transaction(lambda connection: workers.end_worker(connection, bundle.worker, clock.now()))
    assert bundles.claim_bundle(database, "default", "/default", register(database))
    with pytest.raises(BundleLost):
        bundle.store(loaded("a", text=2))
    with pytest.raises(BundleLost):
        bundle.store(errors={"a.py": "wrong"})
    with pytest.raises(BundleLost):
        bundle.settle([])
    with pytest.raises(BundleLost):
        bundles.set_error(database, bundle.place.claim, "gone")
    assert (stored(database), errors(database)) == (before, {})


def test_why_a_source_cannot_be_read_is_kept_until_it_can(database: Database, bundle: Bundle) -> None:
    bundle.load(loaded("a"))
    claim = bundle.place.claim

    def shown() -> str | None:
        with database.read() as connection:
            found = bundles.get_bundle(connection, "default")
        assert found is not None
        return found.error

    assert [bundles.set_error(database, claim, text) for text in ("gone", "gone", "away")] == [
        True,
        False,
        True,
    ]
    assert shown() == "away"
    bundle.load(loaded("a"))
    assert shown() is None


def test_a_bundle_that_no_setting_names_is_forgotten_and_its_dags_are_removed(
    database: Database, bundle: Bundle, clock: ManualClock
) -> None:
    old = Bundle(database, "old")
    old.store(loaded("a"), errors={"b.py": "wrong"})
    bundle.load(loaded("mine"))

    def unclaimed() -> dict[str, str]:
        with database.read() as connection:
            return bundles.unclaimed(connection, ["default"], bundle.worker)

    assert (unclaimed(), bundles.retire(database, "old", bundle.worker)) == ({}, [])  # another loads it
    database.run_transaction(lambda connection: workers.end_worker(connection, old.worker, clock.now()))
    assert unclaimed() == {"old": "/old"}
    assert bundles.retire(database, "old", bundle.worker) == ["a"]
    assert (unclaimed(), bundles.retire(database, "old", bundle.worker)) == ({}, [])
    assert {dag_id: dag.removed_at for dag_id, dag in stored(database).items()} == {
        "a": clock.now(),
        "mine": None,
    }
    assert errors(database, "old") == {}


def test_trees_in_use_are_those_that_a_dag_or_a_bundle_names(database: Database, bundle: Bundle) -> None:
    bundle.load(loaded("a"), loaded("b"))
    bundle.at("v2").store(loaded("a", text=2), errors={"b.py": "wrong"})
    bundle.settle(["a", "b"], stay=["b.py"])
    with database.read() as connection:
        assert bundles.trees_in_use(connection) == {"v1", "v2"}
