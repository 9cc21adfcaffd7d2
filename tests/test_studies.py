"""Searches: what is tried, what it is judged by, what is kept when it is killed, and what comes of it."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import TrialState
from pydantic import TypeAdapter

from factories import PARAMS_YAML
from medscreen.cli.params_file import edited
from medscreen.cli.study import _apply
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import load_params
from medscreen.config.studies import StudyParams
from medscreen.data.images import load_images
from medscreen.errors import MedscreenError
from medscreen.registry.registration import register
from medscreen.registry.versions import versions_of
from medscreen.studies.samplers import pruner_of, sampler_of
from medscreen.studies.search_space import Searched
from medscreen.studies.study_plan import plan_study, share_of_cores
from medscreen.studies.trial import Objective
from medscreen.studies.trial_recovery import requeue, requeue_lost
from medscreen.studies.trial_storage import open_storage
from medscreen.studies.winner import Candidate
from medscreen.tracking.detector_results import read_result
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from studied import CNN, COMMAND, HOG, STUDIES, workers_of
from workspaces import MODEL, change_params, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

ENTRY: TypeAdapter[DetectorParams] = TypeAdapter(DetectorParams)
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}


@pytest.fixture
def home(studied: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(studied, tmp_path / "home"))


def medscreen(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=home, capture_output=True, text=True, timeout=600, check=False)


def study_of(home: Path, detector: str = "hog") -> optuna.Study:
    layout = Layout(home, home)
    storage = open_storage(None, layout)
    return optuna.load_study(study_name=plan_study(layout, settings_of(home), detector).name, storage=storage)


def searched(detector: str) -> Searched:
    params = TypeAdapter(StudyParams).validate_python(STUDIES[detector])
    return Searched(params.searched, ENTRY.validate_python(HOG | {"kind": "novelty"}) if detector == "hog" else None)


def runs_of(home: Path) -> tuple[Run, list[Run]]:
    """In MLflow: the study's own run, and those of its trials."""
    client: MlflowClient = open_store(Layout(home, home))
    experiment = client.get_experiment_by_name("films-studies")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    return parent, [run for run in runs if run is not parent]


def children(home: Path) -> dict[int, list[tuple[str, dict[str, str], dict[str, float]]]]:
    """Trial -> status, params and metrics of its runs in MLflow."""
    found: dict[int, list[tuple[str, dict[str, str], dict[str, float]]]] = {}
    for run in runs_of(home)[1]:
        about = (run.info.status, run.data.params, run.data.metrics)
        found.setdefault(int(run.data.tags["medscreen.trial"]), []).append(about)
    return found


def assert_mlflow_agrees(home: Path, study: optuna.Study) -> None:
    shown = children(home)
    told = {trial.number: [STATUS[trial.state]] for trial in study.trials if trial.state != TrialState.WAITING}
    assert {number: [status for status, _, _ in runs] for number, runs in shown.items()} == told


# what is tried


def test_the_hand_set_entry_is_told_to_optuna_and_comes_back() -> None:
    about = searched("hog")
    assert about.own is not None
    told = about.hand_set()
    assert told == {"features.cells": 2, "features.bins": 6, "distance.neighbors": 3}
    assert about.entry(told) == about.own


def test_a_hand_set_value_outside_the_space_is_left_to_the_sampler() -> None:
    own = ENTRY.validate_python(HOG | {"kind": "novelty", "distance": {"kind": "knn", "neighbors": 2, "most": 100}})
    told = Searched(searched("hog").parts, own).hand_set()
    assert told == {"features.cells": 2, "features.bins": 6}


def test_several_entries_compete_each_with_a_space_of_its_own() -> None:
    about, study = searched("net"), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    kinds = Counter()
    for _ in range(20):
        trial = study.ask()
        about.suggest(trial)
        entry = about.entry(trial.params)
        kinds[entry.variant] += 1
        values = about.values(trial.params)[1]
        assert set(values) == set(about.parts[trial.params["entry"]].space)
        study.tell(trial, 0.5)
    assert set(kinds) == {"residual", "plain"}


