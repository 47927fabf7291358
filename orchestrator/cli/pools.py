"""`fustgo pools`: named numbers of slots, which limit what runs at once."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.arguments import add_json_argument, slots

if TYPE_CHECKING:
    from orchestrator.dag.stages import StageGraph
    from orchestrator.store.database import Database


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
    found, unset = app.client.list_pools(), app.client.unset_pools()
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
        nobody = {"slots": None, "running": None, "queued": None, "description": ""}
        print_json([*rows, *({"name": name, **nobody} for name in unset)])
        return 0
    print(table(["pool", "slots", "running", "queued", "description"], [list(row.values()) for row in rows]))
    for name, users in unset.items():
        print(f"{_unset(name)} (asked for by {', '.join(users[:3])})")
    return 0


def _unset(name: str) -> str:
    return f"{name}: no limit, nobody has set it: fustgo pools set {name} N"


def unset_notes(stages: StageGraph, database: Database) -> list[str]:
    """A line for each pool that these stages ask for and nobody has set."""
    from orchestrator.store import pools

    with database.read() as connection:
        return _notes(stages, pools.slots(connection))


def _notes(stages: StageGraph, known: Collection[str]) -> list[str]:
    return [f"pool {_unset(name)}" for name in sorted({stage.pool for stage in stages} - {*known})]


def notes_at_hand(config: Path | None, stages: StageGraph) -> list[str]:
    """The same with the store at hand, which is not even looked for where no stage names a pool.

    Where there is none yet nobody has set any; of one that cannot be read nothing is said.
    """
    if all(stage.pool == "default" for stage in stages):
        return []
    from orchestrator.clock import SystemClock
    from orchestrator.errors import FustgoError
    from orchestrator.settings import load
    from orchestrator.store.database import NoStoreError, open_database

    try:
        database = open_database(load(config).database.url, clock=SystemClock(), create=False)
    except NoStoreError:
        return _notes(stages, {"default"})
    except FustgoError:
        return []
    with contextlib.closing(database):
        return unset_notes(stages, database)


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
