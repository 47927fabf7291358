"""Python functions as processors: `@processor`, and the `python` operator that runs them.

    @processor
    def scaled(batch, *, factor: float = 1.0):
        return batch.set_column(0, "x", pc.multiply(batch["x"], factor))

    people >> scaled("doubled", factor=2) >> out        # or just: people >> scaled >> out

A function is stored by its name, `path/in/bundle.py:scaled` or `package.module:scaled`, and its
keyword parameters are the node's validated arguments. A class keeps state between batches: its
`__init__` takes the arguments, `process` the batches; with `snapshot` and `restore` it is checkpointed:

    class Sessions:
        def __init__(self, *, gap: int = 30) -> None: ...
        def process(self, batch): ...
        def snapshot(self) -> bytes: ...
        def restore(self, state: bytes) -> None: ...

    sessions = processor(Sessions)      # or `@processor` above it, which mypy ignores
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticSerializationError

from orchestrator.errors import UsageError, nearest
from orchestrator.sdk import importing, ports
from orchestrator.sdk.operator import NODE_ARGUMENTS, Schemas, operator
from orchestrator.sdk.processor import Processor, ProcessorRuntime
from orchestrator.sdk.signature import arguments_model, positional, signature_problem
from orchestrator.sdk.types import normal_type, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.context import Context

F = TypeVar("F", bound=Callable[..., Any])
Columns = Mapping[str, str]
"""Names and types of columns: `{"id": "int64", "name": "string"}`."""

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
class ProcessorFunction(ports.Declared, Generic[F]):
    """A decorated function or class; calling it makes a node. `function` is the undecorated one."""

    function: F
    rows: bool = False
    outputs: tuple[str, ...] = ("out",)
    schema: Mapping[str, Columns] = field(default_factory=dict)
    connections: tuple[str, ...] = ()
    state_version: int = 0
    _nodes: dict[int, tuple[ports.Scope, Python]] = field(default_factory=dict, repr=False)

    def __call__(self, id: str = "", /, **fields: Any) -> Python:  # noqa: A002
        """A node that runs the function: its id first, then the function's and the node's arguments."""
        if not isinstance(id, str):
            raise TypeError(
                f"{self.name}(...) makes a node, whose id comes first; the function is {self.name}.function"
            )
        own = {name: value for name, value in fields.items() if name in NODE_ARGUMENTS}
        arguments = {name: value for name, value in fields.items() if name not in NODE_ARGUMENTS}
        given: dict[str, Any] = own | ({"arguments": arguments} if arguments else {})
        return Python(id=id or self.name, function=self.reference, **given)

    def declared(self) -> Python:
        scope = ports.open_scope()
        if id(scope) not in self._nodes:
            self._nodes.clear()
            self._nodes[id(scope)] = (scope, self())
        return self._nodes[id(scope)][1]

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

    @property
    def keeps_state(self) -> bool:
        """Whether it is a class, and so may remember between batches."""
        return isinstance(self.function, type)

    @property
    def can_snapshot(self) -> bool:
        """Whether what it remembers can be saved."""
        return hasattr(self.function, "snapshot")

    def schemas(self) -> dict[str, pa.Schema]:
        """The declared schemas, by port."""
        import pyarrow as pa

        return {
            port: pa.schema([(name, parse_type(text)) for name, text in columns.items()])
            for port, columns in self.schema.items()
        }

    @cached_property
    def takes_context(self) -> bool:
        """Whether its first parameter is named `context`."""
        return next(iter(positional(self.function)), "") == "context"

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model of the keyword parameters."""
        return arguments_model(self.function)


@overload
def processor(function: F, /) -> ProcessorFunction[F]: ...


@overload
def processor(
    *,
    rows: bool = False,
    outputs: Sequence[str] = ("out",),
    schema: Columns | Mapping[str, Columns] | None = None,
    connections: Sequence[str] = (),
    state_version: int = 0,
) -> Callable[[F], ProcessorFunction[F]]: ...


def processor(
    function: F | None = None,
    /,
    *,
    rows: bool = False,
    outputs: Sequence[str] = ("out",),
    schema: Columns | Mapping[str, Columns] | None = None,
    connections: Sequence[str] = (),
    state_version: int = 0,
) -> ProcessorFunction[F] | Callable[[F], ProcessorFunction[F]]:
    """Make a module-level function or class an operator.

    `rows`: it takes one row as a dict and gives one, several or None. `outputs`: its ports, and it yields
    pairs of port and batch. `schema`: the columns it gives (with several ports: by port), where they are
    not the input's. `connections`: the names that `context.connection` may ask for. `state_version`: raise it
    when a class can no longer restore what an older one saved. Raises `UsageError` with the line where the
    function cannot be one.
    """

    def decorate(function: F) -> ProcessorFunction[F]:
        by_port: Any = schema or {}
        if by_port and all(isinstance(entry, str) for entry in by_port.values()):
            by_port = dict.fromkeys(outputs, by_port)
        made = ProcessorFunction(function, rows, tuple(outputs), by_port, tuple(connections), state_version)
        _check(made)
        return made

    return decorate(function) if function is not None else decorate


