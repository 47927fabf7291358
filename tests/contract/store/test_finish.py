"""From the creation of a run to its end, as its attempts end."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.errors import RefusedError, StoreError, UsageError
from orchestrator.runs.advance import result, waiting_of
from orchestrator.runs.report import Report
from orchestrator.runs.states import STAGE_ENDS, Outcome, RunState, StageState
from orchestrator.store import finishing, lifecycle, queue, runs, stage_runs, steps, workers
from orchestrator.store.database import Database
from tests.support.store import START, Command, ManualClock, document, graph

CHAIN = graph({"a": "", "b": "a", "c": "b"})
DIAMOND = graph({"a": "", "b": "a", "c": "a", "d": "bc"})


def test_stages_run_in_topological_order_and_the_run_ends_with_the_last(command: Command) -> None:
    run = command.start(DIAMOND)
    assert command.states(run.number) == {"a": "queued", "b": "none", "c": "none", "d": "none"}
    assert command.run_to_end() == ["a", "b", "c", "d"]
    ended = command.run(run.number)
    assert (ended.state, ended.ended_at) == (RunState.SUCCESS, START)


def test_a_run_is_named_as_in_airflow_and_numbered_through_the_whole_store(command: Command) -> None:
    first, second = command.start(CHAIN), command.start(CHAIN)
    assert first.run_id == "manual__2026-01-01T00:00:00+00:00"
    assert second.run_id == "manual__2026-01-01T00:00:00+00:00_2"
    assert (first.number, second.number) == (1, 2)
    assert first.uid != second.uid


def test_a_run_id_that_is_taken_or_cannot_be_one_is_refused(command: Command) -> None:
    command.start(CHAIN, run_id="mine")
    with pytest.raises(RefusedError, match="has a run 'mine' already"):
        command.start(CHAIN, run_id="mine")
    with pytest.raises(UsageError, match="run id 'a/b'"):
        command.start(CHAIN, run_id="a/b")


def test_a_run_of_nothing_ends_at_once(command: Command) -> None:
    assert command.start(graph({})).state == RunState.SUCCESS


def test_a_queued_run_has_no_attempt_before_it_is_promoted(command: Command) -> None:
    run = command.start(CHAIN, state=RunState.QUEUED, held_by=None)
    assert set(command.states(run.number).values()) == {"none"}


def test_what_depends_on_a_failure_does_not_run(command: Command) -> None:
    run = command.start(DIAMOND)
    assert command.run_to_end({"b": Outcome.FAILED}) == ["a", "b", "c"]
    ends = {"a": "success", "b": "failed", "c": "success", "d": "upstream_failed"}
    assert command.states(run.number) == ends
    assert command.run(run.number).state == RunState.FAILED


def test_a_retry_waits_for_its_time(command: Command, database: Database, clock: ManualClock) -> None:
    run = command.start(graph({"a": ""}, retries=1, retry_delay=60.0))
    finished = command.finish(command.must_claim().attempt, Outcome.FAILED, message="no route")
    assert (finished.stage, finished.due) == (StageState.QUEUED, START + timedelta(seconds=60))
    assert command.claim() is None
    with database.read() as connection:
        assert queue.next_due(connection, worker=command.worker, held=True) == finished.due
    clock.forward(60)
    finished = command.finish(command.must_claim().attempt, Outcome.FAILED, message="still none")
    assert (finished.stage, finished.due, finished.run) == (StageState.FAILED, None, RunState.FAILED)
    row = command.stages(run.number)["a"]
    assert (row.tries, row.error) == (1, {"message": "still none"})


def test_a_failure_that_another_try_cannot_mend_is_not_tried_again(command: Command) -> None:
    command.start(graph({"a": ""}, retries=5))
    assert command.finish(command.must_claim().attempt, Outcome.FAILED, retry=False).run == RunState.FAILED


def test_an_attempt_that_ends_paused_is_replaced_and_costs_no_try(command: Command) -> None:
    run = command.start(CHAIN)
    first = command.must_claim("a").attempt
    assert command.finish(first, Outcome.PAUSED).stage == StageState.QUEUED
    assert command.must_claim("a").attempt > first
    assert command.stages(run.number)["a"].tries == 0


def test_a_failed_stage_applies_what_it_owes_before_it_ends(command: Command, database: Database) -> None:
    run = command.start(graph({"a": ""}))
    attempt = command.must_claim().attempt
    command.epoch(attempt, 1)
    assert command.finish(attempt, Outcome.FAILED, message="x").stage == StageState.QUEUED
    applying = command.must_claim()
    assert applying.only == "apply"
    with pytest.raises(StoreError, match="may only apply"):
        command.epoch(applying.attempt, 2)
    with database.transaction() as connection:
        lifecycle.applied(connection, applying.attempt, 1, database.clock.now())
    assert command.finish(applying.attempt).run == RunState.FAILED
    row = command.stages(run.number)["a"]
    assert (row.unresolved, row.stop_as, row.error) == (False, None, {"message": "x"})


def test_a_stage_whose_target_does_not_answer_ends_failed_and_unresolved(command: Command) -> None:
    run = command.start(graph({"a": ""}))
    attempt = command.must_claim().attempt
    command.epoch(attempt, 1)
    command.finish(attempt, Outcome.FAILED)
    command.finish(command.must_claim().attempt, Outcome.FAILED, message="target down")
    row = command.stages(run.number)["a"]
    assert (row.state, row.unresolved, row.stop_as) == (StageState.FAILED, True, None)


def test_an_epoch_that_never_can_be_applied_is_abandoned_with_the_stage(command: Command) -> None:
    run = command.start(graph({"a": ""}, retries=3))
    attempt = command.must_claim().attempt
    command.epoch(attempt, 1, final=True)
    command.finish(attempt, Outcome.FAILED, retry=False, gives_up=True, message="exists")
    abandoning = command.must_claim()
    assert (abandoning.only, command.stages(run.number)["a"].abandoning) == ("abandon", True)
    assert command.finish(abandoning.attempt).run == RunState.FAILED
    row = command.stages(run.number)["a"]
    assert (row.abandoning, row.unresolved, row.error) == (False, False, {"message": "exists"})


def test_results_are_kept_by_node_and_bounded(command: Command, database: Database) -> None:
    run = command.start(CHAIN)
    command.finish(command.must_claim("a").attempt, results={"a": {"rows": 3}})
    assert command.stages(run.number)["a"].result == {"a": {"rows": 3}}
    attempt = command.must_claim("b").attempt
    assert command.finish(attempt, results={"b": "x" * 70_000}).stage == StageState.FAILED
    row = command.stages(run.number)["b"]
    assert (row.result, "at most 65536 are kept" in str(row.error)) == (None, True)


def test_a_crash_inside_the_finishing_transaction_leaves_the_attempt_running(
    command: Command, database: Database
) -> None:
    run = command.start(CHAIN)
    attempt = command.must_claim("a").attempt

    def interrupted() -> None:
        with database.transaction() as connection:
            finishing.finish(connection, {attempt: Report(Outcome.SUCCESS)}, database.clock.now())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert command.states(run.number) == {"a": "running", "b": "none", "c": "none"}
    command.finish(attempt)


def claim_all(database: Database, command: Command) -> dict[str, int]:
    """Claim all that can be: the attempt of each stage, of several runs with the run's number before it."""
    claimed = steps.claim(database, worker=command.worker, limit=99)
    return {f"{one.run.number}{one.stage_run.stage}": one.attempt for one in claimed}


