"""Python functions as processors: `@processor`.

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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from orchestrator.errors import nearest
from orchestrator.sdk.decorated import DecoratedFunction, refuse, refuse_inner
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.signature import signature_problem
from orchestrator.sdk.types import normal_type, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.python import Python

F = TypeVar("F", bound=Callable[..., Any])
Columns = Mapping[str, str]
"""Names and types of columns: `{"id": "int64", "name": "string"}`."""


@dataclass(frozen=True, eq=False)
class ProcessorFunction(DecoratedFunction[F]):
    """A decorated function or class at work on batches; calling it makes a node."""

    kind: ClassVar[Kind] = Kind.PROCESSOR

    rows: bool = False
    outputs: tuple[str, ...] = ("out",)
    schema: Mapping[str, Columns] = field(default_factory=dict)
    state_version: int = 0

    def __call__(self, id: str = "", /, **fields: Any) -> Python:  # noqa: A002
        """A node that runs the function: its id first, then the function's and the node's arguments."""
        return self.make(id, fields)

    def make(self, node_id: str, fields: Mapping[str, Any]) -> Python:
        from orchestrator.sdk.python import Python

        return Python(**self.given(node_id, fields))

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
        made = ProcessorFunction(
            function,
            tuple(connections),
            rows=rows,
            outputs=tuple(outputs),
            schema=by_port,
            state_version=state_version,
        )
        _check(made)
        return made

    return decorate(function) if function is not None else decorate


def _check(made: ProcessorFunction[Any]) -> None:
    """Refuse, with the line, what could not be found or called again."""
    function = made.function
    problem, hint = signature_problem(function)
    refuse_inner(function)
    if made.keeps_state and hasattr(function, "snapshot") != hasattr(function, "restore"):
        problem, hint = f"{made.name} has only one of snapshot and restore", "write both, or none"
    elif "rejects" in made.outputs or not made.outputs:
        problem, hint = f"{made.name} needs outputs, none named `rejects`", "every node has `rejects` already"
    if not problem:
        problem, hint = _schema_problem(made)
    refuse(problem, hint)


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
