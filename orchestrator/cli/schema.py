"""`fustgo schema`: the JSON Schema of a DAG in YAML or JSON, with every operator that it may name."""

from __future__ import annotations

import argparse
import json
import sys

from orchestrator.cli.plugins import add_tree_argument, registry_of


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command `schema`."""
    add_tree_argument(parser)
    parser.set_defaults(run=_schema)


def _schema(args: argparse.Namespace) -> int:
    from orchestrator.dag.schema import dag_schema

    registry = registry_of(args)
    print(json.dumps(dag_schema(registry), indent=2, ensure_ascii=False))
    for type_name, reason in registry.broken().items():
        last = reason.strip().splitlines()[-1]
        print(f"warning: operator {type_name!r} is left out: {last}", file=sys.stderr)
    for text in registry.plugins.errors.values():
        print(f"warning: {text.splitlines()[0]}", file=sys.stderr)
    return 0
