"""The world that attempts run in: what is durable, who lives, and everything that can happen next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from . import store as rows
from . import verbs
from .attempt import Pace, run_attempt
from .files import FolderOutput, GrowingFileOutput, JoinedFileOutput, SingleFileOutput
from .invariants import Memory, check_always, check_at_success
from .names import WAITING
from .outputs import File, Output, Work
from .sql import TableOutput
from .store import Attempt, Refused, Store

RUNS = ("r1", "r11")
"""Two runs of one DAG; the name of one is a prefix of the other's."""

TARGETS = (
    "append",
    "upsert",
    "overwrite",
    "folder",
    "grown",
    "joined",
    "grown_if_absent",
    "joined_if_absent",
)


def make_output(kind: str, spool: dict[str, File]) -> Output:
    """One output by the name of its kind."""
    if kind in ("append", "upsert", "overwrite"):
        return TableOutput(kind, kind, spool)
    if kind == "folder":
        return FolderOutput(kind)
    made = GrowingFileOutput if kind.startswith("grown") else JoinedFileOutput
    return made(kind, error_if_exists=kind.endswith("if_absent"))


@dataclass
class Life:
    """A live process: the attempt's generator. A zombie is one whose attempt was taken away."""

    attempt: Attempt
    steps: Iterator[str]
    waiting: bool = False


@dataclass
class World:
    """Everything that is durable, and the processes that live; every action ends with the invariants."""

    targets: tuple[str, ...] = ("append",)
    dag_scoped: bool = False
    size: int = 3
    runs: tuple[str, ...] = RUNS
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spool: dict[str, File] = {}
        self.outputs = [make_output(kind, self.spool) for kind in self.targets]
        self.store = Store(self.dag_scoped, any(output.whole for output in self.outputs))
        self.lives: dict[int, Life] = {}
        self.clock = 0
        self.answers_to_lose = 0
        self.memory = Memory()
        self.steps_passed: set[str] = set()
        for run in self.runs:
            self.store.stages[run] = rows.StageRun(run)
            self.store.insert_attempt(run)

    # What attempts ask of the world

    def work(self, attempt: Attempt) -> Work:
        return Work(attempt, lambda: self.clock, self.spool, self.dag_scoped)

    def source(self, run: str) -> int:
        """How many rows the input has."""
        return self.size

    def kill_earlier_runners(self, attempt: Attempt) -> None:
        """Rule 3.1: on this host, whatever the store thinks of them."""
        for other in [a for a in self.lives if a < attempt.id]:
            row = self.lives[other].attempt
            if (row.run, row.host) == (attempt.run, attempt.host):
                self.drop(other)

    def tell(self, write: Callable[[], None]) -> None:
        """A store write; where its answer is lost, it is asked again (rule 2.4)."""
        write()
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            write()

    # What can happen

    def claim(self, attempt_id: int, pace: Pace, host: int = 0) -> None:
        """A worker on `host` claims a queued attempt."""
        attempt = rows.claim(self.store, attempt_id, host)
        self.lives[attempt_id] = Life(attempt, run_attempt(self, attempt, pace))
        self.after(f"claim {attempt_id} ({attempt.run}, {attempt.only or 'all'}, {pace}, host {host})")

    def step(self, attempt_id: int) -> str | None:
        """Let the attempt make one step; None when it has ended."""
        life = self.lives[attempt_id]
        name = next(life.steps, None)
        life.waiting = name == WAITING
        if name is None:
            life.attempt.known_dead = True
            del self.lives[attempt_id]
        elif name != WAITING:
            self.steps_passed.add(name)
        if name == "staging.removed" and life.attempt.state == "running":
            self.memory.removed_at[life.attempt.run] = self.clock
        self.after(f"step {attempt_id}: {name or 'ended'}")
        return name

    def drop(self, attempt_id: int) -> None:
        """The process is gone; the store does not know yet."""
        life = self.lives.pop(attempt_id)
        life.steps.close()  # type: ignore[attr-defined]
        life.attempt.known_dead = True

    def kill(self, attempt_id: int) -> None:
        self.drop(attempt_id)
        self.after(f"kill {attempt_id}")

    def take_away(self, attempt_id: int) -> None:
        """The store declares a running attempt lost; if its process lives, it is a zombie now."""
        verbs.take_away(self.store, attempt_id)
        self.after(f"take away {attempt_id}")

    def cut(self, attempt_id: int) -> None:
        """Its sessions with the targets end: a broken line, or the session's idle timeout."""
        for table in self.tables():
            for session in [s for s in table.sessions if s.attempt == attempt_id]:
                session.cut()
        self.after(f"cut {attempt_id}")

    def verb(self, name: str, run: str) -> None:
        """One of `VERBS`; raises Refused."""
        VERBS[name](self, run)
        self.after(f"{name} {run}")

    def clear(self, run: str) -> None:
        self.expect_clear_is_allowed(run)
        verbs.clear(self.store, run)

    def expect_clear_is_allowed(self, run: str) -> None:
        """Rules 4.3 and 6.5."""
        if self.dag_scoped and any(output.whole for output in self.outputs):
            raise Refused("dag-scoped state, and an output that replaces as a whole")
        for output in self.outputs:
            kept = isinstance(output, SingleFileOutput) and output.error_if_exists
            if kept and any(row.run == run for row in output.visible()):
                raise Refused("this run published the file")

    def prune(self, run: str, *, blind: bool = False) -> None:
        """Rule 1.7; `blind` does it although a process of the run may live, and may run its pre-SQL again."""
        if not (verbs.has_settled(self.store, run) if blind else verbs.may_prune(self.store, run)):
            raise Refused("not to be pruned yet")
        verbs.prune(self.store, run)
        for table in self.tables():
            for key in [key for key in table.ledger if key == table.writer(run)]:
                del table.ledger[key]
            if blind:
                table.pre_sql = [entry for entry in table.pre_sql if entry[0] != table.writer(run)]

    # What is asked of it

    def tables(self) -> list[TableOutput]:
        return [output for output in self.outputs if isinstance(output, TableOutput)]

    def queued(self) -> list[Attempt]:
        return [a for a in self.store.attempts.values() if a.state == "queued"]

    def zombies(self) -> list[int]:
        """Live processes whose attempt was taken away."""
        return [n for n, life in self.lives.items() if life.attempt.state != "running"]

    def unnoticed(self) -> list[int]:
        """Attempts that the store has as running and whose process is gone."""
        return [a.id for a in self.store.attempts.values() if a.state == "running" and a.id not in self.lives]

    def after(self, what: str) -> None:
        """The end of every action: note it, and look whether everything still holds."""
        self.clock += 1
        self.trace.append(what)
        check_always(self)
        for run, stage in self.store.stages.items():
            if stage.state == "success":
                check_at_success(self, run)


VERBS: dict[str, Callable[[World, str], None]] = {
    "clear": World.clear,
    "cancel": lambda world, run: verbs.cancel(world.store, run),
    "resume": lambda world, run: verbs.resume(world.store, run),
    "abandon": lambda world, run: verbs.abandon(world.store, run),
    "lose_holder": lambda world, run: verbs.lose_holder(world.store, run),
    "prune": World.prune,
    "prune_blind": lambda world, run: world.prune(run, blind=True),
}
