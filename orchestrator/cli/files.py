"""What commands that are given a DAG file have in common: loading, choosing, checking, compiling."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.client import Definition
    from orchestrator.dag.discovery import LoadedDag
    from orchestrator.dag.validation import Checked
    from orchestrator.sdk.registry import Registry


def is_file(text: str) -> bool:
    """Whether a word of the command line means a DAG file, rather than the id of a loaded DAG."""
    path = Path(text)
    return path.suffix in (".py", ".yaml", ".yml", ".json") or len(path.parts) > 1 or path.exists()


def add_file_arguments(parser: argparse.ArgumentParser, *, loaded: bool = False) -> None:
    """FILE, --dag and --project; where `loaded`, a DAG of the services may stand in place of the file."""
    name, what = ("FILE|DAG", ", or the id of a loaded DAG") if loaded else ("FILE", "")
    parser.add_argument("file", type=Path, metavar=name, help=f"a DAG file: Python, YAML or JSON{what}")
    parser.add_argument("--dag", metavar="ID", help="which DAG, where the file has several")
    parser.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="folder against which data paths resolve (default: where the command starts)",
    )


@dataclass(frozen=True)
class Opened:
    """A DAG file that was read: the DAG, and what its check found. `schemas` of inputs are as discovered."""

    loaded: LoadedDag
    checked: Checked
    project: Path

    def definition(self) -> Definition:
        """What the store is given; raises `Problems` where the check found any."""
        from orchestrator.client import Definition
        from orchestrator.dag.graph import compile_stages
        from orchestrator.errors import Problems

        if self.checked.problems:
            raise Problems(self.checked.problems)
        dag = self.loaded.dag
        stages = compile_stages(dag, self.loaded.registry, self.checked.operators)
        return Definition(dag, stages, self.loaded.file, self.loaded.tree, self.project)


def open_file(args: argparse.Namespace, registry: Registry, meant: str | None = None) -> Opened:
    """Load the file, choose the DAG, look at its inputs, and check it.

    Of several DAGs that one which --dag names, or else `meant`.
    """
    from orchestrator.dag.discovery import load_one
    from orchestrator.dag.validation import check
    from orchestrator.engine.discovery import discovered
    from orchestrator.errors import UsageError

    project = (args.project or Path.cwd()).resolve()
    if not project.is_dir():
        raise UsageError(f"--project {args.project} is no folder", hint="name the folder of the data paths")
    loaded = load_one(args.file, registry=registry, dag_id=args.dag, meant=meant)
    known = discovered(loaded.dag, loaded.registry, project=project, tree=loaded.tree)
    return Opened(loaded, check(loaded.dag, loaded.marks, loaded.registry, known), project)
