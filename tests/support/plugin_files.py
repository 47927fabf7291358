"""Files of a tree with plugins: a stateful operator, a function, and DAGs that use them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VISITS = '''
import json

import pyarrow as pa
from pydantic import Field

from orchestrator import processor
from orchestrator.sdk.operator import operator
from orchestrator.sdk.processor import Processor, ProcessorRuntime


@operator("visits")
class Visits(Processor):
    """Number the rows of each value of a column."""

    stateful = True
    column: str = Field(default="name", description="Whose rows are numbered.")

    def output_schemas(self, inputs):
        return {"out": inputs["in"] and inputs["in"].append(pa.field("visit", pa.int64()))}

    def open(self, context):
        return Counting(self.column)


class Counting(ProcessorRuntime):
    def __init__(self, column):
        self.column, self.seen = column, {}

    def process(self, batch, port):
        numbers = []
        for value in batch[self.column].to_pylist():
            self.seen[value] = self.seen.get(value, 0) + 1
            numbers.append(self.seen[value])
        yield batch.append_column("visit", pa.array(numbers, pa.int64()))

    def snapshot(self):
        return json.dumps(self.seen).encode()

    def restore(self, state):
        self.seen = json.loads(state)


@processor
def same(batch):
    return batch
'''
DAG_YAML = """
id: visits
settings: {batch_size: 2, checkpoint: {every_batches: 1}}
nodes:
  - {id: people, type: csv, kind: input, config: {path: people.csv}}
  - {id: visits, type: visits, from: people, config: {column: name}}
  - {id: same, type: python, kind: processor, from: visits, config: {function: "plugins/visits.py:same"}}
  - {id: out, type: csv, kind: output, from: same, config: {path: out/visits.csv}}
"""
DAG_PYTHON = """
from operators import CsvInput, CsvOutput
from orchestrator import DAG
from plugins.visits import Visits, same

with DAG("visits") as dag:
    CsvInput("people", path="people.csv") >> Visits("visits") >> same >> CsvOutput("out", path="out.csv")
"""
BROKEN = """
from orchestrator.sdk.operator import operator
from orchestrator.sdk.processor import Processor

@operator("sessions")
class Sessions(Processor):
    gap = undefined
"""


def tree(folder: Path, files: Mapping[str, str]) -> Path:
    """The folder with these files in it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
