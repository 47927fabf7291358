"""The store: runs, attempts, epochs and the cursor, and the writes that an attempt makes.

Each function is one transaction. A run has one stage, so a stage run is known by its run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.errors import AttemptLost


class AttemptFailed(Exception):
    """The attempt must end as failed. `retry` is False where another try cannot help."""

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


class Refused(Exception):
    """A verb or a claim is not possible now."""


@dataclass(frozen=True)
class Token:
    """What an output sealed: a name, how much of it counts, and the hidden folder it lies in (rule 4.4)."""

    name: str
    length: int
    folder: str
    host: int


@dataclass(frozen=True)
class Decision:
    """Everything that becomes true at once (rule 2.4). `start` is the position the epoch began at."""

    number: int
    start: int
    position: int
    state: int
    counters: int
    tokens: dict[str, Token]
    final: bool
    cursor_version: int | None = None


@dataclass
class Epoch:
    """A decision and what became of it: decided, applied or abandoned."""

    decision: Decision
    attempt: int
    state: str = "decided"
    cursor_written: int | None = None


@dataclass(frozen=True)
class Cursor:
    """Dag-scoped state: a value, its version, and the epoch that wrote it (rule 6.2)."""

    value: int = 0
    version: int = 0
    wrote: tuple[str, int] | None = None


@dataclass
class Attempt:
    """One try; its id is its fence. `only` is None, apply or abandon."""

    id: int
    run: str
    only: str | None
    state: str = "queued"
    outcome: str | None = None
    base: int = 0
    host: int = 0
    cursor: Cursor | None = None
    known_dead: bool = False
    last_write: tuple[str, int] | None = None


@dataclass
class StageRun:
    """The row with scheduling state. `lives` counts starts; `abandoning` is the epoch being given up."""

    run: str
    state: str = "queued"
    base: int = 0
    lives: int = 1
    stop_as: str | None = None
    unresolved: bool = False
    abandoning: int | None = None
    retry_helps: bool = True
    failures: int = 0
    losses: int = 0
    live_counters: int = 0
    epochs: dict[int, Epoch] = field(default_factory=dict)

    def since_base(self) -> list[Epoch]:
        """The epochs of this life, in order."""
        return [self.epochs[number] for number in sorted(self.epochs) if number > self.base]

    def unapplied(self) -> Epoch | None:
        """The last decided epoch, unless it is applied or given up; those before it are (rule 2.6)."""
        decided = self.since_base()
        return decided[-1] if decided and decided[-1].state == "decided" else None


@dataclass(frozen=True)
class Checkpoint:
    """What an attempt starts from (rule 3.4): the epochs of this life, in order.

    One that was given up counts: its rows are not read again, or an output that has them would double them.
    """

    epochs: list[Epoch]
    unapplied: Epoch | None
    next_number: int
    start: int
    cursor_version: int | None

    @property
    def last(self) -> Epoch | None:
        return self.epochs[-1] if self.epochs else None

    @property
    def last_applied(self) -> int:
        """The number of the last epoch of this life that is applied; 0 if none is."""
        return max((epoch.decision.number for epoch in self.epochs if epoch.state == "applied"), default=0)

    def tokens(self, node: str) -> list[Token]:
        """This output's tokens since `base`, in order."""
        return [epoch.decision.tokens[node] for epoch in self.epochs if node in epoch.decision.tokens]


@dataclass
class Store:
    """All durable rows. `history` is the tests' own record of every decision; pruning spares it."""

    dag_scoped: bool = False
    cursor_with_final: bool = False
    stages: dict[str, StageRun] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    cursor: Cursor = Cursor()
    sequence: int = 0
    history: dict[tuple[str, int, int], Epoch] = field(default_factory=dict)

    def insert_attempt(self, run: str, only: str | None = None) -> Attempt:
        """Rule 1.2: a new row for every try, from one growing sequence."""
        self.sequence += 1
        self.attempts[self.sequence] = Attempt(self.sequence, run, only)
        self.stages[run].state = "queued"
        return self.attempts[self.sequence]

    def active(self, run: str) -> Attempt | None:
        """The attempt that is queued or running, if any; never two."""
        found = [a for a in self.attempts.values() if a.run == run and a.state != "done"]
        assert len(found) <= 1, f"{run} has {len(found)} active attempts"
        return found[0] if found else None


def guard(store: Store, attempt_id: int) -> None:
    """Rule 1.3: every write of an attempt says that it still runs."""
    attempt = store.attempts.get(attempt_id)
    if attempt is None or attempt.state != "running":
        raise AttemptLost(f"attempt {attempt_id} was taken away")


