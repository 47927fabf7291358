"""Drive one operator without an engine, as the tests of operators and plugins do.

    batches = read_all(CsvInput(path="people.csv"), make_context(tmp_path))

The drivers do what the engine does to one node, in the same order, and return plain values. Fields
that may hold a template must hold rendered values here. What an operator promises beyond one call
(resume without loss, the same output after a restore) is asserted by the `..._with_...` drivers.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.context import Context, Reject
from orchestrator.sdk.input import EndOfInput, Input, Reader
from orchestrator.sdk.output import ApplyOutput, Delivery, FileOutput, Part
from orchestrator.sdk.processor import Emitted, Processor, ProcessorRuntime
from orchestrator.sdk.types import parse_type

if TYPE_CHECKING:
    import pyarrow as pa

    Fed = Iterable["pa.RecordBatch | tuple[str, pa.RecordBatch]"]

POSITIONS_TRIED = 64
"""From how many positions of one split `read_with_resume` reads the rest; above it, evenly spread ones."""


@dataclass
class RecordingContext(Context):
    """A context that keeps what the node said; `cancel` asks it to stop."""

    rejects: list[Reject] = field(default_factory=list)
    set_results: list[Any] = field(default_factory=list)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.on_reject = self.rejects.append
        self.on_result = self.set_results.append
        self.is_cancelled = lambda: self.stopping

    def cancel(self) -> None:
        """From now on `cancelled` is true."""
        self.stopping = True


def make_context(folder: Path, node: str = "node", **fields: Any) -> RecordingContext:
    """A context whose paths resolve against `folder`; `fields` are those of `Context`."""
    state = fields.pop("state_folder", None) or folder / ".state"
    state.mkdir(parents=True, exist_ok=True)
    return RecordingContext(node, folder, logging.getLogger(node), state_folder=state, **fields)


def as_rows(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """The rows of batches, in order."""
    return [row for batch in batches for row in batch.to_pylist()]


def schema_of(columns: Mapping[str, str]) -> pa.Schema:
    """A schema from type names: `schema_of({"id": "int64", "name": "string"})`."""
    import pyarrow as pa

    return pa.schema([(name, parse_type(text)) for name, text in columns.items()])


def through_json(value: Any) -> Any:
    """The value as it comes back from the store; TypeError where it is not JSON."""
    return json.loads(json.dumps(value, allow_nan=False))


# Inputs


@dataclass
class Reading:
    """What one reader gave. `positions[n]` stood before batch n, `rejected[n]` counts the rejects until
    then; one more of each stood after the last batch, and one after the end was said."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    positions: list[Any] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)


def read_batches(reader: Reader, most: int | None = None) -> Iterator[pa.RecordBatch]:
    """Batches until the end, or at most so many; passes over "nothing now"."""
    given = 0
    while most is None or given < most:
        try:
            batch = reader.read()
        except EndOfInput:
            return
        if batch is not None:
            given += 1
            yield batch


def read_split(
    source: Input, context: RecordingContext, split: Any, position: Any = None, *, most: int | None = None
) -> Reading:
    """Read one split by a fresh reader, noting where it stands between batches."""
    reading = Reading()
    before = len(context.rejects)

    def note() -> None:
        reading.positions.append(through_json(reader.position))
        reading.rejected.append(len(context.rejects) - before)

    with closing(source.open(context, through_json(split), position)) as reader:
        note()
        for batch in read_batches(reader, most):
            reading.batches.append(batch)
            note()
        note()
    return reading


def read_all(source: Input, context: RecordingContext, *, most: int | None = None) -> list[pa.RecordBatch]:
    """The batches of every split, in order; at most so many a split (of an unbounded input)."""
    return [
        batch
        for split in source.plan(context)
        for batch in read_split(source, context, split, most=most).batches
    ]


