"""Modules of a tree, compiled from their source, and marked with where they are from."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

PACKAGE = "fustgo_dags"


def mark(module: ModuleType, tree: Path, relative: str) -> None:
    """Note which file of which tree a module is: its functions are stored under that path."""
    module.__dict__["__fustgo_path__"] = relative
    module.__dict__["__fustgo_tree__"] = tree


class FromSource(SourceFileLoader):
    """Compiles the source as it is now: bytecode knows a file's time by the second only, and would lie
    about one that was changed twice in it. None is left beside the author's file either.
    """

    def __init__(self, name: str, path: Path, tree: Path, relative: str) -> None:
        """`relative` is the file's path in its tree."""
        super().__init__(name, str(path))
        self._tree, self._relative = tree, relative

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        mark(module, self._tree, self._relative)
        super().exec_module(module)
