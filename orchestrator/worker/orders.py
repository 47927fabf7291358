"""From a claimed attempt to the order that its runner is given.

An order carries exactly the template values, connections and variables that its stage uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from orchestrator.dag.model import Dag, Node
from orchestrator.errors import UsageError, nearest
from orchestrator.sdk.connection import (
    VARIABLE_PREFIX,
    Connection,
    connections_from_environment,
    variables_from_environment,
)
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.rendering import uses_of
from orchestrator.sdk.template import Use, time_names


def template_uses(nodes: Iterable[Node], registry: Registry) -> dict[Use, str]:
    """The template names that nodes use, each with a node that uses it."""
    found: dict[Use, str] = {}
    for node in nodes:
        found.update(dict.fromkeys(uses_of(registry.find(node.type, Kind(node.kind)), node.config), node.id))
    return found


def template_values(
    wanted: Mapping[Use, str],
    times: Mapping[str, Any],
    params: Mapping[str, Any],
    results: Mapping[str, Any],
    environ: Mapping[str, str],
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The values of the names, as JSON; `UsageError` names the node whose variable is not set.

    Times, params and `results` always go along: a Python function's context has them. `stored` are the
    store's variables; the environment's come before them.
    """
    values: dict[str, Any] = {**times, "params": dict(params), "results": dict(results)}
    variables = {**(stored or {}), **variables_from_environment(environ)}
    for use, node in wanted.items():
        if use.name == "var":
            values.setdefault("var", {})[use.member] = _set(variables, use.member, node, VARIABLE_PREFIX)
        elif use.name == "env":
            values.setdefault("env", {})[use.member] = _set(environ, use.member, node, "")
        elif use.name == "conn":
            found = connections_from_environment(environ, {use.member: node})[use.member]
            values.setdefault("conn", {})[use.member] = exposed(found)
    return values


def exposed(connection: Connection) -> dict[str, Any]:
    """A connection as JSON with its secret, for an order; never for a log or a page."""
    return {**connection.model_dump(mode="json"), "password": connection.password.get_secret_value()}


def connections_of(
    nodes: Iterable[Node], registry: Registry, environ: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The connections that nodes declare, with their secrets."""
    wanted = {
        name: node.id
        for node in nodes
        for name in registry.find(node.type, Kind(node.kind))(**node.config).connection_names()
    }
    found = connections_from_environment(environ, wanted)
    return {name: exposed(connection) for name, connection in found.items()}


def times_of(
    dag: Dag, run_id: str, logical_date: datetime, interval: tuple[datetime, datetime] | None
) -> dict[str, Any]:
    """The names that tell the time of a run; dates are in the DAG's zone."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(dag.timezone)
    local = (interval[0].astimezone(zone), interval[1].astimezone(zone)) if interval else None
    return time_names(
        logical_date=logical_date.astimezone(zone),
        prev_logical_date=local[0] if local else None,
        interval=local,
        run_id=run_id,
    )


def _set(values: Mapping[str, Any], name: str, node: str, prefix: str) -> Any:
    key = name.lower() if prefix else name
    if key not in values:
        variable = f"{prefix}{name.upper()}" if prefix else name
        raise UsageError(
            f"node {node!r} uses {name!r}, which is not set",
            hint=f"set {variable} in the environment. {nearest(key, values) if prefix else ''}".strip(),
        )
    return values[key]
