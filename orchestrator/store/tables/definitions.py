"""Tables of what is defined: DAGs, their versions, state that outlives a run, pools."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field

from orchestrator.store.dialects import Instant
from orchestrator.store.tables.entity import Entity, partial_index


class Dag(Entity, table=True):
    """A DAG by its id in its space: `bundle`, or the project folder of a file run by hand.

    Deleting keeps the row, so that runs keep their DAG; the same id then gets a new uid. One whose file is
    gone is only marked removed: it fires and starts no more, and is itself again when the file comes back.
    """

    __tablename__ = "dags"
    __table_args__ = (
        partial_index("ix_dags_space_dag_id", "space", "dag_id", unique=True, where="deleted_at IS NULL"),
    )

    id: int = Field(default=None, primary_key=True)
    uid: str = Field(unique=True)
    space: str
    dag_id: str
    version: int | None = Field(default=None, description="The current one: `dag_versions.id`.")
    bundle: str | None = Field(default=None, description="The bundle that it is from, by name.")
    file: str | None = None
    bundle_version: str | None = Field(default=None, description="The tree that its current version is from.")
    project: str = Field(default="", description="The folder against which data paths of its runs resolve.")
    paused: bool = False
    max_active_runs: int = 16
    max_active_tasks: int = 16
    created_at: datetime = Field(sa_type=Instant)
    removed_at: datetime | None = Field(
        default=None, sa_type=Instant, description="Since when its bundle has it no more."
    )
    deleted_at: datetime | None = Field(default=None, sa_type=Instant)


class DagVersion(Entity, table=True):
    """A definition as compiled: the canonical document and the stage graph made from it."""

    __tablename__ = "dag_versions"
    __table_args__ = (Index("ix_dag_versions_dag_hash", "dag", "hash", unique=True),)

    id: int = Field(default=None, primary_key=True)
    dag: int = Field(foreign_key="dags.id", ondelete="CASCADE")
    hash: str
    document: dict[str, Any] = Field(sa_type=JSON)
    stages: dict[str, Any] = Field(sa_type=JSON)
    created_at: datetime = Field(sa_type=Instant)


class NodeState(Entity, table=True):
    """State of scope `dag`: moved only inside an epoch's decision, by compare-and-set on `version`."""

    __tablename__ = "node_state"

    dag: int = Field(primary_key=True, foreign_key="dags.id", ondelete="CASCADE")
    node: str = Field(primary_key=True)
    version: int
    value: Any = Field(sa_type=JSON)
    epoch: int | None = Field(default=None, foreign_key="epochs.id", ondelete="SET NULL")
    changed_at: datetime = Field(sa_type=Instant)


class Pool(Entity, table=True):
    """A named number of slots. They belong to running attempts: nothing here counts them."""

    __tablename__ = "pools"

    name: str = Field(primary_key=True)
    slots: int
    description: str = ""
