"""What an operator is handed at run time, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from orchestrator.sdk.connection import Connection


@dataclass(frozen=True)
class Reject:
    """One record that was refused. `position` is where it stood (`{"line": 7}`), `record` its JSON text."""

    code: str
    reason: str
    source: str = ""
    position: Mapping[str, Any] = field(default_factory=dict)
    record: str = ""


@dataclass
class Context:
    """The world as one node sees it. Paths resolve against `project`; `state_folder` is for spill files,
    `tree` holds the DAG's code (None: installed functions only).

    `batch_rows` and `batch_bytes` bound every batch an input gives. `cancelled` turns true when the
    attempt should stop; long work looks at it between steps.
    """

    node: str
    project: Path
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("fustgo.node"))
    batch_rows: int = 65_536
    batch_bytes: int = 8 << 20
    state_folder: Path | None = None
    tree: Path | None = None
    names: Mapping[str, Any] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    on_reject: Callable[[Reject], None] | None = None
    on_result: Callable[[Any], None] | None = None
    is_cancelled: Callable[[], bool] = bool

    def resolve(self, path: str) -> Path:
        """A data path, absolute: relative ones lie in the project folder."""
        return self.project / Path(path).expanduser()

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        return self.is_cancelled()

    @property
    def params(self) -> Mapping[str, Any]:
        """The run's params."""
        found: Mapping[str, Any] = self.names.get("params", {})
        return found

    @property
    def logical_date(self) -> datetime:
        """The run's logical date, with its zone."""
        found: datetime = self.names["logical_date"]
        return found

    @property
    def data_interval(self) -> tuple[datetime, datetime] | None:
        """Start and end of the run's data interval; None for a DAG without a schedule."""
        start, end = self.names.get("data_interval_start"), self.names.get("data_interval_end")
        return (start, end) if start is not None and end is not None else None

    @property
    def results(self) -> Mapping[str, Any]:
        """The results of the nodes whose stages this one follows, however far, and that succeeded, by id."""
        return _Results(self.names.get("results", {}))

    def connection(self, name: str) -> Connection:
        """A connection that the node declared; KeyError with the remedy where it did not."""
        try:
            return self.connections[name]
        except KeyError:
            raise KeyError(
                f"connection {name!r} is not declared: add it to `connections` of node {self.node!r}"
            ) from None

    def reject(
        self, rows: Reject | pa.RecordBatch | pa.Table | Mapping[str, Any], reason: str = "", code: str = ""
    ) -> None:
        """Refuse records: one `Reject`, or rows with a reason. They are counted, kept and routable."""
        if self.on_reject is None:
            raise RuntimeError("this node cannot reject rows here")
        for reject in as_rejects(rows, reason, code or "refused"):
            self.on_reject(reject)

    def result(self, value: Any) -> None:
        """Set what later stages and the pages see of this node: JSON of at most 64 KiB."""
        if self.on_result is not None:
            self.on_result(value)


class _Results(dict[str, Any]):
    """Results by node; a node that has none is named, with what may be the reason."""

    def __missing__(self, node: str) -> Any:
        known = ", ".join(self) or "none"
        raise KeyError(
            f"node {node!r} has no result here: only nodes that this one follows and that succeeded with one "
            f"do; known: {known}"
        )


def as_rejects(rows: Any, reason: str, code: str) -> list[Reject]:
    """Rejects from whatever an author hands over."""
    import json

    if isinstance(rows, Reject):
        return [rows]
    records = rows.to_pylist() if hasattr(rows, "to_pylist") else [rows]
    return [
        Reject(code, reason, record=json.dumps(record, default=str, ensure_ascii=False)) for record in records
    ]
