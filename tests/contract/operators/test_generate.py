"""generate passes the suite of inputs; its rows are functions of their number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.generate import Generate
from orchestrator.sdk.conformance import InputConformance


class TestGenerate(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> Generate:
        return Generate(rows=table.num_rows, columns={"row": "row", "label": "concat('r', row)"})

    def expected(self, table: pa.Table) -> list[dict[str, Any]]:
        return [{"row": row, "label": f"r{row}"} for row in range(table.num_rows)]
