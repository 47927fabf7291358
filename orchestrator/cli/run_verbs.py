"""The verbs of `fustgo runs` that change a run: each shows its effects first, see `confirm`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.cli.arguments import add_run_argument
from orchestrator.cli.confirm import add_verb_arguments

if TYPE_CHECKING:
    from orchestrator.client import Client, Done

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

Call: TypeAlias = "Callable[[Client, argparse.Namespace, bool], Done]"


def register(verbs: Verbs) -> None:
    """Add the verbs to those of runs."""
    _add(verbs, "cancel", "end a run; what runs is stopped", _cancel)
    _retry(_add(verbs, "retry", "go on from the last checkpoints: failed stages again", _call_retry))
    _clear(_add(verbs, "clear", "start a run, or some of its stages, over", _call_clear))
    _mark(_add(verbs, "mark", "say how a node's stage ended", _call_mark))
    _pause(_add(verbs, "pause", "claim nothing more; what runs keeps a savepoint", _call_pause))
    _node(_add(verbs, "resume", "take a pause back", _call_resume))
    _node(_add(verbs, "abandon", "give up what is decided and cannot be applied", _call_abandon))
    _note(_add(verbs, "note", "write a note on a run", _call_note))


def _add(verbs: Verbs, name: str, summary: str, call: Call) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=f"{summary}.")
    add_run_argument(parser)
    add_verb_arguments(parser)
    parser.set_defaults(run=_run, call=call)
    return parser


def _run(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.confirm import exit_code, perform

    app = build_from(args.config)
    try:
        perform(args, lambda dry_run: args.call(app.client, args, dry_run))
        return exit_code(args)
    finally:
        app.close()


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", metavar="NODE", help="the stage of this node alone")


def _nodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", action="append", default=[], metavar="NODE", help="the stage of this node; may be repeated"
    )
    parser.add_argument("--latest", action="store_true", help="with the DAG as it is now")


def _retry(parser: argparse.ArgumentParser) -> None:
    _nodes(parser)


def _clear(parser: argparse.ArgumentParser) -> None:
    _nodes(parser)
    parser.add_argument("--upstream", action="store_true", help="with --node: and all that it comes after")
    parser.add_argument("--downstream", action="store_true", help="with --node: and all that comes after it")
    parser.add_argument(
        "--allow-duplicates", action="store_true", help="rows that were appended may come twice"
    )


def _mark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", required=True, metavar="NODE", help="the node whose stage is meant")
    parser.add_argument(
        "--as", required=True, dest="state", choices=("success", "failed"), help="how it shall have ended"
    )


def _pause(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("--now", action="store_true", help="stop what runs at once, without a savepoint")


def _note(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what it shall say; empty takes it away")


def _cancel(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.cancel(args.run_name, dry_run=dry_run)


def _call_retry(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.retry(args.run_name, nodes=args.node, latest=args.latest, dry_run=dry_run)


def _call_clear(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    from orchestrator.errors import UsageError

    if (args.upstream or args.downstream) and not args.node:
        raise UsageError("--upstream and --downstream go with --node NODE")
    return client.clear(
        args.run_name,
        nodes=args.node,
        upstream=args.upstream,
        downstream=args.downstream,
        latest=args.latest,
        allow_duplicates=args.allow_duplicates,
        dry_run=dry_run,
    )


def _call_mark(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.mark(args.run_name, args.node, args.state, dry_run=dry_run)


def _call_pause(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.pause(args.run_name, node=args.node, now=args.now, dry_run=dry_run)


def _call_resume(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.resume(args.run_name, node=args.node, dry_run=dry_run)


def _call_abandon(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.abandon(args.run_name, node=args.node, dry_run=dry_run)


def _call_note(client: Client, args: argparse.Namespace, dry_run: bool) -> Done:
    return client.note(args.run_name, args.text, dry_run=dry_run)
