"""Commands similar and report: similar training images, case report and cohort report."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medscreen.cli.image_files import Failures, file_name, image_name, images_of, readable
from medscreen.cli.registry_access import load_version
from medscreen.cli.tables import simple_table
from medscreen.config.params import load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen, say, visible
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from medscreen.data.display import Grey
    from medscreen.data.load_image import DisplayedImage
    from medscreen.packaging.screened_files import ImageOfFile
    from medscreen.registry.loaded_version import LoadedVersion
    from medscreen.reporting.case_report import ReportedCase

_MOST_IMAGES = 100  # of one page
_CASES = 3  # similar ones of each class
_NAME = click.option("--name", help="Registered model; by default that of the active data set.")
_STAGE = click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
_PATHS = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command()
@_PATHS
@_NAME
@_STAGE
@click.option("--number", default=3, show_default=True, type=click.IntRange(1, 50), help="Training images per class.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def similar(paths: Sequence[Path], name: str | None, stage: str, number: int, as_json: bool) -> None:
    """Lists the training images most similar to each image.

    These are the nearest healthy and abnormal ones by the features of the detector; their names are keyed hashes. The
    exit status is 1 if a file can't be read.

    Example: `medscreen similar film.dcm --number 5`
    """
    version = load_version(name, stage)
    if version.no_cases:
        raise MedscreenError(f"{version.title} has no index of similar cases: {version.no_cases}.")
    failures = Failures()
    table = simple_table(None, ("image", "label", "distance", "training image"))
    rows = []
    for image, _, square in readable(images_of(paths), version.detector, failures):
        name_of_image = image_name(file_name(image.path), image.frame)
        for case in version.similar_to(square, number):
            rows.append({"file": name_of_image, **asdict(case)})
            table.add_row(name_of_image, "abnormal" if case.label else "normal", f"{case.distance:.3f}", case.name)
    if as_json:
        say(json.dumps(rows))
    else:
        Screen().print(table)
    sys.exit(1 if failures else 0)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@_NAME
@_STAGE
@click.option("--cohort", is_flag=True, help="Report on all detectors of the workspace instead of images.")
@click.option("--out", type=click.Path(path_type=Path), help="Output file; by default {case,cohort}-report.html.")
def report(paths: Sequence[Path], name: str | None, stage: str, cohort: bool, out: Path | None) -> None:
    """Writes an HTML report on images or on all detectors.

    On images: decision, explanation map, score among the images of val, and similar cases. With --cohort: results of
    all detectors on the active data set, from the last `dvc repro`. Both pages are self-contained and show images. The
    exit status is 1 if a file can't be read.

    Example: `medscreen report film.dcm --out case.html`
    """
    if cohort and (paths or name or stage != "Production"):
        raise click.UsageError("--cohort: reports on the whole workspace. Leave out PATHS, --name and --stage.")
    if not cohort and not paths:
        raise click.UsageError("PATHS: missing. Name images, or use --cohort for the results of the workspace.")
    out = out or Path("cohort-report.html" if cohort else "case-report.html")
    if out.suffix.lower() not in {".html", ".htm"}:
        raise MedscreenError(f"{visible(out)}: not an HTML file name. Name a file that ends in .html for --out.")
    if out.exists() and not out.is_file():
        raise MedscreenError(f"{visible(out)}: not a file. Name another one for --out.")
    if cohort:
        _report_cohort(out)
    else:
        _report_cases(paths, name, stage, out)


def _report_cohort(out: Path) -> None:
    from medscreen.reporting.cohort_report.page import cohort_report

    layout = find_layout()
    params = load_params(layout.params)
    _save(out, cohort_report(layout, params))
    say(f"{out}: {len(params.detectors)} detectors on {params.dataset}. Research use only, never diagnosis.")


def _report_cases(paths: Sequence[Path], name: str | None, stage: str, out: Path) -> None:
    from medscreen.reporting.case_report import case_report

    version = load_version(name, stage)
    if version.val is None:
        raise MedscreenError(
            f"{version.title}: its run holds no scores of val. `dvc repro publish` logs them if the version was made "
            "in this workspace."
        )
    failures = Failures()
    images = list(islice(images_of(paths), _MOST_IMAGES + 1))
    if len(images) > _MOST_IMAGES:
        raise MedscreenError(
            f"Too many images: a page shows at most {_MOST_IMAGES}. Name fewer, or use `medscreen predict`."
        )
    local = _training_images()
    cases = [_case(version, local, *found) for found in readable(images, version.detector, failures)]
    if cases:
        _save(out, case_report(cases, version.reported, version.val))
        say(f"{out}: {len(cases)} {'image' if len(cases) == 1 else 'images'}. Research use only, never diagnosis.")
    sys.exit(1 if failures else 0)


def _save(out: Path, page: str) -> None:
    try:
        with replaced(out) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MedscreenError(f"{out}: can't be written ({error.strerror}). Name another file for --out.") from error


def _case(
    version: "LoadedVersion",
    local: Mapping[str, "Grey"],
    image: "ImageOfFile",
    displayed: "DisplayedImage",
    square: "Grey",
) -> "ReportedCase":
    """Screens an image and adds map and similar cases; `local`: digest -> pixels of training images."""
    from medscreen.reporting.case_report import ReportedCase, SimilarCase, png

    explained = version.explained
    found, no_map = explained.map_of(square)
    return ReportedCase(
        name=image_name(file_name(image.path), image.frame),
        picture=png(displayed.grey),
        square=square,
        left_out=image.left_out,
        screening=version.detector.screen(square[None]),
        map=found,
        unit=explained.unit,
        caveat=explained.reason if found is not None else "",
        no_map=no_map,
        similar=[SimilarCase(case, local.get(case.image)) for case in version.similar_to(square, _CASES)],
        no_cases=version.no_cases,
    )


def _training_images() -> dict[str, "Grey"]:
    """Digest -> pixels of the curated training images of the checkout; empty if there are none."""
    from medscreen.data.images import load_images

    try:
        train = load_images(find_layout().curated("train"))
    except MedscreenError:  # the checkout holds no curated images
        return {}
    return dict(zip(train.digests, train.pixels, strict=True))
