"""How a function is to be called: its leading parameters, and the model of its keyword ones."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from orchestrator.sdk.fields import or_template
from orchestrator.sdk.operator import NODE_ARGUMENTS


def _parameters(function: Any) -> list[inspect.Parameter]:
    """The parameters of a function, or of a class's `__init__`."""
    if getattr(function, "__init__", None) is object.__init__:
        return []
    return list(inspect.signature(function).parameters.values())


def positional(function: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in _parameters(function) if parameter.kind in kinds]


def signature_problem(function: Any) -> tuple[str, str]:
    """What is wrong with the parameters, and what to write; empty where nothing is."""
    parameters, leading = _parameters(function), positional(function)
    data = [name for name in leading if name != "context"]
    is_class = isinstance(function, type)
    if is_class and not callable(getattr(function, "process", None)):
        return f"{function.__name__} has no method process", "write def process(self, batch): ..."
    if leading[1:].count("context"):
        return f"{function.__name__}: context is not the first parameter", "write (context, batch, *, ...)"
    if len(data) != (0 if is_class else 1):
        wanted = "(self, *, argument=...)" if is_class else "(batch, *, argument=...)"
        return (
            f"{function.__name__} takes {', '.join(data) or 'no batch'}",
            f"write {wanted}: arguments after *",
        )
    return _keyword_problem(function, parameters)


def action_signature_problem(function: Any) -> tuple[str, str]:
    """What is wrong with the parameters of an action, and what to write; empty where nothing is."""
    leading = positional(function)
    if leading not in ([], ["context"]):
        return (
            f"{function.__name__} takes {', '.join(leading)} by position",
            "write (context, *, argument=...) or (*, argument=...): arguments after *",
        )
    return _keyword_problem(function, _parameters(function))


def _keyword_problem(function: Any, parameters: list[inspect.Parameter]) -> tuple[str, str]:
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            return f"{function.__name__} takes *{parameter.name}", "name the arguments"
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name in NODE_ARGUMENTS:
            return f"{parameter.name!r} is an argument that every node has", "choose another name"
    return "", ""


def arguments_model(function: Any, *, templated: bool = False) -> type[BaseModel]:
    """A frozen model of the keyword parameters; `templated`: each may be a template instead."""
    owner: Any = vars(function).get("__init__", function) if isinstance(function, type) else function
    named = [p for p in _parameters(function) if p.kind is inspect.Parameter.KEYWORD_ONLY]
    hints = {p.name: p.annotation for p in named if p.annotation is not inspect.Parameter.empty}
    names = getattr(inspect.unwrap(owner), "__globals__", {})
    found = get_type_hints(SimpleNamespace(__annotations__=hints), names, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in named:
        required = parameter.default is inspect.Parameter.empty
        hint = found.get(parameter.name, Any)
        fields[parameter.name] = (
            or_template(hint) if templated else hint,
            ... if required else parameter.default,
        )
    config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    return create_model(f"{function.__name__} arguments", __config__=config, **fields)
