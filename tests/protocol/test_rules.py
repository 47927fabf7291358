"""Single rules of sections 1-3, each in the shortest history that shows it."""

from __future__ import annotations

import pytest

from orchestrator.errors import AttemptLost

from . import names, store
from .attempt import Pace
from .explorer import settle
from .history import ONE_ROW, claim, indexes, outcome, table, walk_to
from .sql import LedgerRow
from .store import Decision, Refused
from .sweeps import FIRST, OTHER, lose, run_out
from .world import World

# 1. Names and numbers


def test_rule_1_1_and_1_6_a_key_is_the_same_for_every_attempt_and_another_for_every_run() -> None:
    assert names.ledger_key("out", FIRST, 1) == names.ledger_key("out", FIRST, 2)
    assert names.ledger_key("out", FIRST, 1) != names.ledger_key("out", OTHER, 1)
    parts = {names.staged(names.writer("out", FIRST), 1, attempt, "part") for attempt in (1, 2)}
    assert len(parts) == 2
    assert names.parse(parts.pop()).writer == names.writer("out", FIRST)


def test_rule_1_2_an_attempt_is_claimed_at_most_once() -> None:
    world = World()
    number = claim(world)
    with pytest.raises(Refused):
        world.claim(number, ONE_ROW)


def test_rule_1_3_a_write_of_a_lost_attempt_is_refused() -> None:
    world = World()
    number = claim(world)
    world.take_away(number)
    with pytest.raises(AttemptLost):
        store.decide(world.store, number, Decision(1, 0, 1, 1, 1, {}, False))
    assert not world.store.stages[FIRST].epochs


def test_rule_1_3_a_repeat_of_the_last_write_is_answered_done() -> None:
    world = World()
    number = claim(world)
    decision = Decision(1, 0, 1, 1, 1, {}, False)
    store.decide(world.store, number, decision)
    world.store.attempts[number].state = "done"
    store.decide(world.store, number, decision)
    assert len(world.store.stages[FIRST].epochs) == 1


def test_rule_1_4_a_lost_attempt_ends_together_with_the_insert_of_the_next() -> None:
    world = World()
    number = claim(world)
    world.take_away(number)
    assert [attempt.id > number for attempt in world.queued() if attempt.run == FIRST] == [True]


def test_rule_1_5_numbers_go_on_after_a_clear() -> None:
    world = World(runs=(FIRST,))
    run_out(world, claim(world))
    highest = max(world.store.stages[FIRST].epochs)
    world.verb("clear", FIRST)
    assert world.store.stages[FIRST].base == highest
    settle(world)
    assert world.store.stages[FIRST].since_base()[0].decision.number == highest + 1


def test_rule_1_7_a_run_is_not_pruned_while_a_process_of_it_may_live() -> None:
    world = World(runs=(FIRST,))
    zombie = claim(world)
    walk_to(world, zombie, "epoch.decided")
    lose(world, zombie)
    run_out(world, claim(world, host=1))
    with pytest.raises(Refused):
        world.verb("prune", FIRST)
    world.kill(zombie)
    world.verb("prune", FIRST)
    assert not table(world).ledger


# 2. Checkpoint


def test_rule_2_4_an_unknown_answer_is_asked_again() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "folder.synced")
    world.answers_to_lose = 1
    assert outcome(world, number) == ("success", True)
    assert indexes(world) == [0, 1, 2]


def test_rule_2_5_where_the_ledger_row_is_gone_apply_stops_and_inserts_none() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided")
    table(world).ledger.clear()
    while world.store.attempts[number].state == "running":
        world.step(number)
    assert (table(world).ledger, table(world).rows) == ({}, {})


def test_rule_2_7_a_finished_run_leaves_nothing_of_its_dead_attempts() -> None:
    world = World(("append", "joined"), runs=(FIRST,))
    for step in ("part.sealed", "epoch.decided", "output.applied"):
        number = claim(world)
        walk_to(world, number, step)
        lose(world, number, killed=True)
    settle(world)
    assert [output.staged_files for output in world.outputs] == [{}, {}]


def test_rule_2_9_a_stage_of_one_epoch_starts_anew_until_that_epoch_is_decided() -> None:
    world = World(runs=(FIRST,))
    whole = Pace(rows=10)
    number = claim(world, pace=whole)
    walk_to(world, number, "part.sealed")
    lose(world, number, killed=True)
    number = claim(world, pace=whole)
    walk_to(world, number, "epoch.decided")
    lose(world, number, killed=True)
    run_out(world, claim(world, pace=whole))
    assert (indexes(world), len(world.store.stages[FIRST].epochs)) == ([0, 1, 2], 1)


