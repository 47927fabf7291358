"""SQL targets: a table with a ledger, read-committed transactions and locks (rules 2.5, 3.2, 7.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import names
from .outputs import File, Output, Row, Work, content
from .store import AttemptFailed, Checkpoint, Epoch, Token

TARGET_NAME = "the target's name"


@dataclass(frozen=True)
class LedgerRow:
    """The epoch that the table holds of a writer, and the life it was prepared for."""

    epoch: int
    base: int


class Session:
    """One transaction. What it changes is seen by nobody until it commits."""

    def __init__(self, table: TableOutput, attempt: int) -> None:
        self.table, self.attempt, self.open = table, attempt, True
        self.ledger: dict[str, LedgerRow] = {}
        self.doomed: set[int] = set()
        self.added: list[Row] = []
        self.pre_sql: list[tuple[str, int]] = []
        table.sessions.append(self)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Roll back and let the locks go: an error, a kill, or the session's idle timeout."""
        self.open = False
        if self in self.table.sessions:
            self.table.sessions.remove(self)
        for key in [key for key, holder in self.table.locks.items() if holder is self]:
            del self.table.locks[key]

    def lock(self, key: str) -> Iterator[str]:
        """Wait while another session holds the lock."""
        while self.table.locks.get(key, self) is not self:
            yield names.WAITING
            self.expect_open()
        self.expect_open()
        self.table.locks[key] = self

    def expect_open(self) -> None:
        if not self.open:
            raise AttemptFailed("the connection to the target was cut")

    def raise_ledger(self, key: str, epoch: int) -> bool:
        """`UPDATE ledger SET epoch = :n WHERE writer = :w AND epoch < :n`: whether a row was updated."""
        row = self.table.ledger.get(key)
        if row is None or row.epoch >= epoch:
            return False
        self.ledger[key] = LedgerRow(epoch, row.base)
        return True

    def delete_all(self) -> None:
        """`DELETE FROM target`: what is committed when the statement runs."""
        self.doomed |= set(self.table.rows)

    def commit(self) -> None:
        self.expect_open()
        table = self.table
        for rowid in self.doomed:
            table.rows.pop(rowid, None)
        for row in self.added:
            table.put(row)
        table.ledger.update(self.ledger)
        table.pre_sql += self.pre_sql
        self.cut()


class TableOutput(Output):
    """`mode`: append, upsert, or overwrite (replaced whole)."""

    def __init__(self, node: str, mode: str, spool: dict[str, File]) -> None:
        super().__init__(node)
        self.mode = mode
        self.whole = mode == "overwrite"
        self.staged_files = spool
        self.rows: dict[int, Row] = {}
        self.ledger: dict[str, LedgerRow] = {}
        self.locks: dict[str, Session] = {}
        self.sessions: list[Session] = []
        self.pre_sql: list[tuple[str, int]] = []
        self._rowid = 0

    def put(self, row: Row) -> None:
        """Insert, or update by key."""
        if self.mode == "upsert":
            for rowid, present in self.rows.items():
                if present.key == row.key:
                    self.rows[rowid] = row
                    return
        self._rowid += 1
        self.rows[self._rowid] = row

    def key(self, work: Work) -> str:
        return names.ledger_key(self.node, work.run, work.attempt.id)

    def take_ledger_row(self, work: Work) -> Iterator[str]:
        """Insert the row at `base` with the pre-SQL, or raise a lower `base` and repeat it; only here.

        The epoch is raised to `base` too: what an earlier life gave up cannot come late.
        """
        base, key = work.attempt.base, self.key(work)
        with Session(self, work.attempt.id) as session:
            yield from session.lock(key)
            row = self.ledger.get(key)
            if row is None or row.base < base:
                session.ledger[key] = LedgerRow(max(row.epoch, base) if row else base, base)
                session.pre_sql.append((key, base))
            session.commit()
        yield "restore.ledger_row"

    def check(self, work: Work, checkpoint: Checkpoint) -> None:
        """Rule 3.5: a ledger below what the store has as applied went back in time."""
        row = self.ledger.get(self.key(work))
        if row is None:
            raise AttemptFailed("the ledger row is gone", retry=False)
        if row.epoch < checkpoint.last_applied:
            facts = f"{self.node} holds epoch {row.epoch}, the store has {checkpoint.last_applied} applied"
            raise AttemptFailed(facts, retry=False)

    def seal(self, work: Work, checkpoint: Checkpoint, number: int, rows: list[Row], final: bool) -> Token:
        if not rows:
            return Token("", 0, "", work.attempt.host)
        name = names.staged(self.writer(work.run), number, work.attempt.id, "spool")
        self.staged_files[name] = File(list(rows), work.now())
        return Token(name, len(rows), "", work.attempt.host)

    def apply(self, work: Work, checkpoint: Checkpoint, epoch: Epoch) -> Iterator[str]:
        """One transaction with the ledger's update and the rows."""
        final, number, key = epoch.decision.final, epoch.decision.number, self.key(work)
        with Session(self, work.attempt.id) as session:
            if self.whole and final:
                yield from self.lock_target(session)
            yield from session.lock(key)
            if not update_ledger(session, key, number, work.attempt.base):
                return
            if self.whole and final:
                session.delete_all()
            for part in self.epochs_to_load(checkpoint, epoch):
                token = part.decision.tokens[self.node]
                session.added += content(self.staged_files, work, self.node, part.decision.number, token)
            yield "ledger.before_commit"
            session.commit()
        yield "ledger.committed"

    def lock_target(self, session: Session) -> Iterator[str]:
        """Rule 7.4: two runs that replace one target wait for each other."""
        yield from session.lock(TARGET_NAME)

    def epochs_to_load(self, checkpoint: Checkpoint, epoch: Epoch) -> list[Epoch]:
        if not self.whole:
            return [epoch]
        return checkpoint.epochs if epoch.decision.final else []

    def give_up(self, work: Work, epoch: Epoch) -> Iterator[str]:
        """The ledger is raised without the rows, so that no late attempt applies the epoch."""
        with Session(self, work.attempt.id) as session:
            yield from session.lock(self.key(work))
            session.raise_ledger(self.key(work), epoch.decision.number)
            session.commit()

    def forget_spool(self, epoch: Epoch) -> None:
        if self.whole and not epoch.decision.final:
            return
        self.staged_files.pop(epoch.decision.tokens[self.node].name, None)

    def visible(self) -> list[Row]:
        return list(self.rows.values())


def update_ledger(session: Session, key: str, number: int, base: int) -> bool:
    """Whether the epoch is still to be applied; apply never inserts the row."""
    if session.raise_ledger(key, number):
        return True
    if key not in session.table.ledger:
        raise AttemptFailed("the ledger row is gone", retry=False)
    return False
