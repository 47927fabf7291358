"""The store in a PostgreSQL database, for processes on any host.

Transactions that write are READ COMMITTED and lock rows in the order of rule 8.12; what they decide by is
read from the locking SELECT or later. A session that stands still inside a transaction is ended by the
server after five seconds, so that nobody waits for a process that was stopped.
"""

from __future__ import annotations

import contextlib
import select
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidatePoolError,
    StatementError,
)
from sqlalchemy.pool import QueuePool

from orchestrator.clock import Clock
from orchestrator.errors import StoreError, UsageError
from orchestrator.store import HEAD, migrate
from orchestrator.store.database import (
    CollisionError,
    Database,
    Health,
    NoStoreError,
    OutOfReachError,
    between,
)
from orchestrator.store.dialects import postgresql_library, take_schema_lock
from orchestrator.store.hints import collected
from orchestrator.store.measures import noted
from orchestrator.store.notifications import Notifications

_OLDEST = (13,)  # the first with pg_current_xact_id
_IDLE = 5_000  # milliseconds that a session may stand still inside a transaction
_COLLIDED = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_DATA = "22"  # the class of values that cannot be kept; the driver refuses some by itself, without a state
_PROBES = 20
_LONG = 5.0  # seconds after which a session is asked whether it is there
# After a pipeline (`executemany`) the server's own timer is not running: the driver's last message, a flush,
# stops it and starts none. So the sessions of this user and program are looked at from outside too.
_END_STALLED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
AND application_name = current_setting('application_name') AND state LIKE 'idle in transaction%%'
AND state_change < clock_timestamp() - make_interval(secs => %s / 1000.0)
"""
_HINTS = {
    "25P03": "this process stood still inside a transaction, which the server ended; nothing of it was kept",
    "42501": "the user of database.url must own the schema, or be granted CREATE on it",
    "53100": "free space on the server's disk; nothing of this step was kept",
    "53300": "raise max_connections of the server, or run fewer processes",
    "55P03": "another session holds what is needed here; pg_stat_activity of the server shows it",
}
_SAID = {
    "authentication": "user and password stand in database.url, or in ~/.pgpass",
    "does not exist": "create it (createdb NAME) or name another in database.url",
    "connection": "is the server up, and are host and port of database.url right?",
}


class PostgresqlDatabase(Database):
    """A store in the schema that the user of the URL finds first."""

    def __init__(self, url: str, clock: Clock, lease: float) -> None:
        """Connect to nothing yet; raises UsageError for what is no URL."""
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:
            raise UsageError(
                "database.url is no URL of a PostgreSQL database",
                hint="write postgresql://user:password@host:port/database",
            ) from error
        self.place = parsed.render_as_string(hide_password=True)
        self.clock = clock
        self._lock_timeout = int(lease * 1000)
        self._writing: set[int] = set()
        defaults = {"application_name": "fustgo", "connect_timeout": "10"}
        given = {name: value for name, value in defaults.items() if name not in parsed.query}
        # AUTOCOMMIT: neither SQLAlchemy nor the driver opens or ends a transaction, `transaction` does.
        self._engine = create_engine(
            parsed.set(drivername="postgresql+psycopg").update_query_dict(given),
            module=postgresql_library(),
            isolation_level="AUTOCOMMIT",
            poolclass=QueuePool,
            connect_args={"prepare_threshold": 1},  # what is executed twice is executed often
        )
        event.listen(self._engine, "connect", self._configure)
        event.listen(self._engine, "checkout", _refuse_ended)
        self.hints = Notifications(self._connect)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        thread = threading.get_ident()
        if thread in self._writing:
            raise RuntimeError("a transaction was opened inside another one of the same thread")
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
        asked_at = self.clock.monotonic()
        with self._explained(), self._engine.connect() as connection, collected(connection) as hints:
            self._writing.add(thread)
            try:
                with noted(connection) as moved, between(connection, begin):
                    yield connection
            finally:
                self._writing.discard(thread)
        self._committed(hints, moved, asked_at)
        self._suspend_if_asked()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        with self._explained(), self._engine.connect() as connection, between(connection, begin):
            yield connection

    @contextlib.contextmanager
    def glance(self) -> Iterator[Connection]:
        with self._explained(), self._engine.connect() as connection:
            yield connection

    @property
    def is_writing(self) -> bool:
        return bool(self._writing)

    def end_stalled(self) -> int:
        with self._explained(), self._engine.connect() as connection:
            return len(connection.exec_driver_sql(_END_STALLED, (_IDLE,)).all())

    def close(self) -> None:
        self.hints.close()
        self._engine.dispose()

    def prepare(self, *, create: bool) -> None:
        """Bring the schema to `HEAD`: create it, migrate it, or say why not.

        Two processes may do so at once: who gets the lock second finds the work done.
        """
        with self._explained(), self._engine.connect() as connection:
            if (connection.dialect.server_version_info or ()) < _OLDEST:
                raise StoreError(f"{self.place}: the server is older than PostgreSQL {_OLDEST[0]}")
            revision = migrate.revision_of(connection)
            if revision is None and not create:
                raise NoStoreError(
                    f"there is no store in {self.place}", hint="`fustgo db upgrade` creates it"
                )
            if revision != HEAD:
                with between(connection, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"):
                    take_schema_lock(connection)
                    migrate.to_head(connection, self.place)

    def health(self) -> Health:
        with self._explained(), self._engine.connect() as connection:
            names = ("server_version", "synchronous_commit", "fsync", "full_page_writes")
            shown = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar()) for name in names}
            revision = migrate.revision_of(connection)
            commit = statistics.median(_one_commit(connection) for _ in range(_PROBES))
        problems = [
            f"unsafe: {name} is off, so a crash of the server loses or damages what was committed"
            for name in ("fsync", "full_page_writes")
            if shown[name] == "off"
        ]
        durability = ", ".join(f"{name} {shown[name]}" for name in names[1:])
        facts = (
            ("store", self.place),
            ("schema", str(revision)),
            ("server", f"PostgreSQL {shown['server_version']}"),
            ("settings", durability),
            ("commit", f"{commit * 1000:.2f} ms"),
            ("integrity", f"{len(problems)} problems" if problems else "ok"),
        )
        return Health(facts, tuple(problems))

    def _connect(self) -> Any:
        """A session of the driver's own, outside the pool."""
        words, named = self._engine.dialect.create_connect_args(self._engine.url)
        kept_alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        return postgresql_library().connect(*words, **{**kept_alive, **named}, autocommit=True)

    def _configure(self, connection: Any, _record: object) -> None:
        """Settings of every session; `synchronous_commit` only where it would lose what was committed."""
        connection.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, false), "
            "set_config('lock_timeout', %s, false), set_config('TimeZone', 'UTC', false), "
            "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
            "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
            (str(_IDLE), str(self._lock_timeout)),
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the server says into what a person can act on."""
        try:
            yield
        except IntegrityError:
            raise  # broken by our own statement: a defect of ours, not of the place
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None)
            said = str(error.orig).strip().partition("\n")[0]
            raise _kind(error, state)(f"{self.place}: {said}", hint=_hint(state, said)) from error
        except StatementError as error:
            raise StoreError(f"{self.place} cannot keep a value: {error.orig}") from error


def open_postgresql(url: str, *, clock: Clock, create: bool, lease: float) -> PostgresqlDatabase:
    """See `open_database`."""
    database = PostgresqlDatabase(url, clock, lease)
    try:
        database.prepare(create=create)
    except BaseException:
        database.close()
        raise
    return database


def _refuse_ended(connection: Any, record: Any, _proxy: object) -> None:
    """Have the pool connect anew where the server has ended a session: a restart costs no run.

    It says so on the socket, where nothing is to be read otherwise; a question would cost each transaction a
    round trip. Only one that was not used for a while is asked: a network may have dropped it in silence.
    """
    before, record.info["used"] = record.info.get("used"), time.monotonic()
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        said = bool(poll.poll(0))
        if not said and before is not None and record.info["used"] - before > _LONG:
            connection.execute("SELECT 1")
    except (postgresql_library().Error, OSError):
        said = True
    if said:
        raise InvalidatePoolError


def _one_commit(connection: Connection) -> float:
    """Seconds of a transaction that writes one record to the log and to no table."""
    began = time.perf_counter()
    connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'fustgo', '')")
    return time.perf_counter() - began


def _kind(error: DBAPIError, state: str | None) -> type[StoreError]:
    if state in _COLLIDED:
        return CollisionError
    refused = isinstance(error, DataError) or (state or "")[:2] == _DATA
    return StoreError if refused else OutOfReachError


def _hint(state: str | None, said: str) -> str:
    return _HINTS.get(state or "") or next((hint for word, hint in _SAID.items() if word in said), "")
