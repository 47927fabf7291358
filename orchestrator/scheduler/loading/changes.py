"""Which files of a bundle are parsed again after a change. Pure: a function of hashes and of what was found.

A file is parsed again when its bytes changed, or those of a module that it imported. Of any other file of
code (SQL, JSON, a module that is imported late or under a condition) nobody can say who reads it: a change of
one concerns the whole bundle. So does one of `plugins/`, which every file sees.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from orchestrator.dag.candidates import candidates, is_plugin

Digests = Mapping[str, str]


@dataclass(frozen=True)
class Known:
    """What is known of a file that was parsed.

    `imports`: the modules of the bundle that it imported, as paths. `ids`: its DAGs, of a broken one those
    that it had before. `broken`: it has an error.
    """

    imports: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    broken: bool = False


@dataclass(frozen=True)
class Wanted:
    """The files to parse: `first` those that a change surely concerns, `then` those that it may concern."""

    first: list[str]
    then: list[str]


def changed(before: Digests, after: Digests) -> set[str]:
    """The files that are new or gone, or have other bytes."""
    return {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}


def to_parse(before: Digests, after: Digests, known: Mapping[str, Known]) -> Wanted:
    """The files to parse after a change.

    First what changed itself, then who imported of it, and what was broken: perhaps it no longer is. The
    whole bundle follows where a plugin changed, or what was data. When the first are parsed, ask
    `concerns_all`: what is new may have turned out to be data.
    """
    what = changed(before, after)
    if not what:
        return Wanted([], [])
    found = [*candidates(what & after.keys()), *_importers(what, known), *_broken(known)]
    first = [file for file in dict.fromkeys(found) if file in after]
    was_data = _imported_by_none(_without_dags(what & before.keys(), known), known)
    concerns_all = was_data or any(is_plugin(file) for file in what)
    then = [file for file in candidates(after) if file not in first] if concerns_all else []
    return Wanted(first, then)


def concerns_all(before: Digests, after: Digests, known: Mapping[str, Known]) -> bool:
    """Whether a change concerns every file, by what is known now that the changed files were parsed.

    Anybody may read data, and may have looked for what is new and holds no DAG.
    """
    without = _without_dags(changed(before, after) & after.keys(), known)
    return any(file not in before for file in without) or _imported_by_none(without, known)


def _without_dags(files: Iterable[str], known: Mapping[str, Known]) -> list[str]:
    return [file for file in files if not _holds(file, known)]


def _imported_by_none(files: Collection[str], known: Mapping[str, Known]) -> bool:
    """Whether one of the files is a module that no file has imported, or no module."""
    if not files:
        return False
    imported = frozenset[str]().union(*(entry.imports for entry in known.values()))
    return any(file not in imported for file in files)


def _holds(file: str, known: Mapping[str, Known]) -> bool:
    """Broken Python speaks of DAGs, or it would not have been imported; broken data may be anything."""
    entry = known.get(file, Known())
    return bool(entry.ids) or (entry.broken and file.endswith(".py"))


def _importers(files: Collection[str], known: Mapping[str, Known]) -> list[str]:
    """Who imported one of these modules, or one that another file now has the name of."""
    names = {name for file in files if (name := _module(file))}
    concerned = {file for file in files if file.endswith(".py")}
    memory: dict[str, bool] = {}

    def concerns(module: str) -> bool:
        if module not in memory:
            memory[module] = module in concerned or not names.isdisjoint(_and_packages(_module(module)))
        return memory[module]

    return sorted(file for file, entry in known.items() if any(map(concerns, entry.imports)))


def _broken(known: Mapping[str, Known]) -> list[str]:
    return sorted(file for file, entry in known.items() if entry.broken)


def _module(file: str) -> str:
    """The name by which a file is imported: `team.rows` of `team/rows.py`, `team` of `team/__init__.py`."""
    path = PurePosixPath(file)
    if path.suffix != ".py":
        return ""
    parts = path.parts[:-1] if path.stem == "__init__" else path.with_suffix("").parts
    return ".".join(parts)


def _and_packages(name: str) -> Iterable[str]:
    """The module and the packages that it is in: a new `team.py` hides `team/rows.py`."""
    while name:
        yield name
        name = name.rpartition(".")[0]
