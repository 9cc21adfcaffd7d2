"""Results of the roster as `evaluate` and `publish` left them, compared with one another for the cohort report."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from medscreen.config.params import Params
from medscreen.errors import MedscreenError
from medscreen.reporting.leaderboard import Row, league_rows
from medscreen.tracking.detector_results import Result, read_results
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import require_locked

_T = TypeVar("_T")
_PICTURES = ("confusion", "reliability", "operating")


@dataclass(frozen=True)
class Published:
    """The roster's `results`, the best on val first, and what the last `publish` made of them.

    `standings`: detector -> verdict, reason and version of promotion.json; `reason`: the gate's sentence on all.
    `tables`: roc, precision_recall and confusion -> rows of the tables of reports/plots, which are of test.
    `pictures`: detector -> name -> PNG file of reports/figures.
    """

    model: str
    reason: str
    results: list[Result]
    standings: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, list[Row]]
    pictures: Mapping[str, Mapping[str, bytes]]


def read_published(layout: Layout, params: Params) -> Published:
    """Raises MedscreenError where a file is missing or damaged, or where the files are not of the same results."""
    require_locked(layout, params.detectors)
    results = {result.detector: result for result in read_results(layout, params)}
    model, reason, standings = read_file(layout, layout.promotion, _promotion)
    rows = read_file(layout, layout.league, _rows)
    verdicts = {name: standing["verdict"] for name, standing in standings.items()}
    expected = {
        name: read_file(layout, layout.report(name), lambda _, of=result: league_rows([of], verdicts)[0])
        for name, result in results.items()
    }
    digests = {name: (result.digest, standings.get(name, {}).get("digest")) for name, result in results.items()}
    if {row["detector"]: row for row in rows} != expected or any(made != judged for made, judged in digests.values()):
        raise MedscreenError(
            "reports/league.csv or reports/promotion.json: not of the results in reports/detectors. Run `dvc repro`."
        )
    tables = {}
    for name in ("roc", "precision_recall", "confusion"):
        path = layout.plots / f"{name}.csv"
        tables[name] = read_file(layout, path, _rows)
        if {row["detector"] for row in tables[name]} != set(results):
            raise MedscreenError(f"reports/plots/{path.name}: not of the roster in params.yaml. Run `dvc repro`.")
    pictures = {
        detector: {name: read_file(layout, layout.figures(detector) / f"{name}.png", _png) for name in _PICTURES}
        for detector in results
    }
    return Published(model, reason, [results[row["detector"]] for row in rows], standings, tables, pictures)


def read_file(layout: Layout, path: Path, parse: Callable[[Path], _T]) -> _T:
    """What `parse` makes of a file of the workspace; raises MedscreenError for a missing or damaged one."""
    name = path.relative_to(layout.workspace)
    try:
        return parse(path)
    except FileNotFoundError as error:
        raise MedscreenError(f"{name}: not found. Run `dvc repro`, or `dvc pull` where a remote has it.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's own are among them
        raise MedscreenError(f"{name}: damaged ({type(error).__name__}). Remove it and run `dvc repro`.") from error


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    if not rows or any(None in (*row, *row.values()) for row in rows):
        raise ValueError("no table with as many cells in each row")
    return rows


def _promotion(path: Path) -> tuple[str, str, dict[str, dict[str, Any]]]:
    report = json.loads(path.read_text(encoding="utf-8"))
    wanted = ("verdict", "reason", "digest", "version")
    standings = {of["detector"]: {name: of[name] for name in wanted} for of in report["standings"]}
    return report["model"], report["reason"], standings


def _png(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(b"\x89PNG") or b"IEND" not in content[-16:]:
        raise ValueError("no whole PNG file")
    return content
