"""Which operators there are: built-in and third-party ones arrive by the same entry points.

An entry of group `fustgo.operators` is named after the type and points at a module; it is imported
only when the type is asked for. The registry is a value: `with_operators` and `of_tree` give other ones.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, nearest
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind

if TYPE_CHECKING:
    from orchestrator.sdk.plugins import Plugins

GROUP = "fustgo.operators"


class UnknownOperator(UsageError):
    """No operator of that type (and kind)."""


@dataclass(frozen=True)
class Registry:
    """Operators by type and kind: `extra` ones (of a test), those of entry points, those of the plugins of
    `tree`, which are imported only when a type is asked for that is none of the others.
    """

    extra: tuple[type[Operator], ...] = ()
    entries: tuple[EntryPoint, ...] = field(default_factory=lambda: tuple(entry_points(group=GROUP)))
    tree: Path | None = None
    _loaded: dict[str, tuple[type[Operator], ...]] = field(default_factory=dict, compare=False, repr=False)
    _of_trees: dict[Path | None, Registry] = field(default_factory=dict, compare=False, repr=False)

    def with_operators(self, *operators: type[Operator]) -> Registry:
        """This registry and these operators."""
        return Registry((*self.extra, *operators), self.entries, self.tree)

    def of_tree(self, tree: Path | None) -> Registry:
        """This registry and the plugins of a tree, in place of another's; imports nothing yet."""
        from orchestrator.sdk.plugin_modules import has_plugins

        tree = tree if tree is not None and has_plugins(tree) else None
        if tree == self.tree:
            return self
        if tree not in self._of_trees:
            self._of_trees[tree] = replace(self, tree=tree)
        return self._of_trees[tree]

    @property
    def plugins(self) -> Plugins:
        """The plugins of the tree, imported; what is installed has precedence over them."""
        from orchestrator.sdk.plugins import NONE, load_plugins

        return load_plugins(self.tree).beside(self._whose) if self.tree is not None else NONE

    def _whose(self, type_name: str) -> str:
        """What is installed under a type, or nothing."""
        return " and ".join(map(_source, self._index.get(type_name, ())))

    @cached_property
    def _index(self) -> Mapping[str, list[EntryPoint]]:
        index: dict[str, list[EntryPoint]] = {}
        for entry in self.entries:
            index.setdefault(entry.name, []).append(entry)
        return index

    def types(self) -> list[str]:
        """All type names, sorted; of the entry points none is imported."""
        mine = (operator.type for operator in (*self.extra, *self.plugins.operators))
        return sorted({*self._index, *mine})

    def kinds(self, type_name: str) -> Mapping[Kind, type[Operator]]:
        """The operators of one type by kind; `UnknownOperator` with the nearest name where there is none."""
        mine = {operator.kind: operator for operator in self.extra if operator.type == type_name}
        if mine:
            return mine
        if type_name not in self._index:
            return self._of_plugins(type_name)
        if type_name not in self._loaded:
            self._loaded[type_name] = self._load(type_name)
        return {operator.kind: operator for operator in self._loaded[type_name]}

    def _of_plugins(self, type_name: str) -> Mapping[Kind, type[Operator]]:
        plugins = self.plugins
        if found := plugins.kinds(type_name):
            return found
        if reason := plugins.why_not(type_name):
            raise UnknownOperator(f"unknown operator {type_name!r}: {reason}")
        raise UnknownOperator(f"unknown operator {type_name!r}", hint=nearest(type_name, self.types()))

    def find(self, type_name: str, kind: Kind) -> type[Operator]:
        """One operator; `UnknownOperator` names the kinds that the type has."""
        kinds = self.kinds(type_name)
        if kind not in kinds:
            raise UnknownOperator(
                f"{type_name!r} is no {kind}",
                hint=f"it is {' and '.join(f'an {k}' if k[0] in 'aio' else f'a {k}' for k in kinds)}",
            )
        return kinds[kind]

    def broken(self) -> dict[str, str]:
        """The types whose module cannot be imported, with the traceback of each."""
        failures: dict[str, str] = {}
        for type_name in self._index:
            try:
                self.kinds(type_name)
            except UsageError as error:
                failures[type_name] = error.hint or error.message
        return failures

    def _load(self, type_name: str) -> tuple[type[Operator], ...]:
        entries = self._index[type_name]
        if len(entries) > 1:
            raise UsageError(
                f"two plugins give operator {type_name!r}: {self._whose(type_name)}",
                hint="uninstall one of them",
            )
        [entry] = entries
        try:
            module = importlib.import_module(entry.module)
        except Exception:
            raise UsageError(
                f"the plugin of operator {type_name!r} ({entry.value}) cannot be imported",
                hint=traceback.format_exc(),
            ) from None
        found = tuple(operators_of(vars(module).values(), entry.module))
        mine = tuple(operator for operator in found if operator.type == type_name)
        if not mine:
            names = ", ".join(sorted({operator.type for operator in found})) or "none"
            raise UsageError(f"entry point {type_name!r} points at {entry.value}, which declares: {names}")
        for operator in mine:
            operator.version = entry.dist.version if entry.dist else ""
        return mine


def _source(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else '?'} ({entry.value})"


def operators_of(values: Iterable[object], module: str) -> Iterable[type[Operator]]:
    """The operators among a module's values that this module itself declares."""
    for value in values:
        if (
            isinstance(value, type)
            and issubclass(value, Operator)
            and value.type
            and value.__module__ == module
        ):
            yield value
