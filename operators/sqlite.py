"""sqlite: rows from and into a SQLite file, each once whatever is killed.

Input and output open the file through the same few functions at the end. `operators.ledger` says how an
epoch is applied once, `operators.sqlite_types` how values lie in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pydantic import Field, field_validator, model_validator

from operators.ledger import TABLE as LEDGER
from operators.ledger import Ledger
from operators.rejects import reject_row
from orchestrator.crash import crash_point
from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import SqliteText, Templated
from orchestrator.sdk.input import Input, Reader
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator
from orchestrator.sdk.output import Applier, ApplyOutput, Delivery
from orchestrator.sdk.properties import Mode
from orchestrator.sdk.types import TypeName

if TYPE_CHECKING:
    import pyarrow as pa

LOCK_SECONDS = 60
"""How long to wait for another writer: two leases of a worker."""


@operator("sqlite")
class SqliteInput(Input):
    """Reads a table, in the order of its key, or the rows of a query."""

    path: Templated[str] = Field(description="The SQLite file.", min_length=1)
    table: Templated[str] = Field(
        default="", description="The table to read; it is read up to the last row it has when the run begins."
    )
    query: SqliteText = Field(
        default="", description="A SELECT instead of a table. Without `order_by` its stage is one epoch."
    )
    order_by: str = Field(
        default="",
        description="A column of the query that is unique and never null: from it the input goes on.",
    )
    columns: dict[str, TypeName] = Field(
        default_factory=dict, description="Types of columns; others follow from declarations and a sample."
    )
    infer_rows: int = Field(default=1000, ge=1, description="Rows of the sample.")
    incremental: dict[str, Any] | None = Field(default=None, description="Not yet: see the hint it gives.")

    @field_validator("incremental")
    @classmethod
    def _not_yet(cls, incremental: Any) -> Any:
        if incremental is not None:
            raise ValueError("`incremental` does not work yet: write a query with the run's dates, {{ ds }}")
        return incremental

    @model_validator(mode="after")
    def _one_source(self) -> SqliteInput:
        if bool(self.table) == bool(self.query):
            raise ValueError("give either `table` or `query`")
        if self.order_by and self.table:
            raise ValueError("`order_by` belongs to a query; a table is read in the order of its key")
        return self

    @property
    def replayable(self) -> bool:  # type: ignore[override]
        """A table is read by its key; a query can be continued where it is ordered."""
        return bool(self.table or self.order_by)

    def discover(self, context: Context) -> pa.Schema:
        from operators.sqlite_reading import Source

        with reported(context, self.path), connected(context, self.path) as connection:
            return Source(self, connection).schema()

    def plan(self, context: Context) -> Sequence[Any]:
        from operators.sqlite_reading import Source

        with reported(context, self.path), connected(context, self.path) as connection:
            return [Source(self, connection).split()]

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        from operators.sqlite_reading import SqliteReader

        return SqliteReader(self, context, split, position)


@operator("sqlite")
class SqliteOutput(ApplyOutput):
    """Writes rows into a table, which it makes where it is absent."""

    path: Templated[str] = Field(
        description="The SQLite file; it and its folder are made where absent.", min_length=1
    )
    table: Templated[str] = Field(description="The table.", min_length=1)
    mode: Literal["append", "overwrite", "upsert"] = Field(
        default="append",
        description="append; overwrite: the table holds this run's rows alone; upsert: by `key`.",
    )
    key: list[str] = Field(default_factory=list, description="For upsert: the columns that tell rows apart.")
    pre_sql: SqliteText = Field(
        default="", description="Statements to run once before the first row; a clear runs them again."
    )
    post_sql: SqliteText = Field(
        default="", description="Statements to run after the last row; they may run twice."
    )
    replace_where: str | None = Field(default=None, description="Not yet: see the hint it gives.")

    @field_validator("replace_where")
    @classmethod
    def _not_yet(cls, condition: Any) -> Any:
        if condition is not None:
            raise ValueError("`replace_where` does not work yet: use mode upsert or overwrite")
        return condition

    @field_validator("mode", mode="before")
    @classmethod
    def _known_mode(cls, mode: Any) -> Any:
        if mode in (Mode.REPLACE_WHERE, Mode.ERROR_IF_EXISTS):
            raise ValueError(f"mode {mode} does not work for tables yet: use append, overwrite or upsert")
        return str(mode)

    @field_validator("table")
    @classmethod
    def _not_ours(cls, table: str) -> str:
        if table.lower() == LEDGER or table.lower().startswith("sqlite_"):
            raise ValueError(f"table {table!r} is not for rows: choose another name")
        return table

    @model_validator(mode="after")
    def _mode_is_whole(self) -> SqliteOutput:
        if (self.mode == "upsert") != bool(self.key):
            raise ValueError("mode upsert needs `key`, and only that mode takes it")
        return self

    @property
    def replaces_whole(self) -> bool:
        return self.mode == "overwrite"

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema = inputs.get("in")
        if schema is not None:
            check_schema(schema, self.key)
        return {}

    def open(self, context: Context) -> Applier:
        return _SqliteApplier(self, context)


def check_schema(schema: pa.Schema, key: Sequence[str]) -> None:
    """Refuse a key that does not arrive, and types that SQLite has no place for."""
    from operators.sqlite_types import column_declaration

    for name in key:
        if name not in schema.names:
            raise SchemaProblem(f"there is no column {name!r}", hint=nearest(name, schema.names), field="key")
    seen: dict[str, str] = {}
    for name in schema.names:
        if (first := seen.setdefault(name.lower(), name)) is not name:
            raise SchemaProblem(f"{first!r} and {name!r} are one column to SQLite: rename one by `mapping`")
    for field in schema:
        try:
            column_declaration(field.type)
        except ValueError as error:
            raise SchemaProblem(f"column {field.name!r}: {error}") from None


class _SqliteApplier(Applier):
    """Holds the connection; each verb is one transaction."""

    def __init__(self, output: SqliteOutput, context: Context) -> None:
        from operators.sqlite_table import Table

        self._output, self._context = output, context
        with reported(context, output.path):
            self._connection = connect(context, output.path, create=True)
        self._ledger = Ledger(self._connection.execute)
        self._table = Table(self._connection, output)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction that takes the file's write lock at its start; left undone on any error."""
        with reported(self._context, self._output.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def prepare_stage(self, writer: str, base: int) -> None:
        with self._transaction():
            self._ledger.create()
            if self._ledger.enter(writer, base):
                self._script(self._output.pre_sql)
        crash_point("restore.ledger_row")

    def accept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        with reported(self._context, self._output.path):
            self._table.check(batch.schema)
        refused = self._table.refusals(batch)
        if not refused:
            return batch
        for row, (code, reason) in sorted(refused.items()):
            reject_row(self._context, batch, row, reason, code)
        import pyarrow as pa

        return batch.filter(pa.array([row not in refused for row in range(batch.num_rows)]))

    def apply(self, delivery: Delivery) -> None:
        with self._transaction():
            if not self._ledger.advance(delivery.writer, delivery.epoch):
                return
            if delivery.final or not self._output.replaces_whole:
                self._table.load(delivery, replace=self._output.replaces_whole)
            crash_point("ledger.before_commit")
        crash_point("ledger.committed")

    def held_epoch(self, writer: str) -> int | None:
        with reported(self._context, self._output.path):
            known = self._connection.execute(f"PRAGMA table_info({LEDGER})").fetchone()
            return self._ledger.held(writer) if known else None

    def give_up(self, writer: str, epoch: int) -> None:
        with self._transaction():
            self._ledger.raise_to(writer, epoch)

    def finish_stage(self) -> None:
        if self._output.post_sql:
            with self._transaction():
                self._script(self._output.post_sql)

    def close(self) -> None:
        self._connection.close()

    def _script(self, text: str) -> None:
        """Run statements one by one: the driver's own `executescript` would commit first."""
        statement = ""
        for piece in text.split(";"):
            statement += piece + ";"
            if driver().complete_statement(statement):
                if statement.strip(" \t\r\n;"):
                    self._connection.execute(statement)
                statement = ""
        if statement.strip(" \t\r\n;"):
            raise OperatorError(f"the SQL ends inside a statement: {statement.strip()[:200]}", retry=False)


# The file


def driver() -> ModuleType:
    """The SQLite to use: PyPI's, without the defects that distributions still ship, or Python's own."""
    try:
        import pysqlite3

        found: ModuleType = pysqlite3
    except ImportError:
        import sqlite3

        found = sqlite3
    return found


def connect(context: Context, path: str, *, create: bool = False) -> Any:
    """A connection in autocommit mode. A file that is only read is not made, and not written to."""
    file = context.resolve(path)
    _check_path(file, create)
    mode = "rwc" if create else "rw" if os.access(file, os.W_OK) else "ro"
    # As a writable file it can be recovered after a writer was killed, even by who only reads.
    connection = driver().connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=LOCK_SECONDS, isolation_level=None
    )
    if not create:
        connection.execute("PRAGMA query_only = 1")
    return connection


