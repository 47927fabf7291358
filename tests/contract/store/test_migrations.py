"""The migrations lead to the tables that the code declares, and are found where the package lies."""

from __future__ import annotations

import re
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from orchestrator.store import HEAD, REVISIONS, migrate, tables
from orchestrator.store.dialects import sqlite_library
from tests.support.store import open_store


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    return ScriptDirectory.from_config(config)


def schema(connection: Connection) -> dict[str, list[str]]:
    """Every table and index as SQLite keeps it: its words and signs, whose order may differ."""
    rows = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    )
    return {name: sorted(re.findall(r"\w+|[^\w\s]", sql)) for name, sql in rows}


def test_the_revisions_that_the_code_knows_are_the_scripts_in_their_order() -> None:
    found = [script.revision for script in scripts().walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS
    assert scripts().get_current_head() == HEAD


def test_migrating_from_nothing_leads_to_what_a_fresh_store_has(tmp_path: Path) -> None:
    fresh = open_store(tmp_path)
    engine = create_engine("sqlite://", module=sqlite_library(), isolation_level="AUTOCOMMIT")
    with fresh.read() as created, engine.connect() as migrated:
        migrated.exec_driver_sql("BEGIN IMMEDIATE")
        migrate.upgrade(migrated)
        migrated.exec_driver_sql("COMMIT")
        assert migrate.revision_of(migrated) == HEAD
        assert schema(migrated) == schema(created)
    engine.dispose()
    fresh.close()


def test_alembic_finds_nothing_to_change_in_a_fresh_store(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata()) == []
    store.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    engine = create_engine(
        f"sqlite:///{tmp_path / 'x.db'}", module=sqlite_library(), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate.upgrade(connection)
        connection.exec_driver_sql("ROLLBACK")
        assert schema(connection) == {}
    engine.dispose()


def test_every_table_of_the_design_is_there() -> None:
    wanted = (
        "dags dag_versions runs stage_runs attempts epochs events audit node_state pools workers runners "
        "schedules variables connections progress backfills"
    )
    assert set(wanted.split()) == set(tables.metadata().tables)
