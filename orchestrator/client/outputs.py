"""What the outputs of a DAG do when their rows come again; asked before a run or stage starts over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.dag.model import Dag
from orchestrator.sdk.output import FileOutput, Output
from orchestrator.sdk.properties import Kind, Mode
from orchestrator.sdk.registry import Registry


@dataclass(frozen=True)
class OutputNodes:
    """Ids of outputs: `repeating` ones append to a table, `exclusive` ones refuse a file that is there."""

    repeating: frozenset[str]
    exclusive: frozenset[str]


def output_nodes(dag: Dag, registry: Registry) -> OutputNodes:
    """The outputs of a DAG by what they do."""
    outputs = dict(_outputs(dag, registry))
    return OutputNodes(
        frozenset(node for node, output in outputs.items() if output.repeats),
        frozenset(node for node, output in outputs.items() if _is_exclusive(output)),
    )


def _outputs(dag: Dag, registry: Registry) -> Mapping[str, Output]:
    found = {}
    for node in dag.nodes:
        if node.kind == Kind.OUTPUT:
            operator = registry.find(node.type, Kind.OUTPUT)(**node.config)
            assert isinstance(operator, Output)
            found[node.id] = operator
    return found


def _is_exclusive(output: Output) -> bool:
    return isinstance(output, FileOutput) and output.effective_mode is Mode.ERROR_IF_EXISTS
