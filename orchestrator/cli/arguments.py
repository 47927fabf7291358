"""Arguments that several commands take, and what their texts mean."""

from __future__ import annotations

import argparse


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """RUN, as people name it."""
    parser.add_argument("run_name", metavar="RUN", help="its number, DAG/RUN_ID, or uid")


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def add_param_argument(parser: argparse.ArgumentParser) -> None:
    """--param, any number of times; read with `params_of`."""
    parser.add_argument(
        "--param", action="append", default=[], metavar="K=V", help="a param of the run; may be repeated"
    )


def params_of(args: argparse.Namespace) -> dict[str, str]:
    """The texts of --param by name; raises UsageError for what is no pair, or is given twice."""
    from orchestrator.errors import UsageError

    params: dict[str, str] = {}
    for text in args.param:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {text!r} is not NAME=VALUE", hint="write --param day=2026-01-31")
        if name in params:
            raise UsageError(f"--param {name} is given twice", hint="leave one out")
        params[name] = value
    return params


def whole_number(text: str) -> int:
    """A number of at least 1, as an argument."""
    return _number(text, 1, 2**63 - 1)


def few(text: str) -> int:
    """A number from 1 to 1,000, as an argument: of what has no end."""
    return _number(text, 1, 1000)


def slots(text: str) -> int:
    """A number of at least 0, as an argument."""
    return _number(text, 0, 2**31 - 1)


def _number(text: str, least: int, most: int) -> int:
    """A number as the databases keep it. A text of thousands of digits is not even converted."""
    if not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most:,}")
    return int(text)