def test_a_winner_that_was_applied_does_not_begin_another_study() -> None:
    about = searched("hog")
    moved = Searched(about.parts, about.entry({"features.cells": 4, "features.bins": 8, "distance.neighbors": 7}))
    assert about.fixed(None) == moved.fixed(None)
    other = ENTRY.validate_python(HOG | {"kind": "novelty", "features": HOG["features"] | {"signed": False}})
    assert about.fixed(None) != Searched(about.parts, other).fixed(None)


@pytest.mark.parametrize("name", ["tpe", "gp", "random"])
def test_a_study_that_goes_on_does_not_repeat_itself(name: str) -> None:
    params = TypeAdapter(StudyParams).validate_python(STUDIES["hog"] | {"sampler": name})
    drawn = []
    for begun in range(4):
        study = optuna.create_study(sampler=sampler_of(params, 7, begun, 0))
        drawn.append(study.ask().suggest_float("x", 0, 1))
    assert len(set(drawn)) == 4


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ({"kind": "median", "startup_trials": 1, "warmup_epochs": 1}, optuna.pruners.MedianPruner),
        ({"kind": "hyperband", "least_epochs": 1, "reduction": 3}, optuna.pruners.HyperbandPruner),
        ({"kind": "wilcoxon", "level": 0.1, "warmup_epochs": 2}, optuna.pruners.WilcoxonPruner),
        ({"kind": "none"}, optuna.pruners.NopPruner),
    ],
)
def test_every_pruner_can_be_asked_for(block: dict[str, Any], kind: type) -> None:
    params = TypeAdapter(StudyParams).validate_python(STUDIES["net"] | {"pruner": block})
    assert isinstance(pruner_of(params, 9), kind)


# what it is judged by


def objective(home: Path, detector: str, **others: Any) -> Objective:
    layout = Layout(home, home)
    params = TypeAdapter(StudyParams).validate_python(STUDIES[detector] | others)
    train, tune = (load_images(layout.curated(split)) for split in ("train", "tune"))
    return Objective(searched(detector), params, ComputeParams(threads=1, device="cpu"), 7, train, tune, "me/1-1")


def test_a_trial_is_judged_where_neither_val_nor_test_are(home: Path) -> None:
    for split in ("val", "test"):
        shutil.rmtree(Layout(home, home).curated(split))
    study = optuna.create_study(direction="maximize")
    study.optimize(objective(home, "net"), n_trials=2)
    assert all(0 <= trial.value <= 1 for trial in study.trials if trial.value is not None)


def test_every_epoch_is_reported_and_the_last_state_is_no_other_than_the_figure(home: Path) -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    study.enqueue_trial(
        {"entry": "cnn", "cnn/width": 3, "cnn/training.learning_rate": 0.01, "cnn/training.optimizer": "adamw"}
    )
    study.optimize(objective(home, "net", pruner={"kind": "none"}), n_trials=1)
    (trial,) = study.trials
    assert list(trial.intermediate_values) == [1, 2, 3]
    curves = trial.user_attrs["curves"]
    assert [row["epoch"] for row in curves] == [1, 2, 3]
    best = min(curves, key=lambda row: row["tune_loss"])["epoch"]
    assert trial.value == pytest.approx(trial.intermediate_values[best], abs=1e-6)
    counts = trial.user_attrs["tune_confusion"]
    assert sum(counts.values()) == len(load_images(Layout(home, home).curated("tune")))


def test_a_pair_is_auroc_and_milliseconds(home: Path) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(objective(home, "hog", objective="auroc_and_ms"), n_trials=2)
    for trial in study.trials:
        auroc, ms = trial.values
        assert 0 <= auroc <= 1
        assert 0 < ms < 1000


