"""The command line: the parser, what errors look like, and how the process ends."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from orchestrator.errors import FustgoError, UsageError

EXIT_CODES = (
    "exit codes: 0 success, 1 run failed, 2 bad configuration or use, 3 reject limit passed, 130 cancelled. "
    "Errors are text on standard error, with --json too."
)

COMMANDS = {
    "standalone": ("services", "serve everything on this host: a scheduler and a worker"),
    "run": ("run", "run a DAG file, or a loaded DAG, here and now"),
    "plan": ("plan", "show stages, edges, schemas and guarantees of a DAG file, without running it"),
    "dags": ("dags", "list and show DAGs, start runs of them, pause their schedules"),
    "runs": ("runs", "list and show runs, and act on them"),
    "scheduler": ("services", "load DAGs, and look after what is due or dead"),
    "worker": ("services", "execute runs"),
    "workers": ("workers", "list the processes that execute runs, or let one finish and go"),
    "pools": ("pools", "list, set and delete pools"),
    "schema": ("schema", "JSON Schema of a DAG file, for editors"),
    "plugins": ("plugins", "the operators that are installed"),
    "config": ("config", "show the settings, or the schema of a settings file"),
    "db": ("db", "upgrade or check the store"),
}
"""Each command: the module that registers it, and what it does."""


class _Version(argparse.Action):
    """`--version` reads the installed version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"fustgo {version('fustgo')}")
        parser.exit()


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; where `only` is given, that command in full and of the others the names."""
    parser = argparse.ArgumentParser(
        prog="fustgo",
        description="An orchestrator of DAGs whose edges carry the data.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML or TOML)")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary}.", allow_abbrev=False)
        if only in (None, name):
            import_module(f"orchestrator.cli.{module}").register(command)
    return parser


def _command_of(argv: Sequence[str]) -> str:
    """The first word that is neither an option nor the value of one."""
    words = iter(argv)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code. Errors that people can act on are printed, not raised."""
    try:
        _refuse_bytes(argv)
        command = _command_of(argv)
        if not command and "--config" in [word.partition("=")[0] for word in argv]:
            argv, command = [*argv, "standalone"], "standalone"
        args = build_parser(command).parse_args(argv)
        code: int = args.run(args)
        return _said(code)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 2
    except FustgoError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has left (`fustgo runs list | head`); that is no error of ours.
        _discard_output()
        return 0
    except KeyboardInterrupt:
        return 130


def _refuse_bytes(argv: Sequence[str]) -> None:
    """What is no text in the terminal's encoding cannot be stored, looked up or printed."""
    for word in argv:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            shown = os.fsencode(word).decode("ascii", "backslashreplace")
            raise UsageError(f"the argument {shown} is not text", hint="write it in UTF-8")


def _said(code: int) -> int:
    """The code of a command whose output has arrived; 2 where it could not be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        _discard_output()
        return code or 2
    return code


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def entry() -> NoReturn:
    """The console script. Ends without tearing the interpreter down: libraries' threads take up to 0.2 s."""
    # What is imported is not garbage: looking for some costs a tenth of a start. `run` turns it on again.
    gc.disable()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
