"""A draft: what an author wrote, in full form, before anything is known to be right.

Python's builder and the document reader make drafts; `reading` makes the Dag of either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Edge
from orchestrator.sdk.operator import Operator

UNNAMED = "_"
"""Begins what stands for an id that is missing; never leaves a Dag that has a problem."""


@dataclass
class DraftNode:
    """A node as written. `kind` is empty where it is not said; `cls` is the operator class in Python."""

    id: Any
    type: Any
    kind: str = ""
    config: Any = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    drop: Any = ()
    cls: type[Operator] | None = None


@dataclass
class Draft:
    """A DAG as written, with the place of everything."""

    header: dict[str, Any]
    nodes: list[DraftNode]
    edges: list[Edge]
    marks: Marks
