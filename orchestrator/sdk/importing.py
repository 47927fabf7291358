"""Importing the Python files of a tree: a file is the module `fustgo_dags.<its path with dots>`.

Parser and runner name a file alike, so a function in it is found again, and the same module object
serves whoever asks. The tree's folder is appended to `sys.path`, never put first: a file of it cannot
take the place of an installed module. A tree's own modules may import each other by either name.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = "fustgo_dags"


class _FromSource(SourceFileLoader):
    """Compiles the source as it is now: bytecode knows a file's time by the second only, and would lie
    about one that was changed twice in it. None is left beside the author's file either.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


@lru_cache(maxsize=4096)
def module_name(relative: str) -> str:
    """The name of a file's module: `team/load.py` is `fustgo_dags.team.load`."""
    return ".".join((PACKAGE, *Path(relative).with_suffix("").parts))


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
    return _execute(tree, relative, name, path)


def import_afresh(tree: Path, relative: str) -> ModuleType:
    """The module of a file, executed now, whatever was imported before: how a DAG file is parsed."""
    return _execute(tree, relative, module_name(relative), (tree / relative).resolve())


def _execute(tree: Path, relative: str, name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {relative} in {tree}")
    _enter(tree, Path(relative).parent.parts)
    spec = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
    if spec is None or spec.loader is None:
        raise ImportError(f"{relative} is not a Python file", name=name, path=str(path))
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__fustgo_path__"] = Path(relative).as_posix()
    module.__dict__["__fustgo_tree__"] = tree
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


def _enter(tree: Path, folders: tuple[str, ...]) -> None:
    """Make the tree's folders packages, for `from . import neighbour`, and end `sys.path` with it."""
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
