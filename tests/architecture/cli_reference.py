"""`docs/cli.md`, made from the parser: `python -m tests.architecture.cli_reference > docs/cli.md`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from orchestrator.cli.main import COMMANDS, EXIT_CODES, build_parser

HEAD = f"""# Commands

Made from the command itself; `fustgo COMMAND --help` says the same. Before a command: `--config FILE` names
a settings file, `--version` prints the version. {EXIT_CODES[0].upper()}{EXIT_CODES[1:]}.

RUN is a run's number, `DAG/RUN_ID`, or its uid. Every verb that changes a run shows first what it does; on a
terminal it asks, unless `--yes`. `--json` is for programs.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_commands(build_parser(), "fustgo")]).rstrip() + "\n"


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield from _command(parser, name)
    for action in inner:
        for word, command in action.choices.items():
            if name == "fustgo":
                yield f"## {word}\n\n{_sentence(COMMANDS[word][1])}\n"
            yield from _commands(command, f"{name} {word}")


def _command(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    words = [_usage(action) for action in actions if not action.option_strings]
    needed = [_usage(action) for action in actions if action.option_strings and action.required]
    yield f"### `{' '.join([name, *words, *needed])}`\n"
    if parser.description and name.count(" ") > 1:
        yield f"{_sentence(parser.description)}\n"
    if actions:
        yield "| | |\n|---|---|"
        for action in actions:
            yield f"| `{_shown(action)}` | {(action.help or '').replace('|', ' or ')} |"
        yield ""


def _usage(action: argparse.Action) -> str:
    value = _value(action)
    if action.option_strings:
        return f"{action.option_strings[-1]} {value}".strip()
    return f"[{value}]" if action.nargs == "?" else value


def _shown(action: argparse.Action) -> str:
    value = f"[{_value(action)}]" if action.nargs == "?" else _value(action)
    return f"{', '.join(action.option_strings)} {value}".strip().replace("|", "\\|")


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


if __name__ == "__main__":
    print(reference(), end="")
