"""The table that benchmarks read: made, not shipped; the same for the same number of rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl

PIECE = 1_000_000


def write_people(path: Path, rows: int) -> None:
    """Write id, name, age, city, score and joined, some fifty bytes a row."""
    with path.open("wb") as file:
        for start in range(0, rows, PIECE):
            piece = _piece(start, min(PIECE, rows - start))
            piece.write_csv(file, include_header=start == 0)


def _piece(start: int, count: int) -> pl.DataFrame:
    number = pl.int_range(start, start + count, dtype=pl.Int64)
    # Multiplying by a large odd number spreads consecutive ids without a random generator.
    mixed = (number * 2_654_435_761) % 4_294_967_296
    return pl.select(
        id=number,
        name=pl.concat_str(pl.lit("person-"), (mixed % 100_003).cast(pl.String)),
        age=mixed // 7 % 100,
        city=(mixed // 11 % 4).replace_strict([0, 1, 2, 3], ["Paris", "Berlin", "Oslo", "Roma"]),
        score=(mixed % 999_983) / 1_000_000,
        joined=pl.date(1970, 1, 1) + pl.duration(days=mixed // 13 % 20_000),
    )
