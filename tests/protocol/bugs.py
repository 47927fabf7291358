"""Seeded bugs: each replaces functions of the model by ones that break a single rule.

`targets` and `dag_scoped` name the world in which the rule matters. A bug is looked for in all histories
of `scenario`, or, where that is empty, in random ones with `verbs` and so many `zombies`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import attempt as model
from . import names, outputs, sql, store, verbs
from .attempt import Pace, Pipeline, Surroundings
from .outputs import File, Row, Work
from .store import (
    Attempt,
    AttemptFailed,
    Checkpoint,
    Cursor,
    Decision,
    Epoch,
    Refused,
    StageRun,
    Store,
    Token,
)

Replacement = tuple[Any, str, Callable[..., Any]]


@dataclass(frozen=True)
class Bug:
    """A rule taken away, and the world that it takes to notice."""

    name: str
    rule: str
    replacements: tuple[Replacement, ...]
    targets: tuple[str, ...] = ("append",)
    dag_scoped: bool = False
    scenario: str = ""
    verbs: tuple[str, ...] = ()
    zombies: int = 1

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """The model with the bug in it."""
        originals = [(owner, name, getattr(owner, name)) for owner, name, _ in self.replacements]
        try:
            for owner, name, function in self.replacements:
                setattr(owner, name, function)
            yield
        finally:
            for owner, name, function in originals:
                setattr(owner, name, function)


def key_by_dag(node: str, run: str, attempt: int) -> str:
    return f"{names.DAG}/{node}"


def key_by_attempt(node: str, run: str, attempt: int) -> str:
    return f"{names.writer(node, run)}/{attempt}"


def reset_epochs(stage: StageRun) -> None:
    stage.epochs.clear()
    stage.lives += 1
    stage.retry_helps = True
    stage.failures = stage.losses = 0


def insert_if_absent(session: sql.Session, key: str, number: int, base: int) -> bool:
    if key not in session.table.ledger:
        session.ledger[key] = sql.LedgerRow(number, base)
        return True
    return session.raise_ledger(key, number)


def apply_then_decide(
    world: Surroundings, work: Work, known: Checkpoint, decision: Decision, pace: Pace
) -> Generator[str, None, Epoch]:
    epoch = Epoch(decision, work.attempt.id)
    for output in world.outputs:
        yield from output.apply(work, Checkpoint([*known.epochs, epoch], None, 0, 0, None), epoch)
        yield "output.applied"
    world.tell(lambda: store.decide(world.store, work.attempt.id, decision))
    epoch = world.store.history[work.run, decision.number, work.attempt.id]
    known.epochs.append(epoch)
    yield "epoch.decided"
    world.tell(lambda: store.mark_applied(world.store, work.attempt.id, decision.number))
    return epoch


def decide_at_once(
    world: Surroundings, work: Work, known: Checkpoint, open_epoch: Epoch | None
) -> Iterator[str]:
    yield from ()


def decide_then_apply_all(
    world: Surroundings, work: Work, known: Checkpoint, decision: Decision, pace: Pace
) -> Generator[str, None, Epoch]:
    """Decide, then apply whatever is still open, oldest first."""
    world.tell(lambda: store.decide(world.store, work.attempt.id, decision))
    epoch = world.store.history[work.run, decision.number, work.attempt.id]
    yield "epoch.decided"
    open_epochs = [e for e in known.epochs if e.state == "decided"]
    known.epochs.append(epoch)
    for each in open_epochs + ([epoch] if decision.final or not pace.ahead else []):
        yield from model.apply_and_mark(world, work, known, each)
    return epoch


def content_from_memory(files: dict[str, File], work: Work, node: str, epoch: int, token: Token) -> list[Row]:
    return work.memory.get((node, epoch), [])


def staged_without_attempt(writer: str, epoch: int, attempt: int, kind: str) -> str:
    return f"{writer}.{epoch:04d}.0000.{kind}"


def no_lock(self: sql.TableOutput, session: sql.Session) -> Iterator[str]:
    yield from ()


def forget_last_decided(world: Surroundings, work: Work, checkpoint: Checkpoint) -> Iterator[str]:
    yield from ()


def staged_by_prefix(staged: Any, writer: str, base: int) -> list[str]:
    return [name for name in staged if name.startswith(writer) and names.parse(name).epoch <= base]


def staged_without_bound(staged: Any, writer: str, attempt: int) -> list[str]:
    return [name for name in staged if names.parse(name).writer == writer]


def position_of_reader(pipeline: Pipeline) -> int:
    return pipeline.read


def counters_of_progress(store: Store, run: str, checkpoint: Checkpoint) -> int:
    return store.stages[run].live_counters


def no_guard(store: Store, attempt_id: int) -> None:
    return None


def version_read_again(store: Store, attempt: Attempt, last: Epoch | None) -> int:
    return store.cursor.version


def always_settled(store: Store) -> bool:
    return True


def give_up_in_store_only(output: outputs.Output, work: Work, epoch: Epoch) -> Iterator[str]:
    yield from ()


def resume_half_abandoned(store: Store, run: str) -> None:
    stage = store.stages[run]
    if stage.state not in ("failed", "cancelled"):
        raise Refused("nothing to resume")
    stage.failures = stage.losses = 0
    stage.abandoning = None
    store.insert_attempt(run)


def refuse_in_store_only(store: Store, attempt: Attempt, number: int) -> None:
    stage = store.stages[attempt.run]
    stage.epochs[number].state = "abandoned"
    verbs.finish_attempt(store, attempt, "failed", False)


def checkpoint_before_abandoned(store_: Store, attempt_id: int) -> Checkpoint:
    """Go on from before what was given up, so that its rows are read again."""
    store.guard(store_, attempt_id)
    attempt = store_.attempts[attempt_id]
    stage = store_.stages[attempt.run]
    decided = stage.since_base()
    kept = [epoch for epoch in decided if epoch.state != "abandoned"]
    start = kept[-1].decision.position if kept else 0
    version = store.carried_version(store_, attempt, decided[-1] if decided else None)
    return Checkpoint(kept, stage.unapplied(), store.next_number(stage), start, version)


def end_unresolved(store: Store, stage: StageRun, wanted: str, only: str | None) -> None:
    """End or clear although a decided epoch is not applied."""
    stage.stop_as = None
    if wanted == "cleared":
        verbs.start_over(stage)
        store.insert_attempt(stage.run)
    else:
        stage.state = wanted


def leave_row_to_apply(self: sql.TableOutput, work: Work) -> Iterator[str]:
    yield "restore.ledger_row"


def check_without_row(self: sql.TableOutput, work: Work, checkpoint: Checkpoint) -> None:
    return None


def move_without_compare(store: Store, run: str, decision: Decision) -> int:
    store.cursor = Cursor(decision.position, store.cursor.version + 1, (run, decision.number))
    return store.cursor.version


def move_with_every_epoch(store_: Store, run: str, decision: Decision) -> int:
    if store_.cursor.version != decision.cursor_version:
        raise AttemptFailed("another run moved the cursor", retry=False)
    return move_without_compare(store_, run, decision)


CLEARS = ("clear", "cancel", "resume")
ABANDONS = ("lose_holder", "abandon", "resume")

LISTED = (
    Bug("ledger keyed by DAG", "1.1", ((names, "ledger_key", key_by_dag),)),
    Bug("ledger keyed by attempt", "1.6", ((names, "ledger_key", key_by_attempt),)),
    Bug("epochs reset on clear", "1.5", ((verbs, "start_over", reset_epochs),), verbs=CLEARS),
    Bug(
        "ledger row inserted by apply",
        "2.5",
        (
            (sql, "update_ledger", insert_if_absent),
            (sql.TableOutput, "take_ledger_row", leave_row_to_apply),
            (sql.TableOutput, "check", check_without_row),
        ),
        scenario="abandoned",
    ),
    Bug("publish before the decision", "2.4", ((model, "decide_and_apply", apply_then_decide),)),
    Bug(
        "next epoch decided before the last is applied",
        "2.6",
        (
            (model, "settle_before_decision", decide_at_once),
            (model, "decide_and_apply", decide_then_apply_all),
        ),
    ),
    Bug("content from memory", "2.5", ((sql, "content", content_from_memory),)),
    Bug(
        "staged names without the attempt",
        "1.6",
        ((names, "staged", staged_without_attempt),),
        scenario="zombie",
    ),
    Bug(
        "a replaced target without its lock",
        "7.4",
        ((sql.TableOutput, "lock_target", no_lock),),
        targets=("overwrite",),
    ),
    Bug(
        "last decided epoch not applied on restore",
        "3.6",
        ((model, "apply_last_decided", forget_last_decided),),
    ),
    Bug("staging removed by prefix", "3.3", ((names, "of_epochs_up_to", staged_by_prefix),), verbs=CLEARS),
    Bug(
        "removal at the end without its bound",
        "2.7",
        ((names, "of_attempts_up_to", staged_without_bound),),
        targets=("folder",),
        scenario="cleared",
    ),
    Bug(
        "position saved before the batch is out", "2.2", ((model, "position_at_barrier", position_of_reader),)
    ),
    Bug("counters outside the epoch", "2.2", ((model, "counters_to_restore", counters_of_progress),)),
    Bug("a store write without its guard", "1.3", ((store, "guard", no_guard),), verbs=CLEARS),
    Bug(
        "cursor read again after a decision",
        "6.2",
        ((store, "carried_version", version_read_again),),
        dag_scoped=True,
    ),
    Bug(
        "cursor read before it is applied",
        "6.2",
        ((store, "cursor_is_settled", always_settled),),
        targets=("upsert",),
        dag_scoped=True,
    ),
    Bug(
        "abandon without the ledger",
        "3.9",
        ((model, "give_up_in", give_up_in_store_only),),
        scenario="abandoned",
    ),
)
"""Every bug that rule 14 lists for the data."""

FURTHER = (
    Bug(
        "abandon without its parts",
        "3.9",
        ((model, "give_up_in", give_up_in_store_only),),
        ("folder",),
        scenario="abandoned",
    ),
    Bug(
        "an abandon given up half-way",
        "3.9",
        ((verbs, "resume", resume_half_abandoned),),
        scenario="abandon_killed",
    ),
    Bug(
        "a refused epoch given up in the store alone",
        "4.3",
        ((verbs, "refuse_epoch", refuse_in_store_only),),
        ("joined_if_absent",),
        scenario="freed",
    ),
    Bug(
        "what was given up read again",
        "3.9",
        ((store, "read_checkpoint", checkpoint_before_abandoned),),
        ("append", "upsert"),
        verbs=ABANDONS,
    ),
    Bug(
        "an end that leaves a decided epoch behind",
        "3.8",
        ((verbs, "conclude", end_unresolved),),
        verbs=CLEARS,
    ),
    Bug(
        "the cursor moved without comparing",
        "6.2",
        ((store, "move_cursor", move_without_compare),),
        dag_scoped=True,
    ),
    Bug(
        "the cursor moved before the file is published",
        "6.4",
        ((store, "move_cursor", move_with_every_epoch),),
        ("grown",),
        True,
        scenario="two_runs",
    ),
    Bug(
        "pruned beside a live attempt",
        "1.7",
        ((verbs, "may_prune", verbs.has_settled),),
        verbs=("prune",),
        zombies=2,
    ),
)
"""Rules beyond that list."""
