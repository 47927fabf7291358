"""The repository as data: its files, its project file, and who imports what."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("orchestrator", "operators", "webui")


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, under version control; links to folders are not followed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in names.split("\0") if name and (path := ROOT / name).exists())


@cache
def python_files() -> tuple[Path, ...]:
    """The Python files among them."""
    return tuple(path for path in files() if path.suffix == ".py" and path.is_file())


def product_files() -> Iterator[Path]:
    """The Python files that the wheel ships; the migrations travel inside the store."""
    for path in python_files():
        if path.relative_to(ROOT).parts[0] in {*PACKAGES, "migrations"}:
            yield path


@cache
def project() -> dict[str, Any]:
    """The project file."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The modules that a file imports, anywhere in it, each with its line."""
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def shown(path: Path, line: int = 0) -> str:
    """A place in the repository, as a failing test prints it."""
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))
