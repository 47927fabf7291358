"""How every verb on the command line goes: show what it would do, ask, do it.

The list of effects is that of a dry run: the very transaction, rolled back. On a terminal a person is
asked, unless `--yes`; a program is not. A trigger changes nothing that is there, and asks nobody.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from orchestrator.cli.arguments import add_json_argument

if TYPE_CHECKING:
    from orchestrator.client import Done

DECLINED = 130


def add_verb_arguments(parser: argparse.ArgumentParser, *, asks: bool = True) -> None:
    """--dry-run, --json, and --yes for a verb that asks."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="show the effects, change nothing")
    if asks:
        how.add_argument("--yes", "-y", action="store_true", help="do not ask")
    else:
        parser.set_defaults(yes=True)
    add_json_argument(parser)


def perform(args: argparse.Namespace, verb: Callable[[bool], Done]) -> Done | None:
    """Do what `verb` does when it is called with False; called with True it only says.

    None where nothing was done: it was a dry run, or the person declined (see `declined`).
    """
    asks = not args.yes and not args.json and all(map(_is_terminal, (sys.stdin, sys.stdout)))
    shown = None
    if args.dry_run or asks:
        shown = verb(True)
        _print(args, shown, done=False)
    if args.dry_run:
        return None
    if asks and not _agreed():
        args.declined = True
        print("nothing was changed")
        return None
    done = verb(False)
    if shown is None or shown.effects.lines() != done.effects.lines():
        _print(args, done, done=True)
    return done


def exit_code(args: argparse.Namespace) -> int:
    """What a verb ends with: 130 where the person declined."""
    return DECLINED if getattr(args, "declined", False) else 0


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _agreed() -> bool:
    try:
        return input("go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _print(args: argparse.Namespace, said: Done, *, done: bool) -> None:
    lines = said.effects.lines()
    if args.json:
        from orchestrator.cli.render import print_json

        run = said.run
        number = run.number if done else said.effects.run
        print_json({"run": number, "run_id": run.run_id, "uid": run.uid, "done": done, "effects": lines})
        return
    print("\n".join(lines))
