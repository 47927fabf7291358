"""A run by hand has the version, the code and the params of one moment."""

from __future__ import annotations

from orchestrator.store.database import Database
from orchestrator.store.tables import DagVersion
from orchestrator.store.verbs.triggering import Trigger, loaded_dag, trigger_run
from tests.support.schedules import ONE, Scheduled
from tests.support.store import graph


def test_what_is_loaded_beside_a_trigger_is_what_it_runs(database: Database) -> None:
    """It is asked for the params of the version that is there, which is no more the one that was read."""
    site = Scheduled(database)
    dag = site.load(stages=ONE)
    site.change(dag, bundle_version="first", project="/old")
    with database.read() as connection:
        found, _ = loaded_dag(connection, "people")
    site.load(stages=graph({"other": ""}))
    site.change(dag, bundle_version="second", project="/new")

    def wanted_of(version: DagVersion) -> Trigger:
        return Trigger({"stages": list(version.stages)}, None, None)

    with database.transaction() as connection:
        now, present = loaded_dag(connection, "people")
        run, _ = trigger_run(connection, found, wanted_of, database.clock.now())
    assert (run.version, run.bundle_version, run.project) == (present.id, "second", "/new")
    assert run.version == now.version != found.version
    assert run.params == {"stages": list(present.stages)}
