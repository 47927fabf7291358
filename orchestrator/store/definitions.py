"""Definitions by version, parsed once a process: what claims, finishes and orders read of a DAG.

A version's row never changes, so that what was read once holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orchestrator.dag.stages import StageGraph
from orchestrator.store import dags
from orchestrator.store.database import Database

T = TypeVar("T")

KEPT = 256  # versions


class Definitions:
    """The versions of one store, by their rows' ids: the least recently used go first.

    Asked for versions of committed runs only: the id of one that is rolled back may be given again.
    """

    def __init__(self, database: Database, kept: int = KEPT) -> None:
        self._database, self._kept = database, kept
        self._graphs: OrderedDict[int, StageGraph] = OrderedDict()
        self._documents: OrderedDict[int, Mapping[str, Any]] = OrderedDict()

    def graph(self, version: int) -> StageGraph:
        """The stage graph."""
        return self._once(self._graphs, version, self._read_graph)

    def document(self, version: int) -> Mapping[str, Any]:
        """The canonical DAG document; whoever gets it leaves it as it is."""
        return self._once(self._documents, version, self._read_document)

    def nodes(self, version: int, stage: str) -> tuple[str, ...]:
        """The ids of the nodes of a stage; KeyError where the version has no such stage."""
        return self.graph(version)[stage].nodes

    def _once(self, cache: OrderedDict[int, T], version: int, read: Callable[[int], T]) -> T:
        if version in cache:
            cache.move_to_end(version)
        else:
            cache[version] = read(version)
            if len(cache) > self._kept:
                cache.popitem(last=False)
        return cache[version]

    def _read_graph(self, version: int) -> StageGraph:
        with self._database.read() as connection:
            return dags.graph_of(connection, version)

    def _read_document(self, version: int) -> Mapping[str, Any]:
        with self._database.read() as connection:
            return dags.get_version(connection, version).document
