"""What decorators make of functions: operators of type `python`, stored by the function's name.

A function is stored as `path/in/bundle.py:name` or `package.module:name` and found again by that. Standing
alone in `a >> f >> b` it means `f()`, made once a DAG; its id is then its name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from orchestrator.errors import UsageError, nearest
from orchestrator.sdk import importing, ports
from orchestrator.sdk.operator import NODE_ARGUMENTS, Operator
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.signature import arguments_model, positional

F = TypeVar("F", bound=Callable[..., Any])
D = TypeVar("D", bound="DecoratedFunction[Any]")

_tree: ContextVar[Path | None] = ContextVar("fustgo_function_tree", default=None)


@contextmanager
def functions_of(tree: Path | None) -> Iterator[None]:
    """Within it, `path.py:name` means a file of that tree: around parsing, and around building operators."""
    token = _tree.set(tree)
    try:
        yield
    finally:
        _tree.reset(token)


@dataclass(frozen=True, eq=False)
class DecoratedFunction(ports.Declared, Generic[F]):
    """A decorated function; calling it makes a node. `function` is the undecorated one."""

    kind: ClassVar[Kind]

    function: F
    connections: tuple[str, ...] = ()
    _nodes: dict[int, tuple[ports.Scope, Operator]] = field(default_factory=dict, repr=False)

    def make(self, node_id: str, fields: Mapping[str, Any]) -> Operator:
        """The node of that id, with the function's and the node's arguments."""
        raise NotImplementedError

    def declared(self) -> Operator:
        scope = ports.open_scope()
        if id(scope) not in self._nodes:
            self._nodes.clear()
            self._nodes[id(scope)] = (scope, self.make("", {}))
        return self._nodes[id(scope)][1]

    def before(self, *others: ports.Joinable) -> None:
        """Start the others only after the node that the bare name stands for."""
        ports.follow_all(self.declared(), others)

    def given(self, node_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the operator is made of: the function's arguments apart from the node's own."""
        if not isinstance(node_id, str):
            raise TypeError(
                f"{self.name}(...) makes a node, whose id comes first; the function is {self.name}.function"
            )
        own = {name: value for name, value in fields.items() if name in NODE_ARGUMENTS}
        arguments = {name: value for name, value in fields.items() if name not in NODE_ARGUMENTS}
        made = own | ({"arguments": arguments} if arguments else {})
        return {"id": node_id or self.name, "function": self.reference, **made}

    @property
    def name(self) -> str:
        """The name in its module, usually the function's own: the id of a node that is given none."""
        module = getattr(sys.modules.get(self.function.__module__), "__dict__", {})
        own = str(self.function.__name__)
        return own if module.get(own) is self else next((k for k, v in module.items() if v is self), own)

    @property
    def reference(self) -> str:
        """The name under which the function is stored and found again."""
        module = self.function.__module__
        return f"{importing.relative_path(module) or module}:{self.name}"

    @cached_property
    def takes_context(self) -> bool:
        """Whether its first parameter is named `context`."""
        return next(iter(positional(self.function)), "") == "context"

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model of the keyword parameters."""
        return arguments_model(self.function)

    @property
    def written_arguments(self) -> type[BaseModel]:
        """The model of the arguments as authors write them; an action's may be templates."""
        return self.arguments


def refuse_inner(function: Any) -> None:
    """UsageError, with the author's line, where a function could not be found again by its name."""
    if "." in function.__qualname__ or not function.__name__.isidentifier():
        refuse(
            f"{function.__qualname__} is not at module level, so a runner could not find it",
            "move it out of the function or class, and give it a name",
        )


def refuse(problem: str, hint: str) -> None:
    """UsageError with the author's line, where there is a problem."""
    if problem:
        place = ports.author_place()
        raise UsageError(f"{place.file}:{place.line}: {problem}", hint=hint)


def find_function(reference: str, kind: type[D]) -> D:
    """The decorated function of a reference, of that kind; ValueError says what is wrong with it."""
    place, colon, name = reference.partition(":")
    if not (place and colon and name):
        raise ValueError(
            f"{reference!r} is no function: write package.module:function or path/file.py:function"
        )
    found = getattr(_module(place), name, None)
    if found is None:
        defined = [key for key, value in vars(_module(place)).items() if isinstance(value, kind)]
        raise ValueError(f"{place} has no {name!r}; {nearest(name, defined) or f'it has no {kind.kind}s'}")
    if isinstance(found, DecoratedFunction) and not isinstance(found, kind):
        raise ValueError(f"{reference} is no {kind.kind}: write `kind: {found.kind}`")
    if not isinstance(found, kind):
        article = "an" if kind.kind is Kind.ACTION else "a"
        raise ValueError(f"{reference} is not {article} {kind.kind}: decorate it with @{kind.kind}")
    return found


def _module(place: str) -> Any:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        tree = _tree.get()
        if tree is not None:
            return importing.import_file(tree, place)
        return importlib.import_module(importing.module_name(place))
    except ImportError as error:
        raise ValueError(f"{place} cannot be imported: {error}") from None
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def fitting_arguments(
    target: DecoratedFunction[Any], arguments: Mapping[str, Any], model: type[BaseModel]
) -> dict[str, Any]:
    """The arguments as canonical JSON, without what equals a default; ValueError names each that is wrong."""
    try:
        made = model.model_validate(dict(arguments))
    except ValidationError as error:
        raise ValueError("; ".join(_argument_problems(target, error))) from None
    try:
        return made.model_dump(mode="json", exclude_defaults=True)
    except PydanticSerializationError as error:
        raise ValueError(f"arguments of {target.name} must be JSON: {error}") from None


def _argument_problems(target: DecoratedFunction[Any], error: ValidationError) -> Iterator[str]:
    known = target.arguments.model_fields
    for finding in error.errors():
        name = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            yield f"{target.name} takes no argument {name!r}; {nearest(name, known) or 'it takes none'}"
        else:
            yield f"argument {name!r} of {target.name}: {finding['msg']}"
