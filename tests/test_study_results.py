import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from PIL import Image

from medscreen.studies.importances import importances
from medscreen.studies.study_files import write_results
from medscreen.studies.study_plots import auroc_study

pytestmark = pytest.mark.slow

NETWORKS = ["a residual network of 78 thousand parameters", "a residual network of 300 thousand parameters", "patches"]
RATE = "training.learning_rate"
TABLES = {"trials.csv", "importances.csv", "summary.json"}
PLOTS = {"history.png", "slice.png", "parallel_coordinates.png", "contour.png", "rank.png", "importances.png"}


@pytest.fixture(autouse=True)
def few_words() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


def searched(trial: optuna.Trial) -> float:
    """A study of several networks: the learning rate decides, filters are of one network, noise does nothing."""
    rate = trial.suggest_float(RATE, 1e-5, 1e-2, log=True)
    network = trial.suggest_categorical("network", NETWORKS)
    trial.suggest_float("noise", 0, 1)
    trial.suggest_float("fixed", 0.5, 0.5)
    value = 0.95 - 0.05 * abs(np.log10(rate) + 3)
    if network == NETWORKS[0]:
        value += 0.001 * trial.suggest_int("layers.filters", 16, 128, log=True) / 128
    for epoch in range(2):
        if len(trial.study.directions) == 1:
            trial.report(value - 0.1 * (1 - epoch), epoch)
    if trial.number % 7 == 5:
        trial.set_user_attr("reason", "behind the median,\nsays the pruner")
        raise optuna.TrialPruned
    if trial.number % 11 == 8:
        trial.set_user_attr("reason", "ValueError: the filter is larger than the image")
        raise ValueError
    return float(value)


def new_study(trials: int, objective: Any = searched) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=3)
    study = optuna.create_study(study_name="cnn phantom 3f2a", direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=trials, catch=(ValueError,))
    return study


def both_objectives(trials: int) -> optuna.Study:
    study = optuna.create_study(study_name="pair", directions=["maximize", "minimize"])
    study.sampler = optuna.samplers.RandomSampler(seed=3)
    study.optimize(lambda trial: (searched(trial), trial.params["noise"]), n_trials=trials, catch=(ValueError,))
    return study


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def completed(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE,))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    made = new_study(40)
    made.add_trial(
        optuna.create_trial(value=0.2, params={"noise": 0.1 + 0.2}, distributions={"noise": FloatDistribution(0, 1)})
    )
    made.enqueue_trial({RATE: 1e-3}, user_attrs={"retry_of": 8})
    made.ask(fixed_distributions={})  # takes what was queued, and runs
    made.enqueue_trial({RATE: 1e-3})
    optuna.logging.set_verbosity(before)
    return made


def test_trials_hold_every_trial_best_first_with_values_that_round_trip(study: optuna.Study, tmp_path: Path) -> None:
    write_results(study, tmp_path / "cnn")
    lines = rows(tmp_path / "cnn" / "trials.csv")
    assert list(lines[0]) == [
        "number", "state", "tune AUROC", "seconds", "epochs", "fixed", "layers.filters", "network", "noise", RATE,
        "reason", "retry_of",
    ]  # fmt: skip
    trials = {trial.number: trial for trial in study.trials}
    assert sorted(int(line["number"]) for line in lines) == sorted(trials)
    for line in lines:
        trial = trials[int(line["number"])]
        assert line["state"] == trial.state.name.lower()
        assert (float(line["tune AUROC"]) if line["tune AUROC"] else None) == trial.value
        assert (float(line["seconds"]) if line["seconds"] else None) == (
            trial.duration.total_seconds() if trial.duration else None
        )
        assert int(line["epochs"]) == len(trial.intermediate_values)
        assert {name: line[name] for name in trial.params if name == "network"} == {
            name: value for name, value in trial.params.items() if name == "network"
        }
        for name in ("noise", RATE, "layers.filters", "fixed"):
            assert (float(line[name]) if line[name] else None) == trial.params.get(name)
        assert line["reason"] == trial.user_attrs.get("reason", "")
    order = ["complete", "pruned", "running", "waiting", "fail"]
    assert list(dict.fromkeys(line["state"] for line in lines)) == order
    for state in ("complete", "pruned"):
        values = [float(line["tune AUROC"]) for line in lines if line["state"] == state]
        assert values == sorted(values, reverse=True)
    assert [line["retry_of"] for line in lines if line["state"] == "running"] == ["8"]