def test_what_cannot_be_built_is_pruned_with_the_reason(home: Path) -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"features.cells": 1, "features.bins": 4, "distance.neighbors": 1})
    blocks = HOG | {"kind": "novelty", "features": HOG["features"] | {"block": 2}}
    about = objective(home, "hog")
    impossible = Searched(about.searched.parts, ENTRY.validate_python(blocks))
    study.optimize(replace(about, searched=impossible), n_trials=1)
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["reason"] == "features.hog: block = 2 is more than cells = 1"


# the command


@pytest.fixture(scope="module")
def finished(studied: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study that was searched with two processes, and its winner applied."""
    home = Path(shutil.copytree(studied, tmp_path_factory.mktemp("finished") / "home"))
    text = (home / "params.yaml").read_text().replace("detectors:\n", "detectors: # the roster\n")
    (home / "params.yaml").write_text(text)
    result = medscreen(home, "net", "--trials", "6", "--workers", str(min(2, os.cpu_count() or 1)), "--apply")
    assert result.returncode == 0, result.stderr
    return home, result.stdout


def test_a_study_ends_with_as_many_trials_as_were_wanted(finished: tuple[Path, str]) -> None:
    home, _ = finished
    study = study_of(home, "net")
    assert len(study.trials) == 6
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert_mlflow_agrees(home, study)


def test_mlflow_shows_parameters_curves_and_figures_of_every_trial(finished: tuple[Path, str]) -> None:
    home, _ = finished
    for trial in study_of(home, "net").trials:
        ((status, params, metrics),) = children(home)[trial.number]
        assert params["entry"] == trial.params["entry"]
        assert {"epoch/tune_auroc", "epoch/train_loss"} <= set(metrics)
        if status == "FINISHED":
            assert metrics["tune/auroc"] == pytest.approx(trial.value)
            assert metrics["tune/true_positive"] + metrics["tune/false_negative"] > 0


def test_the_parent_run_shows_the_reports_and_the_best_runs_their_models(finished: tuple[Path, str]) -> None:
    home, _ = finished
    client, (parent, runs) = open_store(Layout(home, home)), runs_of(home)
    assert parent.info.status == "FINISHED"
    assert {"trials.csv", "winner.json", "history.png"} <= {f.path for f in client.list_artifacts(parent.info.run_id)}
    assert sum(bool(run.outputs and run.outputs.model_outputs) for run in runs) == 2


def test_the_winner_stands_in_params_yaml_and_comments_stay(finished: tuple[Path, str]) -> None:
    home, result = finished
    record = json.loads(Layout(home, home).study_winner("net").read_text())
    assert load_params(home / "params.yaml").detectors["net"].model_dump(mode="json") == record["entry"]
    assert "detectors: # the roster" in (home / "params.yaml").read_text()
    assert f"Chosen: trial {record['trial']}" in result
    chosen = f"trial {record['trial']}"
    assert chosen == max(record["tune_auroc"], key=lambda title: float(np.mean(record["tune_auroc"][title])))
    assert set(record["val_auroc"]) == {chosen}  # what was not chosen is not looked at there
    assert record["optimism"] == pytest.approx(np.mean(record["tune_auroc"][chosen]) - record["val_auroc"][chosen])


def test_the_same_command_again_does_nothing_twice(finished: tuple[Path, str], tmp_path: Path) -> None:
    home = Path(shutil.copytree(finished[0], tmp_path / "home"))
    before = [trial.params for trial in study_of(home, "net").trials]
    assert medscreen(home, "net", "--trials", "6").returncode == 0
    study = study_of(home, "net")
    assert [trial.params for trial in study.trials] == before
    assert_mlflow_agrees(home, study)


def test_one_process_that_goes_on_tries_what_it_would_have_tried(home: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(home, tmp_path / "other"))
    for trials in ("2", "5"):
        assert medscreen(home, "hog", "--trials", trials, "--workers", "1").returncode == 0
    assert medscreen(other, "hog", "--trials", "5", "--workers", "1").returncode == 0
    first, second = ([(t.params, t.value) for t in study_of(place).trials] for place in (home, other))
    assert first == second
    assert first[0][0] == searched("hog").hand_set()  # what params.yaml says is tried before anything else
    assert len({json.dumps(params, sort_keys=True) for params, _ in first}) == 5


def test_another_strategy_goes_on_in_the_same_study(home: Path) -> None:
    assert medscreen(home, "hog", "--trials", "1", "--workers", "1").returncode == 0
    other = {"sampler": "random", "pruner": {"kind": "none"}, "confirm": {"best": 2, "seeds": [5]}}
    change_params(home, studies={"hog": STUDIES["hog"] | other})
    result = medscreen(home, "hog", "--trials", "2", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert len(study_of(home).trials) == 2
    parent, _ = runs_of(home)
    assert parent.data.tags["medscreen.sampler"] == "random"
    assert parent.data.tags["medscreen.confirm"] == str(other["confirm"])


def test_killed_ten_times_nothing_is_lost_and_nothing_is_there_twice(home: Path) -> None:
    wanted, kills, rng = 20, 0, np.random.default_rng(3)
    study = None
    while kills < 10:
        process = subprocess.Popen(
            [*COMMAND, "hog", "--trials", str(wanted), "--workers", "2"],
            cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        command = psutil.Process(process.pid)
        deadline = time.monotonic() + 120
        while len(busy := workers_of(command)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        # workers first, one of them, then the command itself; a worker is replaced meanwhile
        for victim in (*busy[:1], command):
            time.sleep(float(rng.uniform(0.0, 3.0)))
            if process.poll() is None and kills < 10:
                victim.kill()
                kills += 1
        process.wait(60)
    assert medscreen(home, "hog", "--trials", str(wanted), "--workers", "2").returncode == 0
    study = study_of(home)
    ended = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert len(ended) == wanted
    assert len(ended) + len(failed) == len(study.trials)
    # each trial that was lost stands once more, with the same parameters
    again = Counter(trial.user_attrs.get("retry_of") for trial in study.trials)
    assert [again[trial.number] for trial in failed] == [1] * len(failed)
    for trial in study.trials:
        if (lost := trial.user_attrs.get("retry_of")) is not None:
            assert study.trials[lost].params.items() <= trial.params.items()
    assert_mlflow_agrees(home, study)


def test_parameters_whose_process_ended_three_times_are_given_up() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.5})
    for number in range(3):
        trial = study.ask()
        assert trial.suggest_float("x", 0, 1) == 0.5
        study.tell(trial, state=TrialState.FAIL)
        for _ in range(2):  # it may be seen twice
            requeue(study, study.trials[number])
    assert [trial.user_attrs.get("retry_of") for trial in study.trials] == [None, 0, 1]


def test_what_was_queued_for_a_trial_is_queued_again_also_if_it_had_not_asked_for_it() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.5, "y": 0.25})
    study.ask().suggest_float("x", 0, 1)
    requeue_lost(study, [], "here", others=False)
    again = study.ask()
    assert (again.suggest_float("x", 0, 1), again.suggest_float("y", 0, 1)) == (0.5, 0.25)
    assert again.user_attrs == {"retry_of": 0}


def test_a_trial_of_another_place_is_left_to_its_heartbeat() -> None:
    study = optuna.create_study()
    study.ask().set_user_attr("owner", "there/1-1")
    requeue_lost(study, [], "here", others=True)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    requeue_lost(study, [], "here", others=False)  # of a journal there are no others
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_that_fails_by_itself_is_not_tried_again() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("reason", "ValueError: no")
    study.tell(trial, state=TrialState.FAIL)
    requeue_lost(study, [], "here", others=False)
    assert len(study.trials) == 1


# what is wrong is said in a sentence


def test_more_workers_than_cores_are_refused() -> None:
    compute = ComputeParams(threads=2, device="cpu")
    assert [share_of_cores(compute, workers, 4).threads for workers in (1, 2, 3, 4)] == [2, 2, 1, 1]
    with pytest.raises(MedscreenError, match="this machine has 4 cores"):
        share_of_cores(compute, 5, 4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody"], "no study 'nobody'; studies: hog, net"),
        (["hog", "--storage", "postgresql://who:secret@127.0.0.1:1/studies"], "the database can't be used"),
        (["hog", "--storage", "oracle9://who:secret@127.0.0.1/studies"], "unsupported database address"),
        (["hog", "--storage", "params.yaml"], "params.yaml is not an Optuna journal"),
        (["hog", "--storage", "sqlite:///mlruns/mlflow.db"], "the database has other tables than Optuna's"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(home: Path, arguments: list[str], sentence: str) -> None:
    result = medscreen(home, *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "secret" not in result.stderr


def test_half_a_line_at_the_end_of_the_journal_costs_that_line_alone(home: Path) -> None:
    assert medscreen(home, "hog", "--trials", "2", "--workers", "1").returncode == 0
    journal = Layout(home, home).studies_journal
    with journal.open("ab") as file:
        file.write(journal.read_bytes()[:40])
    result = medscreen(home, "hog", "--trials", "3", "--workers", "1")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(study_of(home).trials) == 3


def test_a_winner_of_another_kind_is_applied_and_the_study_stays_the_same(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    home = Path(shutil.copytree(finished[0], tmp_path / "home"))
    layout, params = Layout(home, home), settings_of(home)
    cnn = ENTRY.validate_python(CNN | {"kind": "cnn"})
    content = yaml.safe_load((home / "params.yaml").read_text())
    content["detectors"]["net"] = cnn.model_dump(mode="json")
    content["studies"]["net"]["searched"]["cnn"]["entry"] = None
    (home / "params.yaml").write_text(yaml.safe_dump(content))
    plan = plan_study(layout, settings_of(home), "net")
    study = optuna.create_study()
    study.enqueue_trial({"entry": "plain", "plain/filters.0": 6, "plain/dense_dropout": 1e-05})
    trial = study.ask()
    plan.searched.suggest(trial)
    study.tell(trial, 0.9)
    entry = plan.searched.entry(study.trials[0].params)
    _apply(layout, plan, Candidate(study.trials[0], entry, {}, [0.9], is_own=False))
    assert settings_of(home).detectors["net"] == entry
    assert settings_of(home).detectors["hog"] == params.detectors["hog"]
    assert plan_study(layout, settings_of(home), "net").name == plan.name


def test_a_winner_is_refused_where_its_block_is_anothers_too(home: Path) -> None:
    path = home / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["detectors"]["twin"] = content["detectors"]["hog"]  # which YAML writes as an anchor
    path.write_text(yaml.dump(content))
    before, plan = path.read_text(), plan_study(Layout(home, home), settings_of(home), "hog")
    study = optuna.create_study()
    study.enqueue_trial({"features.cells": 4, "features.bins": 8, "distance.neighbors": 7})
    trial = study.ask()
    plan.searched.suggest(trial)
    study.tell(trial, 0.9)
    winner = Candidate(study.trials[0], plan.searched.entry(study.trials[0].params), {}, [0.9], is_own=False)
    with pytest.raises(MedscreenError, match="shares a block with twin by an anchor"):
        _apply(Layout(home, home), plan, winner)
    assert path.read_text() == before


def test_a_study_whose_time_is_up_begins_no_trial(home: Path) -> None:
    result = medscreen(home, "hog", "--timeout", "0", "--workers", "1")
    assert result.returncode == 2
    assert "No trial was completed" in result.stderr
    assert all(trial.state == TrialState.WAITING for trial in study_of(home).trials)


def test_other_data_is_another_study_beside_the_first(home: Path) -> None:
    assert medscreen(home, "hog", "--trials", "1", "--workers", "1").returncode == 0
    first = study_of(home).study_name
    change_params(home, seed=8)
    result = medscreen(home, "hog", "--trials", "1", "--workers", "1")
    assert f"the storage also holds {first}" in result.stdout
    assert study_of(home).study_name != first


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"space": {}}, "name at least one key"),
        (
            {"space": {"featuers.cells": {"choices": [1, 2]}}},
            "'featuers.cells' is not a key of a detector of kind novelty",
        ),
        ({"space": {"features.cells": {"low": 1}}}, "it needs low, high and step"),
        ({"space": {"features.cells": {"low": 4, "high": 1, "step": 1}}}, "not a whole number of steps"),
        ({"space": {"features.cells": {"choices": ["a", "b"]}}}, "'features.cells' can't be 'a'"),
        ({"space": {"features.cells": {"low": 1.0, "high": 3.0, "log": True}}}, "'features.cells' can't be 1.0"),
        ({"space": {"features.cells": {"choices": [8, 8]}}}, "lists a value twice"),
        ({"space": {"kind": {"choices": ["hog", "cnn"]}}}, "'kind' is not a key"),
        (
            {"space": {"distance": {"choices": {"a": 1, "b": 2}}, "distance.neighbors": {"choices": [1, 2]}}},
            "'distance.neighbors' lies inside 'distance'",
        ),
    ],
)
def test_a_space_that_is_none_is_refused_by_its_key(home: Path, change: dict[str, Any], sentence: str) -> None:
    path = home / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["studies"]["hog"]["searched"]["gradients"] |= change
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(MedscreenError, match=sentence):
        load_params(path)


# what comes of it


def test_a_version_names_the_trial_whose_settings_it_has(workspace: Layout) -> None:
    params, client = settings_of(workspace.workspace), open_store(workspace)
    record = {"study": "half-films-1-2", "trial": 3, "entry": params.detectors["half"].model_dump(mode="json")}
    workspace.study_winner("half").parent.mkdir(parents=True)
    workspace.study_winner("half").write_text(json.dumps(record))
    result = read_result(workspace, params, "half")
    tags = register(client, workspace, result).tags
    told = versions_of(client, MODEL)
    (half,) = [version for version in told if version.detector == "half"]
    assert (half.tags["medscreen.study"], half.tags["medscreen.trial"]) == ("half-films-1-2", "3")
    assert tags["medscreen.val_digest"] == half.tags["medscreen.val_digest"]


def test_settings_that_were_changed_since_are_no_trials(workspace: Layout) -> None:
    params = settings_of(workspace.workspace)
    entry = params.detectors["half"].model_dump(mode="json")
    for record in (
        {"study": "s", "trial": 3, "entry": entry | {"width": 99}},
        {"study": "s", "trial": None, "entry": entry},
    ):
        workspace.study_winner("half").parent.mkdir(parents=True, exist_ok=True)
        workspace.study_winner("half").write_text(json.dumps(record))
        assert read_result(workspace, params, "half").studied == {}


def test_of_params_yaml_only_what_is_changed_changes(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = PARAMS_YAML.read_text()
    path.write_text(before)
    with edited(path) as content:
        content["detectors"]["autoencoder"]["bottleneck"] = 77
    changed = [
        pair for pair in zip(before.splitlines(), path.read_text().splitlines(), strict=True) if len(set(pair)) > 1
    ]
    assert changed == [("    bottleneck: 8", "    bottleneck: 77")]


def test_a_change_that_makes_params_yaml_invalid_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS_YAML, path)
    with pytest.raises(MedscreenError, match=r"detectors\.autoencoder\.bottleneck"), edited(path) as content:
        content["detectors"]["autoencoder"]["bottleneck"] = 0
    assert path.read_text() == PARAMS_YAML.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]
