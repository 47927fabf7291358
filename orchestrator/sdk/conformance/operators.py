"""What holds of any operator, and the rows that the suites share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.operator import NODE_ARGUMENTS, Operator
from orchestrator.sdk.testing import (
    schema_of,
    through_json,
)

if TYPE_CHECKING:
    import pyarrow as pa


WIDE = 300
"""Columns of the wide table."""


class OperatorConformance(ABC):
    """What holds of any operator: its configuration is described, JSON, and its own."""

    @abstractmethod
    def example(self, folder: Path) -> Operator:
        """The operator under test, with a configuration that works."""

    def table(self) -> pa.Table:
        """Rows with nulls, an empty text, and texts of many alphabets."""
        import pyarrow as pa

        texts = ["plain", "", None, 'Zoë, "the" 1st', "두\n줄", "日本語;|\t", "🙂é", "  spaced  "]
        moment = datetime.fromisoformat("2024-01-02T03:04:05.678901")
        values: dict[str, tuple[str, list[Any]]] = {
            "id": ("int64", list(range(len(texts)))),
            "text": ("string", texts),
            "number": ("int64", [1, None, -3, 2**62, -(2**62), 0, None, 7]),
            "ratio": ("float64", [0.5, -1e300, None, 1e-9, 3.0, 0.1, 2.5, None]),
            "flag": ("bool", [True, False, None, True, False, None, True, False]),
            "day": ("date", [date(2024, 2, 29), None, *[date(1969, 12, 31)] * 6]),
            "moment": ("timestamp", [moment, None, *[moment.min.replace(year=1970)] * 6]),
            "price": ("decimal(10, 2)", [Decimal("12.30"), None, *[Decimal("-0.01")] * 6]),
        }
        schema = schema_of({name: type_text for name, (type_text, _) in values.items()})
        return pa.table([cells for _, cells in values.values()], schema=schema)

    def wide_table(self) -> pa.Table:
        """Three rows of 300 columns."""
        import pyarrow as pa

        schema = schema_of({f"c{n}": "int64" if n % 2 else "string" for n in range(WIDE)})
        cells = [[n, None, n + 1] if n % 2 else [f"v{n}", "x", None] for n in range(WIDE)]
        return pa.table(cells, schema=schema)

    def test_the_type_is_named_and_documented(self, tmp_path: Path) -> None:
        kind = type(self.example(tmp_path))
        assert kind.type, "name it by @operator"
        assert (kind.__doc__ or "").strip(), "say in a docstring what it does"

    def test_every_field_is_described(self, tmp_path: Path) -> None:
        fields = type(self.example(tmp_path)).model_fields.items()
        assert [name for name, info in fields if not info.description] == []

    def test_no_field_takes_a_name_that_every_node_has(self, tmp_path: Path) -> None:
        own = [cls for cls in type(self.example(tmp_path)).__mro__ if issubclass(cls, Operator)]
        declared = {
            name for cls in own if cls is not Operator for name in vars(cls).get("__annotations__", {})
        }
        assert declared & NODE_ARGUMENTS == set()

    def test_the_configuration_survives_json(self, tmp_path: Path) -> None:
        example = self.example(tmp_path)
        again = type(example).model_validate(through_json(example.config()))
        assert again.config() == example.config()
        assert again.model_dump(mode="json") == example.model_dump(mode="json")
        through_json(type(example).model_json_schema())
