"""What the inputs of a DAG show now: the schemas that a check knows before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.dag.model import Dag
from orchestrator.engine.plan import build_operator
from orchestrator.errors import FustgoError
from orchestrator.sdk.context import Context
from orchestrator.sdk.input import Input
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry


def discovered(dag: Dag, registry: Registry, *, project: Path, tree: Path) -> dict[str, Any]:
    """The schemas of the inputs, by node; what cannot be looked at yet is left out, and the run says why."""
    found: dict[str, Any] = {}
    for node in dag.nodes:
        if node.kind != Kind.INPUT:
            continue
        try:
            operator = build_operator(node, registry, {})
            if isinstance(operator, Input):
                found[node.id] = operator.discover(Context(node.id, project, tree=tree))
        except (FustgoError, OSError, ValueError):
            continue
    return found
