"""The artifact store: one folder for the files of runs. The engine writes them; this names and prunes.

Layout: `runs/RUN_UID/...`, since uids are never given again. Nothing is ever removed by a prefix or a
pattern: only the folder of a run that is named, or files named one by one (rule 3.3).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import StoreError

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def run_folder(root: Path, run_uid: str, *, create: bool = False) -> Path:
    """The folder of a run's files, made (0700) where asked for; raises ValueError for what is no uid."""
    if not _UID.fullmatch(run_uid):
        raise ValueError(f"{run_uid!r} is not the uid of a run")
    folder = root / "runs" / run_uid
    if create:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot create {folder}: {error.strerror}",
                hint="artifacts.path must be a folder you can write",
            ) from error
    return folder


def bundle_tree(root: Path, bundle_version: str) -> Path:
    """Where the frozen copy of a bundle's code lies, in that version."""
    return root / "bundles" / bundle_version


def list_files(root: Path, run_uid: str) -> list[str]:
    """The files of a run, as paths below its folder, sorted; none where it has no folder."""
    folder = run_folder(root, run_uid)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def remove_files(root: Path, run_uid: str, names: Iterable[str]) -> None:
    """Remove these files of a run, and the folders that they leave empty. Gone already is gone.

    Raises ValueError for a name that leads out of the run's folder.
    """
    folder = run_folder(root, run_uid)
    for name in names:
        path = folder / name
        if ".." in path.parts or not path.is_relative_to(folder) or path == folder:
            raise ValueError(f"{name!r} is not a file of run {run_uid}")
        path.unlink(missing_ok=True)
        _remove_empty(path.parent, folder)


def remove_run(root: Path, run_uid: str) -> None:
    """Remove all files of a run: of one that is pruned. The folder is renamed away first, so that a stop
    half-way leaves nothing that looks whole.
    """
    folder = run_folder(root, run_uid)
    leaving = folder.with_name(f".{run_uid}.leaving")
    if folder.exists():
        folder.rename(leaving)
    if leaving.exists():
        shutil.rmtree(leaving)


def _remove_empty(folder: Path, stop: Path) -> None:
    while folder != stop and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
