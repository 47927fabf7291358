"""From a claimed attempt to the order that its runner is given.

An order carries exactly the template values, connections and variables that its stage uses, as the compiled
stage declares them: no operator is imported for it. Connections and variables are those of the environment,
then of the store.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.errors import UsageError, nearest
from orchestrator.runs.order import Order
from orchestrator.sdk.connection import (
    VARIABLE_PREFIX,
    Connection,
    connections_from_environment,
    variables_from_environment,
)
from orchestrator.sdk.template import time_names
from orchestrator.store.artifacts import run_folder
from orchestrator.store.database import Database
from orchestrator.store.definitions import Definitions
from orchestrator.store.given import given_to, stored_variables
from orchestrator.store.queue import Claimed
from orchestrator.store.tables import Run

_KEPT = 4096  # stages whose cut-down documents are kept
_HEADER = ("format", "id", "timezone", "default_args", "settings")


@dataclass(frozen=True)
class Orders:
    """Makes the orders of one worker. `artifacts` is the root of the artifact store."""

    database: Database
    definitions: Definitions
    artifacts: Path
    environ: Mapping[str, str]
    _documents: OrderedDict[tuple[int, str], Mapping[str, Any]] = field(default_factory=OrderedDict)

    def make(self, claimed: Claimed, tree: str) -> Order:
        """The order of a claimed attempt; `tree` holds its code.

        Raises UsageError, which names the node, for a variable or connection that is not set; OperatorError
        for a result that is not there.
        """
        run, row = claimed.run, claimed.stage_run
        graph, document = self.definitions.graph(claimed.version), self._document(claimed)
        stage = graph[row.stage]
        return Order(
            attempt=claimed.attempt,
            dag_id=claimed.dag.dag_id,
            dag_uid=claimed.dag.uid,
            run_uid=run.uid,
            run_id=run.run_id,
            stage=row.stage,
            map_index=row.map_index,
            base=claimed.base,
            document=document,
            nodes=stage.nodes,
            project=run.project,
            artifacts=str(run_folder(self.artifacts, run.uid, create=True)),
            tree=tree,
            names=self._names(run, graph, stage, document),
            connections=self._connections(document, stage.connections),
            branches=graph.choices(stage.id) if stage.branch else {},
            only=claimed.only,
        )

    def _document(self, claimed: Claimed) -> Mapping[str, Any]:
        key, documents = (claimed.version, claimed.stage_run.stage), self._documents
        if key not in documents:
            nodes = self.definitions.nodes(*key)
            documents[key] = cut_down(self.definitions.document(claimed.version), nodes)
            if len(documents) > _KEPT:
                documents.popitem(last=False)
        return documents[key]

    def _names(
        self, run: Run, graph: StageGraph, stage: Stage, document: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The values of what templates use; times, params and results always go along: code may read them."""
        results, variables = self._stored(run.number, graph, stage)
        names = times_of(run, document.get("timezone", "UTC"))
        names |= {"params": dict(run.params), "results": results}
        for name, member in stage.uses:
            if name == "var":
                variables = {**variables, **variables_from_environment(self.environ)}
                names.setdefault("var", {})[member] = _set(variables, member, document, VARIABLE_PREFIX)
            elif name == "env":
                names.setdefault("env", {})[member] = _set(self.environ, member, document, "")
            elif name == "conn":
                names.setdefault("conn", {}).update(self._connections(document, [member]))
        return names

    def _stored(self, run: int, graph: StageGraph, stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
        """Results of the run and variables of the store; nothing is read where none is used."""
        if not any(name in ("results", "var") for name, _ in stage.uses):
            return {}, {}
        with self.database.read() as connection:
            return given_to(connection, run, graph, stage.id), stored_variables(connection, stage)

    def _connections(self, document: Mapping[str, Any], names: Iterable[str]) -> dict[str, dict[str, Any]]:
        wanted = {name: _user(document, name) for name in names}
        found = connections_from_environment(self.environ, wanted) if wanted else {}
        return {name: exposed(connection) for name, connection in found.items()}


def cut_down(document: Mapping[str, Any], nodes: Iterable[str]) -> dict[str, Any]:
    """A document with these nodes only, and of its header what running them needs."""
    wanted = set(nodes)
    entries = [
        {key: value for key, value in entry.items() if key != "after"}
        for entry in document["nodes"]
        if entry["id"] in wanted
    ]
    return {**{key: document[key] for key in _HEADER if key in document}, "nodes": entries}


def exposed(connection: Connection) -> dict[str, Any]:
    """A connection as JSON with its secret, for an order; never for a log or a page."""
    return {**connection.model_dump(mode="json"), "password": connection.password.get_secret_value()}


def times_of(run: Run, timezone: str) -> dict[str, Any]:
    """The names that tell the time of a run, in the DAG's zone."""
    zone = ZoneInfo(timezone)
    local: tuple[datetime, datetime] | None = None
    if run.interval_start is not None and run.interval_end is not None:
        local = (run.interval_start.astimezone(zone), run.interval_end.astimezone(zone))
    return time_names(
        logical_date=(run.logical_date or run.created_at).astimezone(zone),
        prev_logical_date=local[0] if local else None,
        interval=local,
        run_id=run.run_id,
    )


def _user(document: Mapping[str, Any], name: str) -> str:
    """The node of a stage whose configuration speaks of a name; the first one where none does."""
    entries = document["nodes"]
    said = (entry["id"] for entry in entries if name in json.dumps(entry.get("config", {})))
    return str(next(said, entries[0]["id"]))


def _set(values: Mapping[str, Any], name: str, document: Mapping[str, Any], prefix: str) -> Any:
    key = name.lower() if prefix else name
    if key not in values:
        variable = f"{prefix}{name.upper()}" if prefix else name
        raise UsageError(
            f"node {_user(document, name)!r} uses {name!r}, which is not set",
            hint=f"set {variable} in the environment. {nearest(key, values) if prefix else ''}".strip(),
        )
    return values[key]