@contextmanager
def connected(context: Context, path: str) -> Iterator[Any]:
    """A connection for reading, closed afterwards."""
    connection = connect(context, path)
    try:
        yield connection
    finally:
        connection.close()


def _check_path(file: Path, create: bool) -> None:
    if file.is_dir():
        raise OperatorError(f"{file} is a folder, not a SQLite file", retry=False)
    if create:
        _make_folder(file.parent)
    elif not file.parent.is_dir():
        raise OperatorError(
            f"there is no folder {file.parent}", hint="make it, or correct `path`", retry=False
        )
    elif not file.exists():
        raise OperatorError(
            f"there is no file {file}", hint="relative paths start at the project folder", retry=False
        )


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably: what is committed in it must outlive a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OperatorError(
            f"folder {folder} cannot be made: {error.strerror}", hint="correct `path`", retry=False
        ) from None


@contextmanager
def reported(context: Context, path: str) -> Iterator[None]:
    """Errors of the driver become errors that say what is wrong with the file."""
    try:
        yield
    except (driver().Error, driver().Warning) as error:
        _report(context.resolve(path), error)
    except OverflowError as error:
        raise OperatorError(f"{path}: {error}", hint="SQLite's integers have 64 bits", retry=False) from None


def _report(file: Path, error: Any) -> NoReturn:
    name = str(getattr(error, "sqlite_errorname", "") or "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        raise OperatorError(
            f"{file} was locked for {LOCK_SECONDS} s by {_holder(file)}",
            hint="end the other writer, or switch the file to WAL",
        ) from None
    known = {
        "SQLITE_NOTADB": ("is not a SQLite database", False),
        "SQLITE_CANTOPEN": ("cannot be opened: is the permission missing?", False),
        "SQLITE_READONLY": ("cannot be written: the file or its folder is read-only", False),
        "SQLITE_PERM": ("cannot be opened: the permission is missing", False),
        "SQLITE_FULL": ("cannot grow: the disk is full", True),
        "SQLITE_CORRUPT": ("is damaged", False),
        "SQLITE_IOERR": ("cannot be read or written", True),
    }
    for code, (what, retry) in known.items():
        if name.startswith(code):
            raise OperatorError(f"{file} {what} ({error})", retry=retry) from None
    several = "one statement at a time" in str(error)
    hint = "only one statement is run here: take the others away" if several else ""
    raise OperatorError(f"{file}: {error}", hint=hint, retry=False) from None


def _holder(file: Path) -> str:
    """Who holds a lock on the file, from the kernel's table of locks (Linux)."""
    try:
        inodes = {str(path.stat().st_ino) for path in (file, Path(f"{file}-shm")) if path.exists()}
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            pid, place = fields[-4], fields[-3]
            if place.rsplit(":", 1)[-1] in inodes and pid != str(os.getpid()):
                return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text(encoding='utf-8').strip()})"
    except (OSError, IndexError):
        pass
    return "another connection"
