import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from factories import drawn_outcomes, outcomes
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.paired_comparison import delong, paired_bootstrap, spread
from medscreen.reporting.leaderboard import Pair, comparisons, leaderboard_rows, print_leaderboard, save_rows
from medscreen.tracking.detector_results import Result

BOOTSTRAP = Bootstrap(200, 0.95, 3)
COLUMNS = [
    "detector", "verdict",
    "val/auroc", "val/auroc_low", "val/auroc_high", "test/auroc", "test/auroc_low", "test/auroc_high",
    "test/balanced_accuracy", "test/balanced_accuracy_low", "test/balanced_accuracy_high",
    "test/sensitivity", "test/sensitivity_low", "test/sensitivity_high",
    "test/specificity", "test/specificity_low", "test/specificity_high",
    "test/accuracy", "test/accuracy_at_half", "test/in_domain",
    "val/seeds", "val/auroc_mean", "val/auroc_sd", "test/seeds", "test/auroc_mean", "test/auroc_sd",
]  # fmt: skip
SINGLE = {"val": [0.8], "test": [0.7]}


def estimate(value: float | None) -> dict[str, float | None]:
    return {
        "value": value,
        "low": None if value is None else value - 0.05,
        "high": None if value is None else value + 0.02,
    }


def result(
    name: str, val: float | None, test: float = 0.75, half: bool = True, seeds: dict[str, list[float]] = SINGLE
) -> Result:
    of_test = {"auroc": test, "balanced_accuracy": 0.71, "sensitivity": 0.62, "specificity": 0.8, "accuracy": 0.73}
    if half:
        of_test |= {"accuracy_at_half": 0.66, "in_domain": 0.993}
    evaluation = {
        "val": {"auroc": estimate(val)},
        "test": {metric: estimate(value) for metric, value in of_test.items()},
    }
    return Result(
        dataset="films", detector=name, params={}, run_key="", history=[], evaluation=evaluation,
        analysis={"seeds": {split: spread(values) for split, values in seeds.items()}},
        explanations={}, curation={}, data_digest="", packaged=Path(), digest="", files={}, predictions=pa.table({}),
        trained_on=[], operating_point={}, lineage={}, is_baseline=False, similar_cases=None,
    )  # fmt: skip


def printed(rows: Any) -> list[str]:
    text = io.StringIO()
    print_leaderboard(rows, "Leaderboard", Console(file=text, width=200))
    return text.getvalue().splitlines()


def test_the_best_on_val_comes_first_whatever_test_says() -> None:
    results = [result("a", 0.7, 0.99), result("none", None, 0.98), result("b", 0.9, 0.6), result("c", 0.8, 0.7)]
    rows = leaderboard_rows(results, {"b": "promoted", "a": "refused"})
    assert [row["detector"] for row in rows] == ["b", "c", "a", "none"]
    assert [row["verdict"] for row in rows] == ["promoted", "", "refused", ""]


def test_a_row_holds_values_their_ends_and_seeds() -> None:
    (row,) = leaderboard_rows(
        [result("cnn", 0.81234, seeds={"val": [0.8, 0.9, 1.0], "test": [0.5, 0.7]})], {"cnn": "kept"}
    )
    assert list(row) == COLUMNS
    assert (row["val/auroc"], row["val/auroc_low"], row["val/auroc_high"]) == ("0.8123", "0.7623", "0.8323")
    assert (row["test/sensitivity"], row["test/specificity_low"]) == ("0.6200", "0.7500")
    assert (row["test/accuracy"], row["test/accuracy_at_half"]) == ("0.7300", "0.6600")
    assert row["test/in_domain"] == "0.9930"
    assert (row["val/seeds"], row["val/auroc_mean"], row["val/auroc_sd"]) == ("3", "0.9000", "0.1000")
    assert (row["test/seeds"], row["test/auroc_mean"], row["test/auroc_sd"]) == ("2", "0.6000", "0.1414")


def test_what_a_detector_lacks_is_an_empty_cell() -> None:
    rows = leaderboard_rows([result("cnn", 0.8), result("gradient", None, half=False)], {})
    assert list(rows[1]) == COLUMNS == list(rows[0])
    assert (
        rows[1]["test/accuracy_at_half"]
        == rows[1]["test/in_domain"]
        == rows[1]["val/auroc"]
        == rows[1]["val/auroc_low"]
        == ""
    )
    assert rows[0]["test/auroc_sd"] == ""
    assert rows[0]["test/seeds"] == "1"


def test_a_saved_league_is_the_league(tmp_path: Path) -> None:
    rows = leaderboard_rows([result("cnn", 0.8), result("gradient", 0.6, half=False)], {"cnn": "promoted, at last"})
    save_rows(rows, list(rows[0]), tmp_path / "leaderboard.csv")
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows
    assert b"\r" not in (tmp_path / "leaderboard.csv").read_bytes()


