"""Leaderboard: one row per detector of the roster, with the same metrics for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rich import box
from rich.table import Table
from rich.text import Text

from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.paired_comparison import delong, paired_bootstrap
from medscreen.evaluation.sample_size import TOO_FEW, short_classes
from medscreen.runtime.escaping import Screen, save_csv
from medscreen.tracking.detector_results import Result

_INTERVALS = ("val/auroc", "test/auroc", "test/balanced_accuracy", "test/sensitivity", "test/specificity")
_SINGLE = ("test/accuracy", "test/accuracy_at_half", "test/in_domain")
_WORDS = {
    "val/auroc": "val AUROC",
    "test/auroc": "test AUROC",
    "test/balanced_accuracy": "balanced acc.",
    "test/sensitivity": "sensitivity",
    "test/specificity": "specificity",
    "test/accuracy_at_half": "acc. at .5",
    "test/in_domain": "in domain",
}

# metric without interval -> metric whose interval is missing if the same patients are too few
_RESTS_AS = {"test/accuracy_at_half": "test/balanced_accuracy", "test/in_domain": "test/auroc"}
_BALANCED = ("accuracy", "auroc", "sensitivity", "specificity", "false_positive_rate", "false_negative_rate")

Row = dict[str, str]


class Pair(TypedDict):
    """AUROC of a detector minus that of the leader on the same images of a split.

    Interval and p-value are None if a class of the split has too few patients.
    """

    split: str
    detector: str
    leader: str
    difference: float | None
    low: float | None
    high: float | None
    delong_p_value: float | None


def leaderboard_rows(results: Sequence[Result], standings: Mapping[str, str]) -> list[Row]:
    """Rows of the table by descending AUROC on `val`; `standings`: detector -> verdict."""
    ranked = sorted(results, key=lambda result: -(result.value("val", "auroc") or 0.0))
    return [_row(result, standings.get(result.detector, "")) for result in ranked]


def _row(result: Result, verdict: str) -> Row:
    row = {"detector": result.detector, "verdict": verdict}
    for name in (*_INTERVALS, *_SINGLE):
        split, metric = name.split("/")
        estimate = result.evaluation[split].get(metric, {"value": None, "low": None, "high": None})
        row |= _cells(name, estimate) if name in _INTERVALS else {name: _number(estimate["value"])}
    for split, over in result.analysis["seeds"].items():
        row[f"{split}/seeds"] = str(over["runs"])
        row[f"{split}/auroc_mean"], row[f"{split}/auroc_sd"] = _number(over["mean"]), _number(over["sd"])
    return row


def _cells(name: str, estimate: Mapping[str, float | None]) -> Row:
    ends = {f"{name}_{end}": _number(estimate[end]) for end in ("low", "high")}
    return {name: _number(estimate["value"]), **ends}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def save_rows(rows: Sequence[Row] | Sequence[Pair], columns: Sequence[str], path: Path) -> None:
    """Writes a table as CSV."""
    save_csv(path, columns, ([row.get(column, "") for column in columns] for row in rows))


def balanced_rows(results: Sequence[Result]) -> list[Row]:
    """Metrics on class-balanced subsets of val and test, as in MedMNIST's one-class notebooks."""
    rows = []
    for split in ("val", "test"):
        for result in results:
            smaller = min(result.data[split]["normal"], result.data[split]["abnormal"])
            row = {"split": split, "detector": result.detector, "images_of_each_class": str(smaller)}
            for metric in _BALANCED:
                row |= _cells(metric, result.evaluation[split]["balanced_view"][metric])
            rows.append(row)
    return rows


def comparisons(outcomes: Mapping[str, Mapping[str, Outcomes]], leader: str, bootstrap: Bootstrap) -> list[Pair]:
    """Compares every other detector with the leader; `outcomes`: split -> detector -> outcomes on the same images.

    The interval comes from a paired bootstrap over patients; DeLong's p-value assumes independent images.
    """
    pairs: list[Pair] = []
    for split, of_split in outcomes.items():
        best = of_split[leader]
        few = short_classes(best)
        for detector, other in of_split.items():
            if detector == leader:
                continue
            gap = paired_bootstrap(other, best, "auroc", bootstrap)
            p_value = None if few else delong(best.labels, other.scores, best.scores, bootstrap.confidence)["p_value"]
            compared = Pair(
                split=split,
                detector=detector,
                leader=leader,
                difference=gap["value"],
                low=gap["low"],
                high=gap["high"],
                delong_p_value=p_value,
            )
            pairs.append(compared)
    return pairs


def print_leaderboard(rows: Sequence[Row], title: str, screen: Screen) -> None:
    """Prints the table: value and interval, or "too few" below the minimum number of patients."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("detector", no_wrap=True)
    for word in _WORDS.values():
        table.add_column(word, justify="right", no_wrap=True)
    several = any(row["test/auroc_sd"] for row in rows)
    if several:
        table.add_column(f"over {rows[0]['test/seeds']} seeds", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        seeds = [_over_seeds(row)] if several else []
        table.add_row(row["detector"], *(_cell(row, name) for name in _WORDS), *seeds, row["verdict"])
    screen.print(table)


def _over_seeds(row: Row) -> Text:
    if not row["test/auroc_low"]:
        return Text(TOO_FEW)
    return Text.assemble(_three(row["test/auroc_mean"]), (f" sd {_three(row['test/auroc_sd'])}", "dim"))


def _cell(row: Row, name: str) -> Text:
    if not row[name]:
        return Text("-")
    if row.get(f"{_RESTS_AS.get(name, name)}_low") == "":
        return Text(TOO_FEW)
    cell = Text(_three(row[name]))
    if f"{name}_low" in row:
        cell.append(f" {_three(row[f'{name}_low'])}-{_three(row[f'{name}_high'])}", "dim")
    return cell


def _three(number: str) -> str:
    return f"{float(number):.3f}".removeprefix("0") if number else "-"
