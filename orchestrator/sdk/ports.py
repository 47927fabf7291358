"""How nodes are joined in Python: `>>`, ports, and the scope in which a DAG collects both.

The scope is the DAG whose `with` block is open. This floor knows only that one can be told of nodes
and edges; which edge is a stream and which means "after" is decided by the DAG.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union

if TYPE_CHECKING:
    from orchestrator.sdk.operator import Operator

Joinable = Union["Joining", Sequence["Joining"]]
J = TypeVar("J", bound="Joinable")


@dataclass(frozen=True)
class Place:
    """Where in an author's file something was written; lines and columns count from 1, 0 is unknown."""

    file: str
    line: int = 0
    column: int = 0


class Scope(Protocol):
    """A DAG under construction."""

    def declare(self, node: Operator, fields: Mapping[str, Any], place: Place) -> None:
        """Add a node; `fields` are the arguments as written."""

    def join(self, source: End, target: End, place: Place) -> None:
        """Add `source >> target`."""

    def follow(self, first: Operator, then: Operator, place: Place) -> None:
        """Add a control edge: `then` starts after `first`'s stage has ended."""


scope: ContextVar[Scope | None] = ContextVar("fustgo_scope", default=None)


def open_scope() -> Scope:
    """The DAG whose `with` block is open; RuntimeError outside one."""
    found = scope.get()
    if found is None:
        raise RuntimeError('nodes are joined inside a DAG: write `with DAG("name"): ...` around them')
    return found


def author_place() -> Place:
    """The innermost line outside this program's own packages: where the author wrote the call."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in (
        "orchestrator",
        "pydantic",
    ):
        frame = frame.f_back
    instructions = islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
    line, _, column, _ = next(instructions, (None, None, None, None))
    return Place(
        frame.f_code.co_filename, line or frame.f_lineno or 0, column + 1 if column is not None else 0
    )


@dataclass(frozen=True)
class End:
    """One end of an edge; `port` is None where the author named none."""

    node: Operator
    port: str | None = None


LATER = {
    "materialize": "materialised edges",
    "expand": "mapping over a list",
    "expand_kwargs": "mapping over a list",
    "partial": "mapping over a list",
}
"""Methods that authors know by name and that come in a later release."""


def refuse_later(name: str) -> None:
    """AttributeError that says so, where a method comes in a later release."""
    if name in LATER:
        raise AttributeError(f".{name}() does not work yet: {LATER[name]} will come in a later release")


class Joining:
    """What can stand on either side of `>>`."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            refuse_later(name)
            raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def __rshift__(self, other: J) -> J:
        join(self, other)
        # A bare function stands for the node that it makes here: `(a >> f).out["high"]` is that node's port.
        node: Any = other.declared() if isinstance(other, Declared) else other
        made: J = node
        return made

    def __rrshift__(self, other: Sequence[Any]) -> Any:
        join(other, self)
        return self

    def __lshift__(self, other: J) -> J:
        join(other, self)
        return other


@dataclass(frozen=True, eq=False)
class Port(Joining):
    """A named port of a node: `node.out["high"]`, `join.into["left"]`, `node.rejects`."""

    node: Operator
    name: str


@dataclass(frozen=True)
class Ports:
    """The ports of one side of a node, by name."""

    node: Operator

    def __getitem__(self, name: str) -> Port:
        return Port(self.node, name)


class Declared(Joining):
    """A decorated function: standing alone in `a >> f >> b` it means `f()`."""

    def declared(self) -> Operator:
        """The node that the bare name stands for, made once a scope."""
        raise NotImplementedError


class Several(Joining):
    """Nodes that are joined as one: rows leave from the last of them and arrive at the first."""

    def first(self) -> Iterable[Operator]:
        """The nodes that `x >> group` joins to."""
        raise NotImplementedError

    def last(self) -> Iterable[Operator]:
        """The nodes that `group >> x` joins from."""
        raise NotImplementedError


def ends(side: Any, *, sources: bool) -> Iterator[End]:
    """The ends that one side of `>>` names; TypeError where it is no node."""
    if isinstance(side, Port):
        yield End(side.node, side.name)
    elif isinstance(side, Declared):
        yield End(side.declared())
    elif isinstance(side, Several):
        yield from map(End, side.last() if sources else side.first())
    elif isinstance(side, (list, tuple)):
        for entry in side:
            yield from ends(entry, sources=sources)
    elif isinstance(side, Joining):
        node: Any = side
        yield End(node)
    else:
        raise TypeError(f"{type(side).__name__} {side!r} cannot be joined with >>: it is no node")


def join(left: Any, right: Any) -> None:
    """Join each end on the left with each on the right."""
    place, dag = author_place(), open_scope()
    targets = list(ends(right, sources=False))
    for source in ends(left, sources=True):
        for target in targets:
            dag.join(source, target, place)


def chain(*sides: Joinable) -> None:
    """`chain(a, b, c)` is `a >> b >> c`; lists fan out and in."""
    for left, right in pairwise(sides):
        join(left, right)


def follow_all(first: Operator, then: Iterable[Joinable]) -> None:
    """Control edges from one node to several."""
    place, dag = author_place(), open_scope()
    for side in then:
        for end in ends(side, sources=False):
            dag.follow(first, end.node, place)
