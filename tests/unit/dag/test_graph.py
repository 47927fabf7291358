# a case a line reads best
"""The graph: stages, order, layers, neighbours, weights, critical path."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag import graph
from orchestrator.dag.model import Dag, Edge, Node
from orchestrator.dag.stages import StageGraph
from orchestrator.sdk.operator import operator
from orchestrator.sdk.processor import Processor
from orchestrator.sdk.registry import Registry


def dag(nodes: str, *edges: str, **arguments: dict[str, object]) -> Dag:
    """A Dag of one-word nodes; `a>b` is a stream, `a<b` says that b is after a."""
    made = []
    for edge in edges:
        source, target = edge.replace("<", ">").split(">")
        made.append(Edge.control(source, target) if "<" in edge else Edge.stream(source, target))
    entries = tuple(Node(n, "t", "processor", arguments=arguments.get(n, {})) for n in nodes.split())
    return Dag(id="d", nodes=entries, edges=tuple(made))


@operator("t")
class Anything(Processor):
    """A node of these tests."""


REGISTRY = Registry(entries=()).with_operators(Anything)


def compiled_stages(made: Dag) -> StageGraph:
    return graph.compile_stages(made, REGISTRY)


DIAMOND = dag("a b c d e f", "a>b", "b<c", "b<d", "c<e", "d<e", "e>f")


def test_a_stage_is_what_streams_join_and_is_named_after_its_first_declared_node() -> None:
    assert graph.stages_of(dag("a b c d", "c>b", "d>c")) == {"a": "a", "b": "b", "c": "b", "d": "b"}


def test_stages_stand_in_topological_order_and_ties_as_declared() -> None:
    compiled = compiled_stages(dag("z y x w", "w<z", "w<x"))
    assert list(compiled.stages) == ["y", "w", "z", "x"]


def test_neighbours_layers_and_critical_path() -> None:
    compiled = compiled_stages(DIAMOND)
    assert [(s.id, s.nodes, s.up, s.down) for s in compiled] == [
        ("a", ("a", "b"), (), ("c", "d")),
        ("c", ("c",), ("a",), ("e",)),
        ("d", ("d",), ("a",), ("e",)),
        ("e", ("e", "f"), ("c", "d"), ()),
    ]
    assert graph.generations(compiled) == [["a"], ["c", "d"], ["e"]]
    assert compiled.critical_path in (("a", "c", "e"), ("a", "d", "e"))
    assert graph.upstream(DIAMOND, "e") == {"a", "b", "c", "d"}
    assert graph.downstream(DIAMOND, "b") == {"c", "d", "e", "f"}


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        (None, {"a": 14, "c": 5, "d": 6, "e": 4}),
        ("downstream", {"a": 14, "c": 5, "d": 6, "e": 4}),
        ("upstream", {"a": 7, "c": 8, "d": 9, "e": 14}),
        ("absolute", {"a": 7, "c": 1, "d": 2, "e": 4}),
    ],
)
def test_weights_are_sums_over_stages_of_the_highest_priority_of_their_nodes(
    rule: str | None, weights: dict[str, int]
) -> None:
    made = DIAMOND.model_copy(update={"default_args": {"weight_rule": rule} if rule else {}})
    own = {"a": 3, "b": 7, "d": 2, "f": 4}
    nodes = tuple(
        Node(n.id, n.type, n.kind, arguments={"priority_weight": own[n.id]} if n.id in own else {})
        for n in made.nodes
    )
    compiled = compiled_stages(made.model_copy(update={"nodes": nodes}))
    assert {stage.id: stage.weight for stage in compiled} == weights


def test_a_stage_takes_the_settings_of_its_nodes_else_of_the_dag() -> None:
    made = dag(
        "a b c", "a>b", "a<c", b={"retries": 3, "retry_delay": "1m30s", "pool": "disk"}, c={"queue": "gpu"}
    ).model_copy(update={"default_args": {"retries": 1, "execution_timeout": "2h"}})
    first, second = compiled_stages(made)
    assert (first.retries, first.retry_delay, first.pool, first.execution_timeout) == (
        3,
        90.0,
        "disk",
        7200.0,
    )
    assert (second.retries, second.retry_delay, second.pool, second.queue) == (1, 300.0, "default", "gpu")


def test_the_compiled_graph_is_json_and_comes_back() -> None:
    compiled = compiled_stages(DIAMOND)
    assert StageGraph.from_json(json.loads(json.dumps(compiled.to_json()))) == compiled


@pytest.mark.parametrize(
    ("edges", "cycle"), [([], []), ([("a", "b"), ("b", "c")], []), ([("a", "a")], ["a", "a"])]
)
def test_cycles_are_found_with_their_path(edges: list[tuple[str, str]], cycle: list[str]) -> None:
    assert graph.find_cycle(edges) == cycle


def test_each_knot_of_cycles_gives_one() -> None:
    edges = [("b", "a"), ("a", "b"), ("x", "y"), ("y", "z"), ("z", "x"), ("b", "x"), ("q", "a")]
    assert graph.cycles(edges) == [["a", "b", "a"], ["x", "y", "z", "x"]]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.booleans()), max_size=14))
def test_every_stage_stands_after_those_it_waits_for(pairs: list[tuple[int, int, bool]]) -> None:
    edges = [
        f"n{a}{'>' if stream else '<'}n{b}"
        for a, b, stream in ((*sorted(p[:2]), p[2]) for p in pairs)
        if a != b
    ]
    made = dag(" ".join(f"n{i}" for i in range(8)), *edges)
    stages = graph.stages_of(made)
    if graph.find_cycle(graph.stage_edges(made, stages)):
        return
    compiled = compiled_stages(made)
    place = {stage_id: index for index, stage_id in enumerate(compiled.stages)}
    assert all(place[above] < place[stage.id] for stage in compiled for above in stage.up)
    assert sorted(node for stage in compiled for node in stage.nodes) == [f"n{i}" for i in range(8)]
    assert all(place[a] < place[b] for a, b in pairwise(compiled.critical_path))
    assert set(graph.generations(compiled)[0]) == {s.id for s in compiled if not s.up}


def test_a_dag_of_one_stage_is_checked_and_compiled_without_networkx() -> None:
    """It takes 0.4 s to import, as long as all the rest of a small run."""
    code = """
import sys
from orchestrator.dag.graph import compile_stages, find_cycle, generations
from orchestrator.dag.model import Dag, Edge, Node
from orchestrator.dag.marks import Marks
from orchestrator.dag.validation import check
from orchestrator.sdk.registry import Registry
nodes = (Node("a", "generate", "input", {"rows": 1}), Node("b", "discard", "output"))
dag = Dag(id="d", nodes=nodes, edges=(Edge.stream("a", "b"),))
assert check(dag, Marks(), Registry()).problems == []
assert generations(compile_stages(dag, Registry())) == [["a"]]
print([name for name in ("networkx", "apscheduler", "jinja2", "yaml") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
