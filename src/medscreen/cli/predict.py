"""Screening new images with a registered detector."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from medscreen.cli.image_files import file_name, image_name, images_of, readable
from medscreen.cli.tables import simple_table
from medscreen.config.params import load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen, save_csv, say
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from medscreen.packaging.screened_files import ScreenedImage

_WITHOUT_CHECK = (
    "the version was made before medscreen had one; images unlike its training images are called normal or abnormal, "
    "too. Train and promote a version with this medscreen."
)


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
    from medscreen.packaging.screened_files import screened
    from medscreen.registry.loading import load_detector
    from medscreen.registry.versions import model_name

    images = images_of(paths)
    detector = load_detector(name or model_name(load_params(find_layout().params).dataset), stage)
    if not detector.checks_domain:
        say(f"medscreen: no domain check: {_WITHOUT_CHECK}", err=True)
    unreadable: Counter[tuple[str, str]] = Counter()
    rows = list(screened(detector, readable(images, detector, unreadable)))
    for (file, reason), number in unreadable.items():
        if number > 1:
            say(f"medscreen: {file}: {number - 1} more images of it can't be read: {reason}", err=True)
    if csv_path:
        _save_csv(rows, csv_path)
    if as_json:
        click.echo(json.dumps([_columns(row) for row in rows], indent=1))
    else:
        _print(rows)
    sys.exit(1 if unreadable else 0)


def _columns(row: "ScreenedImage") -> dict[str, Any]:
    """The row of an image in CSV and JSON."""
    outputs = {field: value for field, value in vars(row).items() if field != "image"}
    return {"file": file_name(row.image.path), "frame": row.image.frame, **outputs}


def _save_csv(rows: Sequence["ScreenedImage"], path: Path) -> None:
    from medscreen.packaging.screened_files import ScreenedImage

    header = ["file", "frame", *(field.name for field in fields(ScreenedImage) if field.name != "image")]
    try:
        with replaced(path) as partial:
            save_csv(partial, header, (list(_columns(row).values()) for row in rows))
    except OSError as error:
        raise MedscreenError(f"{path} can't be written ({error.strerror}); name another file for --csv.") from error


def _print(rows: Sequence["ScreenedImage"]) -> None:
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


def _lines(row: "ScreenedImage") -> Iterator[str]:
    """The image, and below it what the reader has to know of its file."""
    yield image_name(row.image)
    if row.header_mismatch:
        yield row.header_mismatch
    if row.for_processing:
        yield "raw film (FOR PROCESSING)"
    if row.left_out:
        yield f"{row.left_out} more images of the file left out"
