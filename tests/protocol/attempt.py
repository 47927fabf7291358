"""An attempt: worker and runner in one generator that yields the name of each step after it is done.

Dropping the generator is a kill: memory is gone, transactions roll back, what is durable stays.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import AttemptLost

from . import store as rows
from . import verbs
from .files import TargetExists
from .outputs import Output, Row, Work, remove_staged_after, remove_staged_before
from .store import Attempt, AttemptFailed, Checkpoint, Decision, Epoch, Store, Token


class Surroundings(Protocol):
    """What an attempt needs of the world around it."""

    store: Store
    outputs: list[Output]

    def work(self, attempt: Attempt) -> Work: ...
    def source(self, run: str) -> int: ...
    def kill_earlier_runners(self, attempt: Attempt) -> None: ...
    def tell(self, write: Callable[[], None]) -> None: ...


@dataclass(frozen=True)
class Pace:
    """How this try happens to cut its epochs: rows in each, and whether it seals ahead (rule 2.6)."""

    rows: int = 1
    ahead: bool = False


@dataclass
class Pipeline:
    """The open inputs and states. The reader is one row ahead of what has left the pipeline."""

    end: int
    position: int
    state: int
    counters: int
    read: int = 0

    def take(self, count: int) -> range:
        """Send up to `count` rows out."""
        taken = range(self.position, min(self.position + count, self.end))
        self.position = taken.stop
        self.read = min(self.position + 1, self.end)
        self.state += len(taken)
        self.counters += len(taken)
        return taken


def run_attempt(world: Surroundings, attempt: Attempt, pace: Pace) -> Iterator[str]:
    """Everything an attempt does after its claim. A lost one stops without a word."""
    try:
        yield from work_through(world, attempt, pace)
    except AttemptLost:
        return
    except AttemptFailed as error:
        number = error.epoch if isinstance(error, TargetExists) else None
        retry = error.retry
        try:
            world.tell(lambda: verbs.end(world.store, attempt.id, "failed", retry=retry, give_up=number))
        except AttemptLost:
            return


def work_through(world: Surroundings, attempt: Attempt, pace: Pace) -> Iterator[str]:
    """Restore, go on, finish."""
    work = world.work(attempt)
    checkpoint = yield from restore(world, work)
    if attempt.only == "abandon":
        yield from give_up(world, work)
        return
    yield from apply_last_decided(world, work, checkpoint)
    yield "restore.applied"
    if attempt.only == "apply":
        world.tell(lambda: verbs.end(world.store, attempt.id, "success"))
        return
    if not (checkpoint.last and checkpoint.last.decision.final):
        pipeline = reopen(world, work, checkpoint)
        yield "restore.reopened"
        if not (yield from pump(world, work, checkpoint, pipeline, pace)):
            world.tell(lambda: verbs.end(world.store, attempt.id, "cancelled"))
            return
    yield from finish(world, work)


def restore(world: Surroundings, work: Work) -> Generator[str, None, Checkpoint]:
    """Rules 3.1-3.5, in this order."""
    base = work.attempt.base
    world.kill_earlier_runners(work.attempt)
    yield "restore.killed"
    for output in world.outputs:
        output.prepare(work)
    yield "restore.prepared"
    for output in world.outputs:
        yield from output.take_ledger_row(work)
    for output in world.outputs:
        remove_staged_before(output.staged_files, output.writer(work.run), base)
    yield "restore.staging_removed"
    checkpoint = rows.read_checkpoint(world.store, work.attempt.id)
    yield "restore.checkpoint_read"
    if work.attempt.only != "abandon":
        for output in world.outputs:
            output.check(work, checkpoint)
    return checkpoint


def apply_last_decided(world: Surroundings, work: Work, checkpoint: Checkpoint) -> Iterator[str]:
    """Rule 3.6."""
    if checkpoint.unapplied is not None:
        yield from apply_and_mark(world, work, checkpoint, checkpoint.unapplied)


def reopen(world: Surroundings, work: Work, checkpoint: Checkpoint) -> Pipeline:
    """Rule 3.7: positions, states and counters of the last decided epoch."""
    state = checkpoint.last.decision.state if checkpoint.last else 0
    counters = counters_to_restore(world.store, work.run, checkpoint)
    return Pipeline(world.source(work.run), checkpoint.start, state, counters)


def counters_to_restore(store: Store, run: str, checkpoint: Checkpoint) -> int:
    """Rule 2.2: the counters are part of the epoch."""
    return checkpoint.last.decision.counters if checkpoint.last else 0


def position_at_barrier(pipeline: Pipeline) -> int:
    """Rule 2.2: the position of what has left, not of what was read."""
    return pipeline.position


def pump(
    world: Surroundings, work: Work, checkpoint: Checkpoint, pipeline: Pipeline, pace: Pace
) -> Generator[str, None, bool]:
    """Epoch after epoch until the final one is applied; answers False when asked to stop before."""
    number, version, open_epoch = checkpoint.next_number, checkpoint.cursor_version, None
    known = Checkpoint(list(checkpoint.epochs), None, number, checkpoint.start, version)
    while True:
        if open_epoch is None and rows.asked_to_stop(world.store, work.run):
            return False
        start = pipeline.position
        tokens, final = yield from seal(world, work, known, pipeline, number, pace)
        yield from settle_before_decision(world, work, known, open_epoch)
        decision = Decision(
            number,
            start,
            position_at_barrier(pipeline),
            pipeline.state,
            pipeline.counters,
            tokens,
            final,
            version,
        )
        epoch = yield from decide_and_apply(world, work, known, decision, pace)
        version, number = epoch.cursor_written, number + 1
        open_epoch = epoch if epoch.state == "decided" else None
        if final:
            return True


def seal(
    world: Surroundings, work: Work, known: Checkpoint, pipeline: Pipeline, number: int, pace: Pace
) -> Generator[str, None, tuple[dict[str, Token], bool]]:
    """Rules 2.2-2.3: rows flow until the barrier, every output seals its part, all is made durable."""
    taken = pipeline.take(pace.rows)
    final = len(taken) < pace.rows
    first = pipeline.state - len(taken) + 1
    sealed = [
        Row(work.run, index, first + place, number, work.attempt.id) for place, index in enumerate(taken)
    ]
    tokens: dict[str, Token] = {}
    for output in world.outputs:
        tokens[output.node] = output.seal(work, known, number, sealed, final)
        work.memory[output.node, number] = sealed
        yield "part.sealed"
    yield "folder.synced"
    world.tell(lambda: rows.report_progress(world.store, work.attempt.id, pipeline.counters))
    return tokens, final


def settle_before_decision(
    world: Surroundings, work: Work, known: Checkpoint, open_epoch: Epoch | None
) -> Iterator[str]:
    """Rule 2.6: the next epoch is decided only when the one before it is applied."""
    if open_epoch is not None:
        yield from apply_and_mark(world, work, known, open_epoch)


def decide_and_apply(
    world: Surroundings, work: Work, known: Checkpoint, decision: Decision, pace: Pace
) -> Generator[str, None, Epoch]:
    """Rules 2.4-2.5: first the decision, then anything that a reader of the target can see."""
    world.tell(lambda: rows.decide(world.store, work.attempt.id, decision))
    epoch = world.store.history[work.run, decision.number, work.attempt.id]
    known.epochs.append(epoch)
    yield "epoch.decided"
    if decision.final or not pace.ahead:
        yield from apply_and_mark(world, work, known, epoch)
    return epoch


def apply_and_mark(world: Surroundings, work: Work, known: Checkpoint, epoch: Epoch) -> Iterator[str]:
    """Rules 2.5-2.6."""
    for output in world.outputs:
        yield from output.apply(work, known, epoch)
        yield "output.applied"
    world.tell(lambda: rows.mark_applied(world.store, work.attempt.id, epoch.decision.number))
    yield "epoch.applied"
    for output in world.outputs:
        output.forget_spool(epoch)


def finish(world: Surroundings, work: Work) -> Iterator[str]:
    """Rule 2.7."""
    for output in world.outputs:
        output.finish(work)
    yield "stage.finished"
    for output in world.outputs:
        remove_staged_after(output.staged_files, output.writer(work.run), work.attempt.id)
    yield "staging.removed"
    world.tell(lambda: verbs.end(world.store, work.attempt.id, "success"))
    yield "stage.success"
    yield "run.ended"


def give_up(world: Surroundings, work: Work) -> Iterator[str]:
    """Abandon: the targets first, so that no late attempt can apply the epoch; then the store."""
    epoch = rows.epoch_to_give_up(world.store, work.attempt.id)
    for output in world.outputs:
        yield from give_up_in(output, work, epoch)
        yield "output.given_up"
    world.tell(lambda: verbs.end(world.store, work.attempt.id, "success"))


def give_up_in(output: Output, work: Work, epoch: Epoch) -> Iterator[str]:
    """One output's ledger or parts."""
    yield from output.give_up(work, epoch)
