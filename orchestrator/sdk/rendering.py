"""The templates of a node's configuration: where they stand, what they use, and what they give.

A `Templated` field is one text. A `TemplatedDict` holds texts at any depth, and there a text that is nothing
but one `{{ ... }}` gives the value itself: a number stays a number, null is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from orchestrator.errors import OperatorError
from orchestrator.sdk.fields import is_template, template_marks
from orchestrator.sdk.template import Use, native, render, uses

if TYPE_CHECKING:
    from orchestrator.sdk.operator import Operator

Path: TypeAlias = tuple[str | int, ...]


def template_texts(operator: type[Operator], config: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every template of a configuration, with the path of its place."""
    for name, mark in template_marks(operator).items():
        value = config.get(name)
        if mark.within:
            yield from ((path, text) for path, text in texts_in(value, (name,)) if is_template(text))
        elif isinstance(value, str) and is_template(value):
            yield (name,), value


def texts_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text inside a value, with the path of its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from texts_in(entry, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from texts_in(entry, (*path, index))


def uses_of(operator: type[Operator], config: Mapping[str, Any]) -> set[Use]:
    """The names that a configuration's templates use; `TemplateProblem` where one is wrong."""
    return {use for _, text in template_texts(operator, config) for use in uses(text)}


def render_config(
    operator: type[Operator], config: Mapping[str, Any], names: Mapping[str, Any]
) -> dict[str, Any]:
    """The configuration with its templates rendered; `TemplateProblem` where one does not render."""
    made = dict(config)
    for name, mark in template_marks(operator).items():
        if name not in made:
            continue
        if mark.within:
            made[name] = _rendered_within(made[name], names)
        elif is_template(made[name]):
            made[name] = _rendered(made[name], names, mark.dialect)
    return made


def build(
    operator: type[Operator], node_id: str, config: Mapping[str, Any], names: Mapping[str, Any]
) -> Operator:
    """The operator of a node, its templates rendered; `OperatorError` where they give what misfits."""
    rendered = render_config(operator, config, names)
    try:
        return operator(**rendered, id=node_id)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise OperatorError(
            f"node {node_id!r} does not take what its templates gave: {found}",
            hint="look at the run's params and dates",
            retry=False,
        ) from None


def _rendered_within(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return native(value, names) if is_template(value) else value
    if isinstance(value, Mapping):
        return {key: _rendered_within(entry, names) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rendered_within(entry, names) for entry in value]
    return value


def _rendered(text: str, names: Mapping[str, Any], dialect: str) -> str:
    if not dialect:
        return render(text, names)
    from orchestrator.sdk.sql_template import render_sql

    return render_sql(text, names, dialect)
