"""From a stage of a DAG document to operators, edges and settings, ready to be opened.

Templates are rendered here, in the runner, and then validated as what they stand for. Rejects that
nobody routes get their hidden output, so that the rest of the engine knows only nodes and edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from orchestrator.dag.model import Dag, Node
from orchestrator.engine.coordinator import Trigger
from orchestrator.engine.edge import Edge
from orchestrator.engine.rejects import RejectLines
from orchestrator.runs.order import Order
from orchestrator.sdk.input import Input
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.processor import Processor
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.rendering import build
from orchestrator.sdk.template import revive

ALLOW_NO_REJECTS: Mapping[str, Any] = {"records": 0, "ratio": None}


@dataclass(frozen=True)
class PlannedNode:
    """A node with its operator built. `limit` is its `error_limit`, or None where its rejects are routed."""

    id: str
    operator: Operator
    limit: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class StagePlan:
    """One stage, its nodes in topological order. `one_epoch` says why it has only the final epoch."""

    nodes: Mapping[str, PlannedNode]
    edges: Sequence[Edge]
    batch_rows: int
    trigger: Trigger | None
    one_epoch: str = ""
    rejects: str = ""
    names: Mapping[str, Any] = field(default_factory=dict)


def plan_stage(order: Order, registry: Registry) -> StagePlan:
    """The plan of an order's stage; `OperatorError` where a template does not give what its field takes."""
    dag = Dag.from_document(order.document)
    names = revive(order.names)
    mine = {node.id: node for node in dag.nodes if node.id in order.nodes}
    edges = [
        Edge(edge.source, edge.source_port, edge.target, edge.target_port)
        for edge in dag.streams()
        if edge.source in mine
    ]
    routed = {edge.source for edge in edges if edge.source_port == "rejects"}
    nodes = {
        node.id: PlannedNode(node.id, build_operator(node, registry, names), _limit(node, routed, dag))
        for node in mine.values()
    }
    hidden = f"{order.stage}.rejects"
    unrouted = [node.id for node in nodes.values() if node.limit is not None]
    edges += [Edge(node, "rejects", hidden, "in") for node in unrouted]
    nodes[hidden] = PlannedNode(hidden, RejectLines(path="rejects/"))
    why = one_epoch_reason({node.id: node.operator for node in nodes.values()})
    return StagePlan(
        nodes=_in_order(nodes, edges),
        edges=edges,
        batch_rows=dag.settings.batch_size,
        trigger=None if why else _trigger(dag),
        one_epoch=why,
        rejects=hidden,
        names=names,
    )


def build_operator(node: Node, registry: Registry, names: Mapping[str, Any]) -> Operator:
    """The operator of a node, its templates rendered."""
    return build(registry.find(node.type, Kind(node.kind)), node.id, node.config, names)


def one_epoch_reason(operators: Mapping[str, Operator]) -> str:
    """Why a stage of these operators has exactly one epoch, naming the node; empty where not (rule 2.9)."""
    for node, operator in operators.items():
        if isinstance(operator, Processor) and operator.stateful and not operator.can_snapshot:
            return f"{node!r} cannot snapshot its state"
        if isinstance(operator, Input) and not operator.replayable:
            return f"{node!r} cannot rewind to a position"
    return ""


def _limit(node: Node, routed: set[str], dag: Dag) -> Mapping[str, Any] | None:
    if node.id in routed:
        return None
    limit = dag.argument(node, "error_limit")
    if limit is None:
        return ALLOW_NO_REJECTS
    return {"records": limit.get("records"), "ratio": limit.get("ratio")}


def _trigger(dag: Dag) -> Trigger:
    checkpoint = dag.settings.checkpoint
    return Trigger(every_seconds=checkpoint.every_seconds, every_batches=checkpoint.every_batches)


def _in_order(nodes: Mapping[str, PlannedNode], edges: Sequence[Edge]) -> dict[str, PlannedNode]:
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(nodes, ()))
    for edge in edges:
        sorter.add(edge.target, edge.source)
    return {node: nodes[node] for node in sorter.static_order()}
