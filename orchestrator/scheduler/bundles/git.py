"""A bundle that is a git repository: its ref is followed, and each commit of it is a tree."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import FustgoError, UsageError
from orchestrator.scheduler.bundles import Tree
from orchestrator.scheduler.bundles.command import SILENCE, Git
from orchestrator.scheduler.bundles.frozen import TreeClaim, claim, digest
from orchestrator.scheduler.bundles.ignore import included
from orchestrator.scheduler.bundles.mirror import Mirror
from orchestrator.scheduler.bundles.remote import Remote
from orchestrator.scheduler.bundles.scan import scan
from orchestrator.store.artifacts import bundle_tree

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_log = logging.getLogger("fustgo.loader")


class Repository:
    """The source of a bundle that is a repository.

    A look asks the remote for the commit that `ref` is: a branch, a tag, `refs/...`, or a full commit id,
    which is known already; none is the branch of its HEAD. A tree is the folder `dags` of the checkout of
    that commit, which holds all that the commit does, but for submodules, the contents of Git LFS, and links
    that lead out. `digests` are those of what is code in that folder.
    """

    def __init__(
        self,
        name: str,
        remote: Remote,
        ref: str | None,
        dags: Path,
        artifacts: Path,
        include: Sequence[str] = (),
        poll: float = 60.0,
        stop: int | None = None,
        silence: float = SILENCE,
    ) -> None:
        self.name, self.shown = name, f"{remote.url}@{ref or 'HEAD'}"
        self.interval = poll
        self._folder = dags.as_posix() if dags.parts else ""
        self.folder = f"{self.shown}/{self._folder}" if self._folder else self.shown
        self._ref, self._artifacts, self._include = ref or "HEAD", artifacts, included(include)
        self._git = Git(remote, stop, silence)
        self._mirror = Mirror(self._git, artifacts)
        self._claim = TreeClaim(artifacts)
        self._told: set[tuple[str, str]] = set()
        self._commit, self._tree = "", Tree("", Path(), {})

    def look(self) -> Tree | None:
        """The tree of the commit that the ref is now; None where it is still the same. See `Source.look`."""
        ref, commit = self._resolved()
        if commit == self._commit and self._claim.holds(self._tree):
            return None
        if not claim(self._artifacts, commit):
            commit = self._mirror.check_out(ref, commit)
        if _COMMIT.fullmatch(self._ref) and commit != self._ref:
            raise UsageError(f"{self.shown} is no commit", hint=f"write {commit} as bundle.ref, or a name")
        self._tree, self._commit = self._tree_of(commit), commit
        return self._tree

    def _resolved(self) -> tuple[str, str]:
        """The full name of the ref, and the commit that it is."""
        if _COMMIT.fullmatch(self._ref):
            return self._ref, self._ref
        if self._ref == "HEAD" or self._ref.startswith("refs/"):
            names = [self._ref]
        else:
            names = [f"refs/heads/{self._ref}", f"refs/tags/{self._ref}"]
        asked = [f"{name}{peeled}" for name in names for peeled in ("", "^{}")]
        said = self._git.run("ls-remote", "--", self._git.remote.url, *asked)
        found = {name: commit for commit, _, name in (line.partition("\t") for line in said.splitlines())}
        return self._chosen(
            [(name, found.get(f"{name}^{{}}", found[name])) for name in names if name in found]
        )

    def _chosen(self, found: Sequence[tuple[str, str]]) -> tuple[str, str]:
        if not found:
            raise FustgoError(
                f"{self._git.remote.url} has no branch or tag {self._ref!r}"
                if self._ref != "HEAD"
                else f"{self._git.remote.url} has no HEAD: it is empty, or its HEAD names no branch of it",
                hint="name one that is there in bundle.ref, or a commit by its full id; "
                "the last version stays until then",
            )
        if len({commit for _, commit in found}) > 1:
            raise FustgoError(
                f"{self._git.remote.url} has both a branch and a tag {self._ref!r}",
                hint=f"write bundle.ref as {found[0][0]} or {found[1][0]}",
            )
        return found[0]

    def _tree_of(self, commit: str) -> Tree:
        version = f"{commit}/{self._folder}" if self._folder else commit
        root = bundle_tree(self._artifacts, version)
        if not os.path.isdir(root):
            raise UsageError(
                f"{self.shown} has no folder {self._folder!r} in commit {commit}",
                hint="name the folder of DAG files in bundle.dags; `.` is the repository itself",
            )
        try:
            seen = scan(root, self._include)
            digests = {path: digest((root / path).read_bytes()) for path in seen.files}
        except FustgoError as error:
            raise type(error)(error.message.replace(str(root), self.folder), hint=error.hint) from error
        except OSError as error:
            raise FustgoError(f"the checkout {root} cannot be read: {error.strerror}") from error
        for path, why in sorted(seen.left_out.items() - self._told):
            _log.warning("%s/%s %s: it is not loaded with the DAGs", self.folder, path, why)
        self._told |= seen.left_out.items()
        return Tree(version, root, digests)
