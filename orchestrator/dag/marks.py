"""Where each thing of a DAG stands in its file. Kept apart from the Dag, whose value it must not change.

A path names a thing: `("schedule",)`, `("nodes", 2, "config", "path")`; nodes count in declared order.
What was wrong already when the file was read waits here for the validator, so that all is told at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path as FolderPath
from typing import TypeAlias

from orchestrator.dag.model import Edge
from orchestrator.errors import Problem
from orchestrator.sdk.ports import Place

Path: TypeAlias = tuple[str | int, ...]


@dataclass
class Marks:
    """The places of one DAG. `tree` is the folder of its code, where functions named by a path are found."""

    file: str = ""
    tree: FolderPath | None = None
    places: dict[Path, Place] = field(default_factory=dict)
    edges: dict[Edge, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def at(self, path: Iterable[str | int]) -> Place:
        """The place of a thing, or of the nearest one around it."""
        left = tuple(path)
        while left not in self.places and left:
            left = left[:-1]
        return self.places.get(left, Place(self.file))

    def problem(self, path: Iterable[str | int], message: str, *, hint: str = "", value: str = "") -> Problem:
        """A finding at the place of a thing."""
        return _problem(self.at(path), message, hint, value)

    def edge_problem(self, edge: Edge, message: str, *, hint: str = "", value: str = "") -> Problem:
        """A finding at the place where an edge was wired."""
        return _problem(self.edges.get(edge, Place(self.file)), message, hint, value)

    def add(self, path: Iterable[str | int], message: str, *, hint: str = "", value: str = "") -> None:
        """Keep a finding for the validator."""
        self.problems.append(self.problem(path, message, hint=hint, value=value))


def _problem(place: Place, message: str, hint: str, value: str) -> Problem:
    return Problem(place.file, place.line, place.column, message, hint, value)


def shown(value: object) -> str:
    """A value as an error shows it: one short line."""
    text = repr(value) if not isinstance(value, str) else value
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
