"""The plugins of a tree: the operators that modules of its `plugins/` declare, and what is wrong with them.

A plugin is a module `plugins/x.py` or a package `plugins/x/`. Its operators hold for this tree only. One that
cannot be imported costs nobody but the DAGs that use its types; the same holds for a type that two declare.
"""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.sdk import plugin_modules
from orchestrator.sdk.importing import enter, module_name
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.plugin_modules import FOLDER
from orchestrator.sdk.properties import Kind


@dataclass(frozen=True)
class Plugins:
    """What the plugins of a tree declare. `declared` are the operators with the plugin that each is from, by
    its path in the tree; `errors` are texts by the same paths. `refused` says of a type why none has it.
    """

    tree: Path | None = None
    declared: Mapping[type[Operator], str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def operators(self) -> tuple[type[Operator], ...]:
        """All operators that can be used."""
        return tuple(self.declared)

    def kinds(self, type_name: str) -> dict[Kind, type[Operator]]:
        """The operators of a type by kind; none where no plugin declares it."""
        return {operator.kind: operator for operator in self.declared if operator.type == type_name}

    def why_not(self, type_name: str) -> str:
        """Why no plugin gives the type, as far as that can be said; else nothing."""
        if type_name in self.refused:
            return self.refused[type_name]
        for file, text in self.errors.items():
            if type_name in self._would_declare(file):
                return f"{file} could not be imported: {text.splitlines()[0]}"
        return ""

    def _would_declare(self, file: str) -> set[str]:
        """The types that the text of a broken plugin names; of a package, that of all its files."""
        assert self.tree is not None
        path = self.tree / file
        files = path.parent.rglob("*.py") if path.name == "__init__.py" else [path]
        texts = (one.read_text(encoding="utf-8", errors="replace") for one in files if one.is_file())
        return {found for text in texts for found in _DECLARES.findall(text)}

    def beside(self, installed: Callable[[str], str]) -> Plugins:
        """These plugins without operators of types that are installed: `installed` says of a type by what,
        or nothing. What is installed keeps its meaning, and the plugin is told so.
        """
        errors, declared = dict(self.errors), {}
        for operator, file in self.declared.items():
            if whose := installed(operator.type):
                text = f"{_place(operator, self.tree)}: operator {operator.type!r} is there already: {whose}"
                errors.setdefault(file, f"{text}\n  hint: give it another type")
            else:
                declared[operator] = file
        return replace(self, declared=declared, errors=errors)


NONE = Plugins()
_DECLARES = re.compile(r"""operator\(\s*["'](\w+)["']""")
_last: tuple[tuple[Path, int], Plugins] | None = None


def plugin_files(tree: Path) -> list[str]:
    """The plugins of a tree by their paths in it, sorted: modules, and packages by their `__init__.py`."""
    found = (path.relative_to(tree).as_posix() for path in (tree / FOLDER).rglob("*.py"))
    return sorted(filter(plugin_modules.is_plugin_module, found))


def load_plugins(tree: Path) -> Plugins:
    """Import the plugins of a tree; what is imported already is not executed again.

    Whatever an author's code raises, but KeyboardInterrupt, becomes the error of its file.
    """
    global _last
    if _last is not None and _last[0] == (tree, plugin_modules.generation()):
        return _last[1]
    if not plugin_modules.has_plugins(tree):
        return NONE
    enter(tree)
    found = _load(tree)
    _last = ((tree, plugin_modules.generation()), found)
    return found


def _load(tree: Path) -> Plugins:
    declared: dict[type[Operator], str] = {}
    errors: dict[str, str] = {}
    for file in plugin_files(tree):
        try:
            declared |= dict.fromkeys(_operators(file), file)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            errors[file] = _below(tree, _authors_words(error, tree, file))
    return _without_doubles(Plugins(tree, declared, errors))


def _operators(file: str) -> Iterator[type[Operator]]:
    """The operators that a plugin itself declares."""
    name = module_name(file)
    if not all(part.isidentifier() for part in name.split(".")):
        raise ImportError("its name is no module's: letters, digits, '_'")
    module = importlib.import_module(name)
    own = module.__name__  # `plugins.x`, where a script has imported it
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Operator) and value.type:
            declared = value.__module__
            if declared == own or (file.endswith("__init__.py") and declared.startswith(f"{own}.")):
                yield value


def _without_doubles(found: Plugins) -> Plugins:
    """Of a type that is declared twice none is right: each is refused, with both places."""
    errors, refused = dict(found.errors), dict(found.refused)
    first: dict[tuple[str, Kind], type[Operator]] = {}
    for operator in found.declared:
        other = first.setdefault((operator.type, operator.kind), operator)
        if other is not operator:
            places = f"{_place(other, found.tree)} and {_place(operator, found.tree)}"
            text = f"two plugins give operator {operator.type!r} ({operator.kind}): {places}"
            refused.setdefault(operator.type, text)
            for one in (other, operator):
                errors.setdefault(found.declared[one], f"{text}\n  hint: give one another type")
    kept = {operator: file for operator, file in found.declared.items() if operator.type not in refused}
    return replace(found, declared=kept, errors=errors, refused=refused)


def _place(operator: type[Operator], tree: Path | None) -> str:
    return _below(tree, f"{inspect.getsourcefile(operator)}:{inspect.getsourcelines(operator)[1]}")


def _below(tree: Path | None, text: str) -> str:
    """The text, where files are named by the tree as it is known rather than where links lead."""
    return text.replace(f"{tree.resolve()}/", f"{tree}/") if tree is not None else text


def _authors_words(error: BaseException, tree: Path, file: str) -> str:
    """What was raised, at the innermost line of the tree, and under it the tree's lines that led there."""
    root = tree.resolve()
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{error.filename or root / file}:{error.lineno or 0}: {type(error).__name__}: {error.msg}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(root)
    ]
    if not frames:
        return f"{root / file}:0: {said}"
    place = f"{frames[-1].filename}:{frames[-1].lineno}"
    lines = "".join(traceback.format_list(frames)).rstrip()
    return f"{place}: {said}\n{lines}"
