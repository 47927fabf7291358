"""`fustgo plan FILE`: what a run of the file would do, without doing it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from orchestrator.cli.files import add_file_arguments, open_file

if TYPE_CHECKING:
    from orchestrator.cli.files import Opened
    from orchestrator.dag.model import Dag
    from orchestrator.dag.stages import Stage
    from orchestrator.sdk.operator import Operator
    from orchestrator.sdk.registry import Registry


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command `plan`."""
    add_file_arguments(parser)
    parser.set_defaults(run=_plan)


def _plan(args: argparse.Namespace) -> int:
    from orchestrator.cli.pools import notes_at_hand
    from orchestrator.dag.unused import unused_settings
    from orchestrator.sdk.registry import Registry

    opened = open_file(args, Registry())
    definition = opened.definition()
    dag = definition.dag
    operators = {node.id: _operator(node, opened.loaded.registry) for node in dag.nodes}
    print(f"{dag.id}  {opened.loaded.file}  version {dag.hash()[:12]}")
    print(f"data paths resolve against {definition.project}")
    for stage in definition.stages:
        print()
        _print_stage(stage, dag, operators, opened)
    if len(definition.stages.stages) > 1:
        print(f"\ncritical path: {' -> '.join(definition.stages.critical_path)}")
    notes = [
        *opened.checked.warnings,
        *notes_at_hand(args.config, definition.stages),
        *map(_unused, unused_settings(dag)),
    ]
    if notes:
        print("\nnotes")
        for note in notes:
            print(f"  {note}")
    return 0


def _unused(name: str) -> str:
    from orchestrator.dag.unused import is_of_services

    if is_of_services(name):
        return f"for the services, not used by `fustgo run`: {name}"
    return f"kept, not used in this release: {name}"


def _operator(node: Any, registry: Registry) -> Operator:
    from orchestrator.sdk.properties import Kind

    return registry.find(node.type, Kind(node.kind))(**node.config, id=node.id)


def _print_stage(stage: Stage, dag: Dag, operators: dict[str, Operator], opened: Opened) -> None:
    from orchestrator.cli.render import table, upstreams

    after = ", after " if stage.up else " "
    print(f"stage {stage.id}{after}{upstreams(stage)}".rstrip())
    print(f"  {_epochs(stage, dag, operators)}")
    rows = [
        [node, operators[node].type, operators[node].kind, _promises(operators[node])] for node in stage.nodes
    ]
    print(table(["node", "type", "kind", "properties"], rows, indent="  "))
    for edge in dag.streams():
        if edge.source in stage.nodes:
            schema = opened.checked.schemas.get((edge.source, edge.source_port))
            print(f"  {edge}: {_columns(schema)}")


def _epochs(stage: Stage, dag: Dag, operators: dict[str, Operator]) -> str:
    from orchestrator.engine.plan import one_epoch_reason

    if stage.is_action:
        return "an action, which runs once; a process that dies in it runs it again"
    why = one_epoch_reason({node: operators[node] for node in stage.nodes})
    if why:
        return f"one epoch, the final one: {why}"
    checkpoint = dag.settings.checkpoint
    often = f"every {checkpoint.every_seconds:g} s"
    if checkpoint.every_batches:
        often += f" or {checkpoint.every_batches} batches"
    return f"a checkpoint {often}"


def _promises(operator: Operator) -> str:
    """What a node declares of itself; of an output its mode and guarantee."""
    from orchestrator.sdk.action import Action
    from orchestrator.sdk.output import Output, describe_mode

    if isinstance(operator, Output):
        return ", ".join(filter(None, [describe_mode(operator), str(operator.guarantee)]))
    if isinstance(operator, Action):
        return (operator.branching or "").replace("_", "-").replace("-direct", " of what follows directly")
    flags = {
        "row-local": operator.row_local,
        "stateful": operator.stateful,
        "cannot rewind": not operator.replayable,
        "unbounded": not operator.bounded,
    }
    return ", ".join(name for name, holds in flags.items() if holds)


def _columns(schema: Any) -> str:
    from orchestrator.sdk.types import type_name

    if schema is None:
        return "columns known when it runs"
    return ", ".join(f"{field.name} {type_name(field.type)}" for field in schema)
