"""`fustgo plugins`: which operators are installed, and what each is told and promises."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.sdk.operator import Operator
    from orchestrator.sdk.registry import Registry


def register(parser: argparse.ArgumentParser) -> None:
    """Add the noun `plugins` and its verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="each type with its kinds and where it comes from")
    add_tree_argument(listed)
    listed.set_defaults(run=_list)
    shown = verbs.add_parser("show", help="what one operator does, is told and promises")
    shown.add_argument("type", metavar="TYPE", help="the operator's type, such as csv")
    add_tree_argument(shown)
    shown.set_defaults(run=_show)


def add_tree_argument(parser: argparse.ArgumentParser) -> None:
    """--dags: whose plugins are meant as well."""
    parser.add_argument(
        "--dags", type=Path, metavar="DIR", help="a folder of DAG files, whose plugins/ count as well"
    )


def registry_of(args: argparse.Namespace) -> Registry:
    """The operators that are installed, and those of the plugins beside the DAG files of --dags."""
    from orchestrator.errors import UsageError
    from orchestrator.sdk.registry import Registry

    if args.dags is not None and not args.dags.is_dir():
        raise UsageError(f"--dags {args.dags} is no folder", hint="name the folder of the DAG files")
    return Registry().of_tree(args.dags.resolve() if args.dags is not None else None)


def _list(args: argparse.Namespace) -> int:
    from orchestrator.cli.render import table

    registry = registry_of(args)
    broken = registry.broken()
    rows = [
        (type_name, operator.kind, operator.version or "-", _first_line(operator))
        for type_name in registry.types()
        if type_name not in broken
        for operator in registry.kinds(type_name).values()
    ]
    print(table(("TYPE", "KIND", "VERSION", "WHAT IT DOES"), rows))
    for type_name, reason in broken.items():
        print(f"\n{type_name}: cannot be used\n{_indented(reason.strip())}")
    for file, text in registry.plugins.errors.items():
        print(f"\n{file}: cannot be used\n{_indented(text)}")
    return 0


def _show(args: argparse.Namespace) -> int:
    print("\n\n".join(_described(operator) for operator in _found(registry_of(args), args.type)))
    return 0


def _found(registry: Registry, type_name: str) -> list[type[Operator]]:
    return list(registry.kinds(type_name).values())


def _described(operator: type[Operator]) -> str:
    from orchestrator.cli.render import table
    from orchestrator.sdk.fields import templated_fields
    from orchestrator.sdk.operator import NODE_ARGUMENTS

    lines = [f"{operator.type} ({operator.kind})", "", _indented(_documentation(operator)), ""]
    templated = templated_fields(operator)
    rows = [
        (
            name,
            _type_of(_schema_of(operator, name)) + (", template" if name in templated else ""),
            "required" if info.is_required() else _default(info),
            info.description or "",
        )
        for name, info in operator.model_fields.items()
        if name not in NODE_ARGUMENTS
    ]
    if rows:
        lines += [table(("FIELD", "TYPE", "DEFAULT", "MEANING"), rows, indent="  "), ""]
    return "\n".join([*lines, *(f"  {line}" for line in _promises(operator))])


def _documentation(operator: type[Operator]) -> str:
    import inspect

    return inspect.cleandoc(operator.__doc__ or "No description.")


def _first_line(operator: type[Operator]) -> str:
    return _documentation(operator).splitlines()[0]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _schema_of(operator: type[Operator], field: str) -> dict[str, Any]:
    """The JSON Schema of a field, what it refers to put in its place."""
    whole = operator.model_json_schema()

    def resolved(entry: Any) -> Any:
        if isinstance(entry, list):
            return [resolved(inner) for inner in entry]
        if isinstance(entry, dict) and "$ref" in entry:
            return resolved(whole["$defs"][entry["$ref"].rpartition("/")[2]])
        return {key: resolved(inner) for key, inner in entry.items()} if isinstance(entry, dict) else entry

    found: dict[str, Any] = resolved(whole["properties"][field])
    return found


def _type_of(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(
            dict.fromkeys(_type_of(entry) for entry in schema["anyOf"] if entry != {"type": "null"})
        )
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _default(info: Any) -> str:
    import json
    from datetime import timedelta

    from orchestrator.units import format_duration

    value = info.get_default(call_default_factory=True)
    if value is None:
        return "-"
    if isinstance(value, timedelta):
        return format_duration(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _promises(operator: type[Operator]) -> Iterator[str]:
    """What the operator declares about itself; a property of an instance is not known before there is one."""
    for name, yes, no in (
        ("bounded", "ends by itself", "never ends by itself"),
        ("row_local", "each row comes from one row, in order", ""),
        ("stateful", "remembers between batches", ""),
        ("replayable", "", "cannot read again: its stage has one epoch"),
    ):
        value = getattr(operator, name)
        text = yes if value is True else no if value is False else f"{name}: depends on the configuration"
        if text and not (name == "bounded" and operator.kind != "input"):
            yield text
    if hasattr(operator, "guarantee"):
        yield f"guarantee: {operator.guarantee}"
