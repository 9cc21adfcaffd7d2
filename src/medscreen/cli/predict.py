"""Screening new images with a registered detector."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from medscreen.cli.image_files import ImageOfFile, images_of, readable
from medscreen.cli.tables import simple_table
from medscreen.config.params import load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen, save_csv, say
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from medscreen.data.display import Grey
    from medscreen.packaging.packaged_detector import PackagedDetector

_CHUNK = 64
_OUTSIDE = "outside the training data"
_WITHOUT_CHECK = (
    "the version was made before medscreen had one; images unlike its training images are called normal or abnormal, "
    "too. Train and promote a version with this medscreen."
)


@dataclass(frozen=True)
class _Row:
    """One screened image.

    `frame`: its number in a file that holds several, from 0. `left_out`: how many images of the file are not screened.
    `for_processing`: the file holds raw values of an X-ray detector, which no reader sees.
    `called` is the decision in words, of which there is none outside the domain. `header_mismatch`: how modality or
    body part differ from the training images'.
    """

    file: str
    frame: int | None
    score: float
    p_value: float
    probability: float
    abnormal: bool
    refer: bool
    left_out: int
    for_processing: bool
    in_domain: bool | None
    header_mismatch: str
    called: str


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write the table to this file, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def predict(paths: Sequence[Path], name: str | None, stage: str, csv_path: Path | None, as_json: bool) -> None:
    """Screens images: PNG, JPEG, DICOM files, or folders of them.

    Every page of a TIFF and every frame of DICOM is a row. An image that is unlike the training images is called
    "outside the training data", whatever its score. Files that can't be read are named one by one on stderr, and the
    exit status is then 1.
    """
    from medscreen.registry.loading import load_detector
    from medscreen.registry.versions import model_name

    images = images_of(paths)
    detector = load_detector(name or model_name(load_params(find_layout().params).dataset), stage)
    if not detector.checks_domain:
        say(f"medscreen: no domain check: {_WITHOUT_CHECK}", err=True)
    rows: list[_Row] = []
    unreadable: Counter[tuple[str, str]] = Counter()
    read = (
        # not the image at its own size: it may be large, and a chunk has many
        (image, shown.for_processing, detector.header_mismatch(shown.described), square)
        for image, shown, square in readable(images, detector, unreadable)
    )
    while chunk := list(islice(read, _CHUNK)):
        rows += _screen(detector, chunk)
    if csv_path:
        _save_csv(rows, csv_path)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print(rows)
    sys.exit(1 if unreadable else 0)


def _screen(detector: "PackagedDetector", read: "Sequence[tuple[ImageOfFile, bool, str, Grey]]") -> list[_Row]:
    """The rows of images: the file, whether it is FOR PROCESSING, its header's mismatch, and the square."""
    import numpy as np

    output = detector.screen(np.stack([square for *_, square in read]))
    rows = []
    for i, (image, for_processing, header_mismatch, _) in enumerate(read):
        abnormal, refer = bool(output.abnormal[i]), bool(output.refer[i])
        in_domain = None if output.in_domain is None else bool(output.in_domain[i])
        decision = ("abnormal" if abnormal else "normal") + (", refer" if refer else "")
        rows.append(
            _Row(
                file=image.file,
                frame=image.frame,
                score=output.score[i].item(),
                p_value=output.p_value[i].item(),
                probability=output.probability[i].item(),
                abnormal=abnormal,
                refer=refer,
                left_out=image.left_out,
                for_processing=for_processing,
                in_domain=in_domain,
                header_mismatch=header_mismatch,
                called=_OUTSIDE if in_domain is False else decision,
            )
        )
    return rows


def _save_csv(rows: Sequence[_Row], path: Path) -> None:
    try:
        with replaced(path) as partial:
            save_csv(partial, list(_Row.__dataclass_fields__), (list(asdict(row).values()) for row in rows))
    except OSError as error:
        raise MedscreenError(f"{path} can't be written ({error.strerror}); name another file for --csv.") from error


def _print(rows: Sequence[_Row]) -> None:
    table = simple_table(None, ("file",), ("score", "p-value", "probability"))
    table.add_column("called", no_wrap=True)
    table.caption, table.caption_justify = "Research use only, never diagnosis.", "left"
    for row in rows:
        table.add_row(
            "\n".join(_lines(row)),
            f"{row.score:.4f}",
            f"{row.p_value:.4f}",
            f"{row.probability:.3f}",
            Text(row.called, "bold" if row.called.startswith("abnormal") else ""),
        )
    Screen().print(table)


def _lines(row: _Row) -> Iterator[str]:
    """The image, and below it what the reader has to know of its file."""
    yield row.file if row.frame is None else f"{row.file}#{row.frame}"
    if row.header_mismatch:
        yield row.header_mismatch
    if row.for_processing:
        yield "raw film (FOR PROCESSING)"
    if row.left_out:
        yield f"{row.left_out} more images of the file left out"
