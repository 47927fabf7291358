"""What one file of a frozen tree holds, read in the process at hand: its code runs here."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.dag import yaml_reader
from orchestrator.dag.builder import DAG, collecting
from orchestrator.dag.candidates import is_plugin, may_hold_dags
from orchestrator.dag.discovery import LoadedDag, load_file
from orchestrator.dag.document import draft_of
from orchestrator.dag.graph import compile_stages
from orchestrator.dag.params import default_params
from orchestrator.dag.reading import read
from orchestrator.dag.validation import check
from orchestrator.errors import FustgoError
from orchestrator.kept import fitting
from orchestrator.sdk.registry import Registry

Answer: TypeAlias = dict[str, Any]
"""`dags` (each `id`, `hash`, `document`, `stages`, `params`) or the `error`, and the `imports`."""

OURS = "fustgo"  # the distribution whose operators are imported beforehand
PRELOADED = (
    "polars", "pyarrow.compute", "jinja2.sandbox", "apscheduler.triggers.cron", "networkx",
    "encodings.utf_8_sig",
)  # fmt: skip
_REHEARSED = """
id: rehearsal
schedule: "0 5 * * *"
start_date: 2026-01-01
params: {day: "2026-01-01"}
nodes:
  - {id: first, type: bash, config: {command: "true", env: {DAY: "{{ params.day }}"}}}
  - {id: second, type: bash, config: {command: "true"}, after: first}
"""


def read_file(tree: Path, file: str, registry: Registry) -> Answer:
    """The DAGs of a file (a plugin has none), or what is wrong with it, and the modules of the tree that it
    has imported so far.

    Whatever the file raises is its error; it is for the caller to survive what it does beyond that.
    """
    imported = record_imports(tree)
    answer: Answer = {"dags": []}
    try:
        path = tree / file
        if is_plugin(file):
            answer |= _plugin(tree, file, registry)
        elif may_hold_dags(path):
            loaded = load_file(path, registry=registry, tree=tree, may_be_empty=True)
            answer["dags"] = [_entry(one) for one in loaded]
    except FustgoError as error:
        answer = {"error": str(error)}
    except KeyboardInterrupt:
        answer = {"error": f"{tree / file}: it raises KeyboardInterrupt when it is imported"}
    except BaseException:  # a defect of ours, or of an operator's plugin
        answer = {"error": f"{tree / file}: reading it has failed\n{traceback.format_exc()}"}
    if "error" in answer:
        answer["error"] = fitting(answer["error"])
    answer["imports"] = sorted(path for path in imported if path != file and not is_plugin(path))
    return answer


def _plugin(tree: Path, file: str, registry: Registry) -> Answer:
    """What is wrong with a plugin: alone, beside the others, or beside what is installed."""
    error = registry.of_tree(tree).plugins.errors.get(file)
    return {} if error is None else {"error": error}


def _entry(loaded: LoadedDag) -> dict[str, Any]:
    checked = check(loaded.dag, loaded.marks, loaded.registry).or_raise()
    return {
        "id": loaded.dag.id,
        "hash": loaded.dag.hash(),
        "document": loaded.dag.to_document(),
        "stages": compile_stages(loaded.dag, loaded.registry, checked.operators).to_json(),
        "params": default_params(loaded.dag),
    }


def record_imports(tree: Path) -> set[str]:
    """A set that this process adds every module of the tree to, by its path below it, from now on.

    Heard is what Python compiles and executes, by the file it is from: so neither the name that a module is
    imported under matters, nor whether its import fails.
    """
    roots = tuple({f"{tree}{os.sep}", f"{tree.resolve()}{os.sep}"})
    found: set[str] = set()

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":
            name = getattr(arguments[0], "co_filename", "")
        elif event == "compile":
            name = arguments[1]
        else:
            return
        name = os.fsdecode(name) if isinstance(name, bytes) else name
        if isinstance(name, str) and name.startswith(roots):
            found.add(Path(name[len(next(root for root in roots if name.startswith(root))) :]).as_posix())

    sys.addaudithook(hear)
    return found


def prepare() -> Registry:
    """Import what reading needs, and read once what has no use for a library's threads. Which operators
    there are comes back.

    Plugins of others are imported where they are used: they might start threads, or not come back.
    """
    for library in PRELOADED:
        importlib.import_module(library)
    registry = Registry()
    for entry in registry.entries:
        if entry.dist is not None and entry.dist.name == OURS:
            registry.kinds(entry.name)
            _import_beside(entry.module)
    for loaded in _rehearsed(registry):
        _entry(loaded)
    return registry


def _import_beside(module: str) -> None:
    """Import what an operator's module imports only when it is used: else every file would do so."""
    package = module.rpartition(".")[0]
    if not package.startswith("orchestrator"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(found.name)


def _rehearsed(registry: Registry) -> Iterator[LoadedDag]:
    document, marks = yaml_reader.read_yaml(_REHEARSED, "rehearsal")
    nowhere = Path(os.devnull)
    dag = read(draft_of(document, marks, default_id="rehearsal"), registry)
    yield LoadedDag(dag, marks, nowhere, nowhere, registry)
    with collecting() as drafts, DAG("rehearsal", schedule="@daily"):
        [action] = registry.kinds("bash").values()
        action("first", command="true") >> action("second", command="true")  # type: ignore[call-arg]
    yield LoadedDag(read(drafts[0], registry), drafts[0].marks, nowhere, nowhere, registry)
