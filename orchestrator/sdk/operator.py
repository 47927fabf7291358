"""The operator: the declaration of one node, a frozen model whose fields are its configuration.

    @operator("sessions")
    class Sessions(Processor):
        '''Number the visits of each user.'''
        gap: Duration = Field(default=timedelta(minutes=30), description="Silence that ends a visit.")

Nothing is opened when an operator is built. What it does at run time is built by its `open`.
Fields that every node has (`retries`, `pool`, ...) stand here; an operator may not declare one anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.sdk import ports
from orchestrator.sdk.fields import ByteSize, Duration
from orchestrator.sdk.properties import Kind
from orchestrator.units import MOST

if TYPE_CHECKING:
    import pyarrow as pa

Schema: TypeAlias = "pa.Schema"
Schemas = Mapping[str, "pa.Schema | None"]
"""Arrow schemas by port; None where a schema is not known before the run."""


class SchemaProblem(ValueError):
    """A configuration that does not fit the schema it meets; `field` is the path of the field."""

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.hint, self.field = hint, field

    @property
    def all(self) -> tuple[SchemaProblem, ...]:
        """Itself; several where it is a group."""
        return (self,)


class SchemaProblems(SchemaProblem):
    """All that does not fit, at once."""

    def __init__(self, problems: Sequence[SchemaProblem]) -> None:
        first = problems[0]
        super().__init__("; ".join(map(str, problems)), hint=first.hint, field=first.field)
        self._all = tuple(problems)

    @property
    def all(self) -> tuple[SchemaProblem, ...]:
        return self._all


def refuse_misfits(problems: Sequence[SchemaProblem]) -> None:
    """Raise the problem, or the group of them; nothing where there is none."""
    if problems:
        raise problems[0] if len(problems) == 1 else SchemaProblems(problems)


class ErrorLimit(BaseModel):
    """How many rejects nobody routed a node may make before the run fails; 0 by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: int | None = Field(default=None, ge=0, le=MOST, description="Rejected rows allowed.")
    ratio: float | None = Field(
        default=None, ge=0, le=1, description="Rejected rows allowed, as a share of the rows read."
    )


