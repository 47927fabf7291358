"""Pausing, resuming, clearing and abandoning runs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.errors import RefusedError, UsageError
from orchestrator.runs.states import Outcome, RunState, StageState, StopAs
from orchestrator.store import dags, runs, stage_runs, steps, verbs, views
from orchestrator.store.database import Database
from orchestrator.store.tables import DagVersion, Run
from tests.support.store import START, Command, document, graph

CHAIN = graph({"a": "", "b": "a", "c": "b"})
DIAMOND = graph({"a": "", "b": "a", "c": "a", "d": "bc"})


def resume(database: Database, run: Run, command: Command, **values: Any) -> Run:
    with database.transaction() as connection:
        return verbs.resume_run(connection, run, worker=command.worker, now=START, **values)


def clear(database: Database, run: Run, command: Command, **values: Any) -> Run:
    with database.transaction() as connection:
        return verbs.clear_run(connection, run, worker=command.worker, now=START, **values)


def version_of(database: Database, stages: StageGraph, **changes: Any) -> DagVersion:
    with database.transaction() as connection:
        dag = dags.ensure_dag(connection, space="/project", dag_id="people", now=START)
        return dags.ensure_version(
            connection,
            dag,
            hash=f"other{len(changes)}{sorted(stages.stages)}",
            document=document(stages, **changes),
            stages=stages.to_json(),
            now=START,
        )


def test_resuming_retries_what_failed_and_judges_what_never_ran_anew(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(DIAMOND)
    killed.run_to_end({"b": Outcome.FAILED})
    resumed = resume(database, run, command)
    assert (resumed.state, resumed.held_by, resumed.ended_at) == (RunState.RUNNING, command.worker, None)
    assert command.states(run.number) == {"a": "success", "b": "queued", "c": "success", "d": "none"}
    assert command.stages(run.number)["d"].waiting == 1
    assert command.run_to_end() == ["b", "d"]
    assert command.run(run.number).state == RunState.SUCCESS


def test_resuming_a_killed_run_goes_on_from_its_last_decided_epoch(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": ""}))
    attempt = killed.must_claim().attempt
    killed.whole_epoch(attempt, 1)
    killed.epoch(attempt, 2)
    resume(database, run, command)
    claimed = command.must_claim()
    assert claimed.attempt > attempt
    checkpoint = steps.opened(database, claimed.attempt)
    assert (checkpoint.applied, checkpoint.highest) == (1, 2)
    assert command.stages(run.number)["a"].unresolved
    steps.applied(database, claimed.attempt, 2)
    assert not command.stages(run.number)["a"].unresolved


def test_a_resumed_stage_has_all_its_tries_again(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": ""}, retries=1, retry_delay=0.0))
    killed.run_to_end({"a": Outcome.FAILED})
    assert killed.stages(run.number)["a"].tries == 1
    resume(database, run, command)
    assert command.stages(run.number)["a"].tries == 0


def test_resuming_takes_the_pause_flag_off_and_claims_what_waited(
    command: Command, database: Database
) -> None:
    run = command.start(CHAIN)
    attempt = command.must_claim().attempt
    with database.transaction() as connection:
        verbs.pause_run(connection, run, now=START)
        verbs.pause_run(connection, run, now=START)
    command.finish(attempt, Outcome.PAUSED)
    assert command.claim() is None
    assert not resume(database, run, command).paused
    assert command.run_to_end() == ["a", "b", "c"]


def test_a_command_that_was_killed_while_it_paused_is_resumed_too(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": "", "b": ""}))
    killed.must_claim("a")
    with database.transaction() as connection:
        verbs.pause_run(connection, run, now=START)
    resume(database, run, command)
    assert command.run_to_end() == ["b", "a"]


def test_a_run_that_is_being_executed_is_not_resumed_or_cleared_under_its_process(
    command: Command, database: Database
) -> None:
    run = command.start(CHAIN)
    other = Command(database, command.clock, command.pid, command.started)
    for verb in (resume, clear):
        with pytest.raises(RefusedError, match=f"is being executed by process {command.pid}"):
            verb(database, run, other)
    assert command.run(run.number).held_by == command.worker


def test_a_run_held_on_another_host_is_not_taken_from_there(command: Command, database: Database) -> None:
    run = command.start(CHAIN)
    other = Command(database, command.clock)
    with database.transaction() as connection:
        connection.execute(text("UPDATE workers SET host = 'elsewhere' WHERE id = 1"))
    with pytest.raises(RefusedError, match="on elsewhere: it cannot be seen from here"):
        resume(database, run, other)


def test_what_ended_well_or_belongs_to_the_services_is_not_resumed(
    command: Command, database: Database
) -> None:
    run = command.start(graph({"a": ""}))
    command.run_to_end()
    with pytest.raises(RefusedError, match=r"has ended \(success\)"):
        resume(database, run, command)
    with pytest.raises(RefusedError, match="there is nothing to pause"), database.transaction() as connection:
        verbs.pause_run(connection, run, now=START)
    service = command.start(graph({"a": ""}), held_by=None)
    with pytest.raises(RefusedError, match="belongs to the services"):
        resume(database, service, command)


def test_a_run_keeps_its_params(killed: Command, command: Command, database: Database) -> None:
    run = killed.start(CHAIN, params={"day": 1, "n": 2})
    with pytest.raises(RefusedError, match="has other values of day, extra"):
        resume(database, run, command, params={"day": 2, "n": 2, "extra": 0})
    assert resume(database, run, command, params={"n": 2, "day": 1}).held_by == command.worker


def test_a_run_goes_on_with_a_version_whose_nodes_fit(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.run_to_end({"b": Outcome.FAILED})
    changed = version_of(database, CHAIN, b={"config": {"rows": 5}})
    assert resume(database, run, command, version=changed).version == changed.id
    rows = command.stages(run.number)
    assert rows["a"].version == run.version  # what it ran
    assert command.must_claim("b").version.id == changed.id


def test_a_run_does_not_go_on_with_a_version_that_does_not_fit_and_nothing_changes(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.run_to_end({"b": Outcome.FAILED})
    before = command.states(run.number)
    changed = version_of(database, CHAIN, b={"state_version": 2})
    with pytest.raises(RefusedError, match="its state_version was 0, it is 2") as caught:
        resume(database, run, command, version=changed)
    assert f"--clear {run.number}" in caught.value.hint
    assert (command.states(run.number), command.run(run.number).version) == (before, run.version)


def test_clearing_starts_over_above_the_highest_epoch(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": "", "b": "a"}))
    attempt = killed.must_claim().attempt
    killed.whole_epoch(attempt, 1)
    killed.whole_epoch(attempt, 2, final=True)
    killed.finish(attempt, result={"a": 1})
    killed.run_to_end()
    cleared = clear(database, run, command)
    assert (cleared.state, cleared.uid) == (RunState.RUNNING, run.uid)
    claimed = command.must_claim("a")
    checkpoint = steps.opened(database, claimed.attempt)
    assert (claimed.base, checkpoint.base, checkpoint.highest, checkpoint.last) == (2, 2, 2, None)
    assert checkpoint.tokens == ()
    command.whole_epoch(claimed.attempt, 3, final=True)
    command.finish(claimed.attempt)
    assert command.run_to_end() == ["b"]
    assert command.run(run.number).state == RunState.SUCCESS


def test_a_run_of_another_shape_can_only_be_cleared(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.run_to_end()
    other = version_of(database, graph({"b": "", "a": "b", "fresh": "a"}))
    clear(database, run, command, version=other)
    assert shown(database, run) == {"a": "none", "b": "queued", "c": "removed", "fresh": "none"}
    assert command.run_to_end() == ["b", "a", "fresh"]
    assert command.run(run.number).state == RunState.SUCCESS
    back = version_of(database, CHAIN, a={"config": {"again": True}})
    clear(database, run, command, version=back)
    assert command.run_to_end() == ["a", "b", "c"]
    assert shown(database, run) == {"a": "success", "b": "success", "c": "success", "fresh": "removed"}


def shown(database: Database, run: Run) -> dict[str, str]:
    with database.read() as connection:
        return {
            stage.stage_run.stage: stage.stage_run.state for stage in views.show_run(connection, run).stages
        }


def joined(**stages: str) -> StageGraph:
    """Stages without edges, each of several nodes."""
    return StageGraph({name: Stage(name, tuple(nodes)) for name, nodes in stages.items()})


def test_nodes_that_came_into_another_stage_count_their_epochs_on(
    killed: Command, command: Command, database: Database
) -> None:
    """The target knows the writer by its node: an epoch that it holds already would be skipped there."""
    run = killed.start(joined(a="ao"))
    attempt = killed.must_claim("a").attempt
    killed.whole_epoch(attempt, 1)
    killed.whole_epoch(attempt, 2, final=True)
    killed.finish(attempt)
    clear(database, run, command, version=version_of(database, joined(a="afo")))
    claimed = command.must_claim("a")
    assert (claimed.base, claimed.stage_run.nodes) == (2, ["a", "f", "o"])
    assert steps.opened(database, claimed.attempt).highest == 2
    command.whole_epoch(claimed.attempt, 3, final=True)
    command.finish(claimed.attempt)
    clear(database, run, command, version=version_of(database, joined(a="ao"), a={"config": {"x": 1}}))
    claimed = command.must_claim("a")
    assert (claimed.base, claimed.stage_run.nodes) == (3, ["a", "o"])


def test_stages_that_swap_their_names_keep_what_they_did(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(joined(a="ab", c="cd"))
    killed.whole_epoch(killed.must_claim("a").attempt, 1, final=True)
    clear_of_names = version_of(database, joined(c="ba", a="dc"))
    clear(database, run, command, version=clear_of_names)
    rows = command.stages(run.number)
    assert (rows["c"].nodes, rows["c"].base) == (["b", "a"], 1)
    assert (rows["a"].nodes, rows["a"].base) == (["d", "c"], 0)


def test_a_run_does_not_go_on_where_a_stage_that_ran_joins_other_nodes(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(joined(a="ax", b="by"))
    killed.run_to_end({"a": Outcome.FAILED})
    with pytest.raises(RefusedError, match="stage a, which has run, joins other nodes now"):
        resume(database, run, command, version=version_of(database, joined(a="ay", b="bx")))


def test_a_clear_that_waited_for_the_attempt_takes_effect_when_it_ends(
    command: Command, database: Database
) -> None:
    run = command.start(graph({"a": ""}))
    attempt = command.must_claim("a").attempt
    command.whole_epoch(attempt, 1)
    with database.transaction() as connection:
        stage_runs.change(connection, command.stages(run.number)["a"].id, stop_as=StopAs.CLEARED)
    assert steps.progress(database, attempt, {}).stop == StopAs.CLEARED
    assert command.finish(attempt, Outcome.PAUSED).stage == StageState.QUEUED
    claimed = command.must_claim("a")
    assert (claimed.base, claimed.stage_run.stop_as) == (1, None)


def test_nothing_is_cleared_while_a_decided_epoch_is_owed(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": ""}))
    killed.epoch(killed.must_claim().attempt, 1)
    with pytest.raises(RefusedError, match="a decided epoch of a has not reached its targets"):
        clear(database, run, command)


def test_rows_that_a_clear_would_append_again_are_counted_by_output(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": ""}))
    attempt = killed.must_claim().attempt
    killed.whole_epoch(attempt, 1, rows=10)
    killed.whole_epoch(attempt, 2, rows=5, final=True)
    killed.finish(attempt)
    with database.read() as connection:
        assert verbs.rows_to_repeat(connection, run, {"out", "other"}) == {"out": 15}
        assert views.published(connection, run.number, {"out", "other"}) == {"out"}
    clear(database, run, command)
    with database.read() as connection:
        assert verbs.rows_to_repeat(connection, run, {"out"}) == {}


def test_abandoning_gives_up_what_is_owed_and_nothing_else_runs(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": "", "b": "a", "x": ""}))
    killed.epoch(killed.must_claim("a").attempt, 1, final=True)
    with database.transaction() as connection:
        verbs.abandon_run(connection, run, worker=command.worker, actor="me", now=START)
    claimed = command.must_claim("a")
    assert claimed.only == "abandon"
    assert command.finish(claimed.attempt).run == RunState.FAILED
    assert command.states(run.number) == {"a": "failed", "b": "upstream_failed", "x": "failed"}
    with database.read() as connection:
        audit = connection.execute(text("SELECT actor, verb, target FROM audit")).all()
    assert [tuple(row) for row in audit] == [("me", "abandon", f"run {run.number}")]
    with pytest.raises(RefusedError, match="the last epoch of a was given up"):
        resume(database, run, command)
    assert clear(database, run, command).state == RunState.RUNNING


def test_an_abandon_that_did_not_reach_the_target_is_finished_before_anything_else(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": ""}))
    killed.epoch(killed.must_claim("a").attempt, 1)
    with database.transaction() as connection:
        verbs.abandon_run(connection, run, worker=command.worker, actor="me", now=START)
    command.finish(command.must_claim().attempt, Outcome.FAILED, error={"message": "target down"})
    row = command.stages(run.number)["a"]
    assert (row.state, row.unresolved, row.abandoning) == (StageState.FAILED, True, True)
    resume(database, run, command)
    assert command.must_claim().only == "abandon"


def test_nothing_is_abandoned_where_nothing_is_owed(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": ""}))
    with (
        pytest.raises(RefusedError, match="every decided epoch is applied"),
        database.transaction() as connection,
    ):
        verbs.abandon_run(connection, run, worker=command.worker, actor="me", now=START)


def test_runs_are_found_by_every_name_that_people_use(command: Command, database: Database) -> None:
    run = command.start(CHAIN)
    command.start(CHAIN, run_id="mine")
    with database.read() as connection:
        for name in ("1", run.uid, run.run_id, f"people@local/{run.run_id}"):
            assert runs.find_run(connection, name).number == 1
        for name in ("7", "people/mine", "nobody/mine", "other"):
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
        found = runs.newest_held(connection, first.dag)
        assert found is not None
        assert found.number == first.number
        listed = [run.number for run, dag in runs.list_runs(connection, dag="people@local")]
        assert listed == [3, 2, 1]
        assert runs.list_runs(connection, dag="people") == []


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