def test_parameters_that_are_no_texts_keep_their_kind(tmp_path: Path) -> None:
    choices = [None, True, 3, "3", "null, quoted"]
    study = new_study(20, lambda trial: trial.number / (1 + len(str(trial.suggest_categorical("kind", choices)))))
    write_results(study, tmp_path / "cnn")
    cells = {int(line["number"]): line["kind"] for line in rows(tmp_path / "cnn" / "trials.csv")}
    texts = {None: "null", True: "true", 3: "3", "3": "3", "null, quoted": "null, quoted"}
    assert cells == {trial.number: texts[trial.params["kind"]] for trial in study.trials}


def test_what_decides_is_most_important_by_both_methods(study: optuna.Study, tmp_path: Path) -> None:
    write_results(study, tmp_path / "cnn")
    lines = rows(tmp_path / "cnn" / "importances.csv")
    assert list(lines[0]) == ["parameter", "ped_anova_of_tune_auroc", "fanova_of_tune_auroc", "completed_trials"]
    # one trial was added that has noise alone, so that every other parameter is of some trials only
    among = [line for line in lines if line["completed_trials"] == str(len(completed(study)) - 1)]
    assert {line["parameter"] for line in among} == {RATE, "network", "fixed"}
    assert lines[0]["parameter"] == RATE
    for method in ("ped_anova_of_tune_auroc", "fanova_of_tune_auroc"):
        assert float(lines[0][method]) == max(float(line[method]) for line in lines if line[method])
        assert 0.5 < float(lines[0][method]) <= 1
    # all have noise, and nothing but noise: among one parameter there are no shares
    assert next(line for line in lines if line["parameter"] == "noise")["fanova_of_tune_auroc"] == ""


def test_a_parameter_of_some_trials_is_judged_over_those_alone() -> None:
    study = new_study(60)
    found = {row.parameter: row for row in importances(completed(study))}
    having = [trial for trial in completed(study) if "layers.filters" in trial.params]
    assert found["layers.filters"].trials == len(having) < len(completed(study))
    assert found[RATE].trials == len(completed(study))
    # the network is one and the same where there are filters: there is no share of it among them
    alone = {row.parameter: row for row in importances(having)}
    assert alone["layers.filters"].fanova == found["layers.filters"].fanova
    assert (alone["network"].ped_anova, alone["network"].fanova) == (None, None)
    assert sum(row.ped_anova for row in found.values() if row.ped_anova is not None) == pytest.approx(1)
    shares = [row.fanova for row in found.values() if row.trials == len(completed(study)) and row.fanova is not None]
    assert sum(shares) == pytest.approx(1)


def test_what_cannot_be_said_is_empty_and_not_0(tmp_path: Path) -> None:
    write_results(new_study(30), tmp_path / "cnn")
    fixed = next(line for line in rows(tmp_path / "cnn" / "importances.csv") if line["parameter"] == "fixed")
    assert fixed["ped_anova_of_tune_auroc"] == fixed["fanova_of_tune_auroc"] == ""


@pytest.mark.parametrize(
    ("trials", "objective"),
    [(3, lambda trial: trial.suggest_float("x", 0, 1)), (12, lambda trial: 0.5 + 0 * trial.suggest_float("x", 0, 1))],
    ids=["three trials", "all values equal"],
)
def test_too_little_to_tell_leaves_a_header(trials: int, objective: Any, tmp_path: Path) -> None:
    write_results(new_study(trials, objective), tmp_path / "cnn")
    assert (tmp_path / "cnn" / "importances.csv").read_text().count("\n") == 1
    assert names(tmp_path / "cnn") == TABLES | {"history.png", "slice.png", "parallel_coordinates.png"}