def read_with_resume(source: Input, context: RecordingContext) -> list[pa.RecordBatch]:
    """As `read_all`, and from each position a fresh reader gives exactly the rest: rows and rejects."""
    found: list[pa.RecordBatch] = []
    for split in source.plan(context):
        context.rejects.clear()
        whole = read_split(source, context, split)
        rejects = list(context.rejects)
        step = max(1, len(whole.positions) // POSITIONS_TRIED)
        for number in {*range(0, len(whole.positions), step), len(whole.positions) - 1}:
            context.rejects.clear()
            rest = read_split(source, context, split, whole.positions[number])
            where = f"resumed from {whole.positions[number]!r} of split {split!r}"
            assert as_rows(rest.batches) == as_rows(whole.batches[number:]), f"{where}: other rows"
            assert context.rejects == rejects[whole.rejected[number] :], f"{where}: other rejects"
        context.rejects[:] = rejects
        found.extend(whole.batches)
    return found


# Processors


def _pairs(fed: Fed) -> list[tuple[str, pa.RecordBatch]]:
    return [entry if isinstance(entry, tuple) else ("in", entry) for entry in fed]


def _collect(outcome: dict[str, list[pa.RecordBatch]], emitted: Emitted) -> None:
    for entry in emitted:
        port, batch = entry if isinstance(entry, tuple) else ("out", entry)
        outcome.setdefault(port, []).append(batch)


def process_all(
    processor: Processor, fed: Fed, context: Context, *, restore_after: int | None = None
) -> dict[str, list[pa.RecordBatch]]:
    """The batches of each output port for batches, or pairs of port and batch, and then the end.

    `restore_after=n`: after n batches the runtime is snapshot and thrown away; a fresh one goes on.
    """
    outcome: dict[str, list[pa.RecordBatch]] = {port: [] for port in processor.output_ports()}
    runtime: ProcessorRuntime = processor.open(context)
    try:
        for number, (port, batch) in enumerate(_pairs(fed)):
            if number == restore_after:
                state = runtime.snapshot()
                runtime.close()
                runtime = processor.open(context)
                if processor.stateful:
                    runtime.restore(state)
            if runtime.done:
                break
            _collect(outcome, runtime.process(batch, port))
        _collect(outcome, runtime.finish())
    finally:
        runtime.close()
    return outcome


def process_with_restore(processor: Processor, fed: Fed, context: Context) -> dict[str, list[pa.RecordBatch]]:
    """As `process_all`, and a restore after any number of batches changes no row."""
    pairs = _pairs(fed)
    straight = process_all(processor, pairs, context)
    rows = {port: as_rows(batches) for port, batches in straight.items()}
    for number in range(len(pairs)):
        restored = process_all(processor, pairs, context, restore_after=number)
        again = {port: as_rows(batches) for port, batches in restored.items()}
        assert again == rows, f"restored after {number} batches: other rows"
    return straight


# Outputs


def encode(output: FileOutput, batches: Sequence[pa.RecordBatch], schema: pa.Schema | None = None) -> bytes:
    """One complete file; `schema` is needed where there are no batches."""
    file = io.BytesIO()
    encoder = output.encoder(file, schema or batches[0].schema, beginning=True)
    for batch in batches:
        encoder.write(batch)
    encoder.close()
    return file.getvalue()


def encode_epochs(
    output: FileOutput, epochs: Sequence[Sequence[pa.RecordBatch]], schema: pa.Schema, folder: Path
) -> Path:
    """One file from several epochs, each by a fresh encoder, as attempts that go on from each other do.

    A growing format gets them one after the other; of others each epoch is a part, and they are joined.
    """
    target = folder / f"whole{output.suffix}"
    if output.grows:
        target.write_bytes(b"")
        for epoch, batches in enumerate(epochs or [[]]):
            _append(output, target, batches, schema, beginning=epoch == 0)
        return target
    parts = []
    for epoch, batches in enumerate(epochs):
        parts.append(folder / f"part{epoch}{output.suffix}")
        parts[-1].write_bytes(encode(output, batches, schema))
    with target.open("w+b") as file:
        output.join(parts, file, schema)
    return target


def _append(
    output: FileOutput, target: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, beginning: bool
) -> None:
    with target.open("ab") as file:
        encoder = output.encoder(file, schema, beginning=beginning)
        for batch in batches:
            encoder.write(batch)
        encoder.flush()
        encoder.close()


def write_part(folder: Path, epoch: int, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> Part:
    """An epoch's rows as the engine spools them: an Arrow file of its own."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{epoch:06d}-{sum(1 for _ in folder.iterdir())}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return Part(epoch, path, schema)


def deliveries(
    output: ApplyOutput,
    epochs: Sequence[Sequence[pa.RecordBatch]],
    folder: Path,
    *,
    schema: pa.Schema | None = None,
    writer: str = "writer",
    base: int = 0,
) -> list[Delivery]:
    """What the engine hands to the applier of a run whose epochs hold these batches; the last is final.

    Numbers start after `base`. A target that is replaced whole gets all parts with the final one.
    """
    schema = schema or next((batch.schema for batches in epochs for batch in batches), None)
    parts: list[list[Part]] = [
        [write_part(folder, epoch, batches, schema)] if batches and schema is not None else []
        for epoch, batches in enumerate(epochs, base + 1)
    ]
    made = []
    for number, own in enumerate(parts, 1):
        final = number == len(parts)
        mine = own
        if output.replaces_whole:
            mine = [part for some in parts for part in some] if final else []
        made.append(Delivery(writer, base + number, base, final, mine, schema))
    return made


def deliver(
    output: ApplyOutput,
    epochs: Sequence[Sequence[pa.RecordBatch]],
    context: Context,
    *,
    schema: pa.Schema | None = None,
    writer: str = "writer",
    base: int = 0,
) -> list[Delivery]:
    """One run into the target by one applier: prepare, apply each epoch, finish; returns what it applied."""
    folder = (context.state_folder or context.project) / "parts"
    made = deliveries(output, epochs, folder, schema=schema, writer=writer, base=base)
    with closing(output.open(context)) as applier:
        applier.prepare_stage(writer, base)
        for delivery in made:
            applier.apply(delivery)
        applier.finish_stage()
    return made
