"""Settings of the installation: defaults < file (YAML or TOML) < `FUSTGO_*` variables < flags.

A setting is `section.key`; its variable is `FUSTGO_SECTION__KEY`. Everything that is wrong, wherever it
was written, is reported at once with its place. Not settings, though they share the prefix:
`FUSTGO_HOME` and `FUSTGO_CONFIG` (where things are), `FUSTGO_CONN_*` and `FUSTGO_VAR_*` (connections and
variables of DAGs), `FUSTGO_CRASH*` (tests). Pools and limits live in the store, not here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from orchestrator.errors import Problem, Problems, SettingsError, nearest
from orchestrator.units import Duration

_PREFIX = "FUSTGO_"
_NOT_SETTINGS = re.compile(r"FUSTGO_(HOME|CONFIG|CONN_.*|VAR_.*|CRASH.*)")


def _database_url(url: str) -> str:
    if not re.match(r"sqlite:////[^/]|postgresql://.", url):
        raise ValueError(
            "write sqlite:////absolute/path.db, sqlite:///{home}/name.db, or "
            "postgresql://user:password@host/database"
        )
    return url


def _without_password(text: str) -> str:
    return re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", text)


def _absolute(path: Path) -> Path:
    if not (path := path.expanduser()).is_absolute():
        raise ValueError("must be absolute, or start with {home} or ~")
    return path


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Section(BaseModel):
    """A group of settings; immutable once loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(Section):
    """The metadata database: runs, checkpoints, events."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(
        default="sqlite:///{home}/fustgo.db",
        description="The metadata database: sqlite:////PATH, where {home} is the home, or "
        "postgresql://USER:PASSWORD@HOST/DATABASE.",
    )


class ArtifactSettings(Section):
    """The files of runs: snapshots, spools, rejects."""

    path: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path("{home}/artifacts"),
        description="Folder of the artifact store, on a disk of its own where files are large.",
    )


class LogSettings(Section):
    """What is logged."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        default="INFO", description="The least severe lines that are kept."
    )


class WorkerSettings(Section):
    """How a process shows that it lives, and when it is taken for dead."""

    lease: Duration = Field(
        default=timedelta(seconds=30),
        description="Silence after which a process is taken for dead: one that is stopped while it writes "
        "to the store is ended after it.",
    )

    @field_validator("lease")
    @classmethod
    def _longer_than_a_write(cls, lease: timedelta) -> timedelta:
        if lease < timedelta(seconds=5):
            raise ValueError("must be at least 5s, or a slow disk would cost a healthy process its life")
        return lease


class FileSettings(Section):
    """What a settings file may hold."""

    database: DatabaseSettings = DatabaseSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    log: LogSettings = LogSettings()
    worker: WorkerSettings = WorkerSettings()


class Settings(FileSettings):
    """All settings as they hold in this process.

    `home` holds what is not given a place of its own; `sources` says of each setting where its value is from.
    """

    home: Path
    sources: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Name, value and source of each setting, as a person writes them, but for passwords."""
        yield "home", str(self.home), self.sources["home"]
        values = self.model_dump(mode="json", include=set(FileSettings.model_fields))
        for key in KEYS:
            section, _, name = key.partition(".")
            yield key, _without_password(values[section][name]), self.sources[key]


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
        shown = _without_password(str(self.value)) if show_value else ""
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


# Line and column of every key of a file.
_Places: TypeAlias = dict[tuple[str, ...], tuple[int, int]]


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
    text = _read(path)
    places: _Places = {}
    if path.suffix == ".toml":
        document = _toml_document(text, str(path), places)
    elif path.suffix in {".yaml", ".yml"}:
        document = _yaml_document(text, str(path), places, problems)
    else:
        raise SettingsError(f"{path} is neither YAML nor TOML", hint="name it *.yaml, *.yml or *.toml")

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
                elif isinstance(value, dict | list) or value is None:
                    problems.append(
                        found.problem(f"{key} must be one value", "give it one, or remove the line")
                    )
                else:
                    entries[key] = found
        elif content is not None:
            problems.append(entry.problem(f"{section} must be a section with settings below it"))
    return entries


def _section_hint(section: str, sections: set[str]) -> str:
    if section in KEYS:
        head, _, name = section.partition(".")
        return f"write {name!r} below a section {head!r}"
    return nearest(section, sections)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the settings file {path} is not UTF-8 text (byte {error.start + 1})") from error


def _yaml_document(text: str, file: str, places: _Places, problems: list[Problem]) -> dict[str, Any]:
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

    def value_of(node: yaml.Node, path: tuple[str, ...]) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag.endswith(":null") else node.value
        # Below the settings nothing is read, so that a document which refers to itself ends.
        if not isinstance(node, yaml.MappingNode) or len(path) == 2:
            return []
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "(a key that is no text)"
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if name in values:
                message = f"{'.'.join((*path, name))} is given twice, first in line {places[*path, name][0]}"
                problems.append(Problem(file, line, column, message))
            places[*path, name] = (line, column)
            values[name] = value_of(child, (*path, name))
        return values

    document = value_of(root, ()) if root is not None else None
    if isinstance(document, dict):
        return document
    if document is not None:
        problems.append(Problem(file, 1, 1, "a settings file holds sections, such as 'log:'"))
    return {}


def _toml_document(text: str, file: str, places: _Places) -> dict[str, Any]:
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
            else:  # a rule over several settings of a section: named after the one that was written last
                written = [entry for name, entry in entries.items() if name.startswith(f"{key}.")]
                culprit = next(
                    (entry for entry in reversed(written) if entry.source != "default"), written[-1]
                )
                problems.append(culprit.problem(message))
        return FileSettings()
