"""Reads DAG files of a frozen tree, in a process of its own: what they run never runs in the scheduler.

`python -m orchestrator.scheduler.parsing TREE DESCRIPTOR` takes names of files from standard input, one a
line, and writes one JSON object a file to the descriptor, in their order: its `dags` (each `id`, `hash`,
`document`, `stages`) or the `error` that it has.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from orchestrator.dag.discovery import load_file
from orchestrator.dag.document import SHORT_KEYS
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.validation import check
from orchestrator.errors import FustgoError
from orchestrator.sdk.registry import Registry


def main(tree: Path, answers: TextIO) -> None:
    """Read every file that is named on standard input."""
    registry = Registry()
    for line in sys.stdin:
        answers.write(json.dumps(_read(tree, line.rstrip("\n"), registry)) + "\n")
        answers.flush()


def _read(tree: Path, file: str, registry: Registry) -> dict[str, Any]:
    try:
        path = tree / file
        if not _may_hold_dags(path):
            return {"dags": []}
        return {"dags": _dags(path, tree, registry)}
    except FustgoError as error:
        return {"error": str(error)}
    except Exception:  # a defect of ours, or of a plugin: the other files are still read
        return {"error": traceback.format_exc()}


def _may_hold_dags(path: Path) -> bool:
    """Whether a file says that it is about DAGs: modules and data lie beside them."""
    if path.suffix == ".py":
        return b"DAG" in path.read_bytes()
    from orchestrator.dag.yaml_reader import read_json, read_yaml

    text = path.read_text(encoding="utf-8-sig")
    document, _ = (read_json if path.suffix == ".json" else read_yaml)(text, str(path))
    return isinstance(document, Mapping) and not document.keys().isdisjoint({"nodes", *SHORT_KEYS})


def _dags(path: Path, tree: Path, registry: Registry) -> list[dict[str, Any]]:
    found = []
    for loaded in load_file(path, registry=registry, tree=tree, may_be_empty=True):
        checked = check(loaded.dag, loaded.marks, registry).or_raise()
        found.append(
            {
                "id": loaded.dag.id,
                "hash": loaded.dag.hash(),
                "document": loaded.dag.to_document(),
                "stages": compile_stages(loaded.dag, registry, checked.operators).to_json(),
            }
        )
    return found


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as channel:
        main(Path(sys.argv[1]), channel)
    os._exit(0)  # threads of what the files imported are not waited for
