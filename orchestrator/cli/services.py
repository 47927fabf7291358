"""`fustgo scheduler`: the process that loads DAGs, and looks after what is due or dead."""

from __future__ import annotations

import argparse
import gc


def register(parser: argparse.ArgumentParser) -> None:
    """Make the command's parser run it."""
    parser.set_defaults(run=_scheduler)


def _scheduler(args: argparse.Namespace) -> int:
    from orchestrator import app
    from orchestrator.settings import load

    settings = load(args.config)

    def ready(line: str) -> None:
        print(f"scheduler: {line}", flush=True)

    gc.freeze()
    gc.enable()
    return app.serve_scheduler(settings, ready)
