"""Which file systems can hold the database: locks and shared memory must work, so none over a network."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.errors import StoreError

_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs"}
    | {"nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs"}
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.unionfs"})  # a container's own root, without privileges


def type_of(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that holds a path, as /proc/self/mountinfo (or `mounts`) lists it."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8") if mounts is None else mounts
    place = str(path.resolve())
    found, longest = "", -1
    for line in text.splitlines():
        mount, _, source = line.partition(" - ")
        point = _unescaped(mount.split()[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # a later mount on the same point hides the earlier
            found, longest = source.split()[0], len(point)
    return found


def refuse_network(path: Path, mounts: str | None = None) -> None:
    """Raise StoreError where the path lies on a file system whose locks are not to be trusted."""
    kind = type_of(path, mounts)
    if kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        raise StoreError(
            f"{path} is on a network file system ({kind}): SQLite's locks are not reliable there",
            hint="put the home on a local disk (FUSTGO_HOME), or only the database (database.url)",
        )


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
