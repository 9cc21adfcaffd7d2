"""Command predict: screens new images with a registered detector."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from medscreen.cli.image_files import Failures, files_of, image_name
from medscreen.cli.registry_access import load_version, model_or_default
from medscreen.cli.tables import simple_table
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen, say, visible
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import find_layout
from medscreen.workspace.process_lock import process_lock

if TYPE_CHECKING:
    from medscreen.cli.answer_folder import AnswerFolder
    from medscreen.packaging.batch_screening import Row
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.registry.stage_package import StagePackage

_WITHOUT_CHECK = (
    "this version was made by an older medscreen; images unlike its training images are also called normal or "
    "abnormal. Train and promote a new version."
)

_TO_SCREEN_RAW = "; --for-processing screens it"
_LEAST_BATCH = 10  # images; for fewer, the interval of the share is too wide for a warning


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--stage", default="Production", show_default=True, help="Staging, Production or Archived.")
@click.option(
    "--out",
    "--csv",
    "out",
    type=click.Path(path_type=Path),
    help="Write the rows to this .csv, .jsonl or .parquet file; after an interruption the same command resumes.",
)
@click.option(
    "--dicom-out",
    type=click.Path(path_type=Path),
    help="Also write a Structured Report and, with a map, a Secondary Capture of each DICOM image to this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--for-processing", is_flag=True, help="Also screen raw detector values (FOR PROCESSING).")
def predict(
    paths: Sequence[Path],
    name: str | None,
    stage: str,
    out: Path | None,
    dicom_out: Path | None,
    as_json: bool,
    for_processing: bool,
) -> None:
    """Screens PNG, JPEG, TIFF and DICOM files, or folders of them.

    Each page of a TIFF and each frame of a DICOM file is a row. An image unlike the training images is called
    "outside the training data", whatever its score. If an image can't be screened, the exit status is 1; the
    reason is on stderr or, with --out, in its row.

    Example: `medscreen predict film.dcm films/ --out scores.csv`
    """
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.registry.stage_package import package_in_stage

    if out and as_json:
        raise MedscreenError("--out and --json: use only one. For JSON in a file, name a .jsonl file for --out.")
    files = files_of(paths)
    package = package_in_stage(model_or_default(name), stage)
    detector = PackagedDetector(package.graph)
    answers = _answers(dicom_out, paths, package, stage) if dicom_out else None
    if not detector.checks_domain:
        say(f"medscreen: no domain check: {_WITHOUT_CHECK}", err=True)
    totals = _Totals(detector)
    if out is None:
        found = _screened(files, package, for_processing, answers)
        rows = [row for some in found for of_file in some for row in of_file]
        for row in rows:
            totals.count(row)
        _name_failures(rows)
        if as_json:
            click.echo(json.dumps(rows, indent=1))
        else:
            _print(rows, package)
    else:
        _write(out, files, package, detector, for_processing, answers, totals)
    totals.warn()
    if answers is not None:
        answers.tell()
    sys.exit(1 if totals.failed or totals.unanswered else 0)


class _Totals:
    """Counts of rows by decision, and of failures."""

    def __init__(self, detector: "PackagedDetector") -> None:
        self._level = float(detector.metadata.get("domain", {}).get("level", 1))
        self._called: Counter[str] = Counter()
        self.failed = self.unanswered = 0

    def count(self, row: "Row") -> None:
        """Counts a row."""
        if row["status"] == "screened":
            self._called[row["called"]] += 1
            self.unanswered += bool(row["reason"])
        else:
            self.failed += 1

    def __str__(self) -> str:
        called = "; ".join(f"{number} {called}" for called, number in sorted(self._called.items()))
        failed = f"; {self.failed} not screened, with the reason in their rows" if self.failed else ""
        return f"{self._called.total()} images screened: {called or 'none'}{failed}"

    def warn(self) -> None:
        """Warns on stderr if too many images of the batch are outside the training data; requires the domain check."""
        from medscreen.packaging.screened_files import OUTSIDE

        screened, outside = self._called.total(), self._called[OUTSIDE]
        if screened < _LEAST_BATCH or outside <= self._level * screened:
            return
        from medscreen.evaluation.proportion_intervals import wilson

        low = wilson(outside / screened, screened, 0.95)["low"]
        if low is not None and low > self._level:
            say(
                f"medscreen: {outside} of {screened} images are outside the training data, but at most "
                f"{self._level:.0%} were expected: the threshold may not hold for this batch.",
                err=True,
            )


def _name_failures(rows: Sequence["Row"]) -> None:
    failures = Failures()
    for row in rows:
        if row["status"] != "screened":
            verb, hint = ("read", "") if row["status"] == "unreadable" else ("screened", _TO_SCREEN_RAW)
            failures.add(visible(row["file"]), row["frame"], f"can't be {verb}: {row['reason']}{hint}")
    failures.name_rest()


def _answers(folder: Path, paths: Sequence[Path], package: "StagePackage", stage: str) -> "AnswerFolder":
    from medscreen.cli.answer_folder import AnswerFolder
    from medscreen.registry.dicom_answers import require_highdicom

    require_highdicom()
    version = load_version(package.model, stage)
    if version.record.version.digest != package.digest:
        raise MedscreenError(
            f"{package.model}: the version in {stage} has changed since the start. Run the command again."
        )
    return AnswerFolder(folder, version, paths)


def _screened(
    files: Sequence[Path], package: "StagePackage", raw: bool, answers: "AnswerFolder | None"
) -> Iterator[Sequence[list["Row"]]]:
    """Yields the rows of files by batch; writes the DICOM answers of a batch before its rows."""
    from medscreen.packaging.batch_screening import screen_files

    done = 0
    for rows in screen_files(files, package.graph, raw):
        if answers is not None:
            for file, of_file in zip(files[done : done + len(rows)], rows, strict=True):
                answers.add(file, of_file)
        done += len(rows)
        yield rows


def _write(
    out: Path,
    files: Sequence[Path],
    package: "StagePackage",
    detector: "PackagedDetector",
    raw: bool,
    answers: "AnswerFolder | None",
    totals: _Totals,
) -> None:
    """Screens the files that the journal beside `out` lacks, and writes `out`."""
    from medscreen.packaging.batch_screening import COLUMNS, FILES_AT_ONCE
    from medscreen.packaging.result_file import ResultFile
    from medscreen.pipeline.progress_bar import progress

    about = {
        "model": package.model,
        "version": str(package.version),
        "package_digest": package.digest,
        "display": detector.display.model_dump_json(),
    }
    asked = {} if answers is None else {"dicom_out": str(answers.folder.resolve())}
    result = ResultFile(out, about, {"for_processing": str(raw), "columns": ", ".join(COLUMNS)} | asked)
    busy = MedscreenError(f"{visible(out)}: another process is writing it. Wait, or name another file for --out.")
    locks = find_layout().scratch / "locks"
    with process_lock(locks / f"predict-{digest_of(str(out.resolve()))}.lock", busy):
        own = {out.resolve(), result.journal.resolve()}
        files = [file for file in files if file.resolve() not in own]
        try:
            done = result.resume(files)
            if done:
                say(f"medscreen: resumed: {done} of {len(files)} files are done", err=True)
            tasks = -(-(len(files) - done) // FILES_AT_ONCE)
            with progress(f"batches of {FILES_AT_ONCE} files", tasks) as advance:
                # answers are written before rows: a file with rows is skipped on resume
                for rows in _screened(files[done:], package, raw, answers):
                    result.add(done, rows)
                    done += len(rows)
                    advance("")
            result.finish(totals.count)
        except OSError as error:
            raise MedscreenError(
                f"{visible(out)}: can't be written ({error.strerror}). Name another file for --out."
            ) from error
    say(f"{visible(out)}: {totals}. {package}. Research use only, never diagnosis.")


def _print(rows: Sequence["Row"], package: "StagePackage") -> None:
    table = simple_table(None, ("file",), ("score", "p-value", "probability"))
    table.add_column("called", no_wrap=True)
    table.caption, table.caption_justify = f"{package}. Research use only, never diagnosis.", "left"
    for row in rows:
        if row["status"] == "screened":
            table.add_row(
                "\n".join(_lines(row)),
                f"{row['score']:.4f}",
                f"{row['p_value']:.4f}",
                f"{row['probability']:.3f}",
                Text(row["called"], "bold" if row["called"].startswith("abnormal") else ""),
            )
    Screen().print(table)


def _lines(row: "Row") -> Iterator[str]:
    """Name of the image, followed by notes on its file."""
    yield image_name(visible(row["file"]), row["frame"])
    if row["header_mismatch"]:
        yield row["header_mismatch"]
    if row["for_processing"]:
        yield "raw detector values (FOR PROCESSING)"
    if row["left_out"]:
        yield f"{row['left_out']} more images of the file left out"
