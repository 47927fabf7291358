"""`fustgo config`: what holds here, where each value is from, and what a file may hold."""

from __future__ import annotations

import argparse
import json


def register(parser: argparse.ArgumentParser) -> None:
    """Add the noun `config` and its verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    shown = verbs.add_parser("show", help="each setting with its value and where that is from")
    shown.add_argument("--json", action="store_true", help="as one JSON object")
    shown.set_defaults(run=_show)
    schema = verbs.add_parser("schema", help="JSON Schema of a settings file, for editors")
    schema.set_defaults(run=_schema)


def _show(args: argparse.Namespace) -> int:
    from orchestrator.settings import load

    rows = list(load(args.config).rows())
    if args.json:
        print(json.dumps({key: {"value": value, "source": source} for key, value, source in rows}, indent=2))
        return 0
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, source in rows:
        print(f"{key.ljust(widths[0])} = {value.ljust(widths[1])}  # {source}")
    return 0


def _schema(args: argparse.Namespace) -> int:
    from orchestrator.settings import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
