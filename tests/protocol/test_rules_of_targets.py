"""Single rules of sections 4, 6 and 7, each in the shortest history that shows it."""

from __future__ import annotations

import pytest

from . import names, store, verbs
from .attempt import Pace
from .explorer import settle
from .files import FolderOutput, GrowingFileOutput, SingleFileOutput
from .history import claim, indexes, outcome, table, walk_to
from .outputs import File
from .store import Refused
from .sweeps import FIRST, OTHER, lose, run_out
from .world import World

# 4. Files


def test_rule_4_2_a_run_replaces_only_its_own_parts() -> None:
    world = World(("folder",))
    settle(world)
    world.verb("clear", FIRST)
    settle(world)
    assert (indexes(world), indexes(world, OTHER)) == ([0, 1, 2], [0, 1, 2])


def test_rule_4_3_a_retry_copies_what_was_decided_and_no_more() -> None:
    world = World(("grown",), runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.decided")
    walk_to(world, number, "part.sealed")
    lose(world, number, killed=True)
    output = world.outputs[0]
    assert isinstance(output, GrowingFileOutput)
    assert [len(file.rows) for file in output.hidden.values()] == [2]
    number = claim(world)
    walk_to(world, number, "folder.synced")
    assert [row.epoch for row in list(output.hidden.values())[-1].rows] == [1, 2]


def test_rule_4_3_error_if_exists_never_replaces() -> None:
    world = World(("joined_if_absent",))
    settle(world)
    assert sorted(stage.state for stage in world.store.stages.values()) == ["failed", "success"]
    output = world.outputs[0]
    assert isinstance(output, SingleFileOutput)
    assert output.file is not None
    winner = output.file.rows[0].run
    with pytest.raises(Refused):
        world.verb("clear", winner)


@pytest.mark.parametrize("kind", ["folder", "joined"])
def test_rule_4_4_another_hidden_folder_is_not_mistaken_for_published(kind: str) -> None:
    world = World((kind,), runs=(FIRST,))
    number = claim(world, pace=Pace(rows=10))
    walk_to(world, number, "epoch.decided")
    output = world.outputs[0]
    assert isinstance(output, FolderOutput | SingleFileOutput)
    elsewhere, output.folder = output.hidden.copy(), "a folder of another host"
    output.hidden.clear()
    lose(world, number, killed=True)
    assert outcome(world, claim(world, host=1)) == ("failed", False)
    run_out(world, claim(world, host=1))
    assert world.store.stages[FIRST].unresolved
    output.folder = f"folder-of-{kind}"
    output.hidden.update(elsewhere)
    settle(world)
    assert indexes(world) == [0, 1, 2]


def test_rule_4_5_a_decided_part_that_is_short_is_an_error_that_names_its_host() -> None:
    world = World(runs=(FIRST,))
    number = claim(world, host=1)
    walk_to(world, number, "epoch.decided")
    (name,) = table(world).staged_files
    table(world).staged_files[name] = File([], 0)
    epoch = world.store.stages[FIRST].epochs[1]
    with pytest.raises(store.AttemptFailed, match="host 1"):
        list(
            table(world).apply(
                world.work(world.store.attempts[number]), store.Checkpoint([epoch], epoch, 2, 1, None), epoch
            )
        )
    assert indexes(world) == []


# 6. State beyond a run


def test_rule_6_2_nobody_reads_a_cursor_before_its_epoch_is_applied() -> None:
    world = World(dag_scoped=True)
    number = claim(world)
    walk_to(world, number, "epoch.decided")
    with pytest.raises(Refused):
        claim(world, OTHER)
    walk_to(world, number, "epoch.applied")
    other = claim(world, OTHER)
    cursor = world.store.attempts[other].cursor
    assert cursor is not None
    assert cursor.value == 1


def test_rule_6_3_a_run_whose_compare_fails_stops_and_a_clear_starts_it_at_the_cursor() -> None:
    world = World(dag_scoped=True)
    first, other = claim(world), claim(world, OTHER)
    run_out(world, other)
    assert outcome(world, first) == ("failed", False)
    world.verb("clear", FIRST)
    settle(world)
    assert (indexes(world), indexes(world, OTHER)) == ([], [0, 1, 2])


def test_rule_6_4_a_single_file_moves_the_cursor_with_its_final_epoch_only() -> None:
    world = World(("grown",), dag_scoped=True)
    number = claim(world)
    walk_to(world, number, "epoch.applied", passing=3)
    assert world.store.cursor.version == 0
    run_out(world, number)
    assert (world.store.cursor.value, world.store.cursor.version) == (3, 1)


def test_rule_6_5_a_clear_does_not_move_the_cursor_back() -> None:
    world = World(("folder",), dag_scoped=True, runs=(FIRST,))
    settle(world)
    world.verb("clear", FIRST)
    settle(world)
    assert (indexes(world), world.store.cursor.value) == ([0, 1, 2], 3)
    whole = World(("overwrite",), dag_scoped=True, runs=(FIRST,))
    with pytest.raises(Refused):
        whole.verb("clear", FIRST)


# 7. Running again


def test_rule_7_1_retry_goes_on_and_clear_starts_over() -> None:
    world = World(runs=(FIRST,))
    number = claim(world)
    walk_to(world, number, "epoch.applied", passing=2)
    world.verb("lose_holder", FIRST)
    world.kill(number)
    world.verb("resume", FIRST)
    settle(world)
    assert indexes(world) == [0, 1, 2]
    world.verb("clear", FIRST)
    settle(world)
    assert indexes(world) == [0, 0, 1, 1, 2, 2]


def test_rule_7_4_an_earlier_epoch_of_a_replaced_table_only_raises_the_ledger() -> None:
    world = World(("overwrite",), runs=(FIRST, OTHER))
    run_out(world, claim(world, OTHER))
    number = claim(world)
    walk_to(world, number, "epoch.applied", passing=2)
    assert table(world).ledger[names.writer("overwrite", FIRST)].epoch == 2
    assert (indexes(world), indexes(world, OTHER)) == ([], [0, 1, 2])
    assert len(table(world).staged_files) == 2
    run_out(world, number)
    assert (indexes(world), indexes(world, OTHER)) == ([0, 1, 2], [])


def test_verbs_refuse_what_makes_no_sense() -> None:
    world = World(runs=(FIRST,))
    for verb in ("resume", "abandon", "prune"):
        with pytest.raises(Refused):
            world.verb(verb, FIRST)
    settle(world)
    with pytest.raises(Refused):
        world.verb("cancel", FIRST)
    assert verbs.has_settled(world.store, FIRST)
