"""What an attempt may write, and that nothing of it counts once it was taken away."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from orchestrator.errors import AttemptLost, StoreError
from orchestrator.runs.checkpoint import Checkpoint, Decision, NodeState, Token
from orchestrator.runs.report import Report
from orchestrator.runs.states import EpochState, Outcome, StageState
from orchestrator.store import attempts, steps
from orchestrator.store.attempts import Asked
from orchestrator.store.database import Database
from orchestrator.store.verbs import held, pausing
from tests.support.store import Command, graph

ONE = graph({"a": ""}, retries=5, retry_delay=0.0)


def test_the_first_checkpoint_is_empty(command: Command, database: Database) -> None:
    command.start(ONE)
    assert steps.opened(database, command.must_claim().attempt) == Checkpoint()


def test_a_checkpoint_is_what_was_decided_to_the_last_byte(command: Command, database: Database) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    decision = Decision(
        1,
        positions={"in": {"offset": 2**53 + 1, "name": "naïve \u2028 \x00"}},
        states={"agg": NodeState(2, inline="AAE=", sha256="00", length=2)},
        counters={"in": {"rows": 3}},
        results={"in": {"rows": 3}},
        tokens=(Token("out", 1, "part", 7, folder="id", host="here", rows=3),),
        inputs={"in": [["a.csv", 10]]},
    )
    steps.decide(database, attempt, decision)
    found = steps.opened(database, attempt)
    assert found == Checkpoint(highest=1, last=decision, tokens=decision.tokens)
    assert found.owed == decision


def test_a_retry_goes_on_from_the_last_decided_epoch_with_the_tokens_of_all(
    command: Command, database: Database
) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    command.whole_epoch(attempt, 1)
    last = command.epoch(attempt, 2)
    command.finish(attempt, Outcome.FAILED)
    checkpoint = steps.opened(database, command.must_claim().attempt)
    assert (checkpoint.highest, checkpoint.applied, checkpoint.last) == (2, 1, last)
    assert [token.epoch for token in checkpoint.tokens] == [1, 2]


def test_a_decision_that_is_asked_again_is_done_once(command: Command, database: Database) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    decision = command.epoch(attempt, 1)
    steps.decide(database, attempt, decision)
    steps.applied(database, attempt, 1)
    steps.applied(database, attempt, 1)
    steps.decide(database, attempt, decision)
    assert steps.opened(database, attempt).highest == 1


def test_no_epoch_is_decided_before_the_one_before_it_is_applied(command: Command) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    command.epoch(attempt, 1)
    with pytest.raises(StoreError, match="epoch 1 is not applied"):
        command.epoch(attempt, 2)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_epochs_are_numbered_without_gap_or_repetition(command: Command, number: int) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    command.whole_epoch(attempt, 1)
    with pytest.raises(StoreError, match="the next one is 2"):
        command.epoch(attempt, number, rows=99)


def test_nothing_is_decided_after_the_final_epoch(command: Command) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    command.whole_epoch(attempt, 1, final=True)
    with pytest.raises(StoreError, match="epoch 1 was the final one"):
        command.epoch(attempt, 2)


def test_an_epoch_that_was_never_decided_cannot_be_applied(command: Command, database: Database) -> None:
    command.start(ONE)
    with pytest.raises(StoreError, match="never decided"):
        steps.applied(database, command.must_claim().attempt, 1)


def test_a_success_that_has_not_applied_its_epoch_is_none(command: Command) -> None:
    run = command.start(ONE)
    attempt = command.must_claim().attempt
    command.epoch(attempt, 1, final=True)
    assert command.finish(attempt).stage == StageState.QUEUED
    assert "epoch 1 is not applied" in str(command.stages(run.number)["a"].error)


def test_no_write_of_an_attempt_counts_once_it_was_taken_away(command: Command, database: Database) -> None:
    run = command.start(ONE)
    attempt = command.must_claim().attempt
    decision = command.epoch(attempt, 1)
    command.finish(attempt, Outcome.LOST)
    before = everything(database)
    for write in (
        lambda: steps.opened(database, attempt),
        lambda: steps.decide(database, attempt, decision),
        lambda: steps.decide(database, attempt, Decision(2)),
        lambda: steps.applied(database, attempt, 1),
        lambda: steps.progress(database, attempt, {}),
    ):
        with pytest.raises(AttemptLost, match=f"attempt {attempt} was taken away"):
            write()
    for outcome in (Outcome.SUCCESS, Outcome.FAILED):
        assert steps.finish(database, {attempt: Report(outcome)}) == {attempt: None}
    assert everything(database) == before
    assert command.states(run.number) == {"a": "queued"}


def test_a_finish_that_is_asked_again_is_done_once(command: Command) -> None:
    run = command.start(ONE)
    attempt = command.must_claim().attempt
    first = command.finish(attempt, Outcome.FAILED)
    assert command.finish(attempt, Outcome.FAILED) == first
    assert command.stages(run.number)["a"].tries == 1


def test_live_figures_are_one_row_overwritten_and_gone_with_the_attempt(
    command: Command, database: Database
) -> None:
    command.start(ONE)
    attempt = command.must_claim().attempt
    for rows in (1, 2):
        assert not steps.progress(database, attempt, {"rows": rows})
        with database.read() as connection:
            kept = connection.execute(select(attempts.progress.c.figures)).scalars().all()
        assert kept == [{"rows": rows}]
    command.finish(attempt)
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM progress")).scalar() == 0


def test_a_running_attempt_hears_of_a_pause_with_its_next_figures(
    command: Command, database: Database
) -> None:
    run = command.start(ONE)
    attempt = command.must_claim().attempt
    with database.transaction() as connection:
        pausing.pause_run(connection, run, now=database.clock.now())
    assert steps.progress(database, attempt, {}) == Asked(pause=True)
    with database.transaction() as connection:
        assert attempts.asked(connection, attempt).pause


def test_an_abandoned_epoch_counts_so_that_its_rows_are_not_read_again(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(ONE)
    attempt = killed.must_claim().attempt
    killed.whole_epoch(attempt, 1)
    given_up = killed.epoch(attempt, 2)
    with database.transaction() as connection:
        held.abandon_held(connection, run, worker=command.worker, actor="me", now=database.clock.now())
    command.finish(command.must_claim().attempt)
    with database.transaction() as connection:
        held.resume_held(connection, run, worker=command.worker, actor="ada", now=database.clock.now())
    checkpoint = steps.opened(database, command.must_claim().attempt)
    assert (checkpoint.last, checkpoint.owed) == (given_up, None)
    assert (checkpoint.highest, checkpoint.applied, checkpoint.abandoned) == (2, 1, 2)
    assert EpochState.ABANDONED in states_of_epochs(database)


def states_of_epochs(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(text("SELECT state FROM epochs ORDER BY number")).scalars())


def everything(database: Database) -> list[tuple[object, ...]]:
    """Every row that a run has, to see that nothing changed."""
    tables = ("runs", "stage_runs", "attempts", "epochs", "events", "progress")
    with database.read() as connection:
        return [tuple(row) for name in tables for row in connection.exec_driver_sql(f"SELECT * FROM {name}")]
