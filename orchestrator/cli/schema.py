"""`fustgo schema`: the JSON Schema of a DAG in YAML or JSON, with every installed operator."""

from __future__ import annotations

import argparse
import json
import sys


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command `schema`."""
    parser.set_defaults(run=_schema)


def _schema(args: argparse.Namespace) -> int:
    from orchestrator.dag.schema import dag_schema
    from orchestrator.sdk.registry import Registry

    registry = Registry()
    print(json.dumps(dag_schema(registry), indent=2, ensure_ascii=False))
    for type_name, reason in registry.broken().items():
        last = reason.strip().splitlines()[-1]
        print(f"warning: operator {type_name!r} is left out: {last}", file=sys.stderr)
    return 0
