"""The migrations lead to the tables that the code declares, and are found where the package lies."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from orchestrator.store import HEAD, REVISIONS, migrate, tables
from orchestrator.store.database import Database
from orchestrator.store.dialects import sqlite_library


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    return ScriptDirectory.from_config(config)


POSTGRESQL_SCHEMA = """
SELECT table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
"""


@pytest.fixture
def bare(empty_url: str) -> Iterator[Connection]:
    """A connection to an empty database."""
    if empty_url.startswith("sqlite"):
        engine = create_engine("sqlite://", module=sqlite_library(), isolation_level="AUTOCOMMIT")
    else:
        driver = empty_url.replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(driver, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def schema(connection: Connection) -> dict[str, list[str]]:
    """All that a schema holds as its database keeps it: words and signs, whose order may differ."""
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    if connection.dialect.name == "postgresql":
        query = POSTGRESQL_SCHEMA
    return {name: sorted(re.findall(r"\w+|[^\w\s]", told)) for name, told in connection.execute(text(query))}


def test_the_revisions_that_the_code_knows_are_the_scripts_in_their_order() -> None:
    found = [script.revision for script in scripts().walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS
    assert scripts().get_current_head() == HEAD


def test_migrating_from_nothing_leads_to_what_a_fresh_store_has(database: Database, bare: Connection) -> None:
    bare.exec_driver_sql("BEGIN")
    migrate.upgrade(bare)
    bare.exec_driver_sql("COMMIT")
    assert migrate.revision_of(bare) == HEAD
    with database.read() as created:
        assert schema(bare) == schema(created)


def test_alembic_finds_nothing_to_change_in_a_fresh_store(database: Database) -> None:
    with database.read() as connection:
        options = {"compare_type": True, "include_object": is_compared}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata()) == []


def is_compared(_item: object, name: str | None, *_kind: object) -> bool:
    """All but what PostgreSQL alone has, and the index by an expression, which Alembic cannot compare."""
    return name not in ("xact", "ix_events_xact", "ix_stage_runs_queued")


def test_a_migration_that_fails_leaves_the_store_as_it_was(bare: Connection) -> None:
    bare.exec_driver_sql("BEGIN")
    migrate.upgrade(bare)
    bare.exec_driver_sql("ROLLBACK")
    assert schema(bare) == {}


def test_every_table_of_the_design_is_there() -> None:
    wanted = (
        "dags dag_versions runs stage_runs attempts epochs events audit node_state pools workers runners "
        "schedules variables connections progress backfills bundles load_errors artifact_store"
    )
    assert set(wanted.split()) == set(tables.metadata().tables)