def test_many_end_in_one_transaction_and_one_that_was_taken_away_changes_nothing(
    command: Command, database: Database
) -> None:
    runs = [command.start(DIAMOND, held_by=None).number for _ in range(2)]
    first = claim_all(database, command)
    steps.finish(database, {first["1a"]: Report(Outcome.SUCCESS), first["2a"]: Report(Outcome.LOST)})
    both = claim_all(database, command)
    assert sorted(both) == ["1b", "1c", "2a"]
    zombie = {first["2a"]: Report(Outcome.SUCCESS)}
    found = steps.finish(database, zombie | {both[s]: Report(Outcome.SUCCESS) for s in ("1b", "1c")})
    assert found[first["2a"]] is None
    assert {f.stage for f in found.values() if f is not None} == {StageState.SUCCESS}
    assert command.states(runs[0]) == {"a": "success", "b": "success", "c": "success", "d": "queued"}
    assert command.states(runs[1]) == {"a": "running", "b": "none", "c": "none", "d": "none"}


def test_the_statements_of_a_batch_do_not_grow_with_it(command: Command, database: Database) -> None:
    counted = []
    for number in (2, 12):
        for _ in range(number):
            command.start(DIAMOND, held_by=None)
        attempts = claim_all(database, command).values()
        statements: list[str] = []

        def note(*found: Any, told: list[str] = statements) -> None:
            told.append(found[2])

        event.listen(Engine, "before_cursor_execute", note)
        steps.finish(database, {attempt: Report(Outcome.SUCCESS) for attempt in attempts})
        steps.claim(database, worker=command.worker, limit=number)
        event.remove(Engine, "before_cursor_execute", note)
        counted.append(len(statements))
    assert counted[0] == counted[1]


