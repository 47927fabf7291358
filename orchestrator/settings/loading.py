"""Where settings come from: defaults < file (YAML or TOML) < `FUSTGO_*` variables < flags.

A setting is `section.key`; its variable is `FUSTGO_SECTION__KEY`. Bundles by name (`bundles.name.key`) stand
in the file alone. Everything that is wrong, wherever it was written, is reported at once with its place.
Not settings, though they share the prefix: `FUSTGO_HOME` and `FUSTGO_CONFIG` (where things are),
`FUSTGO_CONN_*` and `FUSTGO_VAR_*` (connections and variables of DAGs), `FUSTGO_CRASH*` (tests). Pools and
limits live in the store, not here.
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
from orchestrator.settings.entries import BUNDLES, DEFAULTS, KEYS, Entry
from orchestrator.settings.sections import FileSettings, Settings
from orchestrator.settings.settings_file import SettingsFile

_PREFIX = "FUSTGO_"
_NOT_SETTINGS = re.compile(r"FUSTGO_(HOME|CONFIG|CONN_.*|VAR_.*|CRASH.*)")


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
    entries = dict(DEFAULTS)
    if path := config_file or environ.get("FUSTGO_CONFIG"):
        entries |= SettingsFile(Path(path), problems).entries()
    entries |= _from_environment(environ, problems)
    entries |= _from_flags(flags or {}, problems)
    _refuse_both(entries, problems)
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


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Entry]:
    entries = {}
    names = {_PREFIX + key.upper().replace(".", "__"): key for key in KEYS}
    for variable, text in environ.items():
        if variable in names:
            entries[names[variable]] = Entry(text, _variable(variable))
        elif variable.startswith(_PREFIX) and not _NOT_SETTINGS.fullmatch(variable):
            hint = nearest(variable, [*names, "FUSTGO_HOME", "FUSTGO_CONFIG"])
            if variable.startswith("FUSTGO_BUNDLES"):
                hint = "bundles by name stand in the settings file; FUSTGO_BUNDLE__KEY is of the one bundle"
            problems.append(Problem(_variable(variable), 0, 0, "no setting has this name", hint))
    return entries


def _from_flags(flags: Mapping[str, str], problems: list[Problem]) -> dict[str, Entry]:
    entries = {key: Entry(text, "flag") for key, text in flags.items()}
    problems += [
        entry.problem(f"unknown setting {key!r}", nearest(key, KEYS))
        for key, entry in entries.items()
        if key not in KEYS
    ]
    return {key: entry for key, entry in entries.items() if key in KEYS}


def _refuse_both(entries: Mapping[str, Entry], problems: list[Problem]) -> None:
    """Settings of `bundle` beside `bundles` would hold for none of them."""
    if not any(key.startswith(f"{BUNDLES}.") for key in entries):
        return
    hint = f"move it below a name in {BUNDLES}"
    problems += [
        entry.problem(f"{key} holds for none of the file's {BUNDLES}", hint)
        for key, entry in entries.items()
        if key.startswith("bundle.") and entry.source != "default"
    ]


def _validated(entries: Mapping[str, Entry], home: Path, problems: list[Problem]) -> FileSettings:
    """The settings that the entries spell; what does not fit is added to the problems."""
    document: dict[str, Any] = {}
    for key, entry in entries.items():
        *sections, name = key.split(".")
        value = entry.value
        if isinstance(value, str | Path):
            value = str(value).replace("{home}", str(home))
        below = document
        for section in sections:
            below = below.setdefault(section, {})
        below[name] = value
    try:
        return FileSettings.model_validate(document)
    except ValidationError as error:
        for finding in error.errors():
            path = [str(part) for part in finding["loc"]]
            above = (".".join(path[:end]) for end in range(len(path), 0, -1))
            key = next((key for key in above if key in entries), "")
            message = finding["msg"].removeprefix("Value error, ")
            if key:
                problems.append(entries[key].problem(f"{key}: {message}", show_value=True))
            else:
                problems.append(_culprit(entries, message).problem(message))
        return FileSettings()


def _culprit(entries: Mapping[str, Entry], message: str) -> Entry:
    """Of the settings that a rule over several names, the one that was written last."""
    named = [entry for key, entry in entries.items() if key in message]
    return next((entry for entry in reversed(named) if entry.source != "default"), named[-1])