class RateLimit(BaseModel):
    """How fast a node may give or take rows; unlimited by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    records_per_second: float | None = Field(default=None, gt=0, description="Rows a second.")
    bytes_per_second: ByteSize | None = Field(default=None, gt=0, description="Bytes a second.")


class Operator(BaseModel, ports.Joining):
    """Base of inputs, processors, outputs and actions; see the subclasses for the verbs of each."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, ignored_types=(ports.Ports,)
    )

    kind: ClassVar[Kind]
    type: ClassVar[str] = ""
    version: ClassVar[str] = ""
    bounded: ClassVar[bool] = True
    stateful: ClassVar[bool] = False
    row_local: ClassVar[bool] = False
    keeps_columns: ClassVar[bool] = False
    replayable: ClassVar[bool] = True
    state_version: ClassVar[int] = 0
    wants_results: ClassVar[bool] = True

    id: str = Field(default="", kw_only=False, exclude=True, description="The node's name in its DAG.")
    retries: int | None = Field(
        default=None, ge=0, le=MOST, exclude=True, description="Tries after the first."
    )
    retry_delay: Duration | None = Field(default=None, exclude=True, description="Wait before another try.")
    retry_exponential_backoff: bool | None = Field(
        default=None, exclude=True, description="Double the wait at each try."
    )
    max_retry_delay: Duration | None = Field(default=None, exclude=True, description="The longest wait.")
    execution_timeout: Duration | None = Field(
        default=None, exclude=True, description="Longest running time of one try."
    )
    priority_weight: int | None = Field(
        default=None, ge=-MOST, le=MOST, exclude=True, description="Priority among queued stages."
    )
    weight_rule: Literal["downstream", "upstream", "absolute"] | None = Field(
        default=None, exclude=True, description="Whose priorities a stage adds to its own."
    )
    pool: str | None = Field(default=None, exclude=True, description="The pool whose slots a try takes.")
    pool_slots: int | None = Field(
        default=None, ge=1, le=MOST, exclude=True, description="Slots that a try takes."
    )
    queue: str | None = Field(default=None, exclude=True, description="The label a worker must offer.")
    trigger_rule: str | None = Field(
        default=None, exclude=True, description="When the stage runs, given its upstreams."
    )
    depends_on_past: bool | None = Field(
        default=None, exclude=True, description="Wait for the previous run of this stage."
    )
    error_limit: ErrorLimit | None = Field(
        default=None, exclude=True, description="Rejects allowed before the run fails."
    )
    rate_limit: RateLimit | None = Field(
        default=None, exclude=True, description="How fast the node may give or take rows."
    )
    readers: int | None = Field(
        default=None, ge=1, le=MOST, exclude=True, description="Parallel readers of an input."
    )
    splits: int | None = Field(
        default=None, ge=1, le=MOST, exclude=True, description="Mapped stage runs of an input."
    )
    drop: Sequence[str] = Field(
        default=(), exclude=True, description="Output ports whose rows are counted and dropped."
    )
    doc_md: str | None = Field(default=None, exclude=True, description="What the node is for, in Markdown.")

    if not TYPE_CHECKING:

        def __init__(self, /, *names: str, **fields: Any) -> None:
            if len(names) > 1:
                raise TypeError(f"{type(self).__name__} takes one positional argument, the node's id")
            fields.update(dict(zip(("id",), names, strict=False)))
            scope = ports.scope.get()
            if scope is None:
                super().__init__(**fields)
                return
            try:
                super().__init__(**fields)
            except ValidationError:
                # The DAG's validator finds every problem of a file at once; it sees `fields` as written.
                unchecked = type(self).model_construct(**fields)
                object.__setattr__(self, "__dict__", unchecked.__dict__)
                object.__setattr__(self, "__pydantic_fields_set__", unchecked.__pydantic_fields_set__)
                object.__setattr__(self, "__pydantic_extra__", None)
                object.__setattr__(self, "__pydantic_private__", None)
            scope.declare(self, fields, ports.author_place())

        def __getattr__(self, name: str) -> Any:
            ports.refuse_later(name)
            return super().__getattr__(name)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def out(self) -> ports.Ports:
        """The output ports: `node.out["high"]`."""
        return ports.Ports(self)

    @property
    def into(self) -> ports.Ports:
        """The input ports: `join.into["left"]`."""
        return ports.Ports(self)

    def __getitem__(self, port: str) -> ports.Port:
        """`node["high"]` is short for `node.out["high"]`."""
        return self.out[port]

    @property
    def rejects(self) -> ports.Port:
        """The rows that this node refuses."""
        return ports.Port(self, "rejects")

    def before(self, *others: ports.Joinable) -> None:
        """Start the others only after this node's stage has ended: always control edges."""
        ports.follow_all(self, others)

    def input_ports(self) -> tuple[str, ...]:
        """The names of the ports that take batches."""
        return () if self.kind in (Kind.INPUT, Kind.ACTION) else ("in",)

    def output_ports(self) -> tuple[str, ...]:
        """The names of the ports that give batches, `rejects` aside, which every data node has."""
        return () if self.kind in (Kind.OUTPUT, Kind.ACTION) else ("out",)

    def output_schemas(self, inputs: Schemas) -> Schemas:
        """The schema of each output port, from those of the input ports.

        Raises `SchemaProblem` where the configuration does not fit what arrives. Called while a DAG is
        checked, so it must open nothing.
        """
        return dict.fromkeys(self.output_ports())

    def connection_names(self) -> tuple[str, ...]:
        """The connections that the node needs: the values of fields made with `connection_field`."""
        fields = type(self).model_fields.items()
        named = [
            name
            for name, info in fields
            if isinstance(info.json_schema_extra, dict) and "connection" in info.json_schema_extra
        ]
        return tuple(value for name in named if isinstance(value := getattr(self, name), str))

    def config(self) -> dict[str, Any]:
        """The configuration as JSON, without what equals its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


NODE_ARGUMENTS = frozenset(Operator.model_fields)
"""Fields that belong to the node or its stage; no operator may declare one of these names."""

OperatorClass = TypeVar("OperatorClass", bound=type[Operator])


def operator(type_name: str) -> Callable[[OperatorClass], OperatorClass]:
    """Name the type of an operator class; it must equal the name of its entry point."""

    def name(cls: OperatorClass) -> OperatorClass:
        taken = [field for field in cls.__annotations__ if field in NODE_ARGUMENTS]
        if taken:
            raise TypeError(
                f"{cls.__name__} declares {', '.join(taken)}, which every node has: choose other names"
            )
        cls.type = type_name
        return cls

    return name
