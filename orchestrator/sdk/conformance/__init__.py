"""The suites that every operator passes; a plugin's author subclasses one in ten lines.

    class TestCsvInput(InputConformance):
        def source(self, folder: Path, table: pa.Table) -> CsvInput:
            write_csv(table, folder / "in.csv")
            return CsvInput(path="in.csv")

pytest collects the subclass (its name begins with `Test`). Each suite makes its own rows; where an
operator cannot take one of them (a format without decimals), override `table`.
"""

from __future__ import annotations

import pytest

# Before the imports, so that a failed promise shows both sides.
pytest.register_assert_rewrite(
    *(f"{__name__}.{suite}" for suite in ("inputs", "operators", "outputs", "processors"))
)

from orchestrator.sdk.conformance.inputs import InputConformance  # noqa: E402
from orchestrator.sdk.conformance.operators import OperatorConformance  # noqa: E402
from orchestrator.sdk.conformance.outputs import ApplyOutputConformance, FileOutputConformance  # noqa: E402
from orchestrator.sdk.conformance.processors import ProcessorConformance  # noqa: E402

__all__ = [
    "ApplyOutputConformance",
    "FileOutputConformance",
    "InputConformance",
    "OperatorConformance",
    "ProcessorConformance",
]
