"""SQL expressions on batches: `age > 18`, `upper(name) || '!'`; `docs/expressions.md` lists what they know.

`check_text` looks at the words (no polars needed, so a DAG file is checked with it); `Expressions`
are compiled once against a schema and then evaluated on every batch, reading only the columns used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from operators.rejects import failing, reject_row
from operators.transforms.vocabulary import USE_SQL, check_words
from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import is_template
from orchestrator.sdk.operator import SchemaProblem, refuse_misfits
from orchestrator.sdk.sql_template import trials
from orchestrator.sdk.types import canonical_array, canonical_type, type_name

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


def check_text(text: str) -> str:
    """The text, if all its words may stand in an expression; else a ValueError that says what to write."""
    try:
        check_words(text)
    except SchemaProblem as problem:
        raise ValueError(f"{problem}: {problem.hint}" if problem.hint else str(problem)) from None
    return text


def check_texts(texts: dict[str, str]) -> dict[str, str]:
    """The named texts, if all their words may stand in expressions; else a ValueError that says of each."""
    problems = []
    for name, text in texts.items():
        try:
            check_text(text)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return texts


def parse(text: str) -> pl.Expr:
    """The expression as polars reads it, with only such words as it may use; else `SchemaProblem`."""
    from operators.transforms import semantics

    words = check_words(text)
    expression = semantics.parse(text)
    names = expression.meta.root_names()
    for word in words:
        if word.text not in names:
            raise SchemaProblem(f"expressions do not know {word.text} (column {word.column})", hint=USE_SQL)
    return expression


def check_condition(text: str, schema: pa.Schema | None, field: str) -> None:
    """Refuse a condition that cannot be read or does not fit the schema (None: not known yet).

    The values of a template are not known yet: one is refused where no stand-ins for them fit.
    """
    problems: list[SchemaProblem] = []
    for trial in trials(text) if is_template(text) else (text,):
        try:
            _in_field(field, partial(_fit_condition, trial, schema))
            return
        except SchemaProblem as problem:
            problems.append(problem)
    if problems:
        raise next((problem for problem in problems if "cannot be read" not in str(problem)), problems[0])


def _fit_condition(text: str, schema: pa.Schema | None) -> None:
    check_words(text)
    if schema is None:
        parse(text)
    else:
        Expressions({"condition": text}, schema).condition()


def check_columns(texts: Mapping[str, str], schema: pa.Schema | None, field: str) -> dict[str, pa.DataType]:
    """The types of computed columns; empty where the schema is not known yet."""
    types, problems = column_types(texts, schema, field)
    refuse_misfits(problems)
    return types


def column_types(
    texts: Mapping[str, str], schema: pa.Schema | None, field: str
) -> tuple[dict[str, pa.DataType], list[SchemaProblem]]:
    """The types of those computed columns that fit a known schema, and what is wrong with the others."""
    types: dict[str, pa.DataType] = {}
    problems: list[SchemaProblem] = []
    for name, text in texts.items():
        try:
            made = _in_field(f"{field}.{name}", partial(_typed, text, schema))
            types.update({name: made} if made is not None else {})
        except SchemaProblem as problem:
            problems += problem.all
    return types, problems


def _typed(text: str, schema: pa.Schema | None) -> pa.DataType | None:
    if schema is None:
        parse(text)
        return None
    return Expressions({"it": text}, schema).types["it"]


def _in_field(field: str, check: Callable[[], Any]) -> Any:
    try:
        return check()
    except SchemaProblem as problem:
        raise SchemaProblem(str(problem), hint=problem.hint, field=problem.field or field) from None


class Expressions:
    """Named expressions, compiled against a schema.

    `types` are those of the results. Raises `SchemaProblem` where a text does not fit the schema.
    """

    def __init__(self, texts: Mapping[str, str], schema: pa.Schema) -> None:
        import polars as pl

        from operators.transforms import semantics

        _refuse_duplicates(schema)
        self.schema, self._texts = schema, dict(texts)
        parsed = {name: parse(text) for name, text in texts.items()}
        used = {column for made in parsed.values() for column in made.meta.root_names()}
        self.columns = [name for name in schema.names if name in used]
        frame = pl.DataFrame(schema.empty_table().select(self.columns))
        typing = semantics.Typing(frame, {field.name: type_name(field.type) for field in schema})
        self._compiled = {name: typing.rewritten(made).alias(name) for name, made in parsed.items()}
        self.types = {name: self._result_type(frame, name) for name in texts}

    def condition(self) -> None:
        """Refuse what is no condition."""
        import pyarrow as pa

        for name, data_type in self.types.items():
            if not (pa.types.is_boolean(data_type) or pa.types.is_null(data_type)):
                raise SchemaProblem(
                    f"{self._texts[name]!r} is no condition: it gives {type_name(data_type)}",
                    hint="compare it, as in age > 18 or name = 'x'",
                )

    def evaluate(self, batch: pa.RecordBatch) -> dict[str, pa.Array[Any]]:
        """The results on a batch of the schema, in canonical types, each as long as the batch.

        Raises `OperatorError` where a value cannot be computed (a failing cast, an overflow).
        """
        import polars as pl

        try:
            frame = pl.DataFrame(batch.select(self.columns)) if self.columns else pl.DataFrame()
            made = frame.select(self._compiled.values())
        except pl.exceptions.PolarsError as error:
            self._fail(error)
        return {name: _as_long_as(batch, made[name].to_arrow()) for name in self._compiled}

    def _result_type(self, frame: pl.DataFrame, name: str) -> pa.DataType:
        """The type of a result; running it on no rows shows arguments of a wrong type, too."""
        import polars as pl

        try:
            found = canonical_type(frame.select(self._compiled[name]).to_series().to_arrow().type)
        except pl.exceptions.PolarsError as error:
            raise SchemaProblem(
                f"{self._texts[name]!r} does not fit: {str(error).splitlines()[0]}", hint=USE_SQL
            ) from None
        return found

    def _fail(self, error: Exception) -> NoReturn:
        texts = ", ".join(repr(text) for text in self._texts.values())
        message = str(error).splitlines()[0]
        if "`i128` to `i64`" in message:
            message = f"a result does not fit 64 bits ({message})"
        raise OperatorError(f"{texts}: {message}", retry=False) from None


def _refuse_duplicates(schema: pa.Schema) -> None:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise SchemaProblem(f"column {twice[0]!r} stands twice in what arrives", hint="rename one of them")


def _as_long_as(batch: pa.RecordBatch, array: pa.Array[Any]) -> pa.Array[Any]:
    """The canonical array; a constant expression has one value, which is repeated."""
    import pyarrow as pa

    array = canonical_array(array)
    return array if len(array) == batch.num_rows else pa.repeat(array[0], batch.num_rows)


def missing_column(name: str, schema: pa.Schema, field: str) -> SchemaProblem:
    """The problem of a configuration that names a column which does not arrive."""
    return SchemaProblem(f"there is no column {name!r}", hint=nearest(name, schema.names), field=field)


class RowByRow:
    """Evaluates expressions on a batch; rows on which they fail are rejected, the others kept."""

    def __init__(self, texts: Mapping[str, str], context: Context, *, conditions: bool = False) -> None:
        self._texts, self._context, self._conditions = texts, context, conditions
        self._compiled: Expressions | None = None

    def evaluate(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, pa.Array[Any]]]:
        """The rows that can be computed, and the results on them."""
        compiled = self._for(batch.schema)
        try:
            return batch, compiled.evaluate(batch)
        except OperatorError:
            kept = self._good_rows(compiled, batch)
            return kept, compiled.evaluate(kept)

    def _for(self, schema: pa.Schema) -> Expressions:
        if self._compiled is None or not self._compiled.schema.equals(schema):
            try:
                self._compiled = Expressions(self._texts, schema)
                if self._conditions:
                    self._compiled.condition()
            except SchemaProblem as problem:
                raise OperatorError(str(problem), hint=problem.hint, retry=False) from None
        return self._compiled

    def _good_rows(self, compiled: Expressions, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        good = [True] * batch.num_rows

        def fails(start: int, stop: int) -> str:
            try:
                compiled.evaluate(batch.slice(start, stop - start))
            except OperatorError as error:
                return error.message
            return ""

        for row, reason in failing(batch.num_rows, fails):
            good[row] = False
            reject_row(self._context, batch, row, reason, "expression")
        return batch.filter(pa.array(good))
