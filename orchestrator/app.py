"""The composition root: from settings to a store, a registry and the services on them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.client import Client
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.signals import Signals
from orchestrator.sdk.registry import Registry
from orchestrator.settings import Settings, create_home, load
from orchestrator.store.database import Database, open_database
from orchestrator.telemetry.logs import configure
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
        return InlineWorker(
            self.database,
            self.registry,
            self.clock,
            self.settings.artifacts.path,
            worker,
            signals,
            os.environ,
        )

    def close(self) -> None:
        """Let go of the store."""
        self.database.close()


def build(settings: Settings, registry: Registry | None = None) -> App:
    """Open the store (creating home and database where they are absent) and put the rest on it."""
    configure(settings.log.level)
    clock = SystemClock()
    create_home(settings.home)
    registry = registry or Registry()
    database = open_database(settings.database.url, clock=clock, lease=settings.worker.lease.total_seconds())
    project = str(settings.bundle.project)
    client = Client(database, registry, clock, settings.artifacts.path, project=project)
    return App(settings, clock, registry, database, client)


def build_from(config: Path | None) -> App:
    """The app of a command: settings from its `--config`, the environment and the defaults."""
    return build(load(config))
