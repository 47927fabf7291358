"""What can be set: every setting with its default, its meaning and what is wrong for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from orchestrator.settings.bundles import BundleName, BundleSettings
from orchestrator.settings.section import Section
from orchestrator.settings.values import (
    AbsolutePath,
    Cores,
    Size,
    SizeOrNone,
    TextOrNone,
    Words,
    as_written,
    lasting,
    upper,
)
from orchestrator.units import Duration

DEFAULT_BUNDLE = "default"
"""The name of the bundle that is given no name."""

_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


_LEASE = ", or a slow disk would cost a healthy process its life"


def _database_url(url: str) -> str:
    if not re.match(r"sqlite:////[^/]|postgresql://.", url):
        raise ValueError(
            "write sqlite:////absolute/path.db, sqlite:///{home}/name.db, or "
            "postgresql://user:password@host/database"
        )
    return url


class DatabaseSettings(Section):
    """The metadata database: runs, checkpoints, events."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(
        default="sqlite:///{home}/fustgo.db",
        description="The metadata database: sqlite:////PATH, where {home} is the home, or "
        "postgresql://USER:PASSWORD@HOST/DATABASE.",
    )


class ArtifactSettings(Section):
    """The files of runs: snapshots, spools, rejects."""

    path: AbsolutePath = Field(
        default=Path("{home}/artifacts"),
        description="Folder of the artifact store, on a disk of its own where files are large.",
    )


class LogSettings(Section):
    """What is logged, and where services keep their lines."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper)] = Field(
        default="INFO", description="The least severe lines that are kept."
    )
    folder: AbsolutePath = Field(
        default=Path("{home}/logs"), description="Folder of the services' log files, one JSON object a line."
    )
    max_bytes: Size = Field(
        default=10 << 20, ge=4096, description="Size at which a log file is put away and a new one begun."
    )
    backups: int = Field(default=5, ge=0, le=1000, description="Files put away that each service keeps.")


class TelemetrySettings(Section):
    """Where metrics, traces and log lines are sent."""

    otlp_endpoint: TextOrNone = Field(
        default=None,
        description="Address of an OpenTelemetry collector (OTLP over HTTP), such as http://localhost:4318; "
        "none sends nothing.",
    )
    interval: Annotated[Duration, lasting("1s")] = Field(
        default=timedelta(seconds=15), description="Time between two reports of the metrics."
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _http(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", endpoint):
            raise ValueError("write none, or http://host:4318 without the /v1/... of a signal")
        if endpoint is not None and re.search(r"/v1/(metrics|traces|logs)/?$", endpoint):
            raise ValueError("leave the /v1/... away: each signal adds its own")
        return endpoint


class WorkerSettings(Section):
    """What a worker takes on, and how it shows that it lives."""

    slots: Cores = Field(
        default="cores",
        validate_default=True,
        description="Attempts that a worker runs at once; cores is one for each core.",
    )
    labels: Words = Field(
        default=(), description="What this worker offers to stages that ask for it (queue='gpu')."
    )
    heartbeat_interval: Annotated[Duration, lasting("100ms")] = Field(
        default=timedelta(seconds=10), description="Time between two signs of life."
    )
    lease: Annotated[Duration, lasting("5s", _LEASE)] = Field(
        default=timedelta(seconds=30),
        description="Silence after which a process is taken for dead: one that is stopped while it writes "
        "to the store is ended after it. More than two beats, at least 5s.",
    )
    grace: Annotated[Duration, lasting("0s")] = Field(
        default=timedelta(seconds=10),
        description="Time that a cancelled attempt has to end by itself before it is killed.",
    )
    memory_limit: SizeOrNone = Field(
        default=None, description="Memory above which an attempt is killed, its runner's; none is no limit."
    )
    recycle_above: Size = Field(
        default=256 << 20,
        ge=1 << 20,
        description="Memory above which a runner is replaced once its attempt has ended.",
    )

    @field_validator("labels")
    @classmethod
    def _are_names(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is no label: letters, digits, '_', '-' and '.'")
        return labels

    @field_validator("memory_limit")
    @classmethod
    def _room_for_a_runner(cls, limit: int | None) -> int | None:
        if limit is not None and limit < 64 << 20:
            raise ValueError("must be at least 64MiB: an idle runner needs that much")
        return limit

    @model_validator(mode="after")
    def _one_beat_may_be_missed(self) -> WorkerSettings:
        if self.lease <= 2 * self.heartbeat_interval:
            raise ValueError(
                "worker.lease must be more than twice worker.heartbeat_interval, or one late beat would "
                "cost a healthy worker its attempts"
            )
        return self


class FileSettings(Section):
    """What a settings file may hold."""

    database: DatabaseSettings = DatabaseSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    bundle: BundleSettings = BundleSettings()
    bundles: Mapping[BundleName, BundleSettings] = Field(
        default={},
        description="Several bundles by name, in place of `bundle`.",
        json_schema_extra={"additionalProperties": False},
    )
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    worker: WorkerSettings = WorkerSettings()


class Settings(FileSettings):
    """All settings as they hold in this process.

    `home` holds what is not given a place of its own; `sources` says of each setting where its value is from.
    """

    home: Path
    sources: Mapping[str, str]

    def all_bundles(self) -> dict[str, BundleSettings]:
        """Every bundle by name: those of `bundles`, or else `bundle`, whose name is `default`."""
        return dict(self.bundles) or {DEFAULT_BUNDLE: self.bundle}

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Name, value and source of each setting that holds, as a person writes them, but for passwords."""
        yield "home", str(self.home), self.sources["home"]
        for section, settings in self._sections():
            for name, value in settings.model_dump(mode="json").items():
                key = f"{section}.{name}"
                yield key, as_written(value), self.sources[key]

    def _sections(self) -> Iterator[tuple[str, Section]]:
        for name in FileSettings.model_fields:
            if name == "bundles":
                yield from ((f"bundles.{bundle}", one) for bundle, one in self.bundles.items())
            elif name != "bundle" or not self.bundles:
                yield name, getattr(self, name)
