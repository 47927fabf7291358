"""Pausing, resuming, clearing and abandoning runs."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from orchestrator.errors import RefusedError
from orchestrator.runs.states import Outcome, RunState, StageState, StopAs
from orchestrator.store import checks, stage_runs, steps, views
from orchestrator.store.database import Database
from orchestrator.store.verbs import clearing, held, pausing
from tests.support.store import START, Command, clear, graph, resume

CHAIN = graph({"a": "", "b": "a", "c": "b"})
DIAMOND = graph({"a": "", "b": "a", "c": "a", "d": "bc"})


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


def test_a_resume_leaves_what_ran_and_judges_the_rules_of_all_others_anew(
    killed: Command, command: Command, database: Database
) -> None:
    rules = {"tidy": "all_done", "fix": "one_failed", "fine": "none_failed", "bad": "all_success"}
    run = killed.start(graph({"a": "", "tidy": "a", "fix": "a", "fine": "a", "bad": ["tidy"]}, rules))
    killed.run_to_end({"a": Outcome.FAILED, "bad": Outcome.FAILED})
    ends = {"a": "failed", "tidy": "success", "fix": "success", "fine": "upstream_failed", "bad": "failed"}
    assert killed.states(run.number) == ends
    resume(database, run, command)
    with database.transaction() as connection:
        assert checks.check_runs(connection, START) == []
    assert command.run_to_end() == ["a", "fine", "bad"]
    assert command.states(run.number) == dict.fromkeys(ends, "success")


def test_a_failed_stage_that_follows_another_waits_for_it_and_goes_on_from_its_last_epoch(
    killed: Command, command: Command, database: Database
) -> None:
    rules = {"tidy": "all_done", "fix": "one_failed", "begin": "always"}
    run = killed.start(graph({"a": "", "b": "a", "tidy": "b", "fix": "b", "begin": "b"}, rules))
    while (claimed := killed.claim()) is not None:
        if claimed.stage_run.stage == "tidy":
            killed.whole_epoch(claimed.attempt, 1)
        killed.finish(claimed.attempt, Outcome.FAILED)
    assert killed.states(run.number)["b"] == "upstream_failed"
    resume(database, run, command)
    states = {"a": "queued", "b": "none", "tidy": "none", "fix": "none", "begin": "queued"}
    assert command.states(run.number) == states
    with database.transaction() as connection:
        assert checks.check_runs(connection, START) == []
    done = []
    while (claimed := command.claim()) is not None:
        done.append(claimed.stage_run.stage)
        if done[-1] == "tidy":
            assert steps.opened(database, claimed.attempt).highest == 1
        command.finish(claimed.attempt)
    assert done == ["a", "b", "tidy", "begin"]
    assert command.states(run.number)["fix"] == "skipped"
    assert command.run(run.number).state == RunState.SUCCESS


def test_a_failed_stage_that_owes_an_epoch_applies_it_before_its_rule_is_asked(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": "", "fix": "a"}, {"fix": "one_failed"}))
    killed.finish(killed.must_claim("a").attempt, Outcome.FAILED)
    killed.epoch(killed.must_claim("fix").attempt, 1)
    resume(database, run, command)
    assert command.states(run.number) == {"a": "queued", "fix": "queued"}


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
        pausing.pause_run(connection, run, now=START)
        pausing.pause_run(connection, run, now=START)
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
        pausing.pause_run(connection, run, now=START)
    resume(database, run, command)
    assert command.run_to_end() == ["a", "b"]


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
        pausing.pause_run(connection, run, now=START)
    service = command.start(graph({"a": ""}), held_by=None)
    with pytest.raises(RefusedError, match="belongs to the services"):
        resume(database, service, command)


def test_a_run_keeps_its_params(killed: Command, command: Command, database: Database) -> None:
    run = killed.start(CHAIN, params={"day": 1, "n": 2})
    with pytest.raises(RefusedError, match="has other values of day, extra"):
        resume(database, run, command, params={"day": 2, "n": 2, "extra": 0})
    assert resume(database, run, command, params={"n": 2, "day": 1}).held_by == command.worker


def test_clearing_starts_over_above_the_highest_epoch(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": "", "b": "a"}))
    attempt = killed.must_claim().attempt
    killed.whole_epoch(attempt, 1)
    killed.whole_epoch(attempt, 2, final=True)
    killed.finish(attempt, results={"a": 1})
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
        assert clearing.rows_to_repeat(connection, run, {"out", "other"}) == {"out": 15}
        assert views.published(connection, run.number, {"out", "other"}) == {"out"}
    clear(database, run, command)
    with database.read() as connection:
        assert clearing.rows_to_repeat(connection, run, {"out"}) == {}


def test_abandoning_gives_up_what_is_owed_and_nothing_else_runs(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(graph({"a": "", "b": "a", "x": ""}))
    killed.epoch(killed.must_claim("a").attempt, 1, final=True)
    with database.transaction() as connection:
        held.abandon_held(connection, run, worker=command.worker, actor="me", now=START)
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
        held.abandon_held(connection, run, worker=command.worker, actor="me", now=START)
    command.finish(command.must_claim().attempt, Outcome.FAILED, message="target down")
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
        held.abandon_held(connection, run, worker=command.worker, actor="me", now=START)
