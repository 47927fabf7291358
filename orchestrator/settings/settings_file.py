"""The settings of one file, each with its place; what does not belong there becomes a problem."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from orchestrator.errors import Problem, nearest
from orchestrator.settings.bundles import NAME, BundleSettings
from orchestrator.settings.documents import read_document
from orchestrator.settings.entries import BUNDLES, DEFAULTS, KEYS, SECTIONS, Entry
from orchestrator.settings.section import Section


class SettingsFile:
    """The reading of one settings file."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self._path, self._problems = path, problems
        self._document, self._places = read_document(path, problems)

    def entries(self) -> dict[str, Entry]:
        """Every setting of the file, with its place."""
        entries: dict[str, Entry] = {}
        for section, content in self._document.items():
            found = self._entry((section,), content)
            if section == BUNDLES:
                entries |= self._bundles(found)
            elif section not in SECTIONS:
                hint = _section_hint(section, {*SECTIONS, BUNDLES})
                self._problems.append(found.problem(f"unknown section {section!r}", hint))
            else:
                entries |= self._section((section,), found, SECTIONS[section])
        return entries

    def _bundles(self, bundles: Entry) -> dict[str, Entry]:
        """The settings of every bundle, those left out with their defaults."""
        entries: dict[str, Entry] = {}
        if bundles.value is not None and not isinstance(bundles.value, dict):
            message = "bundles must hold names, with the settings of a bundle below each"
            self._problems.append(bundles.problem(message))
            return entries
        for name, content in (bundles.value or {}).items():
            found = self._entry((BUNDLES, name), content)
            if not NAME.fullmatch(name):
                message = (
                    f"{name!r} is no name of a bundle: a letter or '_', then letters, digits, '_' and '-'"
                )
                self._problems.append(found.problem(message))
                continue
            entries |= {
                f"{BUNDLES}.{name}.{key.partition('.')[2]}": entry
                for key, entry in DEFAULTS.items()
                if key.startswith("bundle.")
            }
            entries |= self._section((BUNDLES, name), found, BundleSettings)
        return entries

    def _section(self, where: tuple[str, ...], section: Entry, model: type[Section]) -> dict[str, Entry]:
        """The settings below one section, or one bundle."""
        shown, entries = ".".join(where), {}
        if section.value is not None and not isinstance(section.value, dict):
            self._problems.append(section.problem(f"{shown} must be a section with settings below it"))
            return {}
        known = [f"{shown}.{name}" for name in model.model_fields]
        for name, value in (section.value or {}).items():
            key, found = f"{shown}.{name}", self._entry((*where, name), value)
            if key not in known:
                hint = nearest(key, known if where[0] == BUNDLES else KEYS)
                self._problems.append(found.problem(f"unknown setting {key!r}", hint))
            elif not _fits(model, name, value):
                message = f"{key} must be one value"
                self._problems.append(found.problem(message, "give it one, or remove the line"))
            else:
                entries[key] = found
        return entries

    def _entry(self, where: tuple[str, ...], value: object) -> Entry:
        """What stands there; a place that is not known is that of the section around it."""
        known = (where[:end] for end in range(len(where), 0, -1))
        line, column = next((self._places[one] for one in known if one in self._places), (0, 0))
        return Entry(value, str(self._path), line, column)


def _fits(model: type[Section], name: str, value: object) -> bool:
    """Whether it is one value, or several where the setting is a list."""
    if isinstance(value, list):
        return isinstance(model.model_fields[name].get_default(), tuple)
    return value is not None and not isinstance(value, dict)


def _section_hint(section: str, sections: Collection[str]) -> str:
    if section in KEYS:
        head, _, name = section.partition(".")
        return f"write {name!r} below a section {head!r}"
    return nearest(section, sections)