def test_a_stage_and_one_below_it_end_in_one_transaction(command: Command, database: Database) -> None:
    run = command.start(graph({"a": "", "b": "a", "c": "b"}, {"b": "always"}), held_by=None)
    attempts = claim_all(database, command)
    steps.finish(database, {attempt: Report(Outcome.SUCCESS) for attempt in attempts.values()})
    assert command.states(run.number) == {"a": "success", "b": "success", "c": "queued"}
    assert [row.waiting for row in command.stages(run.number).values()] == [0, 0, 0]


@pytest.mark.parametrize("until", [None, START - timedelta(days=1), START + timedelta(milliseconds=50)])
def test_a_snooze_that_is_over_already_takes_a_second_all_the_same(
    command: Command, until: datetime | None
) -> None:
    command.start(CHAIN)
    finished = command.finish(command.must_claim("a").attempt, Outcome.SNOOZED, until=until)
    assert finished.due == START + timedelta(seconds=1)


def test_a_snoozed_attempt_is_replaced_by_one_due_then_without_a_try_or_an_event(
    command: Command, database: Database, clock: ManualClock
) -> None:
    run = command.start(CHAIN)
    claimed = command.must_claim("a")

    def events() -> int:
        with database.read() as connection:
            return int(connection.execute(text("SELECT count(*) FROM events")).scalar_one())

    before = events()
    until = START + timedelta(minutes=5)
    assert command.finish(claimed.attempt, Outcome.SNOOZED, until=until).due == until
    assert events() == before
    assert command.claim() is None
    clock.forward(300)
    assert command.must_claim("a").attempt > claimed.attempt
    assert command.stages(run.number)["a"].tries == 0


def test_thousands_of_stages_below_one_are_queued_by_a_few_statements(
    command: Command, database: Database
) -> None:
    names = [f"s{number:04}" for number in range(2000)]
    wide = {"a": Stage("a", ("a",), (), tuple(names))}
    wide |= {name: Stage(name, (name,), ("a",)) for name in names}
    run = command.start(StageGraph(wide))
    statements: list[str] = []
    attempt = command.must_claim("a").attempt

    def note(*found: Any) -> None:
        statements.append(found[2])

    event.listen(Engine, "before_cursor_execute", note)
    command.finish(attempt)
    event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) < 20
    assert set(command.states(run.number).values()) == {"success", "queued"}


RULES = {
    "any": "one_success",
    "done": "all_done",
    "fix": "one_failed",
    "none": "all_failed",
    "first": "always",
}


