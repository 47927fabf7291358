"""A decorated function, or an instance of a decorated class, at work on batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OperatorError
from orchestrator.sdk.processor import ProcessorRuntime
from orchestrator.sdk.returned import Shaper

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.context import Context
    from orchestrator.sdk.function import ProcessorFunction
    from orchestrator.sdk.processor import Emitted


class FunctionRuntime(ProcessorRuntime):
    """A function or an instance of a class at work."""

    def __init__(self, target: ProcessorFunction[Any], arguments: dict[str, Any], context: Context) -> None:
        self._target = target
        leading = (context,) if target.takes_context else ()
        if target.keeps_state:
            self._instance = target.function(*leading, **arguments)
            self._call: Callable[[Any], Any] = self._instance.process
        else:
            self._instance = None
            self._call = lambda batch: target.function(*leading, batch, **arguments)
        self._shaper = Shaper(target.name, target.outputs, target.schemas())
        self._source: pa.Schema | None = None

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        self._source = batch.schema
        if not batch.num_rows:
            return
        if self._target.rows:
            yield from self._shaper.rows(self._mapped(batch.to_pylist()), batch.schema)
        else:
            yield from self._shaper.batches(self._call(batch), batch.schema)

    def _mapped(self, rows: list[dict[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {port: [] for port in self._target.outputs}
        call, single = self._call, len(self._target.outputs) == 1
        plain = found[self._target.outputs[0]]
        number = 0
        try:
            for number, row in enumerate(rows, 1):  # noqa: B007
                made = call(row)
                if single and type(made) is dict:
                    plain.append(made)
                elif made is not None:
                    self._keep(made, found)
        except OperatorError:
            raise
        except Exception as error:
            raise OperatorError(
                f"{self._target.name} failed at row {number} of the batch: {type(error).__name__}: {error}",
                hint=f"the row: {rows[number - 1]!r}"[:500],
            ) from error
        return found

    def _keep(self, made: Any, found: dict[str, list[Mapping[str, Any]]]) -> None:
        if isinstance(made, Mapping):
            found[self._shaper.only_port()].append(made)
        elif isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], str):
            port = self._shaper.port_of(made[0])
            found[port].extend([made[1]] if isinstance(made[1], Mapping) else made[1] or ())
        elif hasattr(made, "__iter__") and not isinstance(made, (str, bytes)):
            for entry in made:
                self._keep(entry, found)
        else:
            raise OperatorError(
                f"{self._target.name} returned {type(made).__name__}",
                hint="with rows=True return a dict, several, or None",
                retry=False,
            )

    def finish(self) -> Emitted:
        finish = getattr(self._instance, "finish", None)
        if finish is None:
            return
        import pyarrow as pa

        source = self._source if self._source is not None else pa.schema([])
        returned = finish()
        if self._target.rows:
            found: dict[str, list[Mapping[str, Any]]] = {port: [] for port in self._target.outputs}
            if returned is not None:
                self._keep(returned, found)
            yield from self._shaper.rows(found, source)
        else:
            yield from self._shaper.batches(returned, source)

    def snapshot(self) -> bytes:
        if self._instance is None:
            return b""
        state = self._instance.snapshot()
        if not isinstance(state, bytes):
            raise OperatorError(
                f"{self._target.name}.snapshot returned {type(state).__name__}",
                hint="return bytes, such as json.dumps(...).encode()",
                retry=False,
            )
        return state

    def restore(self, state: bytes) -> None:
        if self._instance is not None:
            self._instance.restore(state)

    def close(self) -> None:
        close = getattr(self._instance, "close", None)
        if close is not None:
            close()
