"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")  # 64 bits on both


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "artifact_store",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact_store")),
    )
    op.create_table(
        "audit",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_table(
        "connections",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("public", sa.JSON(), nullable=False),
        sa.Column("encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
    )
    op.create_table(
        "dags",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("space", sa.String(), nullable=False),
        sa.Column("dag_id", sa.String(), nullable=False),
        sa.Column("version", _WHOLE, nullable=True),
        sa.Column("bundle", sa.String(), nullable=True),
        sa.Column("file", sa.String(), nullable=True),
        sa.Column("bundle_version", sa.String(), nullable=True),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("max_active_runs", _WHOLE, nullable=False),
        sa.Column("max_active_tasks", _WHOLE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dags")),
        sa.UniqueConstraint("uid", name=op.f("uq_dags_uid")),
    )
    op.create_index(
        "ix_dags_space_dag_id",
        "dags",
        ["space", "dag_id"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "pools",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("slots", _WHOLE, nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pools")),
    )
    op.create_table(
        "variables",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_variables")),
    )
    op.create_table(
        "workers",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", _WHOLE, nullable=False),
        sa.Column("start_time", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("slots", _WHOLE, nullable=False),
        sa.Column("beat", _WHOLE, nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unseen", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "backfills",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("dag", _WHOLE, nullable=False),
        sa.Column("first", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last", sa.DateTime(timezone=True), nullable=False),
        sa.Column("max_active_runs", _WHOLE, nullable=False),
        sa.Column("reprocess", sa.String(), nullable=True),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["dag"], ["dags.id"], name=op.f("fk_backfills_dag"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfills")),
    )
    op.create_index(op.f("ix_backfills_dag"), "backfills", ["dag"], unique=False)
    op.create_table(
        "dag_versions",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("dag", _WHOLE, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dag"], ["dags.id"], name=op.f("fk_dag_versions_dag"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dag_versions")),
    )
    op.create_index("ix_dag_versions_dag_hash", "dag_versions", ["dag", "hash"], unique=True)
    op.create_table(
        "runners",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("worker", _WHOLE, nullable=False),
        sa.Column("pid", _WHOLE, nullable=False),
        sa.Column("start_time", sa.String(), nullable=False),
        sa.Column("bundle_version", sa.String(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["worker"], ["workers.id"], name=op.f("fk_runners_worker")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runners")),
    )
    op.create_index(op.f("ix_runners_worker"), "runners", ["worker"], unique=False)
    op.create_table(
        "bundles",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("loader", _WHOLE, nullable=True),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["loader"], ["workers.id"], name=op.f("fk_bundles_loader"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_bundles")),
    )
    op.create_table(
        "load_errors",
        sa.Column("bundle", sa.String(), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("bundle_version", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["bundle"], ["bundles.name"], name=op.f("fk_load_errors_bundle"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("bundle", "file", name=op.f("pk_load_errors")),
    )
    op.create_table(
        "schedules",
        sa.Column("dag", _WHOLE, nullable=False),
        sa.Column("timetable", sa.JSON(), nullable=True),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("catchup", sa.Boolean(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("next_fire_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_fire_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("late_fire_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["dag"], ["dags.id"], name=op.f("fk_schedules_dag"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dag", name=op.f("pk_schedules")),
    )
    op.create_index(op.f("ix_schedules_next_fire_at"), "schedules", ["next_fire_at"], unique=False)
    op.create_table(
        "runs",
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("dag", _WHOLE, nullable=False),
        sa.Column("version", _WHOLE, nullable=False),
        sa.Column("bundle_version", sa.String(), nullable=True),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("trigger_key", sa.String(), nullable=True),
        sa.Column("run_type", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("backfill", _WHOLE, nullable=True),
        sa.Column("predecessor", _WHOLE, nullable=True),
        sa.Column("logical_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("interval_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("interval_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("cancel_cause", sa.String(), nullable=True),
        sa.Column("held_by", _WHOLE, nullable=True),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("file", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("timeout_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("cancel_cause IN ('user', 'timeout')", name=op.f("ck_runs_cancel_cause")),
        sa.CheckConstraint("lane IN ('live', 'backfill')", name=op.f("ck_runs_lane")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'success', 'failed', 'cancelled')", name=op.f("ck_runs_state")
        ),
        sa.ForeignKeyConstraint(["backfill"], ["backfills.id"], name=op.f("fk_runs_backfill")),
        sa.ForeignKeyConstraint(["dag"], ["dags.id"], name=op.f("fk_runs_dag"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["held_by"], ["workers.id"], name=op.f("fk_runs_held_by")),
        sa.ForeignKeyConstraint(
            ["predecessor"], ["runs.number"], name=op.f("fk_runs_predecessor"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["version"], ["dag_versions.id"], name=op.f("fk_runs_version")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_runs")),
        sa.UniqueConstraint("uid", name=op.f("uq_runs_uid")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_backfill"), "runs", ["backfill"], unique=False)
    op.create_index(
        "ix_runs_dag_logical_date",
        "runs",
        ["dag", "logical_date"],
        unique=True,
        sqlite_where=sa.text("run_type IN ('scheduled', 'backfill')"),
        postgresql_where=sa.text("run_type IN ('scheduled', 'backfill')"),
    )
    op.create_index("ix_runs_dag_run_id", "runs", ["dag", "run_id"], unique=True)
    op.create_index(
        "ix_runs_trigger_key",
        "runs",
        ["dag", "trigger_key"],
        unique=True,
        sqlite_where=sa.text("trigger_key IS NOT NULL"),
        postgresql_where=sa.text("trigger_key IS NOT NULL"),
    )
    op.create_index(
        "ix_runs_due",
        "runs",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL AND NOT late AND state IN ('queued', 'running')"),
        postgresql_where=sa.text("due_at IS NOT NULL AND NOT late AND state IN ('queued', 'running')"),
    )
    op.create_index(op.f("ix_runs_held_by"), "runs", ["held_by"], unique=False)
    op.create_index(
        "ix_runs_open",
        "runs",
        ["state", "dag"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(
        "ix_runs_timed",
        "runs",
        ["timeout_at"],
        unique=False,
        sqlite_where=sa.text("state = 'running' AND timeout_at IS NOT NULL"),
        postgresql_where=sa.text("state = 'running' AND timeout_at IS NOT NULL"),
    )
    op.create_table(
        "events",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("run", _WHOLE, nullable=True),
        sa.Column("stage_run", _WHOLE, nullable=True),
        sa.Column("attempt", _WHOLE, nullable=True),
        sa.Column("epoch", _WHOLE, nullable=True),
        sa.Column("old", sa.String(), nullable=True),
        sa.Column("new", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_events_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_run", "events", ["run"], unique=False)
    if op.get_bind().dialect.name == "postgresql":  # its sequences commit out of order
        op.execute(
            "ALTER TABLE events ADD COLUMN xact BIGINT NOT NULL DEFAULT pg_current_xact_id()::text::bigint"
        )
        op.execute("CREATE INDEX ix_events_xact ON events (xact, id)")
    op.create_table(
        "stage_runs",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("run", _WHOLE, nullable=False),
        sa.Column("version", _WHOLE, nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("nodes", sa.JSON(), nullable=False),
        sa.Column("map_index", _WHOLE, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("waiting", _WHOLE, nullable=False),
        sa.Column("tries", _WHOLE, nullable=False),
        sa.Column("losses", _WHOLE, nullable=False),
        sa.Column("base", _WHOLE, nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("weight", _WHOLE, nullable=False),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("pool_slots", _WHOLE, nullable=False),
        sa.Column("queue", sa.String(), nullable=True),
        sa.Column("stop_as", sa.String(), nullable=True),
        sa.Column("unresolved", sa.Boolean(), nullable=False),
        sa.Column("abandoning", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('none', 'queued', 'running', 'success', 'failed', "
            "'upstream_failed', 'skipped', 'removed', 'cancelled')",
            name=op.f("ck_stage_runs_state"),
        ),
        sa.CheckConstraint(
            "stop_as IN ('cleared', 'success', 'failed', 'cancelled', 'removed')",
            name=op.f("ck_stage_runs_stop_as"),
        ),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_stage_runs_run"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["version"], ["dag_versions.id"], name=op.f("fk_stage_runs_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_runs")),
    )
    op.create_index("ix_stage_runs_run", "stage_runs", ["run"], unique=False)
    op.create_index(
        "ix_stage_runs_queued",
        "stage_runs",
        ["pool", sa.text("lane DESC"), sa.text("weight DESC"), "run", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_stage_runs_open",
        "stage_runs",
        ["run"],
        unique=False,
        sqlite_where=sa.text("state IN ('none', 'queued', 'running')"),
        postgresql_where=sa.text("state IN ('none', 'queued', 'running')"),
    )
    op.create_index(
        "ix_stage_runs_run_stage",
        "stage_runs",
        ["run", "stage", "map_index"],
        unique=True,
        sqlite_where=sa.text("state != 'removed'"),
        postgresql_where=sa.text("state != 'removed'"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("stage_run", _WHOLE, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("only", sa.String(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("worker", _WHOLE, nullable=True),
        sa.Column("runner", _WHOLE, nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (outcome IS NOT NULL)", name=op.f("ck_attempts_done_has_outcome")
        ),
        sa.CheckConstraint(sa.column("only").in_(("apply", "abandon")), name=op.f("ck_attempts_only")),
        sa.CheckConstraint(
            "outcome IN ('success', 'failed', 'snoozed', 'paused', 'drained', 'cancelled', 'lost')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.CheckConstraint(
            "state != 'running' OR worker IS NOT NULL", name=op.f("ck_attempts_running_has_worker")
        ),
        sa.CheckConstraint("state IN ('queued', 'running', 'done')", name=op.f("ck_attempts_state")),
        sa.ForeignKeyConstraint(["runner"], ["runners.id"], name=op.f("fk_attempts_runner")),
        sa.ForeignKeyConstraint(
            ["stage_run"], ["stage_runs.id"], name=op.f("fk_attempts_stage_run"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["worker"], ["workers.id"], name=op.f("fk_attempts_worker")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_attempts_open",
        "attempts",
        ["stage_run"],
        unique=True,
        sqlite_where=sa.text("state != 'done'"),
        postgresql_where=sa.text("state != 'done'"),
    )
    op.create_index(
        "ix_attempts_owing",
        "attempts",
        ["stage_run"],
        unique=False,
        sqlite_where=sa.text("state = 'queued' AND \"only\" IS NOT NULL"),
        postgresql_where=sa.text("state = 'queued' AND \"only\" IS NOT NULL"),
    )
    op.create_index(
        "ix_attempts_queued",
        "attempts",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_attempts_running",
        "attempts",
        ["worker"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_attempts_stage_run", "attempts", ["stage_run"], unique=False)
    op.create_table(
        "epochs",
        sa.Column("id", _WHOLE, nullable=False),
        sa.Column("stage_run", _WHOLE, nullable=False),
        sa.Column("number", _WHOLE, nullable=False),
        sa.Column("attempt", _WHOLE, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("tokens", sa.JSON(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('decided', 'applied', 'abandoned')", name=op.f("ck_epochs_state")),
        sa.ForeignKeyConstraint(["attempt"], ["attempts.id"], name=op.f("fk_epochs_attempt")),
        sa.ForeignKeyConstraint(
            ["stage_run"], ["stage_runs.id"], name=op.f("fk_epochs_stage_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_epochs")),
    )
    op.create_index("ix_epochs_stage_run_number", "epochs", ["stage_run", "number"], unique=True)
    op.create_table(
        "progress",
        sa.Column("attempt", _WHOLE, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"], ["attempts.id"], name=op.f("fk_progress_attempt"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attempt", name=op.f("pk_progress")),
    )
    op.create_table(
        "node_state",
        sa.Column("dag", _WHOLE, nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("version", _WHOLE, nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("epoch", _WHOLE, nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dag"], ["dags.id"], name=op.f("fk_node_state_dag"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["epoch"], ["epochs.id"], name=op.f("fk_node_state_epoch"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("dag", "node", name=op.f("pk_node_state")),
    )
