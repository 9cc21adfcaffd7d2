"""Results of `evaluate` and `publish`, checked for consistency, for the cohort report."""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from medscreen.config.params import Params
from medscreen.errors import MedscreenError
from medscreen.reporting.curation_page.page import warnings
from medscreen.reporting.leaderboard import Row, leaderboard_rows
from medscreen.tracking.detector_results import Result, read_results
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import require_locked

_PICTURES = ("confusion", "reliability", "operating")
_TABLES = ("roc", "precision_recall", "confusion")
_OF_STANDING = ("verdict", "reason", "version", "digest")


@dataclass(frozen=True)
class Published:
    """`results` of the roster by descending AUROC on val, with the decisions of the last `publish`.

    `reason`: reason for the decision of the gate. `standings`: detector -> verdict, reason, version and digest.
    `tables`: name -> rows of reports/plots, on test. `pictures`: detector -> name -> PNG file of reports/figures.
    `warnings`: Markdown sentences on the curation.
    """

    model: str
    reason: str
    results: list[Result]
    standings: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, list[Row]]
    pictures: Mapping[str, Mapping[str, bytes]]
    warnings: list[str]


def read_published(layout: Layout, params: Params) -> Published:
    """Reads the files below reports/; raises MedscreenError if one is missing, damaged or of other results."""
    with named(layout, layout.curation_report) as path:
        doubts = warnings(json.loads(path.read_text(encoding="utf-8")))
    results = {result.detector: result for result in read_results(layout, params)}
    with named(layout, layout.promotion) as path:
        promotion = json.loads(path.read_text(encoding="utf-8"))
        model, reason = promotion["model"], promotion["reason"]
        standings = {of["detector"]: {name: of[name] for name in _OF_STANDING} for of in promotion["standings"]}
    leaderboard = _rows(layout, layout.leaderboard)
    expected = {}
    for name, result in results.items():
        with named(layout, layout.report(name)):
            (expected[name],) = leaderboard_rows(
                [result], {of: standing["verdict"] for of, standing in standings.items()}
            )
    is_judged = {name: of["digest"] for name, of in standings.items()} == {n: of.digest for n, of in results.items()}
    if not is_judged or {row["detector"]: row for row in leaderboard} != expected:
        raise MedscreenError(
            "reports/leaderboard.csv or reports/promotion.json: not made from the results in reports/detectors. "
            "Run `dvc repro`."
        )
    tables = {name: _rows(layout, layout.plots / f"{name}.csv") for name in _TABLES}
    for name, rows in tables.items():
        if {row["detector"] for row in rows} != set(results):
            raise MedscreenError(f"reports/plots/{name}.csv: not made from the roster in params.yaml. Run `dvc repro`.")
    pictures = {of: {name: _png(layout, layout.figures(of) / f"{name}.png") for name in _PICTURES} for of in results}
    require_locked(layout, params.detectors)  # last, as the checks above name the file and this one only the folder
    return Published(
        model, reason, [results[row["detector"]] for row in leaderboard], standings, tables, pictures, doubts
    )


@contextmanager
def named(layout: Layout, path: Path) -> Iterator[Path]:
    """Raises MedscreenError with the path below the workspace if the file is missing or can't be read."""
    name = path.relative_to(layout.workspace)
    try:
        yield path
    except FileNotFoundError as error:
        raise MedscreenError(f"{name}: not found. Run `dvc repro`, or `dvc pull` if a remote holds it.") from error
    except (OSError, ValueError, KeyError, TypeError, UndefinedError) as error:  # includes the errors of pyarrow
        raise MedscreenError(f"{name}: damaged ({type(error).__name__}). Remove it and run `dvc repro`.") from error


def _rows(layout: Layout, table: Path) -> list[Row]:
    with named(layout, table) as path, path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
        if any(None in (*row, *row.values(), row["detector"]) for row in rows):
            raise ValueError("rows of different length")
    return rows


def _png(layout: Layout, picture: Path) -> bytes:
    with named(layout, picture) as path:
        content = path.read_bytes()
        if not content.startswith(b"\x89PNG") or b"IEND" not in content[-16:]:
            raise ValueError("incomplete PNG file")
    return content
