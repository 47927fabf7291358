"""`--help` is quick: of the whole command and of every verb, it imports nothing that only running needs."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orchestrator.cli.main import COMMANDS, build_parser

HEAVY = (
    *(
        "sqlalchemy",
        "sqlmodel",
        "pydantic",
        "polars",
        "pyarrow",
        "duckdb",
        "networkx",
        "yaml",
        "jinja2",
        "rich",
    ),
    *("structlog", "msgspec", "apscheduler", "opentelemetry", "alembic", "psycopg", "pysqlite3", "asyncio"),
    *("logging", "importlib.metadata", "orchestrator.app", "orchestrator.client", "orchestrator.store"),
    *("orchestrator.engine", "orchestrator.dag", "orchestrator.sdk", "orchestrator.worker", "operators"),
    "orchestrator.settings",
)
PROGRAM = """
import sys
from orchestrator.cli.main import main
code = main(sys.argv[1:])
found = sorted(name for name in %r if name in sys.modules)
assert not found, found
sys.exit(code)
"""


def parsers(
    parser: argparse.ArgumentParser, *words: str
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command with its verbs, and its parser."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from parsers(inner, *words, name)


ALL = dict(parsers(build_parser()))


@pytest.mark.parametrize("command", ["", *COMMANDS, "runs list", "dags show"])
def test_help_imports_nothing_that_only_running_needs(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM % (HEAVY,), *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: fustgo {command}".rstrip())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_verb_and_argument_says_what_it_is_for(words: tuple[str, ...]) -> None:
    for action in ALL[words]._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
    assert ALL[words].format_help()


def test_one_command_is_built_like_the_whole() -> None:
    """Only the command that is typed is registered in full; its help is the same."""
    for name in COMMANDS:
        alone = dict(parsers(build_parser(name)))
        for words, parser in ALL.items():
            if words[:1] == (name,):
                assert alone[words].format_help() == parser.format_help()
