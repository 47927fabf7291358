"""Importing the Python files of a tree: a file is the module `fustgo_dags.<its path with dots>`.

Parser and runner name a file alike, so a function in it is found again, and the same module object
serves whoever asks. The tree's folder is appended to `sys.path`, never put first: a file of it cannot
take the place of an installed module. A tree's own modules may import each other by either name; those of its
`plugins/` are one object under both (`plugin_modules`).
"""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from orchestrator.sdk import plugin_modules
from orchestrator.sdk.from_source import PACKAGE, FromSource


@lru_cache(maxsize=4096)
def module_name(relative: str) -> str:
    """A file's module: `a/b.py` is `fustgo_dags.a.b`, `a/__init__.py` is `fustgo_dags.a`."""
    parts = Path(relative).with_suffix("").parts
    return ".".join((PACKAGE, *(parts[:-1] if parts[1:] and parts[-1] == "__init__" else parts)))


def relative_path(name: str) -> str | None:
    """The path in its tree of a module of that name; None where it is not a tree's module."""
    module = sys.modules.get(name)
    path: str | None = getattr(module, "__fustgo_path__", None)
    return path


def import_file(tree: Path, relative: str) -> ModuleType:
    """The module of a file, imported at most once per process and tree.

    Raises what the file raises, and FileNotFoundError where there is no such file.
    """
    name = module_name(relative)
    found = sys.modules.get(name)
    if found is not None and getattr(found, "__fustgo_tree__", None) == tree:
        return found
    path = (tree / relative).resolve()
    if found is not None and getattr(found, "__file__", None) == str(path):
        return found
    if plugin_modules.is_plugin(relative) and path.is_file():
        enter(tree)
        return importlib.import_module(name)
    return _execute(tree, relative, name, path)


def import_afresh(tree: Path, relative: str) -> ModuleType:
    """The module of a file, executed now, whatever was imported before: how a DAG file is parsed."""
    return _execute(tree, relative, module_name(relative), (tree / relative).resolve())


def _execute(tree: Path, relative: str, name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {relative} in {tree}")
    enter(tree, Path(relative).parent.parts)
    loader = FromSource(name, path, tree, Path(relative).as_posix())
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise ImportError(f"{relative} is not a Python file", name=name, path=str(path))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module


def enter(tree: Path, folders: tuple[str, ...] = ()) -> None:
    """Make the tree's folders packages, for `from . import neighbour`, and end `sys.path` with it. Its
    plugins can be imported then, those of another tree no more.
    """
    plugin_modules.enter(tree)
    folder = tree.resolve()
    name = PACKAGE
    _package(name, folder)
    for part in folders:
        name, folder = f"{name}.{part}", folder / part
        _package(name, folder)
    if str(tree.resolve()) not in sys.path:
        sys.path.append(str(tree.resolve()))


def _package(name: str, folder: Path) -> None:
    found = sys.modules.get(name)
    if found is not None and list(getattr(found, "__path__", [])) == [str(folder)]:
        return
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
