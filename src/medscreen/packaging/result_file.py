"""Screening results on disk: rows are appended to a journal, which becomes the result file at the end.

A journal left by a killed process is continued: complete rows are kept, the rows of its last file are made again.
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.packaging.batch_screening import COLUMNS, Row
from medscreen.runtime.escaping import save_csv, visible
from medscreen.workspace.atomic_outputs import replaced

_BATCH = 10_000  # rows of a row group


class ResultFile:
    """The result at `path`, whose suffix is its format; `about`: version, digest and settings that every row is of."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        if path.suffix not in _WRITERS:
            raise MedscreenError(f"{visible(path)}: unknown format; end the name in {', '.join(_WRITERS)}.")
        if not path.parent.is_dir():
            raise MedscreenError(f"{visible(path.parent)} is not a folder; make it, or name another file for --out.")
        self._path = path
        self._about = dict(about)
        self.journal = path.with_name(f"{path.name}.unfinished")

    def finished_files(self) -> set[str]:
        """Names of the files whose rows the journal holds; it is begun, or cut after its last complete file.

        Raises MedscreenError for a journal of another version or of other settings.
        """
        if not self.journal.exists():
            with replaced(self.journal) as partial:
                partial.write_text(json.dumps(self._about) + "\n", encoding="utf-8")
            return set()
        done: set[str] = set()
        last, end = "", 0  # the last file, and where its rows begin
        with self.journal.open("r+b") as journal:
            first = journal.readline()
            offset = len(first)
            try:
                self._require_same(json.loads(first))
                for line in journal:
                    if not line.endswith(b"\n"):
                        break
                    file = json.loads(line)["file"]
                    if file != last:
                        last, end = file, offset
                        done.add(file)
                    offset += len(line)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise MedscreenError(f"{visible(self.journal)}: damaged. Remove it to begin again.") from error
            done.discard(last)
            journal.truncate(end or len(first))
        return done

    def _require_same(self, stated: dict[str, str]) -> None:
        if stated != self._about:
            differs = ", ".join(
                sorted(key for key in {*stated, *self._about} if stated.get(key) != self._about.get(key))
            )
            raise MedscreenError(
                f"{visible(self.journal)} was begun with another {differs}. Remove it to begin again, or name another "
                "file for --out."
            )

    def add(self, rows: list[Row]) -> None:
        """Appends the rows of some files."""
        with self.journal.open("ab") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())

    def rows(self) -> Iterator[Row]:
        """All rows of the journal, one at a time."""
        with self.journal.open(encoding="utf-8") as file:
            next(file)
            yield from map(json.loads, file)

    def finish(self) -> None:
        """Writes the result in one step and removes the journal."""
        with replaced(self._path) as partial:
            _WRITERS[self._path.suffix](partial, self.rows(), self._about)
        self.journal.unlink()


def _write_csv(path: Path, rows: Iterator[Row], about: dict[str, str]) -> None:
    save_csv(path, [*COLUMNS, *about], ([*row.values(), *about.values()] for row in rows))


def _write_lines(path: Path, rows: Iterator[Row], about: dict[str, str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row | about) + "\n" for row in rows)


def _write_parquet(path: Path, rows: Iterator[Row], about: dict[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = COLUMNS | dict.fromkeys(about, "string")
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := [row | about for row in islice(rows, _BATCH)]:
            writer.write_table(pa.Table.from_pylist(group, schema))


_WRITERS: dict[str, Callable[[Path, Iterator[Row], dict[str, str]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
