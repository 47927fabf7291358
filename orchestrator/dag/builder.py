"""Authoring in Python: `with DAG("adults", schedule="@daily"): a >> b`.

A DAG collects what its block declares and is told of nothing else. One that is closed while its file is
imported counts as defined by that file; nothing is validated before, so that all problems are found at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import date, datetime, timedelta, tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestrator.dag.draft import UNNAMED, Draft, DraftNode
from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Edge
from orchestrator.dag.source import argument_places
from orchestrator.errors import UsageError
from orchestrator.sdk import ports
from orchestrator.sdk.operator import NODE_ARGUMENTS, Operator
from orchestrator.sdk.ports import End, Place
from orchestrator.sdk.properties import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.dag.timetable import ScheduleLike
    from orchestrator.dag.trial import RunResult

PRODUCERS = (Kind.INPUT, Kind.PROCESSOR)
CONSUMERS = (Kind.PROCESSOR, Kind.OUTPUT)

_collected: ContextVar[list[Draft] | None] = ContextVar("fustgo_collected", default=None)
_group: ContextVar[TaskGroup | None] = ContextVar("fustgo_group", default=None)


@contextmanager
def collecting() -> Iterator[list[Draft]]:
    """The list that DAGs closed inside the block are added to."""
    drafts: list[Draft] = []
    token = _collected.set(drafts)
    try:
        yield drafts
    finally:
        _collected.reset(token)


class DAG:
    """A pipeline under construction: `with DAG(...)` collects the nodes and edges of its block.

    The names are Airflow's where it has one. `settings` holds `mode`, `batch_size`, `chain`, `buffer`,
    `checkpoint` and `samples`; stage arguments such as `retries` are shorthand for `default_args`.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            dag_id: str,
            *,
            description: str = "",
            schedule: ScheduleLike = None,
            start_date: datetime | date | str | None = None,
            end_date: datetime | date | str | None = None,
            timezone: str | tzinfo = "UTC",
            catchup: bool = False,
            max_active_runs: int = 16,
            max_active_tasks: int = 16,
            dagrun_timeout: timedelta | None = None,
            default_args: Mapping[str, Any] | None = None,
            params: Mapping[str, Any] | None = None,
            template_env: Sequence[str] = (),
            tags: Sequence[str] = (),
            owner: str = "",
            doc_md: str | None = None,
            settings: Mapping[str, Any] | None = None,
            retries: int | None = None,
            retry_delay: timedelta | None = None,
            retry_exponential_backoff: bool | None = None,
            max_retry_delay: timedelta | None = None,
            execution_timeout: timedelta | None = None,
            priority_weight: int | None = None,
            weight_rule: str | None = None,
            pool: str | None = None,
            pool_slots: int | None = None,
            queue: str | None = None,
            trigger_rule: str | None = None,
        ) -> None: ...

    else:

        def __init__(self, dag_id: str, **fields: Any) -> None:
            self._start(dag_id, fields, ports.author_place())

    def _start(self, dag_id: str, fields: dict[str, Any], place: Place) -> None:
        self.dag_id = dag_id
        marks = Marks(place.file)
        marks.places[()] = place
        marks.places.update(argument_places(place))
        given = {name: value for name, value in fields.items() if value is not None}
        self._draft = Draft({"id": dag_id, **given}, [], [], marks)
        self._ids: dict[int, str] = {}
        self._alive: list[Operator] = []
        self._token: Token[ports.Scope | None] | None = None
        self._closed = False

    def __enter__(self) -> DAG:
        if ports.scope.get() is not None:
            raise UsageError("a DAG cannot be opened inside another", hint="close the first one before")
        if self._closed:
            raise UsageError(
                f"DAG {self.dag_id!r} is closed already", hint="write all its nodes in one block"
            )
        self._token = ports.scope.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        ports.scope.reset(self._token)
        self._closed = True
        collected = _collected.get()
        if kind is None and collected is not None:
            collected.append(self._draft)

    def test(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        logical_date: datetime | str | None = None,
        connections: Mapping[str, str | Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        project: Path | str | None = None,
        raises: bool = True,
    ) -> RunResult:
        """Run the DAG here and now, in this thread, and keep nothing: for debuggers and tests.

        The store is in memory, the code is that of every run. Inputs are read and outputs written as ever;
        relative paths resolve against `project` (default: the present folder). Retries are made at once; runs
        of other DAGs are not triggered, but listed.
        `connections` and `variables` come before those of the environment; a connection is a URL or a
        mapping with a `type`.

        A run that fails raises what your code raised, with its traceback, or else the error that
        `fustgo run` would print; with `raises=False` it is in the result's `errors`. Raises Problems where
        the DAG is wrong, UsageError for a bad argument.
        """
        if not self._closed or _collected.get() is not None:
            raise UsageError(
                f"DAG {self.dag_id!r} cannot be tested while it is being "
                + ("declared" if not self._closed else "loaded"),
                hint='test it after its block, in a test or below `if __name__ == "__main__":`',
            )
        from orchestrator.dag.trial import run_test

        return run_test(
            self,
            params=params,
            logical_date=logical_date,
            connections=connections,
            variables=variables,
            project=project,
            raises=raises,
        )

    @property
    def draft(self) -> Draft:
        """What was declared so far."""
        return self._draft

    def declare(self, node: Operator, fields: Mapping[str, Any], place: Place) -> None:
        """Add a node; see `ports.Scope`."""
        group, path = _group.get(), ("nodes", len(self._draft.nodes))
        full = fields.get("id", "")
        if group is not None:
            full = f"{group.prefix}{full}" if full else ""
            group.add(node)
        self._ids[id(node)] = full or f"{UNNAMED}{len(self._draft.nodes)}"
        self._alive.append(node)
        self._draft.nodes.append(_draft_node(full, node, fields))
        places = self._draft.marks.places
        places[path] = place
        for argument, found in argument_places(place).items():
            inner = argument if argument[0] in NODE_ARGUMENTS else ("config", *argument)
            places[(*path, *inner)] = found

    def join(self, source: End, target: End, place: Place) -> None:
        """Add `source >> target`: a stream edge from a producer to a consumer, else "after"."""
        named = source.port is not None or target.port is not None
        if named or (source.node.kind in PRODUCERS and target.node.kind in CONSUMERS):
            edge = Edge.stream(
                self._id(source.node),
                self._id(target.node),
                source_port=source.port or "out",
                target_port=target.port or "in",
            )
        else:
            edge = Edge.control(self._id(source.node), self._id(target.node))
        self._add(edge, place)

    def follow(self, first: Operator, then: Operator, place: Place) -> None:
        """Add a control edge."""
        self._add(Edge.control(self._id(first), self._id(then)), place)

    def _add(self, edge: Edge, place: Place) -> None:
        self._draft.edges.append(edge)
        self._draft.marks.edges.setdefault(edge, place)

    def _id(self, node: Operator) -> str:
        found = self._ids.get(id(node))
        if found is None:
            raise UsageError(
                f"node {node.id!r} was made outside DAG {self.dag_id!r}",
                hint=f'make it inside the block of `with DAG("{self.dag_id}")`',
            )
        return found

    def edges_between(self, nodes: Sequence[Operator]) -> list[tuple[str, str]]:
        """Source and target of each edge so far that joins two of the nodes."""
        ids = {self._id(node) for node in nodes}
        return [
            (edge.source, edge.target)
            for edge in self._draft.edges
            if edge.source in ids and edge.target in ids
        ]

    def full_id(self, node: Operator) -> str:
        """The node's id with the names of its groups."""
        return self._id(node)


def _draft_node(full_id: str, node: Operator, fields: Mapping[str, Any]) -> DraftNode:
    return DraftNode(
        id=full_id,
        type=node.type,
        kind=str(node.kind),
        config={name: value for name, value in fields.items() if name not in NODE_ARGUMENTS},
        arguments={
            name: value
            for name, value in fields.items()
            if name in NODE_ARGUMENTS and name not in ("id", "drop") and value is not None
        },
        drop=fields.get("drop", ()),
        cls=type(node),
    )


class TaskGroup(ports.Several):
    """Nodes under a common name: `with TaskGroup("load"):` makes `people` the node `load/people`.

    Joined as one: `group >> x` leaves from the nodes that nothing in the group follows, `x >> group`
    arrives at those that follow nothing in it, as the group stands at that moment.
    """

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self._members: list[Operator] = []
        self._parent: TaskGroup | None = None
        self._dag: DAG | None = None

    def __enter__(self) -> TaskGroup:
        dag = ports.open_scope()
        assert isinstance(dag, DAG)
        self._parent, self._dag = _group.get(), dag
        self._token = _group.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _group.reset(self._token)

    @property
    def prefix(self) -> str:
        """What stands before the ids of the group's nodes."""
        return f"{self._parent.prefix if self._parent else ''}{self.group_id}/"

    def add(self, node: Operator) -> None:
        """Count a node as the group's, and so as its parents'."""
        self._members.append(node)
        if self._parent is not None:
            self._parent.add(node)

    def first(self) -> list[Operator]:
        """The members that follow no member."""
        return self._without({target for _, target in self._edges()})

    def last(self) -> list[Operator]:
        """The members that no member follows."""
        return self._without({source for source, _ in self._edges()})

    def _edges(self) -> list[tuple[str, str]]:
        if self._dag is None or not self._members:
            raise UsageError(
                f"group {self.group_id!r} has no nodes to join", hint="join it after its `with` block"
            )
        return self._dag.edges_between(self._members)

    def _without(self, ids: set[str]) -> list[Operator]:
        assert self._dag is not None
        return [node for node in self._members if self._dag.full_id(node) not in ids]
