"""`fustgo workers`: the processes that execute runs."""

from __future__ import annotations

import argparse

from orchestrator.cli.arguments import add_json_argument, whole_number


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of workers."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="the workers, with their slots, labels and state")
    listed.add_argument("--all", action="store_true", help="also those that have ended")
    add_json_argument(listed)
    listed.set_defaults(run=_list)
    drained = verbs.add_parser(
        "drain", help="let what a worker runs keep a savepoint or end, and the worker go"
    )
    drained.add_argument("worker", metavar="WORKER", type=whole_number, help="its number in `workers list`")
    drained.set_defaults(run=_drain)


def _list(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import moment, print_json, table

    app = build_from(args.config)
    found = app.client.list_workers(ended=args.all, lease=app.settings.worker.lease.total_seconds())
    app.close()
    if args.json:
        print_json(
            [
                view.worker.model_dump(mode="json") | {"state": view.state, "running": view.running}
                for view in found
            ]
        )
        return 0
    rows = [
        [
            view.worker.id,
            view.worker.kind,
            view.state,
            f"{view.worker.host}:{view.worker.pid}",
            f"{view.running}/{view.worker.slots}",
            ", ".join(view.worker.labels) or "-",
            moment(view.worker.beat_at),
        ]
        for view in found
    ]
    head = ["worker", "kind", "state", "process", "busy", "labels", "seen (UTC)"]
    print(table(head, rows) if rows else "no workers: `fustgo standalone` starts one")
    return 0


def _drain(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from

    app = build_from(args.config)
    app.client.drain(args.worker)
    app.close()
    print(f"worker {args.worker} takes nothing more; it goes when what it runs has a savepoint or has ended")
    return 0
