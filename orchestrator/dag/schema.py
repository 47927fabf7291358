"""The JSON Schema of the YAML form, made from the models that validate it: for editors, forms and docs.

A node is checked by the model of its type and kind; what a schema cannot say (wiring, cycles, cron text)
is said by `fustgo dags show` and `plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic.json_schema import models_json_schema

from orchestrator.dag.arguments import TRIGGER_RULES, arguments_model
from orchestrator.dag.header import ID_PATTERN, Header
from orchestrator.dag.model import FORMAT
from orchestrator.dag.params import KEYWORDS
from orchestrator.dag.reading import DAG_DEFAULTS
from orchestrator.errors import UsageError
from orchestrator.sdk.operator import NODE_ARGUMENTS, Operator
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = "#/$defs/{model}"
_ONE_OR_SEVERAL: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}


def dag_schema(registry: Registry) -> dict[str, Any]:
    """The schema of a DAG file in YAML or JSON, with every operator that can be imported."""
    from orchestrator.dag.timetable import json_schema

    operators = list(_operators(registry))
    models = [(model, "validation") for model in (Header, arguments_model(), *operators)]
    by_model, defs = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    defs = defs["$defs"]
    names = {model: reference["$ref"].rpartition("/")[2] for (model, _), reference in by_model.items()}
    for operator in operators:
        _keep_configuration(defs[names[operator]], operator)
    header = defs.pop(names[Header])["properties"]
    arguments = defs.pop(names[arguments_model()])["properties"] | _asking_for_nothing()
    arguments["trigger_rule"]["enum"] = [*TRIGGER_RULES, None]
    defaults = {name: arguments[name] for name in DAG_DEFAULTS}
    header["schedule"] = json_schema()
    header["params"] = _params()
    for name in ("tags", "template_env"):
        header[name] = _one_or_several(header[name])
    header["default_args"] |= {"properties": defaults | _some(header, ("owner", "start_date", "end_date"))}
    header["default_args"]["additionalProperties"] = False
    defs |= _node_definitions(operators, names, arguments)
    return _document(header | defaults, defs)


def _operators(registry: Registry) -> Iterator[type[Operator]]:
    """The operators that a file may name; plugins that cannot be imported are left out."""
    for type_name in registry.types():
        with suppress(UsageError):
            yield from registry.kinds(type_name).values()


def _keep_configuration(schema: dict[str, Any], operator: type[Operator]) -> None:
    """Only the operator's own fields, which `config` holds."""
    schema["properties"] = {
        name: entry for name, entry in schema.get("properties", {}).items() if name not in NODE_ARGUMENTS
    }
    schema["title"] = f"{operator.type} {operator.kind}"


def _some(header: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: header[name] for name in names}


def _one_or_several(listed: Mapping[str, Any]) -> dict[str, Any]:
    """A list of texts, or one text that stands for a list of it."""
    kept = {name: listed[name] for name in ("title", "description", "default") if name in listed}
    return {**kept, "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _asking_for_nothing() -> dict[str, Any]:
    """Arguments that do not work yet, with the values that the validator lets through."""
    fields = Operator.model_fields
    return {
        "splits": {"enum": [1, None], "description": fields["splits"].description},
        "depends_on_past": {"enum": [False, None], "description": fields["depends_on_past"].description},
    }


def _params() -> dict[str, Any]:
    return {
        "type": "object",
        "description": Header.model_fields["params"].description,
        "additionalProperties": {
            "anyOf": [
                {"type": ["string", "number", "boolean", "array", "null"]},
                {"type": "object", "properties": {word: {} for word in KEYWORDS}},
            ]
        },
    }


def _node_definitions(
    operators: list[type[Operator]], names: Mapping[type[Any], str], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """A node of any kind for `nodes`, and one of each kind for the short form."""
    made = {"node": _node(operators, names, arguments, None)}
    for kind in (Kind.INPUT, Kind.PROCESSOR, Kind.OUTPUT):
        mine = [operator for operator in operators if operator.kind is kind]
        made[f"short.{kind}"] = _node(mine, names, arguments, kind)
    return made


def _node(
    operators: list[type[Operator]],
    names: Mapping[type[Any], str],
    arguments: Mapping[str, Any],
    kind: Kind | None,
) -> dict[str, Any]:
    types = sorted({operator.type for operator in operators})
    properties: dict[str, Any] = {
        "id": {"type": "string", "description": "The node's name.", "pattern": _node_id_pattern()},
        "type": {"description": "The operator.", "enum": types},
        "kind": {"enum": [str(kind)] if kind else list(map(str, Kind))},
        "config": {"type": ["object", "null"], "description": "What the operator is told."},
        "drop": {**_ONE_OR_SEVERAL, "description": "Output ports whose rows are counted and dropped."},
    }
    if kind is None:
        properties["from"] = {
            "description": "Where its rows come from: a node, node.port, a list, or by input port.",
            "anyOf": [*_ONE_OR_SEVERAL["anyOf"], {"type": "object", "additionalProperties": _ONE_OR_SEVERAL}],
        }
        properties["after"] = {**_ONE_OR_SEVERAL, "description": "The nodes whose stages must have ended."}
        properties["state_version"] = {"type": "integer"}
    return {
        "type": "object",
        "properties": properties | dict(arguments),
        "required": ["type"] if kind else ["id", "type"],
        "additionalProperties": False,
        "allOf": [_choice(operator, operators, names, kind) for operator in operators],
    }


def _node_id_pattern() -> str:
    return f"^{ID_PATTERN}(/{ID_PATTERN})*$"


def _choice(
    operator: type[Operator],
    operators: list[type[Operator]],
    names: Mapping[type[Any], str],
    kind: Kind | None,
) -> dict[str, Any]:
    """Where type (and kind, if the type has several) say this operator, `config` is its model's."""
    condition: dict[str, Any] = {"type": {"const": operator.type}}
    several = [other.kind for other in operators if other.type == operator.type]
    result: dict[str, Any] = {"properties": {"config": {"$ref": _REFERENCE.format(model=names[operator])}}}
    needs = ["config"] if any(f.is_required() for f in _fields(operator)) else []
    if len(several) > 1:
        result["required"] = ["kind", *needs]
        condition["kind"] = {"const": str(operator.kind)}
    elif needs:
        result["required"] = needs
    if kind is None and len(several) == 1:
        result["properties"]["kind"] = {"const": str(operator.kind)}
    if len(several) > 1 and operator.kind is several[0]:
        # Without a kind neither branch would apply, and nothing would be checked.
        return {
            "allOf": [_when(condition, result), _when({"type": condition["type"]}, {"required": ["kind"]})]
        }
    return _when(condition, result)


def _fields(operator: type[Operator]) -> list[Any]:
    return [info for name, info in operator.model_fields.items() if name not in NODE_ARGUMENTS]


def _when(properties: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": properties, "required": sorted(properties)}, "then": then}


def _document(header: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    header["id"] = {**header["id"], "pattern": f"^{ID_PATTERN}$"}
    return {
        "$schema": DIALECT,
        "title": "A FustGo DAG",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            **header,
            "input": {"$ref": "#/$defs/short.input"},
            "processors": {"type": "array", "items": {"$ref": "#/$defs/short.processor"}},
            "output": {"$ref": "#/$defs/short.output"},
            "nodes": {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 1},
        },
        "additionalProperties": False,
        "oneOf": [
            {
                "required": ["nodes"],
                "not": {"anyOf": [{"required": [key]} for key in ("input", "processors", "output")]},
            },
            {"required": ["input", "output"], "not": {"required": ["nodes"]}},
        ],
        "$defs": defs,
    }
