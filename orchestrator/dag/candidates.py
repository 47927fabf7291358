"""Which files of a tree may hold DAGs: by their names, and by what they say they are about.

Beside DAG files lie modules that they import, data, and `plugins/`, whose modules declare operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

SUFFIXES = (".py", ".yaml", ".yml", ".json")
PLUGINS = "plugins"


def candidates(paths: Iterable[str]) -> list[str]:
    """Those of the paths below a tree whose names are such as a DAG file has, sorted."""
    return sorted(path for path in paths if PurePosixPath(path).suffix in SUFFIXES and not is_plugin(path))


def is_plugin(path: str) -> bool:
    """Whether a path below a tree is in its folder of plugins."""
    return PurePosixPath(path).parts[0] == PLUGINS


def may_hold_dags(path: Path) -> bool:
    """Whether a file says that it is about DAGs. Raises Problems where it is neither YAML nor JSON, and
    what reading raises.
    """
    if path.suffix == ".py":
        return b"DAG" in path.read_bytes()
    from orchestrator.dag.document import SHORT_KEYS
    from orchestrator.dag.yaml_reader import read_json, read_yaml

    text = path.read_text(encoding="utf-8-sig")
    document, _ = (read_json if path.suffix == ".json" else read_yaml)(text, str(path))
    return isinstance(document, Mapping) and not document.keys().isdisjoint({"nodes", *SHORT_KEYS})
