"""`fustgo dags errors`: what could not be loaded, and why."""

from __future__ import annotations

import argparse
import sys
from textwrap import indent
from typing import TYPE_CHECKING

from orchestrator.cli.arguments import add_json_argument

if TYPE_CHECKING:
    from orchestrator.store.tables.services import Bundle, LoadError

NAMED = 5  # files that a list of DAGs names as not loaded


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_json_argument(parser)
    parser.set_defaults(run=_errors)


def _errors(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import print_json

    app = build_from(args.config)
    files, bundles = app.client.load_errors(), app.client.list_bundles()
    app.close()
    unread = [bundle for bundle in bundles if bundle.error is not None]
    if args.json:
        print_json({"files": files_as_json(files), "bundles": bundles_as_json(unread)})
        return 0
    texts = [*map(_said_of_bundle, unread), *map(_said_of_file, files)]
    print("\n\n".join(texts) if texts else "every file of the bundles is loaded")
    return 0


def files_as_json(files: list[LoadError]) -> list[dict[str, object]]:
    """The files that could not be loaded, for programs."""
    return [error.model_dump(mode="json") for error in files]


def bundles_as_json(bundles: list[Bundle]) -> list[dict[str, object]]:
    """Bundles, for programs."""
    return [bundle.model_dump(mode="json", exclude={"loader"}) for bundle in bundles]


def print_shortly(files: list[LoadError], bundles: list[Bundle]) -> None:
    """On standard error what a list of DAGs lacks: broken files, sources that cannot be read."""
    for bundle in bundles:
        if bundle.error is not None:
            print(f"\nnot read: {_said_of_bundle(bundle)}", file=sys.stderr)
    if files:
        print(f"\nnot loaded: {_named(files)}; `fustgo dags errors` says why", file=sys.stderr)


def _named(files: list[LoadError]) -> str:
    """The first few of the files."""
    names = [e.file if e.bundle == "default" else f"{e.file} of bundle {e.bundle}" for e in files]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _said_of_bundle(bundle: Bundle) -> str:
    from orchestrator.cli.render import short_version

    stays = f"version {short_version(bundle.version)} stays" if bundle.version else "nothing of it is loaded"
    return f"bundle {bundle.name} ({bundle.source}): {stays}\n{_indented(bundle.error or '')}"


def _said_of_file(error: LoadError) -> str:
    from orchestrator.cli.render import moment, short_version

    where = f"bundle {error.bundle}, version {short_version(error.bundle_version)}, {moment(error.at)} UTC"
    return f"{error.file}  ({where})\n{_indented(error.message)}"


def _indented(text: str) -> str:
    return "\n".join(line.rstrip() for line in indent(text, "  ").splitlines())
