"""Where settings come from: defaults < file (YAML or TOML) < `FUSTGO_*` variables < flags.

A setting is `section.key`; its variable is `FUSTGO_SECTION__KEY`. Everything that is wrong, wherever it
was written, is reported at once with its place. Not settings, though they share the prefix:
`FUSTGO_HOME` and `FUSTGO_CONFIG` (where things are), `FUSTGO_CONN_*` and `FUSTGO_VAR_*` (connections and
variables of DAGs), `FUSTGO_CRASH*` (tests). Pools and limits live in the store, not here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import Problem, Problems, SettingsError, nearest
from orchestrator.settings.documents import read_document
from orchestrator.settings.sections import FileSettings, Section, Settings
from orchestrator.settings.values import without_password

_PREFIX = "FUSTGO_"
_NOT_SETTINGS = re.compile(r"FUSTGO_(HOME|CONFIG|CONN_.*|VAR_.*|CRASH.*)")


@dataclass(frozen=True)
class _Entry:
    """A value as written, and where."""

    value: object
    place: str
    line: int = 0
    column: int = 0

    @property
    def source(self) -> str:
        return f"{self.place}:{self.line}" if self.line else self.place

    def problem(self, message: str, hint: str = "", *, show_value: bool = False) -> Problem:
        shown = without_password(str(self.value)) if show_value else ""
        return Problem(self.place, self.line, self.column, message, hint, shown)


def _section_models() -> dict[str, type[Section]]:
    return {name: field.annotation for name, field in FileSettings.model_fields.items()}  # type: ignore[misc]


_DEFAULTS = {
    f"{section}.{name}": _Entry(field.get_default(), "default")
    for section, model in _section_models().items()
    for name, field in model.model_fields.items()
}
KEYS = tuple(_DEFAULTS)


def load(
    config_file: Path | None = None,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this process.

    `config_file` falls back to `FUSTGO_CONFIG`; `flags` maps settings (`log.level`) to the text given on
    the command line; `environ` is the process's environment unless given. Creates nothing on disk.

    Raises `SettingsError` where the file cannot be read, `Problems` with all that is wrong otherwise.
    """
    environ = os.environ if environ is None else environ
    home = _home(environ)
    problems: list[Problem] = []
    entries = dict(_DEFAULTS)
    if path := config_file or environ.get("FUSTGO_CONFIG"):
        entries |= _from_file(Path(path), problems)
    entries |= _from_environment(environ, problems)
    entries |= _from_flags(flags or {}, problems)
    document = _validated(entries, home.value, problems)
    if problems:
        raise Problems(problems)
    sources = {"home": home.source} | {key: entry.source for key, entry in entries.items()}
    return Settings(home=home.value, sources=sources, **dict(document))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a settings file, for editors and forms."""
    return FileSettings.model_json_schema(mode="serialization")  # durations in defaults as people write them


def create_home(home: Path) -> None:
    """Create the home if it is absent, readable by its owner only: it will hold keys.

    Raises `SettingsError` where that is impossible.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"cannot create the home {home}: {error.strerror}",
            hint="set FUSTGO_HOME to a folder you can write",
        ) from error


@dataclass(frozen=True)
class _Home:
    value: Path
    source: str


def _home(environ: Mapping[str, str]) -> _Home:
    if text := environ.get("FUSTGO_HOME"):
        return _Home(Path(text).expanduser().absolute(), _variable("FUSTGO_HOME"))
    return _Home(Path(environ.get("HOME") or Path.home()).absolute() / ".fustgo", "default")


def _variable(name: str) -> str:
    return f"environment variable {name}"


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> dict[str, _Entry]:
    entries = {}
    names = {_PREFIX + key.upper().replace(".", "__"): key for key in KEYS}
    for variable, text in environ.items():
        if variable in names:
            entries[names[variable]] = _Entry(text, _variable(variable))
        elif variable.startswith(_PREFIX) and not _NOT_SETTINGS.fullmatch(variable):
            hint = nearest(variable, [*names, "FUSTGO_HOME", "FUSTGO_CONFIG"])
            problems.append(Problem(_variable(variable), 0, 0, "no setting has this name", hint))
    return entries


def _from_flags(flags: Mapping[str, str], problems: list[Problem]) -> dict[str, _Entry]:
    entries = {key: _Entry(text, "flag") for key, text in flags.items()}
    problems += [
        entry.problem(f"unknown setting {key!r}", nearest(key, KEYS))
        for key, entry in entries.items()
        if key not in KEYS
    ]
    return {key: entry for key, entry in entries.items() if key in KEYS}


def _from_file(path: Path, problems: list[Problem]) -> dict[str, _Entry]:
    """Every setting of the file, with its place; what does not belong there becomes a problem."""
    document, places = read_document(path, problems)
    sections = {key.partition(".")[0] for key in KEYS}
    entries = {}
    for section, content in document.items():
        entry = _Entry(content, str(path), *places.get((section,), (0, 0)))
        if section not in sections:
            problems.append(entry.problem(f"unknown section {section!r}", _section_hint(section, sections)))
        elif isinstance(content, dict):
            for name, value in content.items():
                key = f"{section}.{name}"
                found = _Entry(value, str(path), *places.get((section, name), (entry.line, entry.column)))
                if key not in KEYS:
                    problems.append(found.problem(f"unknown setting {key!r}", nearest(key, KEYS)))
                elif not _fits(key, value):
                    problems.append(
                        found.problem(f"{key} must be one value", "give it one, or remove the line")
                    )
                else:
                    entries[key] = found
        elif content is not None:
            problems.append(entry.problem(f"{section} must be a section with settings below it"))
    return entries


def _fits(key: str, value: object) -> bool:
    """Whether it is one value, or several where the setting is a list."""
    if isinstance(value, list):
        return isinstance(_DEFAULTS[key].value, tuple)
    return value is not None and not isinstance(value, dict)


def _section_hint(section: str, sections: set[str]) -> str:
    if section in KEYS:
        head, _, name = section.partition(".")
        return f"write {name!r} below a section {head!r}"
    return nearest(section, sections)


def _validated(entries: Mapping[str, _Entry], home: Path, problems: list[Problem]) -> FileSettings:
    """The settings that the entries spell; what does not fit is added to the problems."""
    document: dict[str, dict[str, object]] = {}
    for key, entry in entries.items():
        section, _, name = key.partition(".")
        value = entry.value
        if isinstance(value, str | Path):
            value = str(value).replace("{home}", str(home))
        document.setdefault(section, {})[name] = value
    try:
        return FileSettings.model_validate(document)
    except ValidationError as error:
        for finding in error.errors():
            key = ".".join(str(part) for part in finding["loc"][:2])
            message = finding["msg"].removeprefix("Value error, ")
            if key in entries:
                problems.append(entries[key].problem(f"{key}: {message}", show_value=True))
            else:
                problems.append(_culprit(entries, message).problem(message))
        return FileSettings()


def _culprit(entries: Mapping[str, _Entry], message: str) -> _Entry:
    """Of the settings that a rule over several names, the one that was written last."""
    named = [entry for key, entry in entries.items() if key in message]
    return next((entry for entry in reversed(named) if entry.source != "default"), named[-1])
