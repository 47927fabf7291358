"""What the rules of the validator look at: a Dag, its marks, and the operators that could be built."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from orchestrator.dag.graph import find_cycle, stage_edges, stages_of
from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Dag, Edge, EdgeKind, Node
from orchestrator.errors import Problem
from orchestrator.sdk.operator import Operator


@dataclass
class Subject:
    """A Dag under examination. `operators` lacks the nodes whose type or configuration is wrong.

    `partial` has those of them that can be built without their wrong entries, to look at the others;
    `keeping` names those whose operator gives the columns that arrive, whatever its configuration says.
    """

    dag: Dag
    marks: Marks
    operators: Mapping[str, Operator] = field(default_factory=dict)
    partial: Mapping[str, Operator] = field(default_factory=dict)
    keeping: Collection[str] = ()

    @cached_property
    def indices(self) -> dict[str, int]:
        """The place of each node in declared order, the first where an id is given twice."""
        found: dict[str, int] = {}
        for index, node in enumerate(self.dag.nodes):
            found.setdefault(node.id, index)
        return found

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """The nodes by id."""
        return {node_id: self.dag.nodes[index] for node_id, index in self.indices.items()}

    @cached_property
    def sound(self) -> Dag:
        """The Dag without repeated nodes and without edges that lead nowhere: a graph to compute with.

        A cycle that may be there only because two nodes share an id is left out.
        """
        edges = tuple(e for e in self.dag.edges if e.source in self.nodes and e.target in self.nodes)
        ids = [node.id for node in self.dag.nodes]
        repeated = (
            {node_id for node_id in ids if ids.count(node_id) > 1} if len(ids) > len(self.nodes) else ()
        )
        if repeated and find_cycle((e.source, e.target) for e in edges):
            edges = tuple(e for e in edges if e.target not in repeated)
        return self.dag.model_copy(update={"nodes": tuple(self.nodes.values()), "edges": edges})

    @cached_property
    def stages(self) -> dict[str, str]:
        """The stage of each node."""
        return stages_of(self.sound)

    def arriving(self, node_id: str) -> Iterator[Edge]:
        """The stream edges into a node."""
        return (e for e in self._ends[node_id][0] if e.kind is EdgeKind.STREAM)

    def leaving(self, node_id: str) -> Iterator[Edge]:
        """The stream edges out of a node."""
        return (e for e in self._ends[node_id][1] if e.kind is EdgeKind.STREAM)

    def followed(self, node_id: str) -> Iterator[Edge]:
        """The control edges into a node."""
        return (e for e in self._ends[node_id][0] if e.kind is EdgeKind.CONTROL)

    def following(self, node_id: str) -> Iterator[Edge]:
        """The control edges out of a node."""
        return (e for e in self._ends[node_id][1] if e.kind is EdgeKind.CONTROL)

    @cached_property
    def _ends(self) -> dict[str, tuple[list[Edge], list[Edge]]]:
        """The edges into and out of each node."""
        found: dict[str, tuple[list[Edge], list[Edge]]] = defaultdict(lambda: ([], []))
        for edge in self.dag.edges:
            found[edge.target][0].append(edge)
            found[edge.source][1].append(edge)
        return found

    def before(self, node_id: str) -> Collection[str]:
        """The stages that have ended when the node's stage starts."""
        found: set[str] = set()
        wanted = [self.stages[node_id]]
        while wanted:
            new = [above for above in self._above.get(wanted.pop(), ()) if above not in found]
            found.update(new)
            wanted += new
        return found

    @cached_property
    def _above(self) -> dict[str, list[str]]:
        """The stages that each stage directly follows."""
        found: dict[str, list[str]] = defaultdict(list)
        for source, target in stage_edges(self.sound, self.stages):
            found[target].append(source)
        return found

    def node_problem(
        self, node_id: str, message: str, *inner: str | int, hint: str = "", value: str = ""
    ) -> Problem:
        """A finding at a node, or at something inside its entry."""
        return self.marks.problem(("nodes", self.indices[node_id], *inner), message, hint=hint, value=value)