# 3. Restore


def test_rule_3_1_earlier_runners_on_the_same_host_are_killed_first() -> None:
    world = World()
    zombie = claim(world, host=0)
    walk_to(world, zombie, "part.sealed")
    world.take_away(zombie)
    number = claim(world, host=0)
    walk_to(world, number, "restore.killed")
    assert zombie not in world.lives


def test_rule_3_2_pre_sql_runs_once_a_life() -> None:
    world = World(runs=(FIRST,))
    for _ in range(2):
        number = claim(world)
        walk_to(world, number, "restore.ledger_row")
        lose(world, number, killed=True)
    run_out(world, claim(world))
    world.verb("clear", FIRST)
    settle(world)
    assert [base for _, base in table(world).pre_sql] == [0, world.store.stages[FIRST].base]


def test_rule_3_4_the_checkpoint_is_refused_to_a_lost_attempt() -> None:
    world = World()
    number = claim(world)
    walk_to(world, number, "restore.staging_removed")
    world.take_away(number)
    assert world.step(number) is None


def test_rule_3_5_a_target_that_went_back_in_time_fails_the_run_for_good() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.applied", passing=2)
    lose(world, number, killed=True)
    key = names.writer("append", FIRST)
    table(world).ledger[key] = LedgerRow(1, 0)
    assert outcome(world, claim(world)) == ("failed", False)


def test_rule_3_5_a_run_whose_target_went_back_can_still_be_cleared() -> None:
    """What was applied before `base` is no concern of the new life: its numbers are higher."""
    world = World(("upsert",), runs=(FIRST,))
    run_out(world, claim(world))
    table(world).ledger[names.writer("upsert", FIRST)] = LedgerRow(1, 0)
    world.verb("clear", FIRST)
    assert outcome(world, claim(world)) == ("success", True)


def test_rule_3_6_the_last_decided_epoch_is_applied_before_anything_is_read() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided")
    lose(world, number, killed=True)
    walk_to(world, claim(world), "restore.applied")
    assert indexes(world) == [0]


def test_unresolved_a_run_is_not_cleared_before_its_decided_epoch_is_applied() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided")
    world.verb("clear", FIRST)
    lose(world, number, killed=True)
    assert [attempt.only for attempt in world.queued()] == ["apply"]
    run_out(world, claim(world))
    assert (indexes(world), world.store.stages[FIRST].base) == ([0], 1)


def test_unresolved_an_end_that_cannot_apply_is_failed_and_says_so() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided")
    world.verb("cancel", FIRST)
    lose(world, number, killed=True)
    table(world).staged_files.clear()
    run_out(world, claim(world))
    stage = world.store.stages[FIRST]
    assert (stage.state, stage.unresolved, stage.stop_as) == ("failed", True, None)


def test_abandon_where_the_target_did_not_answer_a_clear_shuts_the_door() -> None:
    """What was given up in the store alone may come late; not after the next restore with a higher base."""
    world = World(runs=(FIRST,))
    zombie = claim(world)
    walk_to(world, zombie, "epoch.decided")
    world.verb("lose_holder", FIRST)
    stage = world.store.stages[FIRST]
    stage.epochs[1].state, stage.unresolved = "abandoned", False
    world.verb("clear", FIRST)
    walk_to(world, claim(world, host=1), "restore.ledger_row")
    run_out(world, zombie)
    assert indexes(world) == []


def test_abandon_keeps_the_parts_of_a_single_file_that_a_resume_needs() -> None:
    world = World(("append", "grown"), runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided", passing=2)
    world.verb("lose_holder", FIRST)
    world.kill(number)
    world.verb("abandon", FIRST)
    run_out(world, claim(world))
    world.verb("resume", FIRST)
    run_out(world, claim(world))
    assert (world.store.stages[FIRST].state, world.store.stages[FIRST].lives) == ("success", 1)
    assert indexes(world) == [0, 2], "the table never had what was given up"
    assert [row.place for row in world.outputs[1].visible()] == [0, 1, 2]


def test_abandon_a_final_epoch_that_was_given_up_is_cleared_not_resumed() -> None:
    world = World(("grown",), runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided", passing=4)
    world.verb("lose_holder", FIRST)
    world.kill(number)
    world.verb("abandon", FIRST)
    run_out(world, claim(world))
    with pytest.raises(Refused):
        world.verb("resume", FIRST)
    settle(world)
    assert indexes(world) == [0, 1, 2]
