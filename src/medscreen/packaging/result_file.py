"""Screening results on disk: rows are appended to a journal, which is converted to the result file at the end.

The journal of a killed process is continued; its last file, whose rows may be incomplete, is screened again.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from medscreen.data.sources.file_trees import written_name
from medscreen.errors import MedscreenError
from medscreen.packaging.batch_screening import COLUMNS, Row
from medscreen.runtime.escaping import save_csv, visible
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import digest_of

_BATCH = 10_000  # rows of a row group


class ResultFile:
    """Result file at `path`; the suffix is the format.

    `about`: columns with the same value in all rows. `settings`: other settings that the rows depend on. Raises
    MedscreenError for an unknown format, a missing folder, and an existing file without a journal.
    """

    def __init__(self, path: Path, about: dict[str, str], settings: dict[str, str]) -> None:
        if path.suffix not in _WRITERS:
            raise MedscreenError(f"{visible(path)}: unknown format. Use the suffix {', '.join(_WRITERS)}.")
        if not path.parent.is_dir():
            raise MedscreenError(f"{visible(path.parent)} is not a folder. Create it, or name another file for --out.")
        self._path = path
        self._about = dict(about)
        self._begun_with = about | settings
        self.journal = path.with_name(f"{path.name}.unfinished")
        if os.path.lexists(path) and not self.journal.exists():
            raise MedscreenError(f"{visible(path)} exists. Remove it, or name another file for --out.")

    def resume(self, files: Sequence[Path]) -> int:
        """Begins or continues the journal; returns the number of finished `files`, without the last one begun.

        Raises MedscreenError for a journal of another version, other settings or other files (by path, size and
        modification time).
        """
        begun_with = self._begun_with | {"files": _state_of(files)}
        if not self.journal.exists():
            with replaced(self.journal) as partial:
                partial.write_text(json.dumps(begun_with) + "\n", encoding="utf-8")
            return 0
        last = 0  # index of the file whose rows come last
        with self.journal.open("r+b") as journal:
            first = journal.readline()
            offset = end = len(first)  # `end`: offset of the first row of that file
            try:
                self._require_same(json.loads(first), begun_with)
                for line in journal:
                    if not line.endswith(b"\n"):
                        break
                    number = int(json.loads(line)[0])
                    if number != last:
                        last, end = number, offset
                    offset += len(line)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                raise MedscreenError(f"{visible(self.journal)}: damaged. Remove it to begin again.") from error
            journal.truncate(end)
        return last

    def _require_same(self, stated: dict[str, str], now: dict[str, str]) -> None:
        if differs := sorted(key for key in {*stated, *now} if stated.get(key) != now.get(key)):
            raise MedscreenError(
                f"{visible(self.journal)}: begun with different {', '.join(differs)}. Remove it to begin "
                "again, or name another file for --out."
            )

    def add(self, first: int, rows: Sequence[Sequence[Row]]) -> None:
        """Appends the rows of consecutive files; `first` is the index of the first file."""
        lines = (json.dumps([number, row]) + "\n" for number, of_file in enumerate(rows, first) for row in of_file)
        with self.journal.open("ab") as file:
            file.write("".join(lines).encode())

    def rows(self) -> Iterator[Row]:
        """Yields all rows of the journal."""
        with self.journal.open(encoding="utf-8") as file:
            next(file)
            yield from (json.loads(line)[1] for line in file)

    def finish(self, on_row: Callable[[Row], None]) -> None:
        """Writes the result file atomically, passes each row to `on_row`, and removes the journal."""

        def rows() -> Iterator[Row]:
            for row in self.rows():
                on_row(row)
                yield row

        with replaced(self._path) as partial:
            _WRITERS[self._path.suffix](partial, rows(), self._about)
        self.journal.unlink()


def _state_of(files: Sequence[Path]) -> str:
    states = [(written_name(file.absolute()), (found := file.stat()).st_size, found.st_mtime_ns) for file in files]
    return digest_of(json.dumps(states))


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
