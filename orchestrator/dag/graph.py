"""The graph of a DAG: cycles, stages, layers, neighbours, weights, critical path, the compiled stage graph.

The only importer of networkx, and only where there is a graph to compute with: importing it takes 0.4 s,
as long as all the rest of a small run. Streams are joined to stages and put into order with the standard
library; a DAG whose stages do not wait for each other (one stage, most often) needs no more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.dag.model import Dag, Node
from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.sdk.action import Action
from orchestrator.sdk.output import FileOutput, Output
from orchestrator.sdk.properties import Kind, Mode
from orchestrator.sdk.rendering import uses_of
from orchestrator.units import MOST, parse_duration

if TYPE_CHECKING:
    import networkx as nx

    from orchestrator.sdk.operator import Operator
    from orchestrator.sdk.registry import Registry

K = TypeVar("K", bound=Hashable)

DEFAULT_PRIORITY = 1


def find_cycle(edges: Iterable[tuple[K, K]]) -> list[K]:
    """A cycle, in the edges' direction, its first member again at its end; empty where there is none."""
    sorter: TopologicalSorter[K] = TopologicalSorter()
    for source, target in edges:
        sorter.add(target, source)
    try:
        sorter.prepare()
    except CycleError as error:
        cycle: list[K] = error.args[1]
        return cycle
    return []


def flow_order(dag: Dag) -> list[Node]:
    """The nodes so that rows arrive before they leave; ValueError where streams form a cycle."""
    order = {node.id: index for index, node in enumerate(dag.nodes)}
    sorter: TopologicalSorter[str] = TopologicalSorter({node.id: () for node in dag.nodes})
    for edge in dag.streams():
        sorter.add(edge.target, edge.source)
    sorter.prepare()
    nodes = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=order.__getitem__)
        nodes += [dag.nodes[order[node_id]] for node_id in ready]
        sorter.done(*ready)
    return nodes


def stages_of(dag: Dag) -> dict[str, str]:
    """The stage of each node: its streams' component, named after the first declared node."""
    parent = {node.id: node.id for node in dag.nodes}
    order = {node.id: index for index, node in enumerate(dag.nodes)}

    def root(node_id: str) -> str:
        while parent[node_id] != node_id:
            parent[node_id] = node_id = parent[parent[node_id]]
        return node_id

    for edge in dag.streams():
        first, second = sorted((root(edge.source), root(edge.target)), key=order.__getitem__)
        parent[second] = first
    return {node.id: root(node.id) for node in dag.nodes}


def stage_edges(dag: Dag, stages: Mapping[str, str]) -> list[tuple[str, str]]:
    """The control edges as edges between stages, without repetition, by declared order."""
    order = {node.id: index for index, node in enumerate(dag.nodes)}
    pairs = {(stages[edge.source], stages[edge.target]) for edge in dag.controls()}
    return sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))


def stream_path(dag: Dag, start: str, end: str) -> list[str]:
    """The nodes of a shortest way between two nodes of one stage, against streams too."""
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph((edge.source, edge.target) for edge in dag.streams())
    path: list[str] = nx.shortest_path(graph, start, end)
    return path


def upstream(dag: Dag, node_id: str) -> set[str]:
    """All nodes that a node waits for or takes rows from, however far."""
    import networkx as nx

    return set(nx.ancestors(_node_graph(dag), node_id))


def downstream(dag: Dag, node_id: str) -> set[str]:
    """All nodes that wait for a node or take rows from it, however far."""
    import networkx as nx

    return set(nx.descendants(_node_graph(dag), node_id))


def _node_graph(dag: Dag) -> nx.DiGraph[str]:
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.id for node in dag.nodes)
    graph.add_edges_from((edge.source, edge.target) for edge in dag.edges)
    return graph


def compile_stages(
    dag: Dag, registry: Registry, operators: Mapping[str, Operator] | None = None
) -> StageGraph:
    """The stage graph of a DAG that has no problem; stages in topological order, ties as declared.

    `operators` are those of the nodes where they are built already. Functions that are named by a path are
    looked for where `sdk.function.functions_of` says.
    """
    stages, built = stages_of(dag), operators or {}
    members: dict[str, list[Node]] = {}
    for node in dag.nodes:
        members.setdefault(stages[node.id], []).append(node)
    made = {}
    for stage_id, nodes in members.items():
        theirs = [built.get(node.id) or _operator(node, registry) for node in nodes]
        made[stage_id] = replace(_stage(dag, stage_id, nodes), **_declared(nodes, theirs))
    edges = stage_edges(dag, stages)
    if not edges:
        return StageGraph(made, tuple(made)[:1])
    return _connected(dag, made, edges)