def test_the_printed_table_has_each_interval_behind_its_value() -> None:
    lines = printed(
        leaderboard_rows([result("cnn", 0.81234), result("gradient", 0.6, half=False)], {"cnn": "promoted"})
    )
    assert lines[0].strip() == "Leaderboard"
    headings = [
        "detector", "val AUROC", "test AUROC", "balanced acc.", "sensitivity", "specificity", "acc. at .5",
        "in domain", "verdict",
    ]  # fmt: skip
    assert [word.strip() for word in lines[2].split("  ") if word.strip()] == headings
    assert [word.strip() for word in lines[4].split("  ") if word.strip()] == [
        "cnn", ".812 .762-.832", ".750 .700-.770", ".710 .660-.730", ".620 .570-.640", ".800 .750-.820", ".660",
        ".993", "promoted",
    ]  # fmt: skip
    assert lines[5].split()[-1] == "-"


def test_a_share_of_too_few_images_in_the_domain_is_not_shown() -> None:
    (row,) = leaderboard_rows([result("cnn", 0.8)], {})
    assert ".993" in printed([row])[4]
    few = row | {"test/auroc_low": "", "test/auroc_high": ""}
    shown = [word.strip() for word in printed([few])[4].split("  ") if word.strip()]
    assert shown[2] == shown[-1] == "too few to say"


def test_seeds_are_a_column_where_there_are_several() -> None:
    one = printed(leaderboard_rows([result("cnn", 0.8)], {}))
    assert not any("seeds" in line for line in one)
    several = {"val": [0.8, 0.9], "test": [0.5, 0.6, 0.7]}
    lines = printed(
        leaderboard_rows([result("cnn", 0.8, seeds=several), result("b", 0.7, seeds=several)], {"b": "refused"})
    )
    assert "over 3 seeds" in lines[2]
    assert all(".600 sd .100" in line for line in lines[4:6])
    assert lines[5].rstrip().endswith("refused")


def test_a_detector_without_further_seeds_has_a_dash_for_their_spread() -> None:
    several = result("cnn", 0.8, seeds={"val": [0.8, 0.9], "test": [0.5, 0.6]})
    assert ".700 sd -" in printed(leaderboard_rows([several, result("gradient", 0.6)], {}))[5]


def against(leader: Outcomes, noise: float, seed: int) -> Outcomes:
    """Another detector on the same images, the worse the noisier."""
    scores = leader.scores + np.random.default_rng(seed).normal(0, noise, len(leader.scores))
    return outcomes(leader.labels, scores, patients=leader.patients)


LEADERS = {"val": drawn_outcomes(160, seed=1), "test": drawn_outcomes(140, seed=2)}
MESSAGES = {
    split: {"gradient": against(best, 3.0, 5), "cnn": best, "autoencoder": against(best, 1.0, 6)}
    for split, best in LEADERS.items()
}


def test_every_other_detector_is_compared_with_the_leader() -> None:
    pairs = comparisons(MESSAGES, "cnn", BOOTSTRAP)
    assert [(pair["split"], pair["detector"], pair["leader"]) for pair in pairs] == [
        ("val", "gradient", "cnn"), ("val", "autoencoder", "cnn"),
        ("test", "gradient", "cnn"), ("test", "autoencoder", "cnn"),
    ]  # fmt: skip
    for pair in pairs:
        message, best = MESSAGES[pair["split"]][pair["detector"]], LEADERS[pair["split"]]
        gap = paired_bootstrap(message, best, "auroc", BOOTSTRAP)
        assert [pair["difference"], pair["low"], pair["high"]] == [gap["value"], gap["low"], gap["high"]]
        assert pair["delong_p_value"] == delong(best.labels, message.scores, best.scores, 0.95)["p_value"]


def test_a_worse_detector_has_a_negative_difference_and_a_small_p_value() -> None:
    pairs = {pair["detector"]: pair for pair in comparisons(MESSAGES, "cnn", BOOTSTRAP) if pair["split"] == "test"}
    assert pairs["gradient"]["difference"] < pairs["autoencoder"]["difference"] < 0
    assert pairs["gradient"]["high"] < 0
    assert pairs["gradient"]["delong_p_value"] < 0.05
    worse_leads = {pair["detector"]: pair for pair in comparisons(MESSAGES, "gradient", BOOTSTRAP)[3:]}
    assert set(worse_leads) <= {"cnn", "autoencoder"}
    assert worse_leads["autoencoder"]["difference"] > 0


def test_a_roster_of_one_has_nobody_to_be_compared_with(tmp_path: Path) -> None:
    pairs = comparisons({split: {"cnn": best} for split, best in LEADERS.items()}, "cnn", BOOTSTRAP)
    assert pairs == []
    save_rows(pairs, list(Pair.__annotations__), tmp_path / "comparison.csv")
    assert (tmp_path / "comparison.csv").read_text() == "split,detector,leader,difference,low,high,delong_p_value\n"


@pytest.mark.parametrize("number", [0, 3])
def test_saved_comparisons_come_back(tmp_path: Path, number: int) -> None:
    pairs = comparisons(MESSAGES, "cnn", BOOTSTRAP)
    twin = {"val": {"cnn": LEADERS["val"], "twin": LEADERS["val"]}}
    pairs += comparisons(twin, "cnn", BOOTSTRAP)
    save_rows(pairs, list(Pair.__annotations__), tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert float(read[number]["difference"]) == pairs[number]["difference"]
    assert read[-1] == {
        "split": "val", "detector": "twin", "leader": "cnn", "difference": "0.0", "low": "0.0", "high": "0.0",
        "delong_p_value": "",
    }  # fmt: skip
