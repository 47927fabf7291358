"""`fustgo pools`: named numbers of slots, which limit what runs at once."""

from __future__ import annotations

import argparse

from orchestrator.cli.arguments import add_json_argument, slots


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of pools."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="every pool, and what is used of it")
    add_json_argument(listed)
    listed.set_defaults(run=_list)
    changed = verbs.add_parser("set", help="create a pool, or change its size")
    changed.add_argument("name", metavar="NAME", help="the pool")
    changed.add_argument("slots", metavar="SLOTS", type=slots, help="how many; 0 holds its stages back")
    changed.add_argument("--description", metavar="TEXT", help="what it stands for")
    changed.set_defaults(run=_set)
    deleted = verbs.add_parser("delete", help="delete a pool that nothing asks for")
    deleted.add_argument("name", metavar="NAME", help="the pool")
    deleted.set_defaults(run=_delete)


def _list(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import print_json, table

    app = build_from(args.config)
    found = app.client.list_pools()
    app.close()
    rows = [
        {
            "name": use.pool.name,
            "slots": use.pool.slots,
            "running": use.running,
            "queued": use.queued,
            "description": use.pool.description,
        }
        for use in found
    ]
    if args.json:
        print_json(rows)
        return 0
    print(table(["pool", "slots", "running", "queued", "description"], [list(row.values()) for row in rows]))
    return 0


def _set(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from

    app = build_from(args.config)
    app.client.set_pool(args.name, args.slots, args.description)
    app.close()
    print(f"pool {args.name}: {args.slots} slot{'s' * (args.slots != 1)}")
    return 0


def _delete(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from

    app = build_from(args.config)
    app.client.delete_pool(args.name)
    app.close()
    print(f"pool {args.name} is deleted")
    return 0
