"""The composition root: from settings to a store, a registry and the services on them.

A service imports no more than it uses: a scheduler neither knows operators nor loads Arrow.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.clock import Clock, SystemClock
from orchestrator.settings import Settings, create_home, load

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.engine.signals import Signals
    from orchestrator.sdk.registry import Registry
    from orchestrator.store.database import Database
    from orchestrator.worker.heartbeat import Heartbeat
    from orchestrator.worker.inline import InlineWorker


@dataclass(frozen=True)
class App:
    """Everything a command needs, built from one set of settings."""

    settings: Settings
    clock: Clock
    registry: Registry
    database: Database
    client: Client

    def inline_worker(self, worker: int, signals: Signals) -> InlineWorker:
        """The executor of a command that runs its own stages; `worker` is its row."""
        from orchestrator.worker.inline import InlineWorker

        return InlineWorker(
            self.database,
            self.registry,
            self.clock,
            self.settings.artifacts.path,
            worker,
            signals,
            os.environ,
        )

    def heartbeat(self, worker: int) -> Heartbeat:
        """The sign of life of a command: on other hosts nothing else tells that it lives."""
        from orchestrator.worker.heartbeat import Heartbeat

        interval = self.settings.worker.heartbeat_interval.total_seconds()
        return Heartbeat(self.database, worker, interval=interval)

    def close(self) -> None:
        """Let go of the store."""
        self.database.close()


def build(settings: Settings, registry: Registry | None = None) -> App:
    """Open the store (creating home and database where they are absent) and put the rest on it."""
    from orchestrator.client import Client
    from orchestrator.sdk.registry import Registry
    from orchestrator.telemetry.logs import configure

    configure(settings.log.level)
    registry = registry or Registry()
    database = open_store(settings)
    client = Client(database, database.clock, settings.artifacts.path)
    return App(settings, database.clock, registry, database, client)


def build_from(config: Path | None) -> App:
    """The app of a command: settings from its `--config`, the environment and the defaults."""
    return build(load(config))


def open_store(settings: Settings) -> Database:
    """The store that the settings name, created where it is absent."""
    from orchestrator.store.database import open_database

    create_home(settings.home)
    lease = settings.worker.lease.total_seconds()
    return open_database(settings.database.url, clock=SystemClock(), lease=lease)


def place_of(settings: Settings) -> str:
    """How people know the store: a file, or a URL without its password."""
    url = settings.database.url.removeprefix("sqlite:///")
    return re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", url)


def serve(service: str, settings: Settings, ready: Callable[[str], None]) -> int:
    """Be a `scheduler` or a `worker` until SIGTERM or SIGINT; the exit code.

    `ready` is called once, when it serves, with what people should know of it. Raises FustgoError where it
    cannot begin.
    """
    from orchestrator import telemetry

    create_home(settings.home)
    with (
        contextlib.closing(telemetry.start(settings, service)),
        contextlib.closing(open_store(settings)) as database,
    ):
        if service == "scheduler":
            from orchestrator.scheduler.service import serve as serve_scheduler

            return serve_scheduler(database, settings, ready)
        from orchestrator.worker.service import serve as serve_worker

        return serve_worker(database, settings, ready)


def prepare_services() -> None:
    """Import what scheduler and worker share, so that processes forked from this one share it in memory.

    Nothing is opened: no thread, no connection and no file may be there when they are forked.
    """
    import orchestrator.scheduler.service  # noqa: F401
