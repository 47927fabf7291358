"""Loads the DAGs of a folder: a frozen copy, read by a child process, stored as the versions that run now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.dag.candidates import candidates
from orchestrator.scheduler.bundles import Tree, source_of
from orchestrator.scheduler.parsers import Parsers
from orchestrator.settings import Settings
from orchestrator.store import loading, pools
from orchestrator.store.database import Database
from orchestrator.store.loading import Loaded

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

    def add(self, file: str, dags: Sequence[Loaded]) -> None:
        """Take the DAGs of a file, unless another file has one of that id."""
        for entry in dags:
            other = next((dag.file for dag in self.dags if dag.dag_id == entry.dag_id), None)
            if other is None:
                self.dags.append(entry)
            else:
                self.fail(
                    file,
                    f"{self.tree / file}: a second DAG {entry.dag_id!r}, "
                    f"the first is in {self.tree / other}\n  hint: give one of them another id",
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
    with Parsers(settings.bundle.project, stop) as parsers:
        _parse(found, parsers, candidates(bundle.digests), QUICK)
        _store(database, settings, bundle, found)
        begun(bundle, found)
        if found.slow:
            slow, found.slow = found.slow, []
            said = {file: text for file, text in found.errors.items() if file not in slow}
            found.errors = dict(said)
            _parse(found, parsers, slow, PATIENCE)
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


def _parse(found: Found, parsers: Parsers, files: Sequence[str], patience: float) -> None:
    """Read these files of the tree."""
    for parsed in sorted(parsers.parse(found.tree, files, patience), key=lambda parsed: parsed.file):
        found.add(parsed.file, parsed.dags)
        if parsed.error is not None:
            found.fail(parsed.file, parsed.error)
        if parsed.slow:
            found.slow.append(parsed.file)
