"""Where DAG files come from: a folder that is watched, or a git repository that is asked.

A source is looked at again and again. Each look that finds other code gives a frozen tree: what runs import
stays as it was, whatever the author does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.settings.bundles import BundleSettings


class Interrupted(Exception):
    """A look was told to stop."""


@dataclass(frozen=True)
class Tree:
    """A frozen copy of a bundle's code.

    `artifacts.bundle_tree(artifacts, version)` is `root`; `digests` has each file of code in it by its path
    below the root: the SHA-256 of its bytes, in hex.
    """

    version: str
    root: Path
    digests: Mapping[str, str]


class Source(Protocol):
    """Where the files of one bundle come from."""

    @property
    def name(self) -> str:
        """What the bundle is called."""

    @property
    def shown(self) -> str:
        """The folder, or `repository@ref`; without passwords."""

    @property
    def folder(self) -> str:
        """What people are told that paths are below, where `root` stands in a message."""

    @property
    def interval(self) -> float:
        """Seconds between two looks."""

    def look(self) -> Tree | None:
        """The code as it is now; None where it is what the last look that gave a tree had.

        Raises a FustgoError where it cannot be read or copied: the next look tries again, and the last tree
        stays good. Raises Interrupted where it was told to stop.
        """


def source_of(name: str, settings: BundleSettings, artifacts: Path, stop: int | None = None) -> Source:
    """The source of the bundle of this name. Nothing is read yet.

    `stop` is a descriptor: a look under way when it becomes readable raises Interrupted. Raises UsageError
    for a repository with a password that git cannot use.
    """
    interval = settings.interval.total_seconds()
    if settings.git is None:
        from orchestrator.scheduler.bundles.folder import Folder

        return Folder(name, settings.path / settings.dags, artifacts, settings.include, interval, stop)
    from orchestrator.scheduler.bundles.git import Repository
    from orchestrator.scheduler.bundles.remote import remote_of

    remote, ref = remote_of(settings.git), settings.ref
    return Repository(name, remote, ref, settings.dags, artifacts, settings.include, interval, stop)
