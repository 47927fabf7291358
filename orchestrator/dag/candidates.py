"""Which files of a tree are read: those that may hold DAGs by their names, and plugins.

Beside DAG files lie modules that they import, data, and `plugins/`, whose modules declare operators: each of
those is read too, for what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from orchestrator.sdk.plugin_modules import is_plugin, is_plugin_module

__all__ = ["SUFFIXES", "candidates", "is_plugin", "may_hold_dags"]

SUFFIXES = (".py", ".yaml", ".yml", ".json")


def candidates(paths: Iterable[str]) -> list[str]:
    """Those of the paths below a tree that are read: whose names are such as a DAG file has, and plugins;
    sorted.
    """
    return sorted(path for path in paths if _may_be_a_dag_file(path) or is_plugin_module(path))


def _may_be_a_dag_file(path: str) -> bool:
    return PurePosixPath(path).suffix in SUFFIXES and not is_plugin(path)


def may_hold_dags(path: Path) -> bool:
    """Whether a file says that it is about DAGs. Raises Problems where it is neither YAML nor JSON, and
    what reading raises.
    """
    if path.suffix == ".py":
        return b"DAG" in path.read_bytes()
    from orchestrator.dag.document import SHORT_KEYS
    from orchestrator.dag.yaml_reader import read_json, read_yaml

    text = path.read_text(encoding="utf-8-sig")
    if all(line.startswith("#") for line in map(str.strip, text.splitlines()) if line):
        return False
    document, _ = (read_json if path.suffix == ".json" else read_yaml)(text, str(path))
    return isinstance(document, Mapping) and not document.keys().isdisjoint({"nodes", *SHORT_KEYS})
