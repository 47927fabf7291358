"""The ledger of a SQL target: for each writer, the epoch that its rows have reached.

It lies in the target's own database, so that one transaction carries both the rows and the word that
they are there. Who applies an epoch raises its row in that transaction; where it has been raised already,
the rows are there. The row is inserted when a stage is prepared and nowhere else, so a target that
was restored from a backup is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.sdk.output import LedgerGone

TABLE = "fustgo_ledger"

Execute = Callable[[str, Sequence[Any]], Any]
"""Runs one statement with its parameters and gives the driver's cursor (`rowcount`, `fetchone`)."""


class Ledger:
    """The ledger through one connection. Every method is called inside the caller's transaction.

    `mark` is the driver's sign for a parameter: `?`, or `%s`.
    """

    def __init__(self, execute: Execute, mark: str = "?") -> None:
        self._execute, self._mark = execute, mark

    def _run(self, sql: str, *parameters: Any) -> Any:
        return self._execute(sql.replace("?", self._mark), parameters)

    def create(self) -> None:
        """Make the table where it is absent."""
        self._run(
            f"CREATE TABLE IF NOT EXISTS {TABLE} (writer VARCHAR(255) NOT NULL PRIMARY KEY, "
            "epoch BIGINT NOT NULL, base BIGINT NOT NULL, changed_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
        )

    def enter(self, writer: str, base: int) -> bool:
        """Insert the writer's row at `base`, or raise a lower base and epoch; True where pre-SQL is due."""
        found = self._run(f"SELECT base FROM {TABLE} WHERE writer = ?", writer).fetchone()  # noqa: S608
        if found is None:
            self._run(f"INSERT INTO {TABLE} (writer, epoch, base) VALUES (?, ?, ?)", writer, base, base)  # noqa: S608
            return True
        if found[0] >= base:
            return False
        # What was given up or restored below the new base can then neither be applied late nor look behind.
        self._run(f"UPDATE {TABLE} SET base = ? WHERE writer = ?", base, writer)  # noqa: S608
        self.raise_to(writer, base)
        return True

    def advance(self, writer: str, epoch: int) -> bool:
        """Raise the writer to an epoch; False where it is there already.

        Raises `LedgerGone` where the writer has no row.
        """
        if self.raise_to(writer, epoch):
            return True
        if self.held(writer) is None:
            raise LedgerGone(f"table {TABLE} has no row of writer {writer!r}")
        return False

    def raise_to(self, writer: str, epoch: int) -> bool:
        """Raise the writer's row where it is lower; whether there was such a row."""
        changed = self._run(
            f"UPDATE {TABLE} SET epoch = ?, changed_at = CURRENT_TIMESTAMP WHERE writer = ? AND epoch < ?",  # noqa: S608
            epoch,
            writer,
            epoch,
        )
        return bool(changed.rowcount)

    def held(self, writer: str) -> int | None:
        """The epoch that the target holds for a writer; None where it knows none."""
        found = self._run(f"SELECT epoch FROM {TABLE} WHERE writer = ?", writer).fetchone()  # noqa: S608
        return None if found is None else int(found[0])
