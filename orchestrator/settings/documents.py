"""Settings files as nested values, with the line and column of every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.errors import Problem, Problems, SettingsError

if TYPE_CHECKING:
    import yaml

_DEPTH = 3  # bundles, a name, its settings

# Line and column of every key of a file.
Places: TypeAlias = dict[tuple[str, ...], tuple[int, int]]


def read_document(path: Path, problems: list[Problem]) -> tuple[dict[str, Any], Places]:
    """What the file holds, and where; a key that is given twice becomes a problem.

    Raises `SettingsError` where the file cannot be read, `Problems` where it is not of its language.
    """
    text = _read(path)
    places: Places = {}
    if path.suffix == ".toml":
        return _toml_document(text, str(path), places), places
    if path.suffix in {".yaml", ".yml"}:
        return _yaml_document(text, str(path), places, problems), places
    raise SettingsError(f"{path} is neither YAML nor TOML", hint="name it *.yaml, *.yml or *.toml")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the settings file {path} is not UTF-8 text (byte {error.start + 1})") from error


def _yaml_document(text: str, file: str, places: Places, problems: list[Problem]) -> dict[str, Any]:
    """The document with every scalar as written: types come from the settings, not from YAML's guesses."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise Problems(
            [Problem(file, line, column, f"not YAML: {error.problem or error.context}")]
        ) from error
    except yaml.YAMLError as error:
        raise Problems([Problem(file, 0, 0, f"not YAML: {error}")]) from error
    document = _YamlReader(file, places, problems).value(root, ()) if root is not None else None
    if isinstance(document, dict):
        return document
    if document is not None:
        problems.append(Problem(file, 1, 1, "a settings file holds sections, such as 'log:'"))
    return {}


class _YamlReader:
    """Turns YAML's nodes into values, and notes where each key stands."""

    def __init__(self, file: str, places: Places, problems: list[Problem]) -> None:
        self._file, self._places, self._problems = file, places, problems

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """What stands at this path."""
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return None if node.tag.endswith(":null") else node.value
        if isinstance(node, yaml.SequenceNode):
            return [one.value if isinstance(one, yaml.ScalarNode) else None for one in node.value]
        # Below the settings nothing is read, so that a document which refers to itself ends.
        return self._mapping(node, path) if len(path) < _DEPTH else {}

    def _mapping(self, node: yaml.Node, path: tuple[str, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, child in node.value:
            name = key.value if isinstance(key.value, str) else "(a key that is no text)"
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if name in values:
                first = self._places[*path, name][0]
                message = f"{'.'.join((*path, name))} is given twice, first in line {first}"
                self._problems.append(Problem(self._file, line, column, message))
            self._places[*path, name] = (line, column)
            values[name] = self.value(child, (*path, name))
        return values


def _toml_document(text: str, file: str, places: Places) -> dict[str, Any]:
    """The document; Python's reader keeps no places, so the lines of keys are looked up in the text."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+), column (\d+)", str(error))
        line, column = (int(place[1]), int(place[2])) if place else (0, 0)
        raise Problems([Problem(file, line, column, f"not TOML: {error}")]) from error
    table: tuple[str, ...] = ()
    for number, content in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", content):
            table = tuple(header[1].split("."))
            places.setdefault(table, (number, header.start(1) + 1))
        elif pair := re.match(r"\s*([\w.-]+)\s*=", content):
            places.setdefault((*table, *pair[1].split(".")), (number, pair.start(1) + 1))
    return document
