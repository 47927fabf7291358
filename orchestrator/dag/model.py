"""The Dag: a frozen value that Python, YAML and JSON build alike, and its canonical document.

Nodes stand in the order in which they were declared; edges are sorted, so that how they were wired
does not show. A node's `config` is its operator's, without what equals a default; `arguments` are the
settings of the node or its stage that the author set. The document is what YAML's full form says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.dag.header import Header

FORMAT = 1


class EdgeKind(StrEnum):
    """What an edge carries: batches, or only the word that its source has ended."""

    STREAM = "stream"
    CONTROL = "control"


@dataclass(frozen=True)
class Edge:
    """One edge; the ports of a control edge are empty."""

    kind: EdgeKind
    source: str
    source_port: str
    target: str
    target_port: str

    @classmethod
    def stream(cls, source: str, target: str, *, source_port: str = "out", target_port: str = "in") -> Edge:
        """An edge that carries batches."""
        return cls(EdgeKind.STREAM, source, source_port, target, target_port)

    @classmethod
    def control(cls, source: str, target: str) -> Edge:
        """An edge that says "after"."""
        return cls(EdgeKind.CONTROL, source, "", target, "")

    def __str__(self) -> str:
        if self.kind is EdgeKind.CONTROL:
            return f"{self.source} before {self.target}"
        arriving = self.target if self.target_port == "in" else f"{self.target}.{self.target_port}"
        return f"{reference(self)} >> {arriving}"


@dataclass(frozen=True)
class Node:
    """One node: its operator by type and kind, its configuration and arguments as canonical JSON."""

    id: str
    type: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    state_version: int = 0


class Dag(Header):
    """A pipeline: what its header says, its nodes and edges."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()

    def node(self, node_id: str) -> Node:
        """The node of that id; KeyError where there is none."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def streams(self) -> Iterator[Edge]:
        """The edges that carry batches."""
        return (edge for edge in self.edges if edge.kind is EdgeKind.STREAM)

    def controls(self) -> Iterator[Edge]:
        """The edges that say "after"."""
        return (edge for edge in self.edges if edge.kind is EdgeKind.CONTROL)

    def argument(self, node: Node, name: str) -> Any:
        """A node's argument: its own, else that of `default_args`, else None."""
        return node.arguments.get(name, self.default_args.get(name))

    def to_document(self) -> dict[str, Any]:
        """The canonical document in full form; equal Dags give equal documents."""
        arriving: dict[str, list[Edge]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            arriving.setdefault(edge.target, []).append(edge)
        nodes = [_entry(node, arriving[node.id]) for node in self.nodes]
        return {"format": FORMAT, **super().to_document(), "nodes": nodes}

    def hash(self) -> str:
        """SHA-256 of the canonical document, as hexadecimal digits."""
        return hashlib.sha256(canonical_json(self.to_document()).encode()).hexdigest()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Dag:
        """The Dag that a document of `to_document` says; ValueError for a `format` from another release."""
        if document.get("format") != FORMAT:
            raise ValueError(
                f"a definition of format {document.get('format')!r}; this release reads {FORMAT}"
            )
        entries = document["nodes"]
        ids = {entry["id"] for entry in entries}
        edges = [edge for entry in entries for edge in _edges_into(entry, ids)]
        header = {key: value for key, value in document.items() if key not in ("format", "nodes")}
        nodes = tuple(_node(entry) for entry in entries)
        return cls(**header, nodes=nodes, edges=sort_edges(edges, nodes))


NODE_KEYS = ("id", "type", "kind", "from", "after", "config", "drop", "state_version")


def _entry(node: Node, edges: Iterable[Edge]) -> dict[str, Any]:
    """A node of the document, with the edges that arrive at it."""
    entry: dict[str, Any] = {"id": node.id, "type": node.type, "kind": node.kind}
    arriving: dict[str, list[str]] = {}
    after = []
    for edge in edges:
        if edge.kind is EdgeKind.STREAM:
            arriving.setdefault(edge.target_port, []).append(reference(edge))
        else:
            after.append(edge.source)
    if arriving:
        entry["from"] = _origin(arriving)
    if after:
        entry["after"] = after
    if node.config:
        entry["config"] = dict(node.config)
    if node.drop:
        entry["drop"] = list(node.drop)
    if node.state_version:
        entry["state_version"] = node.state_version
    return entry | dict(sorted(node.arguments.items()))


def reference(edge: Edge) -> str:
    """The source end of a stream edge as `from` names it: `people`, or `route.high`."""
    return edge.source if edge.source_port == "out" else f"{edge.source}.{edge.source_port}"


def parse_reference(text: str, ids: Iterable[str]) -> tuple[str, str]:
    """Node and port that a `from` names; port `out` where it names none."""
    if text in ids or "." not in text:
        return text, "out"
    node, _, port = text.rpartition(".")
    return node, port


def _origin(arriving: Mapping[str, list[str]]) -> Any:
    """The shortest way to say where a node's rows come from."""
    short = {port: names[0] if len(names) == 1 else names for port, names in sorted(arriving.items())}
    return short["in"] if list(short) == ["in"] else short


def _edges_into(entry: Mapping[str, Any], ids: set[str]) -> Iterator[Edge]:
    origin = entry.get("from", [])
    ports = origin if isinstance(origin, Mapping) else {"in": origin}
    for port, names in ports.items():
        for name in [names] if isinstance(names, str) else names:
            source, source_port = parse_reference(name, ids)
            yield Edge.stream(source, entry["id"], source_port=source_port, target_port=port)
    for source in entry.get("after", []):
        yield Edge.control(source, entry["id"])


def _node(entry: Mapping[str, Any]) -> Node:
    arguments = {key: value for key, value in entry.items() if key not in NODE_KEYS}
    return Node(
        entry["id"],
        entry["type"],
        entry["kind"],
        entry.get("config", {}),
        arguments,
        tuple(entry.get("drop", ())),
        entry.get("state_version", 0),
    )


def sort_edges(edges: Iterable[Edge], nodes: Iterable[Node]) -> tuple[Edge, ...]:
    """The edges without repetition, by the declared order of their targets, then port, then source."""
    order = {node.id: index for index, node in reversed(list(enumerate(nodes)))}
    last = len(order)

    def key(edge: Edge) -> tuple[Any, ...]:
        return (
            order.get(edge.target, last),
            edge.kind is EdgeKind.CONTROL,
            edge.target_port,
            order.get(edge.source, last),
            edge.source_port,
            edge.source,
            edge.target,
        )

    return tuple(sorted(set(edges), key=key))


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
