"""From a file to its DAGs: Python, YAML or JSON.

A Python file is imported; what it raises becomes a problem at the author's line. Nothing is validated
here: `validation.check` does that, with what reading found.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import extract_tb
from types import TracebackType

from orchestrator.dag.candidates import SUFFIXES
from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Dag
from orchestrator.dag.reading import read
from orchestrator.errors import FustgoError, Problem, Problems, UsageError
from orchestrator.sdk import plugin_modules
from orchestrator.sdk.decorated import functions_of
from orchestrator.sdk.ports import Place
from orchestrator.sdk.registry import Registry


@dataclass(frozen=True)
class LoadedDag:
    """A DAG as its file says it. `file` and `tree` are absolute; functions are found below `tree`, and its
    plugins are in `registry`.
    """

    dag: Dag
    marks: Marks
    file: Path
    tree: Path
    registry: Registry


def load_file(
    path: Path, *, registry: Registry, tree: Path | None = None, may_be_empty: bool = False
) -> list[LoadedDag]:
    """The DAGs of a file, unchecked; `tree` is the folder of its code, by default the file's own.

    Raises `UsageError` where the file cannot be read, or is Python and defines none though it may not
    (`may_be_empty`), `Problems` where nothing can be made of it.
    """
    file = path.absolute()
    root = (tree or file.parent).absolute()
    plugin_modules.refresh(root)
    registry = registry.of_tree(root)
    text = _read(path)
    if file.suffix == ".py":
        return _from_python(file, root, path, registry, may_be_empty)
    from orchestrator.dag.document import draft_of
    from orchestrator.dag.yaml_reader import read_json, read_yaml

    document, marks = (read_json if file.suffix == ".json" else read_yaml)(text, str(path))
    marks.tree = root
    draft = draft_of(document, marks, default_id=file.stem)
    with functions_of(root):
        return [LoadedDag(read(draft, registry), marks, file, root, registry)]


def load_one(
    path: Path,
    *,
    registry: Registry,
    tree: Path | None = None,
    dag_id: str | None = None,
    meant: str | None = None,
) -> LoadedDag:
    """The one DAG of a file, or that of an id among several; `UsageError` names those there are.

    Of several that fit, the one of the id `meant` is chosen, where it is there.
    """
    loaded = load_file(path, registry=registry, tree=tree)
    chosen = [entry for entry in loaded if dag_id in (None, entry.dag.id)]
    if len(chosen) > 1:
        chosen = [entry for entry in chosen if entry.dag.id == meant] or chosen
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(entry.dag.id for entry in loaded)
    if not chosen:
        raise UsageError(f"{path} holds no DAG {dag_id!r}", hint=f"it holds {names}")
    raise UsageError(
        f"{path} holds several DAGs: {names}",
        hint="say which with --dag ID, or keep each in a file of its own",
    )


def _read(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is no DAG file", hint=f"its name must end in {', '.join(SUFFIXES)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", hint=_neighbours(path)) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder", hint="name one DAG file in it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start + 1})") from None
    if not text.strip():
        raise UsageError(f"{path} is empty")
    return text


def _neighbours(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in SUFFIXES)
    except OSError:
        return ""
    from orchestrator.errors import nearest

    return nearest(path.name, names)


def _from_python(
    file: Path, tree: Path, shown: Path, registry: Registry, may_be_empty: bool
) -> list[LoadedDag]:
    from orchestrator.dag.builder import collecting
    from orchestrator.sdk.importing import import_afresh

    try:
        relative = file.resolve().relative_to(tree.resolve())
    except ValueError:
        raise UsageError(f"{shown} lies outside the tree {tree}") from None
    with collecting() as drafts, functions_of(tree):
        try:
            import_afresh(tree, relative.as_posix())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise Problems([_problem(error, file, shown)]) from error
    if not drafts and not may_be_empty:
        raise UsageError(f"{shown} defines no DAG", hint='write `with DAG("name") as dag:` at its top level')
    loaded = []
    with functions_of(tree):
        for draft in drafts:
            _show_as(draft.marks, file, shown)
            draft.marks.tree = tree
            loaded.append(LoadedDag(read(draft, registry), draft.marks, file, tree, registry))
    _refuse_doubles(loaded)
    return loaded


def _refuse_doubles(loaded: list[LoadedDag]) -> None:
    for index, entry in enumerate(loaded):
        if entry.dag.id in [other.dag.id for other in loaded[:index]]:
            entry.marks.add(("id",), f"a second DAG {entry.dag.id!r} in one file", hint="give it another id")


def _show_as(marks: Marks, file: Path, shown: Path) -> None:
    """Name the file as the user named it, in every place."""
    names = {str(file), str(file.resolve())}

    def renamed(place: Place) -> Place:
        return replace(place, file=str(shown)) if place.file in names else place

    marks.file = str(shown)
    marks.places = {path: renamed(place) for path, place in marks.places.items()}
    marks.edges = {edge: renamed(place) for edge, place in marks.edges.items()}


def _problem(error: BaseException, file: Path, shown: Path) -> Problem:
    if isinstance(error, SyntaxError) and error.filename:
        name = str(shown) if Path(error.filename) == file.resolve() else error.filename
        return Problem(name, error.lineno or 0, error.offset or 0, f"not Python: {error.msg}")
    name, line = _author_line(error.__traceback__, file)
    place = f"{name}:{line}: "
    name = str(shown) if Path(name) == file.resolve() else name
    if isinstance(error, FustgoError):
        return Problem(name, line, 0, error.message.removeprefix(place), error.hint)
    if isinstance(error, SystemExit):
        return Problem(
            name,
            line,
            0,
            "the file ends the process when it is imported",
            'put what should not run then below `if __name__ == "__main__":`',
        )
    return Problem(name, line, 0, f"{type(error).__name__}: {error}")


def _author_line(trace: TracebackType | None, file: Path) -> tuple[str, int]:
    """The innermost line outside of libraries and this program: the author's own."""
    ours = str(Path(__file__).parents[2] / "orchestrator") + os.sep
    for frame in reversed(extract_tb(trace)):
        outside = frame.filename.startswith((ours, sys.prefix, sys.base_prefix, "<frozen"))
        if frame.filename in (str(file), str(file.resolve())) or not outside:
            return frame.filename, frame.lineno or 0
    return str(file.resolve()), 0