def test_a_range_that_was_changed_half_way_is_left_out_of_fanova() -> None:
    trials = [
        optuna.create_trial(
            value=(i % 5) / 5,
            params={"x": i / 20, "y": (i * 7 % 20) / 20, "z": i % 2},
            distributions={
                "x": FloatDistribution(0, 1 if i < 10 else 2),
                "y": FloatDistribution(0, 1),
                "z": IntDistribution(0, 1),
            },
        )
        for i in range(20)
    ]
    found = {row.parameter: row for row in importances(trials)}
    assert found["x"].fanova is None
    assert found["x"].ped_anova is not None
    assert found["y"].fanova == pytest.approx(1 - (found["z"].fanova or 0))


def test_results_are_the_same_bytes_twice_and_nothing_is_said(
    study: optuna.Study, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    for folder in ("one", "two"):
        write_results(study, tmp_path / folder)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert names(tmp_path / "one") == TABLES | PLOTS
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_winner_stays_and_what_was_before_goes(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "cnn"
    write_results(new_study(30), folder)
    (folder / "winner.json").write_text('{"trial": 4}')
    (folder / "note.txt").touch()
    write_results(new_study(2), folder)
    assert names(folder) == TABLES | {"history.png", "slice.png", "parallel_coordinates.png", "winner.json"}
    assert (folder / "winner.json").read_text() == '{"trial": 4}'


@pytest.mark.parametrize("ended", [0, 1])
def test_a_study_that_has_hardly_begun_has_tables(ended: int, tmp_path: Path) -> None:
    study = new_study(ended)
    study.ask()
    write_results(study, tmp_path / "cnn")
    assert names(tmp_path / "cnn") == TABLES | ({"history.png"} if ended else set())
    summary = json.loads((tmp_path / "cnn" / "summary.json").read_text())
    assert summary["trials"] == {"complete": ended, "pruned": 0, "running": 1, "waiting": 0, "fail": 0}
    assert (summary["best"] is None) == (ended == 0)


def test_the_summary_names_best_counts_and_seconds(study: optuna.Study, tmp_path: Path) -> None:
    write_results(study, tmp_path / "cnn")
    summary = json.loads((tmp_path / "cnn" / "summary.json").read_text())
    best = study.best_trial
    assert summary["study"] == "cnn phantom 3f2a"
    assert summary["directions"] == {"tune AUROC": "maximize"}
    assert summary["best"] == {"number": best.number, "tune AUROC": best.value, "parameters": best.params}
    assert sum(summary["trials"].values()) == len(study.trials)
    took = [trial.duration.total_seconds() for trial in study.trials if trial.duration]
    assert summary["seconds"] == pytest.approx(sum(took))


def test_a_study_of_auroc_and_time_has_a_front_and_everything_else_for_auroc(tmp_path: Path) -> None:
    study = both_objectives(40)
    write_results(study, tmp_path / "cnn")
    assert names(tmp_path / "cnn") == TABLES | PLOTS | {"pareto_front.png"}
    lines = rows(tmp_path / "cnn" / "trials.csv")
    assert list(lines[0])[2:4] == ["tune AUROC", "ms an image"]
    assert float(lines[0]["tune AUROC"]) == max(trial.values[0] for trial in completed(study))
    summary = json.loads((tmp_path / "cnn" / "summary.json").read_text())
    assert summary["directions"] == {"tune AUROC": "maximize", "ms an image": "minimize"}
    front = {(one["tune AUROC"], one["ms an image"]) for one in summary["pareto_front"]}
    assert front == {tuple(trial.values) for trial in study.best_trials}
    # the best trials decide, and not the worst: Optuna minimizes a target that it is given
    single = auroc_study(study)
    assert [(trial.number, trial.state) for trial in single.trials] == [(t.number, t.state) for t in study.trials]
    shares = importances(completed(single))
    expected = importances(completed(new_study(40)))
    assert shares == expected
    assert shares[0].parameter == RATE


def test_every_picture_can_be_opened_and_is_large_enough_to_read(study: optuna.Study, tmp_path: Path) -> None:
    write_results(study, tmp_path / "cnn")
    for name in PLOTS:
        with Image.open(tmp_path / "cnn" / name) as picture:
            assert min(picture.size) > 300, name
            assert len(picture.convert("L").getcolors() or []) > 20, name