def test_stages_with_other_rules_start_when_these_are_certain_and_once(command: Command) -> None:
    below = ("any", "done", "fix", "none")
    stages = graph({"a": "", "b": "", **dict.fromkeys(below, "ab"), "first": "b", "end": ["first"]}, RULES)
    run = command.start(stages)
    states = command.states(run.number)
    assert [stage for stage, state in states.items() if state == "queued"] == ["a", "b", "first"]
    command.finish(command.must_claim("a").attempt)
    states = command.states(run.number)
    assert (states["any"], states["none"], states["done"]) == ("queued", "skipped", "none")
    assert command.run_to_end({"b": Outcome.FAILED}) == ["b", "any", "done", "fix", "first", "end"]
    ends = dict.fromkeys(stages.stages, "success") | {"b": "failed", "none": "skipped"}
    assert command.states(run.number) == ends
    assert command.run(run.number).state == RunState.SUCCESS


def test_a_run_ends_by_its_leaves_even_where_these_ended_before_their_upstreams(
    command: Command, clock: ManualClock
) -> None:
    command.start(graph({"a": "", "b": "a"}, {"b": "always"}, retries=1, retry_delay=60.0))
    command.finish(command.must_claim("a").attempt, Outcome.FAILED)
    assert command.finish(command.must_claim("b").attempt).run == RunState.RUNNING
    clock.forward(60)
    assert command.finish(command.must_claim("a").attempt, Outcome.FAILED).run == RunState.SUCCESS


@st.composite
def graphs(draw: st.DrawFn) -> StageGraph:
    names = "abcdef"[: draw(st.integers(1, 6))]
    return graph(
        {name: draw(st.sets(st.sampled_from(names[:i]))) if i else () for i, name in enumerate(names)},
        {name: draw(st.sampled_from(TRIGGER_RULES)) for name in names},
        retries=draw(st.integers(0, 1)),
        retry_delay=0.0,
    )


@settings(max_examples=60)
@given(graphs(), st.integers(0, 10**6))
def test_any_run_ends_and_its_counts_hold_at_every_step(
    database: Database, stages: StageGraph, seed: int
) -> None:
    """Random ends in random order; after each, `waiting` is what a recount says."""
    chance = random.Random(seed)
    now = database.clock.now()
    outcomes = [
        Outcome.SUCCESS,
        Outcome.SUCCESS,
        Outcome.FAILED,
        Outcome.PAUSED,
        Outcome.LOST,
        Outcome.CANCELLED,
    ]
    with database.transaction() as connection:
        worker = workers.register_worker(connection, host="h", pid=1, start_time="1", kind="command", now=now)
        run = _create(connection, stages, worker, now)
        for _ in range(200):
            claimed = next(iter(queue.claim(connection, worker=worker, held=True, now=now)), None)
            if claimed is None:
                break
            outcome = chance.choice(outcomes) if chance.random() < 0.5 else Outcome.SUCCESS
            finishing.finish(connection, {claimed.attempt: Report(outcome)}, now)
            rows = stage_runs.outline(connection, run)
            states = stage_runs.states(rows)
            assert {s: row.waiting for s, row in rows.items()} == {
                s: waiting_of(stages, states, s) for s in rows
            }
        assert set(states.values()) <= STAGE_ENDS
        assert runs.get(connection, run).state == result(stages, states)


def _create(connection, stages: StageGraph, worker: int, now) -> int:  # type: ignore[no-untyped-def]
    from orchestrator.store import dags

    dag = dags.ensure_dag(connection, space="/random", dag_id="random", now=now)
    fresh = connection.execute(text("SELECT count(*) FROM dag_versions")).scalar()
    version = dags.ensure_version(
        connection, dag, hash=f"r{fresh}", document=document(stages), stages=stages.to_json(), now=now
    )
    run = lifecycle.create_run(
        connection,
        dag=dag,
        version=version.id,
        run_type="manual",
        logical_date=now,
        interval=None,
        params={},
        held_by=worker,
        state=RunState.RUNNING,
        project="/random",
        file=None,
        now=now,
    )
    return run.number
