"""What the outputs of a DAG do when their rows come again; asked before a run or stage starts over."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dag.model import Dag
from orchestrator.runs.checkpoint import Json
from orchestrator.sdk.output import FileOutput, Output
from orchestrator.sdk.properties import Kind, Mode
from orchestrator.sdk.registry import Registry
from orchestrator.store.verbs.clearing import Outputs


def outputs_of(document: Mapping[str, Json], registry: Registry) -> Outputs:
    """The outputs of a definition by what they do."""
    dag = Dag.from_document(document)
    outputs = dict(_outputs(dag, registry))
    return Outputs(
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