def _check(made: ProcessorFunction[Any]) -> None:
    """Refuse, with the line, what could not be found or called again."""
    function = made.function
    problem, hint = signature_problem(function)
    if "." in function.__qualname__ or not function.__name__.isidentifier():
        problem = f"{function.__qualname__} is not at module level, so a runner could not find it"
        hint = "move it out of the function or class, and give it a name"
    elif made.keeps_state and hasattr(function, "snapshot") != hasattr(function, "restore"):
        problem, hint = f"{made.name} has only one of snapshot and restore", "write both, or none"
    elif "rejects" in made.outputs or not made.outputs:
        problem, hint = f"{made.name} needs outputs, none named `rejects`", "every node has `rejects` already"
    if not problem:
        problem, hint = _schema_problem(made)
    if problem:
        place = ports.author_place()
        raise UsageError(f"{place.file}:{place.line}: {problem}", hint=hint)


def _schema_problem(made: ProcessorFunction[Any]) -> tuple[str, str]:
    for port, columns in made.schema.items():
        if port not in made.outputs:
            return f"schema names port {port!r}", nearest(port, made.outputs)
        for name, text in columns.items():
            try:
                normal_type(text)
            except ValueError as error:
                return f"schema of column {name!r}: {error}", ""
    return "", ""


def find_function(reference: str) -> ProcessorFunction[Any]:
    """The decorated function of a reference; ValueError says what is wrong with it."""
    place, colon, name = reference.partition(":")
    if not (place and colon and name):
        raise ValueError(
            f"{reference!r} is no function: write package.module:function or path/file.py:function"
        )
    found = getattr(_module(place), name, None)
    if found is None:
        defined = [key for key, value in vars(_module(place)).items() if isinstance(value, ProcessorFunction)]
        raise ValueError(f"{place} has no {name!r}; {nearest(name, defined) or 'it has no processors'}")
    if not isinstance(found, ProcessorFunction):
        raise ValueError(f"{reference} is not a processor: decorate it with @processor")
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


@operator("python")
class Python(Processor):
    """Runs a Python function or class that is decorated with `@processor`."""

    function: str = Field(description="The function: package.module:name, or path/in/bundle.py:name.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Its keyword arguments, by name.", validate_default=True
    )
    _target: ProcessorFunction[Any] | None = PrivateAttr(default=None)

    @field_validator("function")
    @classmethod
    def _exists(cls, reference: str) -> str:
        find_function(reference)
        return reference

    @field_validator("arguments")
    @classmethod
    def _fit(cls, arguments: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "function" not in info.data:
            return arguments
        found = find_function(info.data["function"])
        try:
            made = found.arguments.model_validate(arguments)
        except ValidationError as error:
            raise ValueError("; ".join(_argument_problems(found, error))) from None
        try:
            return made.model_dump(mode="json", exclude_defaults=True)
        except PydanticSerializationError as error:
            raise ValueError(f"arguments of {found.name} must be JSON: {error}") from None

    def model_post_init(self, _: Any) -> None:
        self._target = find_function(self.function)

    @property
    def target(self) -> ProcessorFunction[Any]:
        """The decorated function; found once, when the node is built."""
        try:
            found = self._target
        except AttributeError:  # a node whose configuration is still to be validated
            found = None
        return found if found is not None else find_function(self.function)

    @property
    def stateful(self) -> bool:  # type: ignore[override]
        """A class may remember between batches."""
        return self.target.keeps_state

    @property
    def can_snapshot(self) -> bool:  # type: ignore[override]
        """A class without `snapshot` cannot be continued: its stage has one epoch."""
        return self.target.can_snapshot or not self.target.keeps_state

    @property
    def row_local(self) -> bool:  # type: ignore[override]
        """A function that maps one row knows no other."""
        return self.target.rows and not self.target.keeps_state

    @property
    def state_version(self) -> int:  # type: ignore[override]
        """What the decorator says."""
        return self.target.state_version

    def connection_names(self) -> tuple[str, ...]:
        return self.target.connections

    def output_ports(self) -> tuple[str, ...]:
        return self.target.outputs

    def output_schemas(self, inputs: Schemas) -> Schemas:
        declared = self.target.schemas()
        return {port: declared.get(port) for port in self.output_ports()}

    def open(self, context: Context) -> ProcessorRuntime:
        from orchestrator.sdk.calling import FunctionRuntime

        arguments = dict(self.target.arguments.model_validate(self.arguments))
        return FunctionRuntime(self.target, arguments, context)


def _argument_problems(target: ProcessorFunction[Any], error: ValidationError) -> Iterator[str]:
    known = target.arguments.model_fields
    for finding in error.errors():
        name = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            yield f"{target.name} takes no argument {name!r}; {nearest(name, known) or 'it takes none'}"
        else:
            yield f"argument {name!r} of {target.name}: {finding['msg']}"
