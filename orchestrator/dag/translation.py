"""What pydantic found wrong, as problems in the words of the author's file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.dag.later import argument_fault
from orchestrator.dag.marks import Marks, Path, shown
from orchestrator.errors import Problem, nearest

_PHRASES = {
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "string_type": "should be a text",
    "string_too_short": "must not be empty",
    "dict_type": "should hold names and values",
    "model_type": "should hold names and values",
    "mapping_type": "should hold names and values",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "enum": "",
    "literal_error": "",
}


_SUBJECT = re.compile(r"^(Input|String|List|Tuple|Dictionary|Value) (?=should )")


def problems_of(
    error: ValidationError,
    marks: Marks,
    path: Path,
    *,
    what: str,
    model: type[BaseModel],
    known: Iterable[str] = (),
) -> Iterator[Problem]:
    """Each thing that is wrong with a model's fields, those of one field joined.

    `path` is where the fields stand, `what` names their owner, `known` the names that may stand there.
    """
    names = sorted(known or model.model_fields)
    alternatives: dict[tuple[Path, str], list[dict[str, Any]]] = {}
    for finding in error.errors(include_url=False):
        field = _field_path(finding["loc"], model, unknown=finding["type"] == "extra_forbidden")
        word = finding["type"] if finding["type"] in ("extra_forbidden", "missing") else ""
        alternatives.setdefault((field, word), []).append(dict(finding))
    for (field, word), findings in alternatives.items():
        yield _problem(marks, path, field, word, findings, what, model, names)


def _problem(
    marks: Marks,
    path: Path,
    field: Path,
    word: str,
    findings: list[dict[str, Any]],
    what: str,
    model: type[BaseModel],
    names: list[str],
) -> Problem:
    name = ".".join(map(str, field))
    if word == "extra_forbidden":
        known = names if len(field) == 1 else sorted(_model_at(model, field[:-1]))
        message, hint = argument_fault(str(field[-1])) or (
            f"{what} has no field {name!r}",
            nearest(str(field[-1]), known),
        )
        return marks.problem((*path, *field), message, hint=hint, value=shown(findings[0]["input"]))
    if word == "missing":
        return marks.problem((*path, *field[:-1]), f"{what} needs {name!r}", hint=_description(model, field))
    reason = " or ".join(dict.fromkeys(_reason(finding) for finding in findings))
    hint = next((_cause_hint(finding) for finding in findings if _cause_hint(finding)), "")
    value = shown(findings[0]["input"]) if field else ""
    if reason.startswith(("should", "must")):
        message = f"{name!r} of {what} {reason}"
    else:
        message = reason if not name or reason.startswith(name) else f"{name}: {reason}"
    return marks.problem((*path, *field), message, hint=hint or _description(model, field), value=value)


def _reason(finding: dict[str, Any]) -> str:
    phrase = _PHRASES.get(finding["type"])
    if phrase:
        return phrase
    cause = finding.get("ctx", {}).get("error")
    text = str(getattr(cause, "message", finding["msg"]))
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return _SUBJECT.sub("", text)


def _cause_hint(finding: dict[str, Any]) -> str:
    cause = finding.get("ctx", {}).get("error")
    return str(getattr(cause, "hint", ""))


def _field_path(location: tuple[int | str, ...], model: type[BaseModel], *, unknown: bool) -> Path:
    """The location without the names of validators and union members that pydantic puts into it.

    `unknown` says that its last part is a key that the author wrote and the model lacks.
    """
    path: list[int | str] = []
    for index, part in enumerate(location):
        written = unknown and index == len(location) - 1
        known = _model_at(model, tuple(path))
        if (
            isinstance(part, str)
            and path
            and not written
            and part not in known
            and (known or _is_member(part))
        ):
            continue
        path.append(part)
    return tuple(path)


def _is_member(part: str) -> bool:
    """Whether a part of a location names an alternative of a union or a validator, not a key."""
    return part in (
        "str",
        "int",
        "float",
        "bool",
        "none",
        "dict",
        "list",
        "tuple",
        "datetime",
        "timedelta",
    ) or ("[" in part or part.startswith(("constrained-", "function-", "lax-or-strict", "json-or-python")))


def _model_at(model: type[BaseModel], path: Path) -> set[str]:
    """The field names of the model that stands at a path inside another; empty where none does."""
    current: type[BaseModel] | None = model
    for part in path:
        info = current.model_fields.get(str(part)) if current is not None else None
        current = _inner_model(info.annotation) if info is not None else None
    return set(current.model_fields) if current is not None else set()


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _description(model: type[BaseModel], field: Path) -> str:
    info = model.model_fields.get(str(field[0])) if field else None
    return info.description or "" if info is not None else ""