def _connected(dag: Dag, stages: Mapping[str, Stage], edges: Sequence[tuple[str, str]]) -> StageGraph:
    import networkx as nx

    declared = {stage_id: index for index, stage_id in enumerate(stages)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(stages)
    graph.add_edges_from(edges)
    order = list(nx.lexicographical_topological_sort(graph, key=declared.__getitem__))
    weights = _weights(dag, stages, graph, order)
    made = {}
    for stage_id in order:
        made[stage_id] = replace(
            stages[stage_id],
            up=tuple(sorted(graph.predecessors(stage_id), key=declared.__getitem__)),
            down=tuple(sorted(graph.successors(stage_id), key=declared.__getitem__)),
            weight=weights[stage_id],
        )
    return StageGraph(made, tuple(nx.dag_longest_path(graph, topo_order=order)))


def _weights(
    dag: Dag, stages: Mapping[str, Stage], graph: nx.DiGraph[str], order: Sequence[str]
) -> dict[str, int]:
    """A stage's priority: its own, and by the weight rule those of all after or before it, within 32 bits.

    The sets of stages after and before are bits of one number each: near linear where a set a stage is not.
    """
    nodes = {node.id: node for node in dag.nodes}
    rules = {
        stage_id: _setting(dag, [nodes[node_id] for node_id in stage.nodes], "weight_rule")
        for stage_id, stage in stages.items()
    }
    equal: dict[int, int] = {}
    for index, stage_id in enumerate(order):
        weight = stages[stage_id].weight
        equal[weight] = equal.get(weight, 0) | 1 << index
    found = {stage_id: stages[stage_id].weight for stage_id in order}
    for upstream, near, way in ((False, graph.successors, order[::-1]), (True, graph.predecessors, order)):
        wanted = {s for s in order if rules[s] != "absolute" and (rules[s] == "upstream") is upstream}
        for stage_id, bits in _reached(order, way, near) if wanted else ():
            if stage_id in wanted:
                found[stage_id] += sum(w * (bits & mine).bit_count() for w, mine in equal.items())
    return {stage_id: min(max(weight, -MOST), MOST) for stage_id, weight in found.items()}


def _reached(
    order: Sequence[str], way: Sequence[str], near: Callable[[str], Iterable[str]]
) -> Iterator[tuple[str, int]]:
    """Each stage with the set of those that it reaches by `near`, as bits by their place in `order`."""
    places = {stage_id: 1 << index for index, stage_id in enumerate(order)}
    found: dict[str, int] = {}
    for stage_id in way:
        bits = 0
        for other in near(stage_id):
            bits |= found[other] | places[other]
        found[stage_id] = bits
        yield stage_id, bits


def generations(graph: StageGraph) -> list[list[str]]:
    """The stages by layers: each waits for none but those of earlier layers."""
    if not any(stage.up for stage in graph):
        return [[stage.id for stage in graph]]
    import networkx as nx

    drawn: nx.DiGraph[str] = nx.DiGraph()
    drawn.add_nodes_from(stage.id for stage in graph)
    drawn.add_edges_from((above, stage.id) for stage in graph for above in stage.up)
    return [list(layer) for layer in nx.topological_generations(drawn)]


def _stage(dag: Dag, stage_id: str, nodes: Sequence[Node]) -> Stage:
    """A stage that waits for none; `weight` is its own priority, the highest of its nodes."""
    found: dict[str, Any] = {
        name: _setting(dag, nodes, name)
        for name in ("retries", "retry_exponential_backoff", "pool", "pool_slots", "queue")
    }
    found |= {
        name: parse_duration(value).total_seconds()
        for name in ("retry_delay", "max_retry_delay", "execution_timeout")
        if (value := _setting(dag, nodes, name)) is not None
    }
    found["rule"] = _setting(dag, nodes, "trigger_rule")
    weights = [dag.argument(node, "priority_weight") for node in nodes]
    found["weight"] = max(DEFAULT_PRIORITY if weight is None else weight for weight in weights)
    return Stage(
        stage_id,
        tuple(node.id for node in nodes),
        **{name: value for name, value in found.items() if value is not None},
    )


def _operator(node: Node, registry: Registry) -> Operator:
    return registry.find(node.type, Kind(node.kind)).model_validate(dict(node.config))


def _declared(nodes: Sequence[Node], operators: Sequence[Operator]) -> dict[str, Any]:
    """What an order of the stage, and starting it over, need to know of its operators."""
    uses: set[tuple[str, str]] = set()
    connections: dict[str, None] = {}
    for node, operator in zip(nodes, operators, strict=True):
        uses |= {(use.name, use.member) for use in uses_of(type(operator), node.config)}
        connections |= dict.fromkeys(operator.connection_names())
    if any(operator.wants_results for operator in operators):
        uses.add(("results", ""))  # all of them: whatever its code asks the context for
    found: dict[str, Any] = {"uses": tuple(sorted(uses)), "connections": tuple(connections)}
    outputs = [(node.id, one) for node, one in zip(nodes, operators, strict=True) if isinstance(one, Output)]
    found["repeating"] = tuple(node for node, output in outputs if output.repeats)
    found["exclusive"] = tuple(node for node, output in outputs if _is_exclusive(output))
    if isinstance(operators[0], Action):
        found |= {"is_action": True, "branch": operators[0].branching}
    return found


def _is_exclusive(output: Output) -> bool:
    return isinstance(output, FileOutput) and output.effective_mode is Mode.ERROR_IF_EXISTS


def _setting(dag: Dag, nodes: Iterable[Node], name: str) -> Any:
    """A stage's setting: what one of its nodes sets, else the DAG's default, else None."""
    explicit = [node.arguments[name] for node in nodes if name in node.arguments]
    return explicit[0] if explicit else dag.default_args.get(name)


def cycles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """One cycle of each knot of the graph, its first member again at its end."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph(list(edges))
    found = []
    for members in nx.strongly_connected_components(graph):
        knot = graph.subgraph(members)
        if knot.number_of_edges():
            path = [source for source, _ in nx.find_cycle(knot, min(members))]
            found.append([*path, path[0]])
    return sorted(found)
