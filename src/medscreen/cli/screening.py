"""Screening new images with a registered detector."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from medscreen.errors import MedscreenError
from medscreen.escaping import Screen, save_csv, say
from medscreen.layout import find_layout
from medscreen.outputs import replaced
from medscreen.params import load_params

if TYPE_CHECKING:
    from medscreen.packaging.detector import PackagedDetector

_CHUNK = 64


@dataclass(frozen=True)
class _Row:
    """One screened image."""

    file: str
    score: float
    p_value: float
    probability: float
    abnormal: bool
    refer: bool


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write the table to this file, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def predict(paths: Sequence[Path], name: str | None, stage: str, csv_path: Path | None, as_json: bool) -> None:
    """Screens images: PNG, JPEG, DICOM files, or folders of them.

    Files that can't be read are named one by one on stderr, and the exit status is then 1.
    """
    from medscreen.registry import load_detector, model_name

    files = list(_files(paths))
    detector = load_detector(name or model_name(load_params(find_layout().params).dataset), stage)
    rows: list[_Row] = []
    unreadable = 0
    for start in range(0, len(files), _CHUNK):
        screened, failed = _screen(detector, files[start : start + _CHUNK])
        rows += screened
        unreadable += failed
    if csv_path:
        _save_csv(rows, csv_path)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print(rows)
    sys.exit(1 if unreadable else 0)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        elif path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            if not found:
                raise MedscreenError(f"{path} is an empty folder; name a folder with images in it.")
            yield from found
        else:
            raise MedscreenError(f"{path} does not exist; name image files or folders of them.")


def _screen(detector: "PackagedDetector", files: Sequence[Path]) -> tuple[list[_Row], int]:
    """The rows of the readable files, and how many were not."""
    import numpy as np

    from medscreen.ingestion import UnreadableImageError, read_grey, to_square
    from medscreen.sources.trees import written_name

    readable, pixels = [], []
    for file in files:
        try:
            pixels.append(to_square(read_grey(file, detector.display), detector.image_size))
            readable.append(file)
        except UnreadableImageError as error:
            say(f"medscreen: {written_name(file)} can't be read: {error}", err=True)
    if not readable:
        return [], len(files)
    said = detector.screen(np.stack(pixels))
    columns = (said.score, said.p_value, said.probability, said.abnormal, said.refer)
    rows = [_Row(written_name(file), *(column[i].item() for column in columns)) for i, file in enumerate(readable)]
    return rows, len(files) - len(readable)


def _save_csv(rows: Sequence[_Row], path: Path) -> None:
    try:
        with replaced(path) as partial:
            save_csv(partial, list(_Row.__dataclass_fields__), (list(asdict(row).values()) for row in rows))
    except OSError as error:
        raise MedscreenError(f"{path} can't be written ({error.strerror}); name another file for --csv.") from error


def _print(rows: Sequence[_Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, caption="Research use only, never diagnosis.", caption_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("score", "p-value", "probability"):
        table.add_column(heading, justify="right")
    table.add_column("called")
    for row in rows:
        table.add_row(
            row.file,
            f"{row.score:.4f}",
            f"{row.p_value:.4f}",
            f"{row.probability:.3f}",
            Text.assemble(("abnormal", "bold") if row.abnormal else "normal", ", refer" if row.refer else ""),
        )
    Screen().print(table)
