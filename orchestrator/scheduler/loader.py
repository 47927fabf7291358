"""Loads the DAGs of a folder: a frozen copy, read by a child process, stored as the versions that run now."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreError
from orchestrator.scheduler.bundles import Interrupted, Tree, source_of
from orchestrator.settings import Settings
from orchestrator.store import loading, pools
from orchestrator.store.database import Database
from orchestrator.store.loading import Loaded

DAG_FILES = frozenset({".py", ".yaml", ".yml", ".json"})
QUICK = 5.0  # seconds that a file may take before it is set aside, so that the others do not wait for it
PATIENCE = 60.0  # seconds that a file that was set aside may take
_log = logging.getLogger("fustgo.loader")


@dataclass
class Found:
    """What the files of a tree hold: their DAGs, and what is wrong with the others; `folder` is what the tree
    is a copy of. `slow` are those of the errors that took too long.
    """

    tree: Path
    folder: Path
    dags: list[Loaded] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)

    def add(self, file: str, entries: Sequence[dict[str, Any]]) -> None:
        """Take the DAGs of a file, unless another file has one of that id."""
        for entry in entries:
            other = next((dag.file for dag in self.dags if dag.dag_id == entry["id"]), None)
            if other is None:
                self.dags.append(Loaded(entry["id"], file, entry["hash"], entry["document"], entry["stages"]))
            else:
                self.fail(
                    file,
                    f"{self.tree / file}: a second DAG {entry['id']!r}, the first is in {self.tree / other}\n"
                    "  hint: give one of them another id",
                )

    def fail(self, file: str, text: str) -> None:
        """A file cannot be loaded; people are told of the file that they wrote, not of its copy."""
        self.errors[file] = text.replace(f"{self.tree}/", f"{self.folder}/")


def load(
    database: Database,
    settings: Settings,
    stop: int,
    begun: Callable[[Tree, Found], None] = lambda *_: None,
) -> tuple[Tree, Found]:
    """Load the DAGs of `bundle.dags` and make them those that run now.

    A file that cannot be loaded is logged and listed; the last good versions of its DAGs stay. Files that
    take long are set aside: `begun` is told when all others are loaded, and they are read after that. `stop`
    is a descriptor: Interrupted is raised when it becomes readable. Raises UsageError where there is no such
    folder, StoreError where something cannot be written.
    """
    folder = settings.bundle.path / settings.bundle.dags
    bundle = source_of("default", settings.bundle, settings.artifacts.path, stop).look()
    assert bundle is not None  # a first look gives a tree
    found = Found(bundle.root, folder)
    paths = (path.relative_to(bundle.root) for path in bundle.root.rglob("*") if path.suffix in DAG_FILES)
    _parse(found, sorted(path.as_posix() for path in paths), settings.bundle.project, stop, QUICK)
    _store(database, settings, bundle, found)
    begun(bundle, found)
    if found.slow:
        slow, found.slow = found.slow, []
        said = {file: text for file, text in found.errors.items() if file not in slow}
        found.errors = dict(said)
        _parse(found, slow, settings.bundle.project, stop, PATIENCE)
        _store(database, settings, bundle, found, said)
    return bundle, found


def _store(
    database: Database, settings: Settings, bundle: Tree, found: Found, said: Collection[str] = ()
) -> None:
    """Make what was found that which runs now, and log what is wrong, but for the files of `said`."""
    for file, text in found.errors.items():
        if file not in said:
            _log.error("%s", text)
    loading.enter_bundle(database, "default", str(found.folder))
    loading.store_errors(database, found.errors, bundle="default", bundle_version=bundle.version)
    project = str(settings.bundle.project)
    changed = loading.store_loaded(database, found.dags, bundle_version=bundle.version, project=project)
    with database.read() as connection:
        unset = pools.unset_pools(connection) if changed else {}
    for pool, users in unset.items():
        _log.warning("nobody has set pool %r: it has no limit for %s", pool, ", ".join(users[:3]))
    if changed:
        _log.info("loaded %s", ", ".join(changed))


def _parse(found: Found, files: Sequence[str], project: Path, stop: int, patience: float) -> None:
    """Read these files of the tree. One that ends or hangs its process costs that file only."""
    remaining = list(files)
    while remaining:
        try:
            for answer in _answers(found.tree, project, remaining, stop, patience):
                file = remaining.pop(0)
                found.add(file, answer.get("dags", ()))
                if "error" in answer:
                    found.fail(file, answer["error"])
        except _ReaderDied as died:
            file = remaining.pop(0)
            found.fail(file, f"{found.tree / file}: {died}")
            if isinstance(died, _TookTooLong):
                found.slow.append(file)


class _ReaderDied(Exception):
    """The process that reads files has ended, or had to be ended, before the next file was read."""


class _TookTooLong(_ReaderDied):
    """It had to be ended."""


def _answers(
    tree: Path, project: Path, files: Sequence[str], stop: int, patience: float
) -> Iterator[dict[str, Any]]:
    """What a child process of its own says of each file, one after the other."""
    process, channel = _start(tree, project, files)
    try:
        rest = b""
        count = 0
        while count < len(files):
            ready, _, _ = select.select([channel, stop], [], [], patience)
            if stop in ready:
                raise Interrupted
            if not ready:
                raise _TookTooLong(f"reading it has not ended after {patience:g} s")
            data = os.read(channel, 1 << 16)
            if not data:
                raise _ReaderDied(f"it ended the process that read it ({_how(process.wait())})")
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                count += 1
                yield json.loads(line)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(channel)


def _start(tree: Path, project: Path, files: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a process that reads these files; its answers come from the descriptor."""
    receiving, sending = os.pipe()
    command = [sys.executable, "-m", "orchestrator.scheduler.parsing", str(tree), str(sending)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as names:
        names.write("".join(f"{file}\n" for file in files))
        names.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=names,
                stdout=sys.stderr.fileno(),  # what files print when they are imported is no answer
                pass_fds=(sending,),
                env={name: text for name, text in os.environ.items() if not name.startswith("FUSTGO_")},
                cwd=project,
                start_new_session=True,
            )
        except OSError as error:
            os.close(receiving)
            raise StoreError(f"DAG files cannot be read in {project}: {error.strerror}") from error
        finally:
            os.close(sending)
    return process, receiving


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
