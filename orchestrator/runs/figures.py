"""What a stage's counters say of each node: the figures that summaries and pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.runs.checkpoint import Json


@dataclass(frozen=True)
class Figures:
    """Rows and bytes (of Arrow memory) that a node took and gave, and rows that it refused or dropped."""

    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rejects: int = 0
    dropped: int = 0


def node_figures(counters: Mapping[str, Json]) -> dict[str, Figures]:
    """The figures of each node from an epoch's counters; nodes that the engine added are left out."""
    return {node: _figures(entry) for node, entry in counters.items() if not node.endswith(".rejects")}


def _figures(entry: Mapping[str, Json]) -> Figures:
    edges = entry["edges"].values()
    ports = [counts for name, counts in entry["ports"].items() if name != "rejects"]
    return Figures(
        rows_in=sum(rows for rows, _ in edges),
        bytes_in=sum(size for _, size in edges),
        rows_out=sum(rows for rows, _ in ports),
        bytes_out=sum(size for _, size in ports),
        rejects=entry["rejects"],
        dropped=entry["dropped"],
    )
