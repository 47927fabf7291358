"""`fustgo standalone`, `scheduler` and `worker`: the processes that run what is loaded."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.settings import BundleSettings, Settings


def register(parser: argparse.ArgumentParser) -> None:
    """Make the parser of one of these commands run it."""
    command = {"standalone": standalone, "scheduler": _scheduler, "worker": _worker}
    parser.set_defaults(run=command[parser.prog.rpartition(" ")[2]])


def standalone(args: argparse.Namespace) -> int:
    """A scheduler and a worker on one store, as child processes, until Ctrl-C or SIGTERM."""
    from orchestrator import app
    from orchestrator.cli.supervisor import Supervisor

    settings = _at_work_at_once(_settings(args.config))
    app.prepare_services()

    def all_ready() -> None:
        print(f"fustgo is ready; its store is {app.place_of(settings)}; Ctrl-C ends it", flush=True)

    services = {
        name: (lambda ready, name=name: app.serve(name, settings, ready)) for name in ("scheduler", "worker")
    }
    return Supervisor(services, all_ready).run()


def _scheduler(args: argparse.Namespace) -> int:
    return _serve("scheduler", args.config)


def _worker(args: argparse.Namespace) -> int:
    return _serve("worker", args.config)


def _serve(service: str, config: Path | None) -> int:
    from orchestrator import app

    settings = _settings(config)

    def ready(line: str) -> None:
        print(f"{service}: {line}; its store is {app.place_of(settings)}", flush=True)

    gc.freeze()
    gc.enable()
    return app.serve(service, settings, ready)


def _at_work_at_once(settings: Settings) -> Settings:
    """These settings, where new DAGs of folders do not start paused unless told: who starts everything in a
    project's folder wants its DAGs to run. Those of a repository others may have committed.
    """

    def at_work(bundle: BundleSettings) -> BundleSettings:
        if bundle.git is not None or bundle.pause_new_dags is not None:
            return bundle
        return bundle.model_copy(update={"pause_new_dags": False})

    bundles = {name: at_work(bundle) for name, bundle in settings.bundles.items()}
    return settings.model_copy(update={"bundle": at_work(settings.bundle), "bundles": bundles})


def _settings(config: Path | None) -> Settings:
    from orchestrator.settings import load

    return load(config)
