"""Screening new images with a registered detector."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medscreen.errors import MedscreenError
from medscreen.layout import find_layout
from medscreen.outputs import replaced
from medscreen.params import load_params

if TYPE_CHECKING:
    from medscreen.packaging.detector import PackagedDetector

_CHUNK = 64
_OUTSIDE = "outside the training data"
_WITHOUT_CHECK = (
    "the version was made before medscreen had one; images unlike its training images are called normal or abnormal, "
    "too. Train and promote a version with this medscreen."
)


@dataclass(frozen=True)
class _Row:
    """One screened image.

    `called` is the decision in words, of which there is none outside the domain. `unlike_training`: how modality or
    body part differ from the training images'.
    """

    file: str
    score: float
    p_value: float
    probability: float
    abnormal: bool
    refer: bool
    in_domain: bool | None
    unlike_training: str
    called: str = field(init=False)

    def __post_init__(self) -> None:
        decision = ("abnormal" if self.abnormal else "normal") + (", refer" if self.refer else "")
        object.__setattr__(self, "called", _OUTSIDE if self.in_domain is False else decision)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write the table to this file, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def predict(paths: Sequence[Path], name: str | None, stage: str, csv_path: Path | None, as_json: bool) -> None:
    """Screens images: PNG, JPEG, DICOM files, or folders of them.

    An image that is unlike the training images is called "outside the training data", whatever its score.
    Files that can't be read are named one by one on stderr, and the exit status is then 1.
    """
    from medscreen.registry import load_detector, model_name

    files = list(_files(paths))
    detector = load_detector(name or model_name(load_params(find_layout().params).dataset), stage)
    if not detector.checks_domain:
        click.echo(f"medscreen: no domain check: {_WITHOUT_CHECK}", err=True)
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

    from medscreen.ingestion import UnreadableImageError, read_image, to_square
    from medscreen.sources.trees import written_name

    readable, pixels, differences = [], [], []
    for file in files:
        try:
            shown = read_image(file, detector.display)
            pixels.append(to_square(shown.grey, detector.image_size))
            readable.append(file)
            differences.append(detector.unlike_training(shown.described))
        except UnreadableImageError as error:
            click.echo(f"medscreen: {written_name(file)} can't be read: {error}", err=True)
    if not readable:
        return [], len(files)
    said = detector.screen(np.stack(pixels))
    rows = [
        _Row(
            file=written_name(file),
            score=said.score[i].item(),
            p_value=said.p_value[i].item(),
            probability=said.probability[i].item(),
            abnormal=said.abnormal[i].item(),
            refer=said.refer[i].item(),
            in_domain=None if said.in_domain is None else said.in_domain[i].item(),
            unlike_training=differences[i],
        )
        for i, file in enumerate(readable)
    ]
    return rows, len(files) - len(readable)


def _save_csv(rows: Sequence[_Row], path: Path) -> None:
    try:
        with replaced(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(_Row.__dataclass_fields__), lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    except OSError as error:
        raise MedscreenError(f"{path} can't be written ({error.strerror}); name another file for --csv.") from error


def _print(rows: Sequence[_Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, caption="Research use only, never diagnosis.", caption_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("score", "p-value", "probability"):
        table.add_column(heading, justify="right")
    table.add_column("called", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.file + (f"\n{row.unlike_training}" if row.unlike_training else "")),
            f"{row.score:.4f}",
            f"{row.p_value:.4f}",
            f"{row.probability:.3f}",
            row.called.replace("abnormal", "[bold]abnormal[/bold]"),
        )
    Console().print(table)
