"""What is said of a whole DAG: its schedule, dates, limits, params and engine settings.

One frozen model, filled from Python's arguments and from YAML alike. Times are kept in the DAG's zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import WithJsonSchema

from orchestrator.dag.arguments import canonical_arguments
from orchestrator.dag.params import declare_params
from orchestrator.units import LONGEST, MOST, ByteSize, Duration

ID_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]*"
_ID = re.compile(ID_PATTERN)

Moment = Annotated[
    datetime,
    WithJsonSchema(
        {"type": "string", "description": "A date or time: 2026-01-01, 2026-01-01T06:00:00+02:00."}
    ),
]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BufferSettings(_Group):
    """How much may wait on an edge."""

    rows: int = Field(default=262_144, ge=1, le=MOST, description="Rows that may wait on an edge.")
    bytes: ByteSize = Field(default=64_000_000, ge=1, description="Bytes that may wait on an edge.")
    high_water: float = Field(
        default=0.8, gt=0, le=1, description="Share of the above at which the producer waits."
    )


class CheckpointSettings(_Group):
    """How often the state of a stage is made durable."""

    every_seconds: float = Field(
        default=10, gt=0, le=LONGEST.total_seconds(), description="Seconds between two checkpoints."
    )
    every_batches: int | None = Field(
        default=None, ge=1, le=MOST, description="Batches between two checkpoints."
    )

    @field_validator("every_seconds", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return value.total_seconds() if isinstance(value, timedelta) else value


class SampleSettings(_Group):
    """Sample rows to keep of each edge."""

    rows: int = Field(default=20, ge=1, le=1000, description="Rows to keep of each edge.")
    mask: tuple[str, ...] = Field(default=(), description="Columns whose values are not shown.")


class EngineSettings(_Group):
    """How the engine moves the rows of this DAG."""

    mode: Literal["sync", "async"] = Field(
        default="async", description="sync runs a stage in one thread; the result is the same."
    )
    batch_size: int = Field(default=65_536, ge=1, le=10_000_000, description="The most rows of a batch.")
    chain: StrictBool = Field(default=True, description="Whether row-wise processors are run as one.")
    buffer: BufferSettings = Field(default=BufferSettings(), description="How much may wait on an edge.")
    checkpoint: CheckpointSettings = Field(
        default=CheckpointSettings(), description="How often the state is made durable."
    )
    samples: SampleSettings | None = Field(default=None, description="Sample rows to keep; none by default.")


def check_id(text: str) -> str:
    """The text, where it may name a DAG or node; ValueError otherwise."""
    if "." in text:
        raise ValueError("a dot is reserved for the ids that the compiler makes: write - or _ in its place")
    if not _ID.fullmatch(text):
        raise ValueError("an id starts with a letter or _ and goes on with letters, digits, _ and -")
    return text


class Header(_Group):
    """A DAG without its nodes."""

    id: str = Field(max_length=200, description="The DAG's name, unique among its neighbours.")
    description: str = Field(default="", description="One line that says what the DAG is for.")
    timezone: str = Field(default="UTC", description="The zone of dates and of the schedule: Europe/Berlin.")
    schedule: str | list[str] | dict[str, Any] | None = Field(
        default=None, description="When it runs: cron text, @daily and kin, an interval such as 1h."
    )
    start_date: Moment | None = Field(default=None, description="The first time at which it may be due.")
    end_date: Moment | None = Field(default=None, description="The last time at which it may be due.")
    catchup: StrictBool = Field(
        default=False, description="Whether times missed since start_date are made up for."
    )
    max_active_runs: int = Field(default=16, ge=1, le=MOST, description="Runs at a time.")
    max_active_tasks: int = Field(
        default=16, ge=1, le=MOST, description="Attempts at a time, over all its runs."
    )
    dagrun_timeout: Duration | None = Field(default=None, description="Longest time of a run.")
    default_args: dict[str, Any] = Field(
        default={}, description="Arguments of nodes that do not set them: retries, pool and kin."
    )
    params: dict[str, dict[str, Any]] = Field(
        default={}, description="What a run may be given: a default, or a JSON Schema with one."
    )
    template_env: tuple[str, ...] = Field(
        default=(), description="Environment variables that templates may read as env.NAME."
    )
    tags: tuple[str, ...] = Field(default=(), description="Words to find it by.")
    owner: str = Field(default="", description="Whom to ask about it.")
    doc_md: str = Field(default="", description="What it does, in Markdown.")
    settings: EngineSettings = Field(default=EngineSettings(), description="How the engine moves its rows.")

    @field_validator("id")
    @classmethod
    def _valid_id(cls, text: str) -> str:
        return check_id(text)

    @field_validator("timezone", mode="before")
    @classmethod
    def _known_zone(cls, zone: object) -> object:
        if zone == "UTC":
            return zone
        from orchestrator.dag.timetable import zone_of

        return zone_of(zone).key if isinstance(zone, (str, tzinfo)) else zone

    @field_validator("schedule", mode="before")
    @classmethod
    def _canonical_schedule(cls, value: object) -> object:
        if value is None:
            return None
        from orchestrator.dag.timetable import read_schedule

        return read_schedule(value).document()

    @field_validator("start_date", "end_date", mode="before")
    @classmethod
    def _in_the_zone(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        from orchestrator.dag.timetable import read_moment

        zone = ZoneInfo(info.data.get("timezone", "UTC"))
        return read_moment(value, zone, str(info.field_name)).astimezone(zone)

    @field_validator("tags", "template_env", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("params", mode="before")
    @classmethod
    def _declared(cls, value: object) -> object:
        return declare_params(value) if isinstance(value, Mapping) else value

    @field_validator("default_args", mode="before")
    @classmethod
    def _canonical(cls, value: object) -> object:
        return canonical_arguments(value) if isinstance(value, Mapping) else value

    def to_document(self) -> dict[str, Any]:
        """The header as JSON, without what equals a default."""
        return {
            key: value
            for key, value in self.model_dump(mode="json", exclude_defaults=True).items()
            if key in Header.model_fields
        }
