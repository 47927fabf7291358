"""The schema's version: comparing, creating, migrating.

Alembic is imported only where an older store is brought forward. An empty database gets all tables from
the metadata at once; a test proves that the migrations lead to the same.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from orchestrator.errors import StoreError
from orchestrator.store import HEAD, REVISIONS, processes
from orchestrator.store.dialects import declare_partial_indexes, table_names

_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
SCRIPTS = Path(__file__).parent / "migrations"


def revision_of(connection: Connection) -> str | None:
    """The revision of the schema, None for a database without one."""
    if "alembic_version" not in table_names(connection):
        return None
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return None if row is None else str(row[0])


def to_head(connection: Connection, place: str) -> None:
    """Bring the schema to `HEAD` inside the caller's transaction, or raise StoreError."""
    revision = revision_of(connection)
    if revision == HEAD:
        return
    if revision is None:
        _create(connection, place)
    elif revision not in REVISIONS:
        raise StoreError(
            f"{place} was made by a newer version (its schema is {revision}, this one knows {HEAD})",
            hint="update fustgo, or give this version a home of its own with FUSTGO_HOME",
        )
    else:
        _refuse_while_used(connection, place, revision)
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Run the migrations that this database lacks, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create(connection: Connection, place: str) -> None:
    from orchestrator.store.pools import add_default_pool
    from orchestrator.store.tables import metadata

    if found := table_names(connection):
        raise StoreError(
            f"{place} holds other tables ({', '.join(found[:3])}): it is no store of fustgo",
            hint="name another file, or a database of its own, in database.url",
        )
    schema = metadata()
    declare_partial_indexes(schema, connection.dialect.name)
    schema.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(_VERSION_TABLE)
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
    add_default_pool(connection)


def _refuse_while_used(connection: Connection, place: str, revision: str) -> None:
    """A live process of the older version must not find another schema under its feet."""
    rows = connection.exec_driver_sql(
        "SELECT host, pid, start_time, kind FROM workers WHERE ended_at IS NULL"
    )
    for host, pid, start_time, kind in rows:
        if host == processes.host() and processes.start_time(pid) == start_time:
            raise StoreError(
                f"{place} has the older schema {revision} and is in use by process {pid} ({kind})",
                hint="stop the services, then `fustgo db upgrade`",
            )
