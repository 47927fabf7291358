"""`fustgo db`: bring the store to the newest schema, and look whether it is sound."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.store.database import Database


def register(parser: argparse.ArgumentParser) -> None:
    """Add the noun `db` and its verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    upgrade = verbs.add_parser("upgrade", help="create the store, or bring it to this version's schema")
    upgrade.set_defaults(run=_upgrade)
    check = verbs.add_parser("check", help="server or library, durability, damage")
    check.add_argument(
        "--runs",
        action="store_true",
        help="also recount what stages wait for, and advance runs that stand still",
    )
    check.set_defaults(run=_check)


def _open(args: argparse.Namespace, *, create: bool) -> Database:
    from orchestrator.clock import SystemClock
    from orchestrator.settings import load
    from orchestrator.store.database import open_database

    return open_database(load(args.config).database.url, clock=SystemClock(), create=create)


def _upgrade(args: argparse.Namespace) -> int:
    from orchestrator.store import HEAD

    database = _open(args, create=True)
    print(f"{database.place} has the schema {HEAD}")
    database.close()
    return 0


def _check(args: argparse.Namespace) -> int:
    from orchestrator.store.checks import check_runs

    database = _open(args, create=False)
    health = database.health()
    for name, value in health.facts:
        print(f"{name.ljust(9)}  {value}")
    for line in health.problems:
        print(line, file=sys.stderr)
    if args.runs:
        with database.transaction() as connection:
            found = check_runs(connection, database.clock.now())
        print("\n".join(found) if found else "runs       all as they should be")
    database.close()
    return 0 if health.sound else 1
