"""The built-in operators: `from operators import CsvInput, Filter, CsvOutput`.

A name is imported when it is first used, so that a DAG file pays only for the operators it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operators.actions.bash import Bash
    from operators.actions.set_variable import StoreVariable
    from operators.actions.sql import Sql
    from operators.actions.trigger_dag import TriggerDag
    from operators.csv import CsvInput, CsvOutput
    from operators.discard import Discard
    from operators.generate import Generate
    from operators.parquet import ParquetInput, ParquetOutput
    from operators.sqlite import SqliteInput, SqliteOutput
    from operators.transforms.filter import Filter
    from operators.transforms.mapping import Mapping
    from operators.transforms.route import Route

__all__ = [
    "Bash",
    "CsvInput",
    "CsvOutput",
    "Discard",
    "Filter",
    "Generate",
    "Mapping",
    "ParquetInput",
    "ParquetOutput",
    "Route",
    "Sql",
    "SqliteInput",
    "SqliteOutput",
    "StoreVariable",
    "TriggerDag",
]

_HOMES = {
    "Bash": "actions.bash",
    "CsvInput": "csv",
    "CsvOutput": "csv",
    "Discard": "discard",
    "Filter": "transforms.filter",
    "Generate": "generate",
    "Mapping": "transforms.mapping",
    "ParquetInput": "parquet",
    "ParquetOutput": "parquet",
    "Route": "transforms.route",
    "StoreVariable": "actions.set_variable",
    "Sql": "actions.sql",
    "SqliteInput": "sqlite",
    "SqliteOutput": "sqlite",
    "TriggerDag": "actions.trigger_dag",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'operators' has no operator {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    value = getattr(import_module(f"operators.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
