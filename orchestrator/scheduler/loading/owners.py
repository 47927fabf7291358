"""Which file of a bundle has a DAG, where several say so. Pure."""

from __future__ import annotations

from collections.abc import Mapping


class Owners:
    """The ids that files have. Whoever had an id at the last `settle` keeps it while it has it at all; what
    is new belongs to the file that comes first by name.
    """

    def __init__(self, stored: Mapping[str, frozenset[str]]) -> None:
        """`stored`: what each file had when its bundle was last loaded."""
        self._files: dict[str, set[str]] = {}
        self._ids: dict[str, frozenset[str]] = {}
        for file, ids in stored.items():
            self.put(file, ids)
        self._owners = {dag_id: file for file, ids in stored.items() for dag_id in ids}

    def put(self, file: str, ids: frozenset[str]) -> None:
        """This is what the file has now."""
        for dag_id in self._ids.pop(file, frozenset()):
            self._files[dag_id].discard(file)
        for dag_id in ids:
            self._files.setdefault(dag_id, set()).add(file)
        if ids:
            self._ids[file] = ids

    def contested(self, dag_id: str, file: str) -> bool:
        """Whether another file has this id too."""
        return not self._files.get(dag_id, set()) <= {file}

    def settle(self) -> None:
        """All files have been parsed: decide."""
        self._owners = {dag_id: self._owner(dag_id, files) for dag_id, files in self._files.items() if files}

    def _owner(self, dag_id: str, files: set[str]) -> str:
        before = self._owners.get(dag_id)
        return before if before in files else min(files)

    def of(self, dag_id: str) -> str | None:
        """The file that has this id, as last decided."""
        return self._owners.get(dag_id)

    def owned_by(self, file: str) -> frozenset[str]:
        """The ids that a file has, without those that are another's."""
        return frozenset(
            dag_id for dag_id in self._ids.get(file, frozenset()) if self._owners.get(dag_id) == file
        )

    @property
    def ids(self) -> frozenset[str]:
        """All ids that a file has."""
        return frozenset(self._owners)

    def doubles(self) -> dict[str, tuple[str, str]]:
        """The files of which a DAG is another's, each with the first such id and who has it."""
        found: dict[str, tuple[str, str]] = {}
        for dag_id, files in sorted(self._files.items()):
            for file in files:
                if len(files) > 1 and file != self._owners[dag_id]:
                    found.setdefault(file, (dag_id, self._owners[dag_id]))
        return found