def guarded(store: Store, attempt_id: int, key: tuple[str, int], write: Callable[[], None]) -> None:
    """One guarded write. A repeat of the attempt's own last one, whose answer was lost, is done."""
    attempt = store.attempts.get(attempt_id)
    if attempt is not None and attempt.last_write == key:
        return
    guard(store, attempt_id)
    write()
    if attempt is not None:
        attempt.last_write = key


def cursor_is_settled(store: Store) -> bool:
    """Rule 6.2: the value may be read once the epoch that wrote it is applied, or given up.

    A pruned run's epochs were settled before it could be pruned.
    """
    if store.cursor.wrote is None:
        return True
    run, number = store.cursor.wrote
    stage = store.stages.get(run)
    return stage is None or stage.epochs[number].state != "decided"


def reads_cursor(store: Store, stage: StageRun) -> bool:
    """Rule 6.2: a stage that decided something since its base never reads the cursor again."""
    return store.dag_scoped and not stage.since_base()


def claim(store: Store, attempt_id: int, host: int) -> Attempt:
    """Start a queued attempt, once in its life; the order carries the base and the cursor."""
    attempt = store.attempts[attempt_id]
    stage = store.stages[attempt.run]
    if attempt.state != "queued":
        raise Refused("claimed already")
    if reads_cursor(store, stage):
        if not cursor_is_settled(store):
            raise Refused("the dag-scoped state that it reads is not applied")
        attempt.cursor = store.cursor
    attempt.state, attempt.base, attempt.host = "running", stage.base, host
    stage.state = "running"
    return attempt


def carried_version(store: Store, attempt: Attempt, last: Epoch | None) -> int | None:
    """Rule 6.2: what this run's last decided epoch wrote, before that what was read at the claim."""
    if last is not None:
        return last.cursor_written
    return attempt.cursor.version if attempt.cursor else None


def read_checkpoint(store: Store, attempt_id: int) -> Checkpoint:
    """Rule 3.4: read after the target was prepared, and refused unless the attempt still runs."""
    guard(store, attempt_id)
    attempt = store.attempts[attempt_id]
    stage = store.stages[attempt.run]
    decided = stage.since_base()
    at_claim = attempt.cursor.value if attempt.cursor else 0
    start = decided[-1].decision.position if decided else at_claim
    version = carried_version(store, attempt, decided[-1] if decided else None)
    return Checkpoint(decided, stage.unapplied(), next_number(stage), start, version)


def epoch_to_give_up(store: Store, attempt_id: int) -> Epoch:
    """The epoch whose abandon was asked for."""
    guard(store, attempt_id)
    stage = store.stages[store.attempts[attempt_id].run]
    assert stage.abandoning is not None
    return stage.epochs[stage.abandoning]


def next_number(stage: StageRun) -> int:
    """Rule 1.5: numbers count up per stage run and are never reset."""
    return max(stage.epochs, default=stage.base) + 1


def decide(store: Store, attempt_id: int, decision: Decision) -> None:
    """Rule 2.4: one row, which is the truth."""

    def write() -> None:
        run = store.attempts[attempt_id].run
        stage = store.stages[run]
        if decision.number in stage.epochs:
            raise AttemptFailed(f"epoch {decision.number} is decided already")
        written = move_cursor(store, run, decision) if store.dag_scoped else None
        stage.epochs[decision.number] = Epoch(decision, attempt_id, cursor_written=written)
        store.history[run, decision.number, attempt_id] = stage.epochs[decision.number]

    guarded(store, attempt_id, ("decide", decision.number), write)


def move_cursor(store: Store, run: str, decision: Decision) -> int | None:
    """Rules 6.2-6.4: compare and set; with the final epoch only where nothing is published before."""
    if store.cursor_with_final and not decision.final:
        return decision.cursor_version
    if store.cursor.version != decision.cursor_version:
        raise AttemptFailed("another run moved the cursor", retry=False)
    store.cursor = Cursor(decision.position, store.cursor.version + 1, (run, decision.number))
    return store.cursor.version


def asked_to_stop(store: Store, run: str) -> bool:
    """Rule 8.8: whether a verb waits for the attempt to end. A hint, no fence: a zombie reads it too."""
    return run in store.stages and store.stages[run].stop_as is not None


def mark_applied(store: Store, attempt_id: int, number: int) -> None:
    """Rule 2.6: every output has applied the epoch."""

    def write() -> None:
        stage = store.stages[store.attempts[attempt_id].run]
        stage.epochs[number].state = "applied"
        stage.unresolved = False

    guarded(store, attempt_id, ("applied", number), write)


def report_progress(store: Store, attempt_id: int, counters: int) -> None:
    """Rule 2.2: figures of an open epoch are shown apart; they are one row, overwritten."""
    guard(store, attempt_id)
    store.stages[store.attempts[attempt_id].run].live_counters = counters
