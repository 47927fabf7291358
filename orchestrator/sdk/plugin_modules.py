"""The modules of a tree's `plugins/`: `fustgo_dags.plugins.x`, which `plugins.x` is as well.

One object serves under both names, so that an operator is the same class whoever imports it. One tree at a
time has its plugins imported. Where a package `plugins` is installed, that name stays with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType

from orchestrator.sdk.from_source import PACKAGE, FromSource, mark

FOLDER = "plugins"
_PACKAGE = f"{PACKAGE}.{FOLDER}"


def is_plugin(relative: str) -> bool:
    """Whether a path in a tree lies in its folder of plugins."""
    parts = PurePosixPath(relative).parts
    return len(parts) > 1 and parts[0] == FOLDER


def is_plugin_module(relative: str) -> bool:
    """Whether a path in a tree is a plugin: a module in that folder, or the `__init__.py` of one there."""
    path = PurePosixPath(relative)
    inner = path.parent if path.name == "__init__.py" and len(path.parts) == 3 else path
    return path.suffix == ".py" and inner.parts[:-1] == (FOLDER,)


def has_plugins(tree: Path) -> bool:
    """Whether a tree has a folder of plugins."""
    return os.path.isdir(f"{tree}/{FOLDER}")


def enter(tree: Path) -> None:
    """Let the plugins of this tree be imported, and those of no other."""
    if tree == _finder.tree:
        return
    if _finder.tree is not None:
        forget()
    if has_plugins(tree):
        _finder.tree, _finder.signature = tree, _signature(tree)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        _adopt(tree)


def forget() -> None:
    """Let go of the modules of the tree that was entered: what is imported again is executed again.

    Modules that were imported by a script of the author's own, and only taken over, are left to it.
    """
    for name in [name for name in sys.modules if _below(name, _PACKAGE)]:
        module = sys.modules.pop(name)
        alias = name.removeprefix(f"{PACKAGE}.")
        if module.__name__ == name and sys.modules.get(alias) is module:
            del sys.modules[alias]
    _finder.tree = None
    _finder.generation += 1


def refresh(tree: Path) -> None:
    """Let go of the tree's modules where files of its plugins have changed since it was entered."""
    if tree == _finder.tree and _signature(tree) != _finder.signature:
        forget()


def generation() -> int:
    """A number that changes with the modules that are imported."""
    return _finder.generation


def _signature(tree: Path) -> tuple[tuple[str, int, int], ...]:
    files = ((str(file), file.stat()) for file in sorted((tree / FOLDER).rglob("*.py")))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in files)


def _below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _adopt(tree: Path) -> None:
    """Take over what was imported as `plugins.x` before, as a script beside that folder does."""
    folder = tree.resolve() / FOLDER
    for name in [name for name in sys.modules if _below(name, FOLDER)]:
        module = sys.modules[name]
        file = Path(module.__file__ or "").resolve() if hasattr(module, "__file__") else folder
        if file.suffix == ".py" and file.is_relative_to(folder):
            mark(module, tree, file.relative_to(tree.resolve()).as_posix())
        elif str(folder) not in map(str, getattr(module, "__path__", ())):
            continue
        sys.modules[f"{PACKAGE}.{name}"] = module


class _Finder(MetaPathFinder):
    """Finds what lies in the `plugins/` of the tree that was entered."""

    tree: Path | None = None
    signature: tuple[tuple[str, int, int], ...] = ()
    generation = 0

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.tree is None:
            return None
        if _below(name, _PACKAGE):
            return self._in_tree(name, self.tree)
        if _below(name, FOLDER) and self._is_ours(name):
            return ModuleSpec(name, _Alias(f"{PACKAGE}.{name}"))
        return None

    def _in_tree(self, name: str, tree: Path) -> ModuleSpec | None:
        relative = Path(*name.split(".")[1:])
        for file in (relative / "__init__.py", relative.with_name(f"{relative.name}.py")):
            path = (tree / file).resolve()
            if path.is_file():
                loader = FromSource(name, path, tree, file.as_posix())
                return importlib.util.spec_from_file_location(name, path, loader=loader)
        if not (tree / relative).is_dir():
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str((tree / relative).resolve())]
        return spec

    def _is_ours(self, name: str) -> bool:
        """Whether the name means the tree's: nothing that is installed or was imported has it."""
        if name != FOLDER:
            package = sys.modules.get(FOLDER)
            return package is not None and package is sys.modules.get(_PACKAGE)
        assert self.tree is not None
        found = PathFinder.find_spec(FOLDER)
        if found is None or found.origin is None:  # no module, or folders without one
            return True
        return Path(found.origin).resolve().is_relative_to(self.tree.resolve())


class _Alias(Loader):
    """Gives a module under a second name."""

    def __init__(self, name: str) -> None:
        """`name` is the first."""
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import has put that of the second name in its place


_finder = _Finder()
