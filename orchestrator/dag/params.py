"""Params: what a run may be given. A declaration is a plain default, or a JSON Schema that may hold one.

The part of JSON Schema that params need is checked here; a keyword outside it is refused, never ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.errors import Problem, Problems, nearest

if TYPE_CHECKING:
    from orchestrator.dag.model import Dag

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_NOTES = ("title", "description", "examples", "default")
_FORMATS: Mapping[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
}
_LIMITS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda value, limit: bool(value >= limit), "at least"),
    "maximum": (lambda value, limit: bool(value <= limit), "at most"),
    "exclusiveMinimum": (lambda value, limit: bool(value > limit), "more than"),
    "exclusiveMaximum": (lambda value, limit: bool(value < limit), "less than"),
}
_LENGTHS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minLength": _LIMITS["minimum"],
    "maxLength": _LIMITS["maximum"],
    "minItems": _LIMITS["minimum"],
    "maxItems": _LIMITS["maximum"],
}
KEYWORDS = (*_NOTES, "type", "enum", "const", "pattern", "format", "items", *_LIMITS, *_LENGTHS)


class Param:
    """A param with a schema, as in Airflow: `Param("eu", type="string", enum=["eu", "us"])`.

    Without a default the run must be given one.
    """

    def __init__(self, *default: Any, description: str = "", **schema: Any) -> None:
        if len(default) > 1:
            raise TypeError("Param takes one positional argument, its default")
        self.schema: dict[str, Any] = dict(schema)
        if default:
            self.schema["default"] = default[0]
        if description:
            self.schema["description"] = description


def declare_params(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of each param; ValueError names the param and what is wrong with its declaration."""
    declared = {}
    for name, value in given.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            raise ValueError(
                f"{name!r} is no name of a param: letters, digits and _, for {{{{ params.name }}}}"
            )
        schema = _schema(value)
        for fault in _schema_faults(schema):
            raise ValueError(f"{name}: {fault}")
        declared[name] = schema
    return declared


def _schema(value: Any) -> dict[str, Any]:
    if isinstance(value, Param):
        value = value.schema
    elif not (isinstance(value, Mapping) and _looks_like_schema(value)):
        plain = _plain(value)
        return {"default": plain} | ({"type": type_of(plain)} if plain is not None else {})
    declared: dict[str, Any] = _plain(value)
    return declared


def _looks_like_schema(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    known = kind in TYPES if isinstance(kind, str) else isinstance(kind, list)
    return known or (bool({"type", "default", "enum"} & set(value)) and set(value) <= set(KEYWORDS))


def _plain(value: Any) -> Any:
    """The value as JSON: dates become ISO text, tuples lists."""
    return json.loads(json.dumps(value, default=_text, allow_nan=False))


def _text(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError(f"{type(value).__name__} {value!r} is no JSON value")


def type_of(value: Any) -> str:
    """JSON Schema's word for the type of a JSON value."""
    if isinstance(value, bool):
        return "boolean"
    return next((word for word, kinds in TYPES.items() if isinstance(value, kinds)), "object")


def _schema_faults(schema: Mapping[str, Any]) -> Iterator[str]:
    for word in schema:
        if word not in KEYWORDS:
            yield f"unknown keyword {word!r}; {nearest(word, KEYWORDS)}"
    for kind in _types(schema):
        if kind not in TYPES:
            yield f"unknown type {kind!r}; {nearest(str(kind), TYPES)}"
    if "format" in schema and schema["format"] not in _FORMATS:
        yield f"unknown format {schema['format']!r}; {nearest(str(schema['format']), _FORMATS)}"
    if "pattern" in schema:
        try:
            re.compile(str(schema["pattern"]))
        except re.error as error:
            yield f"the pattern cannot be read: {error}"
    if "default" in schema and not (fault := next(_type_faults(schema), "")):
        for fault in faults(schema, schema["default"]):
            yield f"the default {fault}"


def _type_faults(schema: Mapping[str, Any]) -> Iterator[str]:
    return (str(kind) for kind in _types(schema) if kind not in TYPES)


def _types(schema: Mapping[str, Any]) -> list[Any]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def faults(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """What keeps a value from being one of the schema, each as `is ...`, `must ...`."""
    kinds = _types(schema)
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"must be of type {' or '.join(kinds)}, not {type_of(value)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"must be one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        yield f"must be {schema['const']!r}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _limit_faults(schema, _LIMITS, value, "")
    if isinstance(value, (str, list)):
        yield from _limit_faults(schema, _LENGTHS, len(value), "have a length of ")
    if isinstance(value, str):
        yield from _text_faults(schema, value)
    for index, entry in enumerate(value if isinstance(value, list) and "items" in schema else []):
        for fault in faults(schema["items"], entry):
            yield f"entry {index + 1} {fault}"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])


def _limit_faults(
    schema: Mapping[str, Any],
    limits: Mapping[str, tuple[Callable[[Any, Any], bool], str]],
    value: Any,
    what: str,
) -> Iterator[str]:
    for word, (holds, phrase) in limits.items():
        if word in schema and not holds(value, schema[word]):
            yield f"must {what or 'be '}{phrase} {schema[word]}"


def _text_faults(schema: Mapping[str, Any], text: str) -> Iterator[str]:
    if "pattern" in schema and not re.search(schema["pattern"], text):
        yield f"must match {schema['pattern']}"
    if "format" in schema:
        try:
            _FORMATS[schema["format"]](text)
        except ValueError:
            yield f"must be a {schema['format']}, such as {_EXAMPLES[schema['format']]}"


_EXAMPLES = {"date": "2026-01-31", "date-time": "2026-01-31T06:00:00+00:00"}


def resolve_params(dag: Dag, given: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a run: what is given, else defaults. A text (`--param name=text`) is read as the type
    that is declared; other values are JSON.

    Raises `Problems` with every name that is not declared, value that does not fit and value missing.
    """
    problems = [
        Problem("", 0, 0, f"DAG {dag.id!r} has no param {name!r}", nearest(name, dag.params) or "it has none")
        for name in given
        if name not in dag.params
    ]
    resolved = {}
    for name, schema in dag.params.items():
        if name in given:
            value = given[name]
            resolved[name] = value = read_text(schema, value) if isinstance(value, str) else value
            problems += [
                Problem("", 0, 0, f"param {name!r} {fault}", schema.get("description", ""), str(given[name]))
                for fault in faults(schema, value)
            ]
        elif "default" in schema:
            resolved[name] = schema["default"]
        else:
            problems.append(
                Problem("", 0, 0, f"param {name!r} has no default", f"give it: --param {name}=VALUE")
            )
    if problems:
        raise Problems(problems)
    return resolved


def default_params(dag: Dag) -> dict[str, Any]:
    """The params of a run that is given none, but for those without a default: the values of a scheduled
    run, for a DAG of which the validator has found nothing to say.
    """
    return {name: schema["default"] for name, schema in dag.params.items() if "default" in schema}


def read_text(schema: Mapping[str, Any], text: str) -> Any:
    """A text from the command line as a value of the declared type; the text itself where it is none."""
    kinds = _types(schema)
    if "string" in kinds and not ("null" in kinds and text == "null"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if not kinds or any(_is(value, kind) for kind in kinds) else text
