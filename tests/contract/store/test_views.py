"""How runs and DAGs are found, listed and shown."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from orchestrator.errors import UsageError
from orchestrator.runs.states import Outcome
from orchestrator.store import dags, runs, stage_runs, steps, views
from orchestrator.store.database import Database
from tests.support.store import START, Command, document, graph

CHAIN = graph({"a": "", "b": "a", "c": "b"})


def test_runs_are_found_by_every_name_that_people_use(command: Command, database: Database) -> None:
    run = command.start(CHAIN)
    command.start(CHAIN, run_id="mine")
    with database.read() as connection:
        for name in ("1", run.uid, run.run_id, f"people@local/{run.run_id}"):
            assert runs.find_run(connection, name).number == 1
        assert runs.find_run(connection, "people/mine").number == 2
        for name in ("7", "people/yours", "nobody/mine", "other"):
            with pytest.raises(UsageError, match="there is no run"):
                runs.find_run(connection, name)


def test_a_name_of_two_runs_is_refused_with_their_numbers(command: Command, database: Database) -> None:
    command.start(CHAIN, run_id="same")
    with database.transaction() as connection:
        dag = dags.ensure_dag(connection, space="/other", dag_id="people", now=START)
        connection.execute(text("UPDATE runs SET dag = :dag"), {"dag": dag.id})
    command.start(CHAIN, run_id="same")
    with database.read() as connection, pytest.raises(UsageError, match="names 2 runs") as caught:
        runs.find_run(connection, "people@local/same")
    assert "1, 2" in caught.value.hint


def test_the_newest_run_to_resume_is_one_that_did_not_end_well(command: Command, database: Database) -> None:
    first = command.start(graph({"a": ""}))
    command.run_to_end({"a": Outcome.FAILED})
    command.start(graph({"a": ""}))
    command.run_to_end()
    command.start(graph({"a": ""}), held_by=None)
    with database.read() as connection:
        found = runs.newest_held(connection, first.dag, first.file or "")
        assert found is not None
        assert found.number == first.number
        listed = [run.number for run, dag in runs.list_runs(connection, dag="people@local")]
        assert listed == [3, 2, 1]
        assert [run.number for run, dag in runs.list_runs(connection, dag="people")] == [3, 2, 1]
        assert runs.list_runs(connection, dag="nobody") == []
        assert runs.newest_held(connection, first.dag, "another file") is None


def test_a_run_is_shown_with_its_stages_attempts_epochs_and_figures(
    command: Command, database: Database
) -> None:
    run = command.start(graph({"a": "", "b": "a"}, retries=1))
    attempt = command.must_claim().attempt
    command.whole_epoch(attempt, 1)
    steps.progress(database, attempt, {"rows": 7})
    with database.read() as connection:
        shown = views.show_run(connection, run)
    a, b = shown.stages
    assert (a.stage_run.stage, a.nodes, len(a.attempts), a.live) == ("a", ("a",), 1, {"rows": 7})
    assert [(epoch.number, epoch.state, epoch.final) for epoch in a.epochs] == [(1, "applied", False)]
    assert (a.counters, a.due) == ({"in": {"rows": 1}}, None)
    assert (b.attempts, b.epochs, b.counters) == ([], [], {})
    assert shown.holder is not None
    assert shown.holder.pid == command.pid
    command.finish(attempt, Outcome.FAILED)
    with database.read() as connection:
        assert views.show_run(connection, run).stages[0].due is not None


def test_deleted_and_made_again_a_dag_has_another_uid(database: Database) -> None:
    with database.transaction() as connection:
        first = dags.ensure_dag(connection, space=dags.BUNDLE, dag_id="d", now=START)
        assert dags.ensure_dag(connection, space=dags.BUNDLE, dag_id="d", now=START).uid == first.uid
        assert dags.ensure_dag(connection, space="/elsewhere", dag_id="d", now=START).uid != first.uid
        connection.execute(text("UPDATE dags SET deleted_at = created_at"))
        assert dags.ensure_dag(connection, space=dags.BUNDLE, dag_id="d", now=START).uid != first.uid


def test_a_version_is_stored_once_and_brings_its_limits(database: Database) -> None:
    with database.transaction() as connection:
        dag = dags.ensure_dag(connection, space=dags.BUNDLE, dag_id="d", file="d.py", now=START)
        definition = {**document(CHAIN), "max_active_tasks": 3}
        first, again = (
            dags.ensure_version(
                connection, dag, hash="h", document=definition, stages=CHAIN.to_json(), now=START
            )
            for _ in range(2)
        )
        assert first.id == again.id
        kept = dags.get_dag(connection, dag.id)
        assert (kept.version, kept.max_active_tasks, kept.max_active_runs) == (first.id, 3, 16)
        assert dags.graph_of(connection, first.id) == CHAIN
        assert stage_runs.of_run(connection, 1) == {}
